package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBoundIsReachedRarely checks that one scan of all sessions frees a part of their bound.
// So not every suspension at the bound causes another scan. The sessions that were suspended
// first end first.
func TestBoundIsReachedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound, free = 8 * spare, 8 // in sessions
		const most = bound/free + 1
		h := newHost(t, func(c *Config) {
			withResume(c)
			c.Resume.MaxMemory = bound * minCharge
		})
		var agents []*Agent
		scans, before := 0, int64(0)
		for range 2 * bound {
			p, a, _ := resumable(t, h)
			agents = append(agents, a)
			_ = p.Close()
			time.Sleep(time.Millisecond) // each window ends at another time
			synctest.Wait()
			ended := h.Counts.ResumeOverflowed.Load()
			if ended == before {
				continue
			}
			if scans++; scans > most {
				t.Fatalf("%d sessions beyond the bound caused %d scans, want %d at most", len(agents)-bound, scans, most)
			}
			if got := h.Counts.Held.Load(); got != (bound-free)*minCharge {
				t.Errorf("after a scan the sessions keep %d bytes, want %d", got, (bound-free)*minCharge)
			}
			for i, a := range agents {
				if closed := int64(i) < ended; a.session.Closed() != closed {
					t.Fatalf("after %d sessions have ended: Closed() of session %d = %v, want %v", ended, i, !closed, closed)
				}
			}
			before = ended
		}
		if scans == 0 {
			t.Error("no session has ended")
		}
	})
}

// TestScanSparesSmallSessions checks that only the session that keeps most loses its history
// at the bound of all sessions. It ends if it is suspended.
func TestScanSparesSmallSessions(t *testing.T) {
	for name, connected := range map[string]bool{"suspended": false, "connected": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, func(c *Config) {
					withResume(c)
					c.Resume.MaxMemory = 16 * minCharge
				})
				var small []*Agent
				for range 3 {
					p, a, _ := resumable(t, h)
					small = append(small, a)
					_ = p.Close()
				}
				p, large, _ := resumable(t, h)
				if !connected {
					_ = p.Close()
				}
				synctest.Wait()
				_ = large.Push("news", make([]byte, 14*minCharge))
				synctest.Wait()
				if large.session.Closed() == connected {
					t.Errorf("Closed() of the session that keeps most = %v, want %v", connected, !connected)
				}
				if got := h.Counts.Held.Load(); got != 3*minCharge {
					t.Errorf("the sessions keep %d bytes, want those of the small ones", got)
				}
				for i, a := range small {
					if a.session.Closed() {
						t.Errorf("small session %d has ended", i)
					}
				}
				_ = p.Close()
			})
		})
	}
}
