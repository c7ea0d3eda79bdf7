package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/lonng/nano/internal/conntest"
	"github.com/lonng/nano/internal/packet"
)

// The client must work with every implementation of net.Conn, not only with those of
// package net.

// contract runs test with every kind of connection, over TCP and WebSocket. dial connects
// to a server that serves one connection and ends by itself. If atOnce is true, the tests
// run in parallel, because they mostly wait.
func contract(t *testing.T, atOnce bool, test func(t *testing.T, webSocket bool, dial func(serve func(*fake), opts ...Option) (*Client, error))) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, webSocket := range []bool{false, true} {
		for _, kind := range conntest.Kinds {
			each := func(t *testing.T) {
				test(t, webSocket, func(serve func(*fake), opts ...Option) (*Client, error) {
					var addr string
					if webSocket {
						addr = socketServer(t, nil, func(f *fake, _ *websocket.Conn, _ *http.Request) { serve(f) })
					} else {
						addr = accept(t, serve)
					}
					dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := new(net.Dialer).DialContext(ctx, network, addr)
						if err != nil {
							return nil, err
						}
						return kind.Wrap(c.(*net.TCPConn)), nil
					}
					return Dial(within(t), addr, append(opts, WithDialer(dial))...)
				})
			}
			run := func() { t.Run(fmt.Sprintf("%s, WebSocket %v", kind.Name, webSocket), each) }
			if atOnce {
				all.Go(run)
			} else {
				run()
			}
		}
	}
}

// Close sends queued data, even to a server that reads slowly and continues to send.
func TestContractFlushOfClose(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	contract(t, false, func(t *testing.T, _ bool, dial func(func(*fake), ...Option) (*Client, error)) {
		const notifies = 100
		got, closing := make(chan int, 1), make(chan struct{})
		c, err := dial(func(f *fake) {
			// Unread data stays on the client, where a reset destroys it.
			if err := f.netConn().SetReadBuffer(64 << 10); err != nil {
				t.Error(err)
			}
			f.acceptHandshake(welcomeJSON)
			end := make(chan struct{})
			var pushes sync.WaitGroup
			pushes.Go(func() {
				b := f.encode(push("noise", strings.Repeat("x", 100)))
				for {
					select {
					case <-end:
						return
					case <-time.After(time.Millisecond):
						_, _ = f.conn.Write(b) // the client may have gone
					}
				}
			})
			<-closing
			n := 0
			for {
				if n%10 == 0 {
					time.Sleep(5 * time.Millisecond)
				}
				kind, _, err := f.next()
				if err != nil {
					break
				}
				if kind == packet.Data {
					n++
				}
			}
			close(end)
			pushes.Wait()
			got <- n
		})
		if err != nil {
			t.Fatal(err)
		}
		for range notifies {
			if err := c.Notify("Log.Line", make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
		}
		close(closing)
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if n := <-got; n != notifies {
			t.Errorf("the server got %d notifies of %d", n, notifies)
		}
	})
}

// A server that never closes its side does not block Close.
func TestContractCloseIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	contract(t, true, func(t *testing.T, _ bool, dial func(func(*fake), ...Option) (*Client, error)) {
		closed := make(chan struct{})
		c, err := dial(func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			b := f.encode(push("noise", strings.Repeat("x", 100)))
			for err := error(nil); err == nil; {
				select {
				case <-closed:
					return
				case <-time.After(time.Millisecond):
					_, err = f.conn.Write(b)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Notify("Log.Line", "x"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = c.Close()
		close(closed)
		if d := time.Since(start); err != nil || d > linger+5*time.Second {
			t.Errorf("Close = %v after %v, want nil after %v", err, d, linger)
		}
	})
}

// The last pushes and the reason of the end arrive, however the server ends the connection.
func TestContractLastWords(t *testing.T) {
	type check func(error) bool
	isKick := func(shutdown bool) check {
		return func(err error) bool {
			var kick *KickError
			return errors.As(err, &kick) && kick.Shutdown() == shutdown
		}
	}
	for _, end := range []struct {
		name  string
		write func(*fake, bool)
		want  check
	}{
		{"kick", func(f *fake, _ bool) { f.write(packet.Kick, []byte(`{"reason":"enough","code":"kicked"}`)) }, isKick(false)},
		{"shutdown", func(f *fake, _ bool) { f.write(packet.Kick, []byte(`{"reason":"bye","code":"shutdown"}`)) }, isKick(true)},
		{"packet over the limit", func(f *fake, _ bool) { f.write(packet.Data, make([]byte, 1001)) },
			func(err error) bool { return errors.Is(err, ErrProtocol) }},
		{"close code", func(f *fake, webSocket bool) {
			if webSocket {
				closeFrame(f, websocket.ClosePolicyViolation, "rate")
			}
		}, func(err error) bool {
			var closed *CloseError
			return errors.Is(err, io.EOF) || errors.As(err, &closed) && closed.Code == 1008 && closed.Reason == "rate"
		}},
		{"close", func(f *fake, webSocket bool) {
			if webSocket {
				closeFrame(f, websocket.CloseGoingAway, "")
			}
		}, func(err error) bool { return errors.Is(err, io.EOF) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			contract(t, true, func(t *testing.T, webSocket bool, dial func(func(*fake), ...Option) (*Client, error)) {
				seen := newCollect()
				c, err := dial(func(f *fake) {
					f.acceptHandshake(welcomeJSON)
					f.expect(packet.Data)
					for i := range 50 {
						f.push("last", fmt.Sprint(i))
					}
					end.write(f, webSocket)
				}, WithFallback(seen.handler), WithPacketLimit(1000))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.Notify("go", nil); err != nil {
					t.Fatal(err)
				}
				for i := range 50 {
					seen.want(t, fmt.Sprint("last ", i))
				}
				select {
				case <-c.Done():
				case <-within(t).Done():
					t.Fatal("the client has not ended")
				}
				if !end.want(c.Err()) {
					t.Errorf("Err() = %v", c.Err())
				}
			})
		})
	}
}

// netConn returns the connection of the server.
func (f *fake) netConn() *net.TCPConn {
	if ws, ok := f.conn.(*socketStream); ok {
		return ws.NetConn().(*net.TCPConn)
	}
	return f.conn.(*net.TCPConn)
}

func closeFrame(f *fake, code int, reason string) {
	ws := f.conn.(*socketStream)
	if err := ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason)); err != nil {
		f.t.Errorf("the server writes a close frame: %v", err)
	}
	if _, _, err := ws.NextReader(); !websocket.IsCloseError(err, code) {
		f.t.Errorf("the server reads %v, want its close code %d", err, code)
	}
}

// The timeouts of the client work on every connection.
func TestContractTimeouts(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Run("dial", func(t *testing.T) {
		for _, scheme := range []string{"tcp://", "ws://", "wss://", "tls://"} {
			for _, kind := range conntest.Kinds {
				t.Run(scheme+" "+kind.Name, func(t *testing.T) {
					t.Parallel()
					addr := accept(t, func(f *fake) { _, _ = io.Copy(io.Discard, f.conn) })
					dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := new(net.Dialer).DialContext(ctx, network, addr)
						if err != nil {
							return nil, err
						}
						return kind.Wrap(c.(*net.TCPConn)), nil
					}
					start := time.Now()
					_, err := Dial(within(t), scheme+addr, WithDialer(dial), WithDialTimeout(50*time.Millisecond))
					if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d > 10*time.Second {
						t.Errorf("Dial of a silent server = %v after %v, want context.DeadlineExceeded after 50 ms", err, d)
					}
				})
			}
		}
	})
	t.Run("heartbeat", func(t *testing.T) {
		contract(t, true, func(t *testing.T, _ bool, dial func(func(*fake), ...Option) (*Client, error)) {
			c, err := dial(func(f *fake) {
				f.acceptHandshake(`{"code":200,"sys":{"heartbeat":1}}`)
				for err := error(nil); err == nil; {
					_, _, err = f.next()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			select {
			case <-c.Done():
			case <-within(t).Done():
				t.Fatal("the client has not ended")
			}
			if !errors.Is(c.Err(), ErrHeartbeat) {
				t.Errorf("Err() = %v, want ErrHeartbeat", c.Err())
			}
		})
	})
}
