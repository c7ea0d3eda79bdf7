package handler_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Churn has handlers that run the garbage collector and move the stack. Only the call
// itself refers to its arguments then. An argument that the collector does not see would
// be overwritten.
type Churn struct {
	component.Base
	name []byte
}

type churned struct {
	Name string
	Next *churned
	Blob []byte
}

//go:noinline
func deep(n int, f func()) int {
	var frame [256]byte
	frame[n%len(frame)] = byte(n)
	if n == 0 {
		f()
		return int(frame[0])
	}
	return deep(n-1, f) + int(frame[n%len(frame)])
}

// churn moves the stack, runs the collector, and reuses the freed memory.
func churn() {
	deep(64, func() {
		runtime.GC()
		var others [64][]byte
		for i := range others {
			others[i] = bytes.Repeat([]byte{0xAA}, 16+8*i)
		}
		runtime.GC()
		runtime.KeepAlive(others)
	})
}

func (c *Churn) check(what string, ok bool) error {
	if !ok || string(c.name) != "receiver" {
		return fmt.Errorf("%s did not survive the collector, or its receiver did not: %q", what, c.name)
	}
	return nil
}

func (r *churned) whole() bool {
	return r.Name == "first" && r.Next.Name == "second" && r.Next.Next.Name == "third" &&
		bytes.Equal(r.Blob, bytes.Repeat([]byte{7}, 100))
}

func (c *Churn) Raw(s *session.Session, data []byte) error {
	churn()
	return c.check("payload", string(data) == "payload" && s.String("k") == "v")
}

func (c *Churn) Typed(s *session.Session, r *churned) error {
	churn()
	return c.check("request", r.whole() && s.String("k") == "v")
}

func (c *Churn) CtxTyped(ctx context.Context, s *session.Session, r *churned) error {
	churn()
	return c.check("request", r.whole() && ctx.Value(key{}) == "v" && s.String("k") == "v")
}

func (c *Churn) CtxRaw(ctx context.Context, s *session.Session, data []byte) error {
	churn()
	return c.check("payload", string(data) == "payload" && ctx.Value(key{}) == "v" && s.String("k") == "v")
}

func (c *Churn) ReplyTyped(s *session.Session, r *churned) (*churned, error) {
	churn()
	err := c.check("request", r.whole() && s.String("k") == "v")
	return newChurned(), err
}

func (c *Churn) CtxReplyRaw(ctx context.Context, s *session.Session, data []byte) (*churned, error) {
	churn()
	err := c.check("payload", string(data) == "payload" && ctx.Value(key{}) == "v" && s.String("k") == "v")
	return newChurned(), err
}

func (c *Churn) NodeTyped(ctx context.Context, r *churned) (*churned, error) {
	churn()
	err := c.check("request", r.whole() && ctx.Value(key{}) == "v")
	return newChurned(), err
}

func newChurned() *churned {
	return &churned{"first", &churned{"second", &churned{Name: "third"}, nil}, bytes.Repeat([]byte{7}, 100)}
}

// churnHandlers returns handlers of a component to which nothing else refers.
func churnHandlers(t testing.TB) map[string]*handler.Handler {
	svc := service(t, &Churn{name: []byte("receiver")})
	if len(svc.Handlers) != 7 {
		t.Fatalf("%d handlers, want 7", len(svc.Handlers))
	}
	return svc.Handlers
}

func TestCallsUnderTheCollector(t *testing.T) {
	handlers := churnHandlers(t)
	churn()
	payload, err := json.NewSerializer().Marshal(newChurned())
	if err != nil {
		t.Fatal(err)
	}
	once := func(name string, h *handler.Handler) error {
		s := session.New(mock.NewNetworkEntity())
		s.Set("k", "v")
		ctx := context.WithValue(context.Background(), key{}, "v")
		arg := handler.Raw([]byte("payload"))
		if !h.IsRawArg {
			var err error
			if arg, err = h.Decode(json.NewSerializer(), bytes.Clone(payload)); err != nil {
				return err
			}
		}
		churn()
		got, err := h.Call(ctx, s, arg)
		if err != nil {
			return err
		}
		churn()
		want := strings.Contains(name, "Reply") || name == "NodeTyped"
		if r, ok := got.(*churned); ok != want || ok && !r.whole() {
			return fmt.Errorf("the reply did not survive: %+v", got)
		}
		return nil
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { // a new goroutine has a small stack, which has to move
					for range 3 {
						if err := once(name, h); err != nil {
							t.Errorf("%s: %v", name, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// Quiet has handlers that do nothing.
type Quiet struct {
	component.Base
	answer reply
}

func (q *Quiet) Raw(*session.Session, []byte) error                         { return nil }
func (q *Quiet) Typed(*session.Session, *request) error                     { return nil }
func (q *Quiet) CtxRaw(context.Context, *session.Session, []byte) error     { return nil }
func (q *Quiet) CtxTyped(context.Context, *session.Session, *request) error { return nil }
func (q *Quiet) Reply(*session.Session, *request) (*reply, error)           { return &q.answer, nil }
func (q *Quiet) Node(context.Context, *request) (*reply, error)             { return &q.answer, nil }

func BenchmarkCall(b *testing.B) {
	handlers := service(b, &Quiet{}).Handlers
	s := session.New(mock.NewNetworkEntity())
	ctx := context.Background()
	for _, name := range []string{"Raw", "Typed", "CtxTyped", "Reply"} {
		b.Run(name, func(b *testing.B) {
			h := handlers[name]
			arg := handler.Raw([]byte("payload"))
			if !h.IsRawArg {
				var err error
				if arg, err = h.Decode(json.NewSerializer(), []byte(`{"name":"x"}`)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Call(ctx, s, arg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// noop is a serializer that does nothing, so the benchmark measures Decode itself.
type noop struct{}

func (noop) Unmarshal([]byte, any) error { return nil }

func BenchmarkDecodeAndCall(b *testing.B) {
	h := service(b, &Quiet{}).Handlers["Typed"]
	s := session.New(mock.NewNetworkEntity())
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		arg, err := h.Decode(noop{}, nil)
		if err == nil {
			_, err = h.Call(ctx, s, arg)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
