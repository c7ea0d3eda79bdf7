package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
)

const firstSession = `{"code":200,"sys":{"heartbeat":30,"serializer":"json","resume":{"token":"one","window":30,"resumed":false}}}`

func resumedSession(received int) string {
	return fmt.Sprintf(`{"code":200,"sys":{"heartbeat":30,"serializer":"json","resume":{"token":"next","window":30,"resumed":true,"received":%d}}}`, received)
}

// asked reads the handshake of a client, and returns the number of messages that the
// client has received.
func (f *fake) asked(token string) (received uint64) {
	f.t.Helper()
	var hello struct {
		Sys struct{ Resume resumeAsk }
	}
	body := f.expect(packet.Handshake)
	if err := json.Unmarshal(body, &hello); err != nil || hello.Sys.Resume.Token != token {
		f.t.Errorf("the handshake is %s, want one with the token %q", body, token)
	}
	if r := hello.Sys.Resume.Received; r != nil {
		received = *r
	}
	return received
}

// A push that does not fit in the push buffer ends the connection, and arrives again over
// the next one.
func TestSlowHandlersMissNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pushes = 10
		hold := make(chan struct{})
		var got []string
		n := &network{t: t}
		var resumes atomic.Int64
		serve := func(f *fake) {
			from := uint64(0)
			if n := resumes.Add(1); n == 1 {
				f.asked("")
				f.write(packet.Handshake, []byte(firstSession))
			} else {
				from = f.asked(map[bool]string{true: "one", false: "next"}[n == 2])
				f.write(packet.Handshake, []byte(resumedSession(0)))
			}
			f.expect(packet.Ack)
			for i := from; i < pushes; i++ {
				b, err := codec.AppendMessage(nil, push("a", fmt.Sprint(i)), nil)
				if err != nil {
					f.t.Error(err)
				}
				if _, err := f.conn.Write(b); err != nil {
					return // the client has closed the connection
				}
			}
			f.untilClosed()
		}
		n.serve = slices.Repeat([]func(*fake){serve}, 100)
		c := n.connect(WithResume(), WithPushBuffer(3*itemOverhead), WithHandler("a", func(m *Message) {
			<-hold
			got = append(got, string(m.Data))
		}))
		time.Sleep(10 * time.Second)
		if n := resumes.Load(); n < 2 {
			t.Errorf("%d connections while the handler blocks, want more", n)
		}
		close(hold)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := strings.Fields("0 1 2 3 4 5 6 7 8 9"); !slices.Equal(got, want) {
			t.Errorf("the handler got %v, want %v", got, want)
		}
		if err := c.Err(); err != nil {
			t.Errorf("Err() = %v", err)
		}
	})
}

// Close may be called for each state.
func TestCloseInOnStatus(t *testing.T) {
	for _, when := range []State{Connecting, Connected, Reconnecting, Closed} {
		t.Run(when.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{t: t, serve: []func(*fake){func(f *fake) {
					f.acceptHandshake(firstSession)
					time.AfterFunc(time.Second, func() { _ = f.conn.Close() })
					for err := error(nil); err == nil; {
						_, _, err = f.next()
					}
				}}}
				var states []State
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					if when == Connecting {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return n.dial(ctx, network, addr)
				}
				c, err := Dial(t.Context(), "game:3250", WithDialer(dial), WithReconnect(Reconnect{Attempts: 1}), WithResume(),
					WithOnStatus(func(c *Client, s Status) {
						states = append(states, s.State)
						if s.State == Connecting && when == Connecting { // else it may be connected by now
							if err := c.Notify("a", nil); !errors.Is(err, ErrDisconnected) {
								t.Errorf("Notify while connecting = %v, want ErrDisconnected", err)
							}
						}
						if s.State == when {
							if err := c.Close(); err != nil {
								t.Errorf("Close = %v", err)
							}
						}
					}))
				if when == Connecting {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("Dial of a client that is closed meanwhile = %v, want context.Canceled", err)
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					time.Sleep(time.Minute)
					_ = c.Close()
				}
				if states[0] != Connecting || states[len(states)-1] != Closed || slices.Index(states, Closed) != len(states)-1 {
					t.Errorf("the states are %v, want %v first, and %v last and once", states, Connecting, Closed)
				}
			})
		})
	}
}

// A message that waits for room in the send buffer waits for the next connection when
// this one ends.
func TestWaitForRoomOverConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 5
		cut := make(chan struct{})
		n := &network{t: t, serve: []func(*fake){
			func(f *fake) {
				f.acceptHandshake(firstSession)
				<-cut // it does not read
			},
			func(f *fake) {
				f.asked("one")
				f.write(packet.Handshake, []byte(resumedSession(0)))
				f.expect(packet.Ack)
				for i := range messages {
					if m := f.receive(); string(m.Data) != fmt.Sprint(i) {
						t.Errorf("message %d is %q", i, m.Data)
					}
				}
				f.untilClosed()
			},
		}}
		c := n.connect(WithResume(), WithSendBuffer(1), WithRequestTimeout(0))
		sent := make(chan error, messages)
		go func() {
			for i := range messages {
				sent <- c.Notify("a", i)
			}
		}()
		synctest.Wait()
		if len(sent) == messages {
			t.Error("no message waits for room")
		}
		close(cut)
		for range messages {
			if err := <-sent; err != nil {
				t.Errorf("Notify = %v", err)
			}
		}
		time.Sleep(10 * time.Second)
	})
}

func TestCloseWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, serve: []func(*fake){func(f *fake) {
			f.acceptHandshake(firstSession)
			f.receive()
		}}}
		c := n.connect(WithResume())
		if err := c.Notify("a", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := c.Notify("a", 2); err != nil {
			t.Errorf("Notify without a connection = %v, want it to wait", err)
		}
		if err := c.Close(); !errors.Is(err, errUnsent) {
			t.Errorf("Close with a message that waits = %v, want %v", err, errUnsent)
		}
	})
}

// lateWrites is a connection whose writes return a second after their bytes arrived.
type lateWrites struct{ net.Conn }

func (c lateWrites) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	time.Sleep(time.Second)
	return n, err
}

// The server closes the connection at the farewell, which may be before the client's write returns.
func TestCloseDuringTheLastWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, serve: []func(*fake){func(f *fake) {
			f.acceptHandshake(firstSession)
			f.receive()
			f.expect(packet.Kick)
		}}}
		c, err := Dial(t.Context(), "game:3250", WithResume(), WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := n.dial(ctx, network, addr)
			return lateWrites{conn}, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Notify("a", 1); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close after everything was sent = %v, want nil", err)
		}
	})
}

// A client that cannot reconnect does not ask the server to keep its session.
func TestNewDoesNotAskForResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe(t, func(f *fake) {
			if body := f.acceptHandshake(firstSession); strings.Contains(string(body), "resume") {
				t.Errorf("the handshake is %s, want none that asks for resume", body)
			}
			f.untilClosed()
		}, WithResume())
	})
}

// Canceling a call late does not end another call with the same id.
func TestCanceledCallLeavesItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, echo)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			if err := c.RequestFunc(ctx, "a", nil, func(*Message, error) { t.Error("fn runs") }); !errors.Is(err, context.Canceled) {
				t.Fatalf("RequestFunc with a context that has ended = %v", err)
			}
			if err := c.Request(t.Context(), "a", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A connection may end while its handshake is processed.
func TestConnectionEndsInTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient([]Option{WithResume()})
		defer c.cancel()
		c.dial = func(context.Context) (transport, error) { return transport{}, errRefused }
		for _, answer := range []string{firstSession, resumedSession(0)} {
			conn := newConnection(c, transport{conn: &chunks{}})
			conn.fail(errRefused)
			if err := conn.accept([]byte(answer)); err == nil && answer != firstSession {
				t.Error("the session goes on over a connection that has ended")
			}
			if s := c.session; s.conn != nil || s.ended() {
				t.Errorf("after %s the session has the connection %v, ended %v", answer, s.conn, s.ended())
			}
			if err := c.Notify("a", nil); err != nil {
				t.Errorf("Notify = %v, want it to wait", err)
			}
		}
	})
}

func TestStateNames(t *testing.T) {
	for s, want := range map[State]string{Connecting: "connecting", Connected: "connected", Reconnecting: "reconnecting", Closed: "closed", 9: "state 9"} {
		if got := s.String(); got != want {
			t.Errorf("State(%d).String() = %q, want %q", s, got, want)
		}
	}
}

// FuzzClientResume resumes a session that has sent three messages and received two, with
// the given answer. Then it handles a heartbeat with the given body.
func FuzzClientResume(f *testing.F) {
	f.Add(`{"token":"a","resumed":true,"received":2}`, []byte{3})
	f.Add(`{"token":"a","resumed":true,"received":4}`, []byte{4})
	f.Add(`{"token":"a","resumed":false,"reason":"ended","kick":{"reason":"x","code":"kicked"}}`, []byte{0x80, 0})
	f.Add(`{"token":"","resumed":true,"received":9007199254740993}`, []byte{})
	f.Add(`{"token":5}`, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(`[]`, []byte{1})
	f.Fuzz(func(t *testing.T, part string, body []byte) {
		c := newClient([]Option{WithResume()})
		defer c.cancel()
		c.dial = func(context.Context) (transport, error) { return transport{}, errRefused }
		first := newConnection(c, transport{conn: &chunks{}})
		if err := first.accept([]byte(firstSession)); err != nil {
			t.Fatal(err)
		}
		s := c.session
		for i := range 3 {
			if err := c.Notify("a", i); err != nil {
				t.Fatal(err)
			}
		}
		s.accepted(5)
		s.accepted(5)
		s.detach(first, errRefused)
		conn := newConnection(c, transport{conn: &chunks{}})
		err := conn.accept([]byte(`{"code":200,"sys":{"resume":` + part + `}}`))
		if err != nil {
			return // the connection ends
		}
		if c.session == s {
			if s.received != 2 || s.sent != 3 || s.base > 3 || len(s.kept) != int(3-s.base) {
				t.Errorf("after %s: received %d, sent %d, kept %d from %d", part, s.received, s.sent, len(s.kept), s.base)
			}
		} else if !s.ended() || c.session.sent != 0 || c.session.received != 0 {
			t.Errorf("after %s: the session is new, and does not begin anew", part)
		}
		s = c.session
		base := s.base
		switch err := conn.heartbeat(body); {
		case err != nil:
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("heartbeat(%x) = %v, want ErrProtocol", body, err)
			}
		case s.resumes && len(body) > 0:
			n, size := binary.Uvarint(body)
			if size != len(body) || n > s.sent || s.base != max(base, n) {
				t.Errorf("heartbeat(%x): base %d, sent %d", body, s.base, s.sent)
			}
		case s.base != base:
			t.Errorf("heartbeat(%x) acknowledges", body)
		}
	})
}
