package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// resting reports whether the session keeps nothing but its counts.
func resting(a *Agent) bool {
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	return a.out.resume.active == nil && a.out.recent == nil
}

// quieted connects a client over a connection that cannot be parked, and lets its session
// come to rest. It also returns the session's token.
func quieted(t *testing.T, h *Hub) (*peer, *Agent, string) {
	t.Helper()
	p, a, token := resumable(t, h)
	p.echo(1, "hello")
	if resting(a) {
		t.Error("the session rests before its client has acknowledged the answer")
	}
	p.send(pack(t, packet.Heartbeat, "\x01"))
	pass(p, h.Heartbeat)
	if !resting(a) {
		t.Error("the session does not rest a heartbeat interval after the acknowledgment")
	}
	return p, a, token
}

// pass lets time pass in which the client reads heartbeats and sends nothing.
func pass(p *peer, d time.Duration) {
	stop := time.AfterFunc(d, func() { _ = p.SetReadDeadline(time.Now()) })
	defer stop.Stop()
	_ = p.SetReadDeadline(time.Time{})
	for buf := make([]byte, 64); ; {
		if _, err := p.Read(buf); err != nil {
			synctest.Wait()
			return
		}
	}
}

// TestSessionRestsWithoutParking checks that a session on a connection that cannot be
// parked, such as one with TLS, rests each time it becomes quiet.
func TestSessionRestsWithoutParking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withResume)
		p, a, _ := quieted(t, h)
		for n := byte(2); n < 5; n++ {
			if err := a.Push("news", []byte{n}); err != nil {
				t.Fatal(err)
			}
			if m := p.message(); string(m.Data) != string([]byte{n}) {
				t.Errorf("%q came, want push %d", m.Data, n)
			}
			pass(p, h.Heartbeat)
			if resting(a) {
				t.Error("the session rests before its client has acknowledged the push")
			}
			p.send(pack(t, packet.Heartbeat, string([]byte{n})))
			pass(p, h.Heartbeat)
			if !resting(a) {
				t.Errorf("the session does not rest after push %d", n)
			}
		}
		p.send(pack(t, packet.Heartbeat, "\x05")) // more than was sent
		pass(p, time.Second)
		if !a.session.Closed() {
			t.Error("an acknowledgment of more than was sent is accepted")
		}
	})
}

// TestRestingSessionEndsAtRest checks that a session at rest ends, and refuses a client,
// without the state of a session that is not at rest.
func TestRestingSessionEndsAtRest(t *testing.T) {
	for _, test := range []struct {
		name     string
		end      func(*Agent)
		received uint64
		n        uint64 // number of the client's token
		reason   string
	}{
		{"closed", func(a *Agent) { _ = a.Close() }, 1, 1, reasonEnded},
		{"token not given", nil, 1, 2, reasonUnknown},
		{"received more than was sent", nil, 2, 1, reasonEnded},
		{"received an enormous number", nil, maxCount, 1, reasonEnded},
		{"received less than was acknowledged", nil, 0, 1, reasonOverflow},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, withResume)
				p, a, _ := quieted(t, h)
				if test.end != nil {
					test.end(a)
				}
				e, err := a.takeOver(&Conn{hub: h}, test.n, test.received, &resumeAnswer{})
				if err != nil || e == nil || e.reason != test.reason {
					t.Fatalf("takeOver = %+v, %v, want the reason %q", e, err, test.reason)
				}
				if !resting(a) {
					t.Error("the session is not at rest")
				}
				if closed := test.reason != reasonUnknown; a.session.Closed() != closed {
					t.Errorf("Closed() = %v, want %v", a.session.Closed(), closed)
				}
				if n := h.Counts.Suspended(); n != 0 {
					t.Errorf("%d sessions are suspended, want none", n)
				}
				_ = p.Close()
			})
		})
	}
}

// TestSuspendedSessionKeepsItsAddress checks that the reader of a lost connection does
// not take the state of a suspended session.
func TestSuspendedSessionKeepsItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withResume)
		_, a, _ := quieted(t, h)
		c := a.out.conn
		want := a.RemoteAddr()
		if !a.suspend(c, session.ErrClientClosed) {
			t.Fatal("the session was not suspended")
		}
		_ = a.Close()
		synctest.Wait()
		c.rest()
		if got := a.RemoteAddr(); got == nil || got.String() != want.String() {
			t.Errorf("RemoteAddr() = %v, want %v", got, want)
		}
	})
}
