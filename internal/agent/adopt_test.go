package agent

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// shaken returns a connection with a completed handshake, and its client's end.
func shaken(t *testing.T, h *Hub, framed bool) (*peer, *Conn) {
	t.Helper()
	client, socket := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	c, _ := h.newConn(socket, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}, framed)
	done := make(chan error, 1)
	go func() {
		_, err := c.decodePackets(pack(t, packet.Handshake, "{}"))
		done <- err
	}()
	p := &peer{t, client}
	if framed {
		p.Conn = &unframed{Conn: client, t: t}
	}
	if typ, _ := p.packet(); typ != packet.Handshake {
		t.Fatalf("a %v packet came, want the answer to the handshake", typ)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return p, c
}

// attach attaches connection c to agent a.
func attach(t *testing.T, a *Agent, c *Conn) {
	t.Helper()
	if err := a.adopt(c); err != nil {
		t.Fatalf("adopt = %v", err)
	}
	c.state.Store(stateReady)
	go c.serve(nil, c.hub.Heartbeat)
}

// reconnect attaches a new connection to a, and returns its client's end.
func reconnect(t *testing.T, h *Hub, a *Agent) *peer {
	t.Helper()
	p, c := shaken(t, h, false)
	attach(t, a, c)
	return p
}

// unframed is the client's end of a WebSocket. Its reads return the payloads of frames.
type unframed struct {
	net.Conn
	t    *testing.T
	raw  []byte
	data []byte
}

func (u *unframed) Read(b []byte) (int, error) {
	for len(u.data) == 0 {
		if _, payload, rest, whole := unframe(u.t, u.raw); whole {
			u.data, u.raw = payload, rest
			continue
		}
		var more [512]byte
		n, err := u.Conn.Read(more[:])
		if err != nil {
			return 0, err
		}
		u.raw = append(u.raw, more[:n]...)
	}
	n := copy(b, u.data)
	u.data = u.data[n:]
	return n, nil
}

func (u *unframed) Write(b []byte) (int, error) {
	if _, err := u.Conn.Write(clientFrame(2, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// holdLogic blocks the logic goroutine until the returned function is called.
func holdLogic(h *Hub) (release func()) {
	gate := make(chan struct{})
	h.Dispatcher.Loop.Invoke(func() { <-gate })
	return func() { close(gate) }
}

// TestAnotherConnection checks that a live agent can get another connection while
// requests run and answers wait. The new connection carries everything that was not
// written yet, once and in order.
func TestAnotherConnection(t *testing.T) {
	for _, framed := range []bool{false, true} {
		t.Run(fmt.Sprintf("to WebSocket %v", framed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, nil)
				p, a := pipe(t, h)
				first := a.out.conn
				const rounds, requests = 3, 10
				id := uint64(0)
				for round := range rounds {
					// The mailbox holds requests and the outbox holds pushes when the
					// connection is swapped. In one case the mailbox is full, so the
					// reader waits.
					release := holdLogic(h)
					want := []string(nil)
					count := uint64(requests)
					if round == 1 {
						count = uint64(h.MaxPending)
					}
					sent := make(chan struct{})
					go func() {
						defer close(sent)
						for n := range count {
							p.send(request(t, id+n+1, fmt.Sprint("answer ", id+n+1)))
						}
					}()
					<-sent
					q, c := shaken(t, h, framed && round != 1)
					synctest.Wait()
					h.Begin() // keeps pushes in the outbox until flushed
					for n := range requests {
						text := fmt.Sprint("push ", round, " ", n)
						if err := a.Push("news", []byte(text)); err != nil {
							t.Fatal(err)
						}
						want = append(want, text)
					}
					for range count {
						id++
						want = append(want, fmt.Sprint("answer ", id))
					}
					attach(t, a, c)
					old := p
					p = q
					h.End()
					release()
					for _, text := range want {
						if m := p.message(); string(m.Data) != text {
							t.Fatalf("round %d: %q came over the new connection, want %q", round, m.Data, text)
						}
					}
					if n, err := old.Read(make([]byte, 1)); err == nil {
						t.Errorf("round %d: %d bytes came over the old connection", round, n)
					}
					id++
					p.echo(id, "and goes on")
				}
				if a.session.Closed() || a.out.conn == first {
					t.Errorf("closed: %v, the connection is the first: %v", a.session.Closed(), a.out.conn == first)
				}
				if got := a.RemoteAddr().String(); got != "192.0.2.7:0" {
					t.Errorf("RemoteAddr() = %s, want that of the newest connection", got)
				}
				synctest.Wait()
				if open, sessions := h.Len(); open != 1 || sessions != 1 {
					t.Errorf("Len() = %d, %d, want one connection and one session", open, sessions)
				}
				_ = a.Kick("bye")
				if typ, body := p.packet(); typ != packet.Kick || string(body) != `{"reason":"bye","code":"kicked"}` {
					t.Errorf("%v %s came, want a kick", typ, body)
				}
				_ = p.Close()
				check(t, reason(t, a.session), session.ErrKicked)
			})
		})
	}
}

// TestTakenBytesAreNotSentAgain checks that data that a writer took is not sent again,
// because the client may have it.
func TestTakenBytesAreNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		_, a := pipe(t, h)
		push := func(text string) {
			t.Helper()
			if err := a.Push("news", []byte(text)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		push("taken") // a writer takes it, and the client does not read
		push("waits")
		p := reconnect(t, h, a)
		push("new")
		for _, text := range []string{"waits", "new"} {
			if m := p.message(); string(m.Data) != text {
				t.Errorf("%q came, want %q", m.Data, text)
			}
		}
		p.echo(1, "nothing else came")
	})
}

// TestAnotherConnectionWhileTheMailboxIsFull checks that a reader that waits for mailbox
// space does not delay the new connection. Its undelivered message is dropped.
func TestAnotherConnectionWhileTheMailboxIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(c *Config) { c.MaxPending = 4 })
		p, a := pipe(t, h)
		release := holdLogic(h)
		go func() {
			var all []byte
			for id := range uint64(10) {
				all = append(all, request(t, id+1, fmt.Sprint(id+1))...)
			}
			_, _ = p.Write(all)
		}()
		synctest.Wait()
		if room := a.box.Room(); room != 0 {
			t.Fatalf("Room() = %d, want a full mailbox", room)
		}
		p = reconnect(t, h, a)
		release()
		for id := range uint64(4) {
			if m := p.message(); m.ID != id+1 {
				t.Errorf("the answer to request %d came, want %d", m.ID, id+1)
			}
		}
		p.echo(20, "still here")
	})
}

// TestClosedAgentTakesNoConnection checks that a closed agent accepts no connection. The
// connection keeps the agent that it was made with.
func TestClosedAgentTakesNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		p, a := pipe(t, h)
		_ = a.Close()
		_ = p.Close()
		q, b := pipe(t, h)
		check(t, a.adopt(b.out.conn), session.ErrBrokenPipe)
		q.echo(1, "untouched")
		if got := b.out.conn.agent.Load(); got != b {
			t.Error("the connection has another agent")
		}
	})
}

// TestAgentWithoutAConnection checks that an agent without a connection queues output up
// to the bound, and runs the requests it accepted.
func TestAgentWithoutAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(c *Config) { c.MaxQueued, c.RefuseAtFull = 1000, true })
		p, a := pipe(t, h)
		release := holdLogic(h)
		p.send(request(t, 1, "one"))
		synctest.Wait()
		if !a.detach(nil) {
			t.Fatal("detach = false")
		}
		release()
		synctest.Wait()
		check(t, a.Push("news", make([]byte, 500)), nil)
		check(t, a.Push("news", make([]byte, 500)), session.ErrBufferExceed)
		if open, sessions := h.Len(); open != 0 || sessions != 1 {
			t.Errorf("Len() = %d, %d, want no connection and one session", open, sessions)
		}
		p = reconnect(t, h, a)
		if m := p.message(); m.ID != 1 || string(m.Data) != "one" {
			t.Errorf("%v came, want the answer to the request", m)
		}
		if m := p.message(); m.Type != message.Push {
			t.Errorf("%v came, want the push", m)
		}
		if !a.detach(nil) {
			t.Fatal("detach = false")
		}
		_ = a.Kick("gone") // there is no connection to write it to
		check(t, reason(t, a.session), session.ErrKicked)
	})
}
