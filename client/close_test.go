package client

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan int, 1)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			got <- len(f.untilClosed())
		}, WithOnDisconnect(func(error) { t.Error("Close ran OnDisconnect") }))
		pending := make(chan error, 1)
		go func() { pending <- c.Request(t.Context(), "Slow.Wait", nil, nil) }()
		synctest.Wait()
		for range 50 {
			if err := c.Notify("Log.Line", "x"); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := c.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		}
		wg.Wait()
		if n := <-got; n != 51 {
			t.Errorf("%d messages were sent before the connection closed, want 51", n)
		}
		if err := <-pending; !errors.Is(err, ErrClosed) {
			t.Errorf("Request that waits while Close is called = %v, want ErrClosed", err)
		}
		select {
		case <-c.Done():
		default:
			t.Error("Done is open after Close")
		}
		if c.Err() != ErrClosed {
			t.Errorf("Err() = %v, want ErrClosed", c.Err())
		}
		if err := c.Notify("Log.Line", "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("Notify after Close = %v, want ErrClosed", err)
		}
		if err := c.Request(t.Context(), "Log.Line", "x", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Request after Close = %v, want ErrClosed", err)
		}
	})
}

// wrapped is a connection with the methods of net.Conn, as a program may have one.
type wrapped struct{ net.Conn }

// visible exposes the wrapped connection.
type visible struct{ wrapped }

func (v visible) NetConn() net.Conn { return v.Conn }

// Without CloseWrite the client reads on for a while, unless the connection is a pipe.
func TestCloseWithoutCloseWrite(t *testing.T) {
	for _, test := range []struct {
		name string
		wrap func(net.Conn) net.Conn
		idle time.Duration
		want time.Duration
	}{
		{"pipe", func(c net.Conn) net.Conn { return c }, 0, 0},
		{"visible pipe", func(c net.Conn) net.Conn { return visible{wrapped{c}} }, 0, 0},
		{"wrapped", func(c net.Conn) net.Conn { return addressless{wrapped{c}} }, 0, linger},
		{"wrapped, after half of the time", func(c net.Conn) net.Conn { return addressless{wrapped{c}} }, linger / 2, linger / 2},
		{"wrapped, and quiet", func(c net.Conn) net.Conn { return addressless{wrapped{c}} }, time.Minute, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ended := make(chan int, 1)
				go func() {
					defer theirs.Close()
					f := &fake{t: t, conn: theirs}
					f.acceptHandshake(`{"code":200,"sys":{}}`)
					ended <- len(f.untilClosed())
				}()
				c, err := New(t.Context(), test.wrap(ours))
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Notify("a", nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(test.idle)
				start := time.Now()
				if err := c.Close(); err != nil || time.Since(start) != test.want {
					t.Errorf("Close = %v after %v, want nil after %v", err, time.Since(start), test.want)
				}
				if n := <-ended; n != 1 {
					t.Errorf("%d messages arrived, want 1", n)
				}
			})
		})
	}
}

// addressless hides that the connection is a pipe.
type addressless struct{ wrapped }

func (addressless) LocalAddr() net.Addr { return &net.TCPAddr{} }

func TestCloseWithAServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			time.Sleep(time.Minute)
		})
		synctest.Wait() // the server has read the ack, and reads no further
		if err := c.Notify("Log.Line", "x"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := c.Close(); err == nil || time.Since(start) != linger {
			t.Errorf("Close = %v after %v, want an error after %v", err, time.Since(start), linger)
		}
	})
}

func TestCloseInAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan error, 1)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.raw(f.encode(push("over", ""), push("over", "")))
			f.untilClosed()
		}, WithHandler("over", func(m *Message) { closed <- m.Client().Close() }))
		if err := <-closed; err != nil {
			t.Errorf("Close in a handler = %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if len(closed) > 0 {
			t.Error("a handler started after Close")
		}
	})
}

func TestCloseWaitsForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Bool
		started := make(chan struct{})
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.push("a", "")
			f.untilClosed()
		}, WithHandler("a", func(m *Message) {
			close(started)
			<-m.Client().Done() // it is closed while a handler runs
			time.Sleep(time.Second)
			left.Store(true)
		}))
		<-started
		if err := c.Close(); err != nil || !left.Load() {
			t.Errorf("Close = %v while the handler still runs", err)
		}
	})
}

func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.raw(f.encode(push("a", ""), push("a", "")))
			f.untilClosed()
		}, WithHandler("a", func(*Message) { runtime.Goexit() }))
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}
