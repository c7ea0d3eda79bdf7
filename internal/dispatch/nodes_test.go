package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
	spans "github.com/lonng/nano/trace"
)

// borrowed is a buffer that is overwritten after a message was decoded from it.
type borrowed struct{ kept int }

func (b *borrowed) Keep(data []byte) []byte {
	b.kept++
	return bytes.Clone(data)
}

// TestHere checks that messages of another node's session run here or are refused, and
// that their buffers are reused.
func TestHere(t *testing.T) {
	var got []string
	d := &desk{raw: func(_ *session.Session, data []byte) error { got = append(got, string(data)); return nil }}
	inBed(t, nil, with("desk", d), func(b *bed) {
		b.SetRemote(&others{}) // it would receive messages that this node does not serve
		var buffer borrowed
		here := func(id uint64, route, data string) {
			bytes := []byte(data)
			batch := dispatch.NewBatch()
			batch.Add(b.Here(route, id, bytes, &buffer), len(bytes))
			for i := range bytes {
				bytes[i] = '#'
			}
			b.box.Deliver(batch)
			synctest.Wait()
		}
		here(1, "desk.Raw", "payload")
		here(2, "desk.Typed", `{"N":1}`)
		here(3, "bank.Pay", "")
		here(4, "desk.Node", "{}")
		here(5, "desk.Typed", "{")
		b.Drain()
		here(6, "desk.Raw", "too late")
		(&trace{list: got}).expect(t, "payload")
		b.responded(2, &value{2})
		for id, want := range map[uint64]string{1: "", 3: "NANO-404", 4: "NANO-404", 5: "NANO-400", 6: "NANO-503"} {
			b.failed(id, want)
		}
		if buffer.kept != 1 {
			t.Errorf("%d payloads were copied, want the raw one alone: the serializer copies", buffer.kept)
		}
	})
	p := &page{}
	inBed(t, func(c *dispatch.Config) { c.Serializer = keeping{} }, with("page", p), func(b *bed) {
		data, batch := []byte("text"), dispatch.NewBatch()
		batch.Add(b.Here("page.Text", 1, data, dispatch.Clones), 4)
		copy(data, "####")
		b.box.Deliver(batch)
		synctest.Wait()
		if len(p.got) != 1 || string(p.got[0]) != "text" {
			t.Errorf("payloads = %q, want text, although its buffer was overwritten", p.got)
		}
	})
}

// Office has handlers for calls of other nodes.
type Office struct {
	component.Base
	steps trace
}

// Sum answers calls without a session.
func (o *Office) Sum(ctx context.Context, v *value) (*value, error) {
	o.steps.add("sum %d", v.N)
	switch v.N {
	case 1:
		return nil, &message.Error{Code: "GAME-1", Message: "refused"}
	case 2:
		return &value{}, errors.New("broken")
	case 3:
		panic("boom")
	case 4:
		runtime.Goexit()
	case 5:
		time.Sleep(200 * time.Millisecond)
	}
	if ctx.Value(value{}) != "value" {
		return nil, errors.New("the context is another one")
	}
	return &value{v.N * 2}, nil
}

// Raw answers calls without a session and without decoding.
func (o *Office) Raw(_ context.Context, data []byte) (*value, error) {
	o.steps.add("raw %s", data)
	return &value{len(data)}, nil
}

// Enter has a session, so other nodes cannot call it.
func (o *Office) Enter(*session.Session, []byte) error { return nil }

func TestSessionless(t *testing.T) {
	o := &Office{}
	inBed(t, func(c *dispatch.Config) { c.Slow = 100 * time.Millisecond }, with("office", o), func(b *bed) {
		ctx := context.WithValue(context.Background(), value{}, "value")
		call := func(ctx context.Context, route, data string) (reply any, err error) {
			bytes := []byte(data)
			done := 0
			task, err := b.Sessionless(ctx, route, bytes, dispatch.Clones,
				func(r any, e error) {
					done++
					reply, err = r, e
					if !b.loop.Running() {
						t.Error("done was called elsewhere, want it on the dispatcher's scheduler")
					}
				})
			if (task == nil) == (err == nil) {
				t.Fatalf("%s: a task and an error, or none of the two", route)
			}
			for i := range bytes {
				bytes[i] = '#'
			}
			if task == nil {
				return nil, err
			}
			err = errors.New("done was not called")
			b.sched.Invoke(task)
			time.Sleep(time.Second)
			synctest.Wait()
			if done != 1 {
				t.Errorf("%s(%s): done was called %d times, want once", route, data, done)
			}
			return reply, err
		}
		for _, test := range []struct{ route, data, reply, err string }{
			{"office.Sum", `{"N":21}`, "&{42}", ""},
			{"office.Sum", `{"N":5}`, "&{10}", ""},
			{"office.Raw", "payload", "&{7}", ""},
			{"office.Sum", `{"N":1}`, "", "GAME-1: refused"},
			{"office.Sum", `{"N":2}`, "", "broken"},
			{"office.Sum", `{"N":3}`, "", "internal error"},
			{"office.Sum", `{"N":4}`, "", "the handler ended the logic goroutine"},
			{"office.Sum", "{", "", "NANO-400: the payload of office.Sum does not decode"},
			{"office.None", "", "", `NANO-404: route "office.None"`},
			{"office.Enter", "", "", `NANO-404: route "office.Enter" is served for sessions only`},
		} {
			reply, err := call(ctx, test.route, test.data)
			text := ""
			if reply != nil {
				text = fmt.Sprint(reply)
			}
			if text != test.reply || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%s(%s) = %s, %v, want %s, %s", test.route, test.data, text, err, test.reply, test.err)
			}
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := call(over, "office.Sum", `{"N":99}`); !errors.Is(err, &message.Error{Code: message.CodeDeadline}) {
			t.Errorf("a call whose context has ended = %v, want NANO-504", err)
		}
		b.Drain()
		if _, err := call(ctx, "office.Sum", `{"N":99}`); !errors.Is(err, &message.Error{Code: message.CodeUnavailable}) {
			t.Errorf("a call of a dispatcher that drains = %v, want NANO-503", err)
		}
		o.steps.expect(t, "sum 21", "sum 5", "raw payload", "sum 1", "sum 2", "sum 3", "sum 4")
		b.logged("nano: slow handler", 1)
		b.logged("slow task", 0)
		b.logged("boom", 1)
		b.logged("nano: handler failed", 2) // one for "broken" and one for the handler that ended its goroutine
		h, _ := b.Handler("office.Sum")
		if n, _, longest := h.Stats.Load(); n != 6 || longest != 200*time.Millisecond {
			t.Errorf("office.Sum: %d calls, %v the longest, want 6 and 200ms", n, longest)
		}
	})
}

// faultyTracer panics at the start of a span, or at its end.
type faultyTracer struct{ atStart bool }

func (f faultyTracer) Start(ctx context.Context, _ spans.Operation) (context.Context, spans.Span) {
	if f.atStart {
		panic("no span")
	}
	return ctx, f
}

func (faultyTracer) Inject(context.Context) string { return "" }

func (faultyTracer) Extract(ctx context.Context, _ string) context.Context { return ctx }

func (faultyTracer) End(error) { panic("no end") }

// TestSessionlessWithFaultyTracer checks that a call is answered if the tracer panics.
func TestSessionlessWithFaultyTracer(t *testing.T) {
	for want, tracer := range map[string]faultyTracer{"<nil> internal error": {atStart: true}, "&{3} <nil>": {}} {
		configure := func(c *dispatch.Config) {
			c.Tracer, c.Node = tracer, func() string { return "" }
		}
		inBed(t, configure, with("office", &Office{}), func(b *bed) {
			var got []string
			task, err := b.Sessionless(t.Context(), "office.Raw", []byte("abc"), dispatch.Clones, func(reply any, err error) {
				got = append(got, fmt.Sprint(reply, " ", err))
			})
			if err != nil {
				t.Fatal(err)
			}
			b.sched.Invoke(task)
			synctest.Wait()
			if !slices.Equal(got, []string{want}) {
				t.Errorf("%+v: done was called with %q, want %q", tracer, got, want)
			}
		})
	}
}

// TestDoAndRefuse checks that functions queued with Do run between the messages of a
// session, on the dispatcher's scheduler.
func TestDoAndRefuse(t *testing.T) {
	var steps trace
	inBed(t, nil, on(with("desk", tracing(&steps, "desk")), "room"), func(b *bed) {
		room := newLane()
		defer room.close()
		b.session.Set("room", room)
		do := func(id uint64, what string, err error) {
			batch := dispatch.NewBatch()
			batch.Add(dispatch.Do(id, func() error {
				steps.add("%s on main %v", what, b.loop.Running())
				return err
			}), 0)
			b.box.Deliver(batch)
		}
		b.send(notify("desk.Raw", "1"))
		do(0, "do", nil)
		b.send(notify("desk.Raw", "2"))
		do(1, "fail", errors.New("broken"))
		do(2, "refuse", &message.Error{Code: "GAME-1", Message: "no"})
		batch := dispatch.NewBatch()
		batch.Add(dispatch.Refuse(3, &message.Error{Code: "GAME-2", Message: "no"}), 0)
		batch.Add(dispatch.Refuse(0, errors.New("dropped")), 0)
		b.box.Deliver(batch)
		synctest.Wait()
		steps.expect(t, "desk 1", "do on main true", "desk 2", "fail on main true", "refuse on main true")
		b.failed(1, "NANO-500: internal error")
		b.failed(2, "GAME-1: no")
		b.failed(3, "GAME-2: no")
		b.counted(1, 3, 0)
	})
}

// TestUnder checks that the context of a call is the context of its handler, and that a
// call does not run after its deadline.
func TestUnder(t *testing.T) {
	inBed(t, nil, with("desk", &desk{}), func(b *bed) {
		deliver := func(ctx context.Context, id uint64, route string) {
			batch := dispatch.NewBatch()
			batch.Add(b.Decode(b.session, header(t, request(id, route, `{"N":1}`)), dispatch.Clones).Under(ctx), 0)
			b.box.Deliver(batch)
			synctest.Wait()
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		deliver(ctx, 1, "desk.Ctx")
		deliver(ctx, 2, "desk.Typed")
		cancel(errors.New("late"))
		deliver(ctx, 3, "desk.Ctx")
		deliver(ctx, 4, "desk.Typed")
		deliver(ctx, 5, "none.None")
		b.responded(1, &value{})
		b.responded(2, &value{2})
		b.failed(3, "NANO-504")
		b.failed(4, "NANO-504")
		b.failed(5, "NANO-404")
		b.called("desk.Ctx", 1)
		b.called("desk.Typed", 1)
	})
}

// TestOffer checks that Offer refuses messages when the mailbox is full. It is for
// callers that cannot wait.
func TestOffer(t *testing.T) {
	var steps trace
	inBed(t, nil, nil, func(b *bed) {
		release := make(chan struct{})
		b.box.Init(b.Dispatcher, b.session, b.entity, 3, 100)
		offer := func(what string, size int) error {
			return b.box.Offer(dispatch.Do(0, func() error { <-release; steps.add("%s", what); return nil }), size)
		}
		for _, what := range []string{"1", "2", "3"} {
			if err := offer(what, 10); err != nil {
				t.Errorf("Offer = %v with room, want nil", err)
			}
		}
		if err := offer("4", 10); !errors.Is(err, dispatch.ErrFull) {
			t.Errorf("Offer = %v without room, want ErrFull", err)
		}
		close(release)
		synctest.Wait()
		if err := offer("5", 200); err != nil {
			t.Errorf("Offer = %v with room again, want nil: one message may be larger than the bound", err)
		}
		b.box.Seal(func() { steps.add("last") })
		if err := offer("6", 10); !errors.Is(err, session.ErrBrokenPipe) {
			t.Errorf("Offer = %v after Seal, want ErrBrokenPipe", err)
		}
		synctest.Wait()
		steps.expect(t, "1", "2", "3", "5", "last")
	})
}

// TestWindow checks that forwarded messages occupy mailbox space until they are returned.
func TestWindow(t *testing.T) {
	inBed(t, nil, nil, func(b *bed) {
		const limit = 2 * flow.MinMessages
		b.box.Init(b.Dispatcher, b.session, b.entity, limit, 2*flow.MinSize)
		b.box.Acquire(limit-1, 100)
		if b.box.Room() != 1 {
			t.Errorf("Room() = %d with all but one lent, want 1", b.box.Room())
		}
		b.box.Acquire(1, 100)
		if b.box.Room() != 0 {
			t.Errorf("Room() = %d with all lent, want 0", b.box.Room())
		}
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			b.box.Wait()
		}()
		b.box.Acquire(-(limit/2 - 1), -100)
		synctest.Wait()
		select {
		case <-returned:
			t.Error("Wait returned when less than half were returned")
		default:
		}
		b.box.Acquire(-1, -100)
		<-returned
		b.box.Acquire(-limit/2, 0)
		if b.box.Room() != limit {
			t.Errorf("Room() = %d when all were returned, want %d", b.box.Room(), limit)
		}
		b.box.Acquire(1, 2*flow.MinSize)
		if b.box.Room() != 0 {
			t.Errorf("Room() = %d with all bytes lent, want 0", b.box.Room())
		}
	})
}

// TestDecodeRouted checks that messages of a session bound to another node are forwarded
// even if this node has the route.
func TestDecodeRouted(t *testing.T) {
	var got trace
	d := &desk{raw: func(_ *session.Session, data []byte) error { got.add("%s", data); return nil }}
	inBed(t, nil, with("desk", d), func(b *bed) {
		o := &others{away: "desk.Raw"}
		deliver := func(data string, h *message.Header) {
			batch := dispatch.NewBatch()
			b.DecodeRouted(batch.Next(len(data)), b.session, h, dispatch.Clones)
			b.box.Deliver(batch)
			synctest.Wait()
		}
		deliver("1", header(t, notify("desk.Raw", "1"))) // without a cluster
		b.SetRemote(o)
		deliver("2", header(t, notify("desk.Raw", "2")))
		deliver("3", header(t, notify("bank.Pay", "3")))
		strange := header(t, request(4, "desk.Raw", "4"))
		strange.Strange = true
		deliver("4", strange)
		o.away = ""
		deliver("5", header(t, notify("desk.Raw", "5")))
		b.Drain()
		o.away = "desk.Raw"
		deliver("6", header(t, request(6, "desk.Raw", "6")))
		got.expect(t, "1", "5")
		o.sent.expect(t, "notify 0 desk.Raw 2", "notify 0 bank.Pay 3")
		b.failed(4, "NANO-400")
		b.failed(6, "NANO-503")
	})
}

// accountant is an entity that records which messages have run.
type accountant struct {
	*entity
	messages, size int
}

func (a *accountant) Ran(messages, size int) {
	a.messages += messages
	a.size += size
}

// TestRan checks that a relaying entity is notified of every message, whether it ran,
// failed or was refused.
func TestRan(t *testing.T) {
	d := &desk{raw: func(_ *session.Session, data []byte) error {
		switch string(data) {
		case "panic":
			panic("boom")
		case "exit":
			runtime.Goexit()
		}
		return nil
	}}
	inBed(t, nil, on(append(with("main", &desk{}), with("desk", d)...), "room"), func(b *bed) {
		a := &accountant{entity: b.entity}
		b.box.Init(b.Dispatcher, b.session, a, 100, 1000)
		room := newLane()
		defer room.close()
		b.session.Set("room", room)
		b.send(notify("desk.Raw", "12345"), notify("desk.Raw", "panic"), request(1, "none.None", "12345"), notify("main.Raw", ""))
		b.send(notify("desk.Raw", "12345"))
		synctest.Wait()
		b.session.Remove("room")
		b.send(notify("desk.Raw", "12345"))
		b.box.Seal(func() {})
		synctest.Wait()
		if a.messages != 6 || a.size != 25 {
			t.Errorf("told of %d messages with %d bytes, want 6 with 25", a.messages, a.size)
		}
	})
}

// branch has a handler for nodes that answers later.
type branch struct {
	component.Base
	answer func(reply any, err error)
	env    handler.Env
}

func (br *branch) Provide(env handler.Env) ([]handler.Func, error) {
	br.env = env
	return []handler.Func{{Name: "later", Nodes: func(_ context.Context, data []byte, done func(any, error)) {
		if string(data) == "panic" {
			panic("broken")
		}
		br.answer = func(reply any, err error) { done(string(data)+fmt.Sprint(reply), err) }
	}}}, nil
}

func TestNodesFuncAnswersLater(t *testing.T) {
	br := &branch{}
	inBed(t, nil, with("branch", br), func(b *bed) {
		if len(br.env.Instance) != 8 {
			t.Errorf("Instance = %q, want 8 letters", br.env.Instance)
		}
		var got []string
		call := func(data string) {
			bytes := []byte(data)
			task, err := b.Sessionless(t.Context(), "branch.later", bytes, dispatch.Clones, func(reply any, err error) {
				got = append(got, fmt.Sprint(reply, " ", err))
			})
			if err != nil {
				t.Fatal(err)
			}
			bytes[0] = '#'
			b.sched.Invoke(task)
			synctest.Wait()
		}
		call("one")
		if len(got) != 0 {
			t.Errorf("done was called with %v before the answer", got)
		}
		br.answer(1, nil)
		call("two")
		br.answer(2, errors.New("broken"))
		call("panic")
		if want := []string{"one1 <nil>", "two2 broken", "<nil> internal error"}; !slices.Equal(got, want) {
			t.Errorf("done was called with %q, want %q", got, want)
		}
		b.logged("nano: handler failed", 1)
	})
}
