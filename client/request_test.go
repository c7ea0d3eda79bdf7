package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/message"
)

func TestRequestTimeout(t *testing.T) {
	for _, test := range []struct {
		name string
		opts []Option
		ctx  time.Duration
		want time.Duration
	}{
		{"by default", nil, 0, 10 * time.Second},
		{"option", []Option{WithRequestTimeout(3 * time.Second)}, 0, 3 * time.Second},
		{"none, but a context", []Option{WithRequestTimeout(0)}, time.Minute, time.Minute},
		{"context over option", []Option{WithRequestTimeout(3 * time.Second)}, time.Minute, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"serializer":"json"}}`) // no heartbeats
					f.receive()
					if m := f.receive(); m.ID != 2 {
						t.Errorf("the second request has id %d, want 2", m.ID)
					}
					f.respond(1, "1") // too late, and not an answer to the second request
					f.respond(2, "2")
					f.untilClosed()
				}, test.opts...)
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if test.ctx > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.ctx)
				}
				defer cancel()
				start := time.Now()
				err := c.Request(ctx, "Slow.Wait", nil, nil)
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Slow.Wait") || time.Since(start) != test.want {
					t.Errorf("Request = %v after %v, want DeadlineExceeded after %v", err, time.Since(start), test.want)
				}
				var got int
				if err := c.Request(t.Context(), "Slow.Wait", nil, &got); err != nil || got != 2 {
					t.Errorf("the next Request = %d, %v, want 2", got, err)
				}
			})
		})
	}
}

func TestRequestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) { f.acceptHandshake(welcomeJSON); f.untilClosed() })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.Request(ctx, "Slow.Wait", nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Request = %v, want context.Canceled", err)
		}
		if err := c.Request(ctx, "Slow.Wait", nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Request with a context that has ended = %v, want context.Canceled", err)
		}
	})
}

func TestManyRequestsAnsweredOutOfOrder(t *testing.T) {
	const n = 200
	c := pipe(t, func(f *fake) {
		f.acceptHandshake(welcomeJSON)
		var requests []*message.Message
		for range n {
			requests = append(requests, f.receive())
		}
		slices.Reverse(requests)
		for _, m := range requests {
			f.send(&message.Message{Type: message.Response, ID: m.ID, Data: m.Data})
		}
		f.untilClosed()
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var got int
			if err := c.Request(within(t), "Echo.Echo", i, &got); err != nil || got != i {
				t.Errorf("Request(%d) = %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestConcurrentUse(t *testing.T) {
	c := pipe(t, echo)
	ctx := within(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				var got int
				if err := c.Request(ctx, "Echo.Echo", i<<16|j, &got); err != nil || got != i<<16|j {
					t.Errorf("Request = %d, %v, want %d", got, err, i<<16|j)
					return
				}
				if err := c.Notify("Echo.Echo", j); err != nil {
					t.Error(err)
					return
				}
				c.On(fmt.Sprint(j%3), func(*Message) {})
			}
		})
	}
	wg.Wait()
}

func TestRequestFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.receive()
			f.receive()
			f.receive()
			f.push("a", "1")
			f.respond(2, "2")
			f.push("b", "3")
			f.send(&message.Message{Type: message.Response, ID: 1, Err: true, Data: []byte(`{"code":"NANO-404","msg":"no"}`)})
			f.receive()
		}, WithFallback(seen.handler), WithRequestTimeout(time.Second))
		report := func(m *Message, err error) {
			if err != nil {
				seen <- "error " + err.Error()
				return
			}
			seen.handler(m)
		}
		for _, route := range []string{"first", "second", "third"} {
			if err := c.RequestFunc(t.Context(), route, nil, report); err != nil {
				t.Fatal(err)
			}
		}
		seen.want(t, "a 1", "second 2", "b 3", "error NANO-404: no")
		start := time.Now()
		seen.want(t, "error client: request third: context deadline exceeded")
		if d := time.Since(start); d != time.Second {
			t.Errorf("the third failed after %v, want 1 s", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.RequestFunc(ctx, "cancelled", nil, report); !errors.Is(err, context.Canceled) {
			t.Errorf("RequestFunc with a context that has ended = %v, want context.Canceled", err)
		}
		if err := c.RequestFunc(t.Context(), "fourth", nil, report); err != nil {
			t.Fatal(err)
		}
		seen.want(t, "error client: request fourth: client: disconnected: client: connection lost: EOF")
		<-c.Done()
		if err := c.RequestFunc(t.Context(), "fifth", nil, report); !errors.Is(err, ErrClosed) || !errors.Is(err, io.EOF) {
			t.Errorf("RequestFunc at the end = %v, want ErrClosed with EOF", err)
		}
		synctest.Wait()
		if len(seen) > 0 {
			t.Errorf("a function ran twice, or although RequestFunc had failed: %q", <-seen)
		}
	})
}

func TestHandlersRunOneAtATimeAndMayRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		var running atomic.Int32
		seen := make(chan int, n)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			var all []byte
			for i := range n {
				all = append(all, f.encode(push("tick", fmt.Sprint(i)))...)
			}
			f.raw(all)
			for range n {
				f.send(response(f.receive().ID, "7"))
			}
			f.untilClosed()
		}, WithHandler("tick", func(m *Message) {
			if running.Add(1) != 1 {
				t.Error("two handlers run at once")
			}
			var i, got int
			if err := m.Decode(&i); err != nil {
				t.Error(err)
			}
			if err := m.Client().Request(context.Background(), "Tick.Ack", nil, &got); err != nil || got != 7 {
				t.Errorf("Request in a handler = %d, %v", got, err)
			}
			running.Add(-1)
			seen <- i
		}))
		for want := range n {
			if got := <-seen; got != want {
				t.Fatalf("push %d was handled, want %d", got, want)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
