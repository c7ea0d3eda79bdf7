package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/packet"
)

// network serves each dial with its own function. After the last one, dials are not
// answered.
type network struct {
	t     *testing.T
	dials []time.Time
	serve []func(*fake) // nil refuses the connection
}

var errRefused = errors.New("connection refused")

func (n *network) dial(_ context.Context, kind, addr string) (net.Conn, error) {
	if kind != "tcp" || addr != "game:3250" {
		n.t.Errorf("dial(%q, %q), want tcp and game:3250", kind, addr)
	}
	i := len(n.dials)
	n.dials = append(n.dials, time.Now())
	if i >= len(n.serve) || n.serve[i] == nil {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		n.serve[i](&fake{t: n.t, conn: theirs})
	}()
	return ours, nil
}

func (n *network) connect(opts ...Option) *Client {
	n.t.Helper()
	c, err := Dial(n.t.Context(), "game:3250", append(opts, WithDialer(n.dial))...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	return c
}

// drop serves a connection that is closed after a second.
func drop(f *fake) {
	f.acceptHandshake(welcomeJSON)
	time.Sleep(time.Second)
}

func stay(f *fake) {
	f.acceptHandshake(welcomeJSON)
	f.untilClosed()
}

func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		var tokens atomic.Int32
		n := &network{t: t, serve: []func(*fake){
			func(f *fake) {
				if body := f.acceptHandshake(`{"code":200,"sys":{"serializer":"json","dict":{"a":1}},"user":1}`); string(body) != `{"sys":{"type":"nano-go","version":"1"},"user":1}` {
					t.Errorf("the first handshake is %s", body)
				}
				f.receive()
				f.push("a", "1")
			},
			nil,
			nil,
			func(f *fake) {
				if body := f.acceptHandshake(`{"code":200,"sys":{"serializer":"json"},"user":2}`); string(body) != `{"sys":{"type":"nano-go","version":"1"},"user":2}` {
					t.Errorf("the second handshake is %s, want fresh user data", body)
				}
				f.push("a", "2")
				m := f.receive()
				if m.ID != 2 {
					t.Errorf("the first request of the second connection has id %d, want 2", m.ID)
				}
				f.respond(m.ID, "7")
				f.untilClosed()
			},
		}}
		var c *Client
		ready := make(chan struct{})
		c = n.connect(
			WithReconnect(Reconnect{}),
			WithUserFunc(func(context.Context) (any, error) { return tokens.Add(1), nil }),
			WithHandler("a", seen.handler),
			WithOnConnect(func(*Client) { seen <- "connect" }),
			WithOnDisconnect(func(err error) {
				<-ready
				seen <- fmt.Sprint("disconnect ", errors.Is(err, io.EOF), c.Err())
			}),
			WithOnReconnect(func(c *Client) {
				var got int
				err := c.Request(context.Background(), "Game.Login", nil, &got)
				seen <- fmt.Sprint("reconnect ", got, err)
			}))
		close(ready)
		err := c.Request(t.Context(), "Slow.Wait", nil, nil)
		if !errors.Is(err, ErrDisconnected) || !errors.Is(err, io.EOF) || errors.Is(err, ErrClosed) {
			t.Errorf("Request when the connection is lost = %v, want ErrDisconnected with EOF", err)
		}
		synctest.Wait()
		if err := c.Notify("a", nil); !errors.Is(err, ErrDisconnected) {
			t.Errorf("Notify without a connection = %v, want ErrDisconnected", err)
		}
		seen.want(t, "connect", "a 1", "disconnect true <nil>", "reconnect 7 <nil>", "a 2")
		if got := string(c.Handshake()); got != "2" {
			t.Errorf("Handshake() = %s, want that of the second connection", got)
		}
		if c.Err() != nil {
			t.Errorf("Err() = %v while connected", c.Err())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, serve: []func(*fake){drop}}
		c := n.connect(WithReconnect(Reconnect{Min: time.Second, Max: 20 * time.Second, Attempts: 100}))
		<-c.Done()
		if !errors.Is(c.Err(), errRefused) {
			t.Errorf("Err() = %v, want the error of the last try", c.Err())
		}
		if len(n.dials) != 101 {
			t.Fatalf("%d dials, want the first and 100 tries", len(n.dials))
		}
		before := n.dials[0].Add(time.Second) // when the connection was closed
		var least, most time.Duration = time.Hour, 0
		for i, at := range n.dials[1:] {
			bound := []time.Duration{1, 2, 4, 8, 16, 20}[min(i, 5)] * time.Second
			wait := at.Sub(before)
			if wait < 0 || wait > bound {
				t.Errorf("try %d after %v, want 0 to %v", i, wait, bound)
			}
			if i >= 5 {
				least, most = min(least, wait), max(most, wait)
			}
			before = at
		}
		// Of 95 waits spread evenly over 20 s, at least one is below 5 s and one above 15
		// s, almost certainly.
		if least > 5*time.Second || most < 15*time.Second {
			t.Errorf("waits of %v to %v, want them spread over 0 to 20 s", least, most)
		}
	})
}

func TestBackoffBounds(t *testing.T) {
	chosen := Reconnect{Max: time.Minute, Wait: func(n int) time.Duration { return time.Duration(n-1) * time.Second }}.withDefaults(reconnectMin, reconnectMax)
	for n, want := range map[int]time.Duration{0: 0, 1: 0, 5: 4 * time.Second, 100: time.Minute} {
		if got := chosen.delay(n); got != want {
			t.Errorf("Wait chooses %v after %d tries, want %v", got, n, want)
		}
	}
	r := Reconnect{}.withDefaults(reconnectMin, reconnectMax)
	for n, want := range map[int]time.Duration{0: 500 * time.Millisecond, 1: time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1 << 40: 30 * time.Second} {
		if got := r.bound(n); got != want {
			t.Errorf("bound(%d) = %v, want %v", n, got, want)
		}
	}
	for _, opts := range [][]Option{{WithResume()}, {WithReconnect(Reconnect{Attempts: 3}), WithResume()}, {WithResume(), WithReconnect(Reconnect{})}} {
		o := newOptions(opts)
		if o.reconnect.Min != 100*time.Millisecond || o.reconnect.Max != 5*time.Second || o.reconnect.If == nil {
			t.Errorf("with resume the waits are %v to %v, want 100 ms to 5 s", o.reconnect.Min, o.reconnect.Max)
		}
	}
	for name, r := range map[string]Reconnect{"Min above the default of Max": {Min: time.Minute}, "Max below the default of Min": {Max: 50 * time.Millisecond}} {
		want := max(r.Min, r.Max)
		for _, opts := range [][]Option{{WithReconnect(r)}, {WithReconnect(r), WithResume()}} {
			got := newOptions(opts).reconnect
			if got.Min != want || got.Max != want {
				t.Errorf("%s: the waits are %v to %v, want %v", name, got.Min, got.Max, want)
			}
		}
	}
}

// If a server closes every connection at once, the waits grow. A connection that lasted
// resets them.
func TestBackoffOfConnectionsThatDoNotLast(t *testing.T) {
	last := func(f *fake) {
		f.acceptHandshake(`{"code":200,"sys":{}}`)
		time.Sleep(time.Minute)
	}
	for _, test := range []struct {
		name     string
		serve    []func(*fake)
		exponent int // exponent after the attempt that fails last
	}{
		{"none lasts", []func(*fake){drop, drop, drop, drop}, 4},
		{"the last lasts", []func(*fake){drop, drop, drop, last}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{t: t, serve: test.serve}
				c := n.connect(WithReconnect(Reconnect{Min: time.Second, Max: time.Minute, Attempts: 1}))
				<-c.Done()
				if len(n.dials) != len(test.serve)+1 || c.attempt != test.exponent {
					t.Errorf("after %d dials the exponent is %d, want %d", len(n.dials), c.attempt, test.exponent)
				}
			})
		})
	}
}

func TestNoReconnect(t *testing.T) {
	kick := func(f *fake) {
		f.acceptHandshake(welcomeJSON)
		f.write(packet.Kick, []byte(`{"reason":"banned"}`))
	}
	shutdown := func(f *fake) {
		f.acceptHandshake(welcomeJSON)
		f.write(packet.Kick, []byte(`{"reason":"`+KickShutdown+`"}`))
	}
	refuse := func(f *fake) {
		f.expect(packet.Handshake)
		f.write(packet.Handshake, []byte(`{"code":500,"message":"banned"}`))
	}
	var kicked *KickError
	var refused *HandshakeError
	for _, test := range []struct {
		name  string
		serve []func(*fake)
		opts  []Option
		dials int
		check func(error) bool
	}{
		{"by default", []func(*fake){drop, stay}, nil, 1, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"kicked", []func(*fake){kick, stay}, []Option{WithReconnect(Reconnect{})}, 1, func(err error) bool { return errors.As(err, &kicked) }},
		{"kicked by a server that shuts down", []func(*fake){shutdown, kick}, []Option{WithReconnect(Reconnect{})}, 2, func(err error) bool { return errors.As(err, &kicked) }},
		{"refused", []func(*fake){drop, nil, refuse, stay}, []Option{WithReconnect(Reconnect{})}, 3, func(err error) bool { return errors.As(err, &refused) }},
		{"as the program says", []func(*fake){kick, drop, stay}, []Option{WithReconnect(Reconnect{If: func(err error) bool { return errors.As(err, &kicked) }})}, 2,
			func(err error) bool { return errors.Is(err, io.EOF) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{t: t, serve: test.serve}
				c := n.connect(test.opts...)
				<-c.Done()
				if !test.check(c.Err()) || len(n.dials) != test.dials {
					t.Errorf("Err() = %v after %d dials, want %d", c.Err(), len(n.dials), test.dials)
				}
				if err := c.Notify("a", nil); !errors.Is(err, ErrClosed) {
					t.Errorf("Notify = %v, want ErrClosed", err)
				}
			})
		})
	}
}

func TestCloseWhileReconnecting(t *testing.T) {
	for _, test := range []struct {
		name string
		next func(*fake)
	}{
		{"in the backoff", nil},
		{"in the handshake", func(f *fake) { f.untilClosed() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{t: t, serve: []func(*fake){drop, test.next}}
				r := Reconnect{Min: time.Hour, Max: time.Hour}
				if test.next != nil {
					r = Reconnect{Min: 1, Max: 1}
				}
				c := n.connect(WithReconnect(r))
				time.Sleep(2 * time.Second)
				synctest.Wait()
				start := time.Now()
				if err := c.Close(); err != nil || time.Since(start) != 0 {
					t.Errorf("Close = %v after %v, want nil at once", err, time.Since(start))
				}
				if c.Err() != ErrClosed {
					t.Errorf("Err() = %v, want ErrClosed", c.Err())
				}
			})
		})
	}
}

func TestDialTriesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t}
		_, err := Dial(t.Context(), "tcp://game:3250", WithDialer(n.dial), WithReconnect(Reconnect{}))
		if !errors.Is(err, errRefused) || len(n.dials) != 1 {
			t.Errorf("Dial = %v after %d dials, want the refusal after 1", err, len(n.dials))
		}
	})
}

func TestReconnectTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mute := func(f *fake) { f.untilClosed() }
		n := &network{t: t, serve: []func(*fake){drop, mute, stay}}
		c := n.connect(WithReconnect(Reconnect{Min: 1, Max: 1}), WithDialTimeout(5*time.Second))
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if len(n.dials) != 3 || c.Notify("a", nil) != nil {
			t.Errorf("%d dials and no connection after a handshake that nobody answered, want 3", len(n.dials))
		}
	})
}
