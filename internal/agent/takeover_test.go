package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

func withResume(c *Config) {
	c.Resume = Resume{Window: time.Minute, Buffer: 256 << 10, MaxMemory: 256 << 20}
}

// resumable connects a client that asks for resume, and also returns the session's token.
func resumable(t *testing.T, h *Hub) (*peer, *Agent, string) {
	t.Helper()
	p, c, token := asking(t, h, `{}`)
	a := c.agent.Load()
	if _, err := c.decodePackets(pack(t, packet.Ack, "")); err != nil {
		t.Fatal(err)
	}
	go c.serve(nil, h.Heartbeat)
	return p, a, token
}

// asking returns a connection whose handshake asks for resume and was answered. No
// goroutine reads it.
func asking(t *testing.T, h *Hub, ask string) (p *peer, c *Conn, token string) {
	t.Helper()
	client, socket := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	c, _ = h.newConn(socket, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}, false)
	done := make(chan error, 1)
	go func() {
		_, err := c.decodePackets(pack(t, packet.Handshake, `{"sys":{"resume":`+ask+`}}`))
		done <- err
	}()
	p = &peer{t, client}
	_, body := p.packet()
	var answer struct {
		Sys struct{ Resume struct{ Token string } }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Sys.Resume.Token == "" {
		t.Fatalf("the handshake was answered by %s", body)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the writer of the answer has ended
	return p, c, answer.Sys.Resume.Token
}

// returning is asking with the token of a session.
func returning(t *testing.T, h *Hub, token string) (*peer, *Conn, string) {
	t.Helper()
	return asking(t, h, fmt.Sprintf(`{"token":%q,"received":0}`, token))
}

// resumes returns the session that a client can resume with a token, or nil.
func resumes(h *Hub, k token) *Agent {
	a, _, _ := h.findToken(k)
	return a
}

// finish serves a connection until it ends.
func finish(c *Conn, err error) {
	c.refuse(err)
	c.serve(nil, c.hub.HandshakeTimeout)
}

// TestLateAckOfConnectionThatWasReplaced checks that the late ack of an earlier
// connection does not close a later connection of the session.
func TestLateAckOfConnectionThatWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withResume)
		_, a, token := resumable(t, h)
		_, replaced, _ := returning(t, h, token)
		p, c, _ := returning(t, h, token)
		if _, err := c.decodePackets(pack(t, packet.Ack, "")); err != nil {
			t.Fatal(err)
		}
		go c.serve(nil, h.Heartbeat)
		_, err := replaced.decodePackets(pack(t, packet.Ack, ""))
		if err == nil {
			t.Error("the ack of a connection that was replaced is accepted")
		}
		if c.left() || a.Suspended() {
			t.Errorf("it cuts the connection of the session: left %v, suspended %v", c.left(), a.Suspended())
		} else {
			p.echo(1, "still here")
		}
		finish(replaced, err)
		_ = p.Close()
		synctest.Wait()
		if !a.Suspended() {
			t.Error("the session is not suspended when its connection has ended")
		}
	})
}

// TestUnfinishedResumeIsNoSession checks that a connection that ends between the answer to
// its token and its ack does not count as a closed session. It has none of its own.
func TestUnfinishedResumeIsNoSession(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(*Hub, *peer, *Agent)
		closed map[string]int64 // all reasons that count
	}{
		"the connection is lost": {func(_ *Hub, p *peer, _ *Agent) { _ = p.Close() }, nil},
		"no ack comes":           {func(h *Hub, p *peer, _ *Agent) { pass(p, h.HandshakeTimeout+time.Second) }, nil},
		"the session is kicked":  {func(_ *Hub, p *peer, a *Agent) { _ = a.Kick("enough"); _ = p.Close() }, map[string]int64{"kicked": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, withResume)
				p, a, token := resumable(t, h)
				_ = p.Close()
				synctest.Wait()
				p, c, _ := returning(t, h, token)
				go c.serve(nil, h.HandshakeTimeout)
				synctest.Wait()
				test.end(h, p, a)
				synctest.Wait()
				if n := h.Counts.Open.Load(); n != 0 {
					t.Errorf("%d connections are open, want none", n)
				}
				got := h.Counts.ClosedBy()
				maps.DeleteFunc(got, func(_ string, n int64) bool { return n == 0 })
				if !maps.Equal(got, test.closed) {
					t.Errorf("ClosedBy() = %v, want %v", got, test.closed)
				}
			})
		})
	}
}

// TestAckOfConnectionThatHasEnded checks that a connection that cannot be written to is
// not attached to the session, because later output would be refused.
func TestAckOfConnectionThatHasEnded(t *testing.T) {
	for name, end := range map[string]func(*Agent, *Conn){
		"a write failed": func(first *Agent, c *Conn) { c.writeFailed(first, nil) },
		"its time is up": func(first *Agent, _ *Conn) { _ = first.shut(session.ErrHandshake, farewell{}) },
		"a writer is about to report": func(_ *Agent, c *Conn) {
			o := &c.agent.Load().out
			o.mu.Lock()
			defer o.mu.Unlock()
			c.kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, withResume)
				_, a, token := resumable(t, h)
				_, c, _ := returning(t, h, token)
				end(c.agent.Load(), c)
				_, err := c.decodePackets(pack(t, packet.Ack, ""))
				if err == nil {
					t.Error("the ack is accepted")
				}
				if !a.Suspended() {
					t.Error("the session is not suspended")
				}
				if err := a.Push("news", []byte("x")); err != nil {
					t.Errorf("Push = %v", err)
				}
				finish(c, err)
				p, c, _ := returning(t, h, token)
				if _, err := c.decodePackets(pack(t, packet.Ack, "")); err != nil {
					t.Fatal(err)
				}
				go c.serve(nil, h.Heartbeat)
				if m := p.message(); m.Route != "news" {
					t.Errorf("%v came, want the push", m)
				}
			})
		})
	}
}

// TestTokensOfAttemptsAreForgotten checks that a client that never sends an ack after its
// answers has maxTokens valid tokens: the first one and the newest.
func TestTokensOfAttemptsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withResume)
		_, a, first := resumable(t, h)
		tokens := []string{first}
		valid := func() (list []int) {
			for i, s := range tokens {
				if k, _ := parseToken(s); resumes(h, k) == a {
					list = append(list, i)
				}
			}
			return list
		}
		for range 20 {
			_, c, token := returning(t, h, first)
			tokens = append(tokens, token)
			go c.serve(nil, h.HandshakeTimeout)
		}
		if got, want := valid(), []int{0, 14, 15, 16, 17, 18, 19, 20}; !slices.Equal(got, want) {
			t.Errorf("the tokens %v are valid after 20 answers without an ack, want %v", got, want)
		}
		_, c, token := returning(t, h, tokens[18])
		tokens = append(tokens, token)
		if got, want := valid(), []int{18, 19, 20, 21}; !slices.Equal(got, want) {
			t.Errorf("the tokens %v are valid after the client has used number 18, want %v", got, want)
		}
		if _, err := c.decodePackets(pack(t, packet.Ack, "")); err != nil {
			t.Fatal(err)
		}
		go c.serve(nil, h.Heartbeat)
		synctest.Wait()
		if got, want := valid(), []int{21}; !slices.Equal(got, want) {
			t.Errorf("the tokens %v are valid after the ack, want %v", got, want)
		}
		_ = a.Kick("done")
		synctest.Wait()
		if got := valid(); got != nil {
			t.Errorf("the tokens %v are valid after the session, want none", got)
		}
		for i, s := range tokens {
			k, _ := parseToken(s)
			if _, _, e := h.findToken(k); (e != nil) != (i == 21) {
				t.Errorf("the record of the ended session for token %d: %v", i, e)
			}
		}
	})
}
