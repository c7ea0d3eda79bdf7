package dispatch_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a dispatcher with its own scheduler, and one session with its mailbox.
type bed struct {
	*dispatch.Dispatcher
	t       *testing.T
	log     *record
	sched   *scheduler.Scheduler
	loop    *runloop.Loop // the loop of sched
	session *session.Session
	entity  *entity
	box     dispatch.Mailbox
}

// newBed makes a bed with components. configure may change the configuration. Close stops
// it.
func newBed(t *testing.T, configure func(*dispatch.Config), comps ...component.CompWithOptions) *bed {
	t.Helper()
	b := &bed{t: t, log: &record{}}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.sched = scheduler.New(scheduler.WithLogger(log))
	b.loop, _ = runloop.Of(b.sched)
	c := dispatch.Config{Log: log, Serializer: json.NewSerializer(), Loop: b.loop}
	if configure != nil {
		configure(&c)
	}
	b.Dispatcher = dispatch.New(c)
	for _, comp := range comps {
		if err := b.Add(comp.Comp, comp.Opts); err != nil {
			t.Fatal(err)
		}
	}
	b.entity = &entity{responses: map[uint64]any{}, fails: map[uint64]string{}}
	b.session = session.New(b.entity)
	b.box.Init(b.Dispatcher, b.session, b.entity, 100, 1000)
	return b
}

// inBed runs f with a bed in fake time, so synctest.Wait waits until all messages have
// run.
func inBed(t *testing.T, configure func(*dispatch.Config), comps []component.CompWithOptions, f func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, configure, comps...)
		defer b.sched.Close()
		f(b)
	})
}

// with lists components under the given names.
func with(pairs ...any) (list []component.CompWithOptions) {
	for i := 0; i < len(pairs); i += 2 {
		opts := []component.Option{component.WithName(pairs[i].(string))}
		list = append(list, component.CompWithOptions{Comp: pairs[i+1].(component.Component), Opts: opts})
	}
	return list
}

// on makes the messages of the last component run on the named scheduler.
func on(list []component.CompWithOptions, scheduler string) []component.CompWithOptions {
	last := &list[len(list)-1]
	last.Opts = append(last.Opts, component.WithSchedulerName(scheduler))
	return list
}

func request(id uint64, route, data string) *message.Message {
	return &message.Message{Type: message.Request, ID: id, Route: route, Data: []byte(data)}
}

func notify(route, data string) *message.Message {
	return &message.Message{Type: message.Notify, Route: route, Data: []byte(data)}
}

// header parses the header of an encoded message.
func header(t testing.TB, m *message.Message) *message.Header {
	t.Helper()
	wire, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	h, err := message.Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

// send delivers messages as one batch from one buffer. It overwrites the buffer
// afterwards.
func (b *bed) send(messages ...*message.Message) bool {
	b.t.Helper()
	batch := dispatch.NewBatch()
	for _, m := range messages {
		wire, err := m.Encode()
		if err != nil {
			b.t.Fatal(err)
		}
		h, err := message.Parse(wire)
		if err != nil {
			b.t.Fatal(err)
		}
		batch.Add(b.Decode(b.session, &h, dispatch.Clones), len(m.Data))
		for i := range wire {
			wire[i] = 0xEE
		}
	}
	return b.box.Deliver(batch)
}

// do sends messages one by one and waits for each to run.
func (b *bed) do(messages ...*message.Message) {
	b.t.Helper()
	for _, m := range messages {
		b.send(m)
	}
	synctest.Wait()
}

// entity is a network entity that records its calls.
type entity struct {
	mock.NetworkEntity
	control sessionctl.Control
	closed  error // the error that answers return

	mu        sync.Mutex
	begun     []string
	last      uint64
	responses map[uint64]any
	fails     map[uint64]string
	answered  map[uint64]bool
	taken     bool // reports whether LastMid was called since Begin
	holds     int
	mostHolds int
	held      int // how many times Hold was called
}

var _ dispatch.Entity = (*entity)(nil)

func (e *entity) Attach(c sessionctl.Control) { e.control = c }

func (e *entity) Begin(id uint64, route *string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := "-"
	if route != nil {
		name = *route
	}
	e.begun = append(e.begun, fmt.Sprint(id, " ", name))
	e.last, e.taken = id, false
}

func (e *entity) LastMid() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taken = true
	return e.last
}

func (e *entity) Deferred() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.taken
}

func (e *entity) Waiting(id uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.answered[id]
}

func (e *entity) Response(v any) error {
	e.mu.Lock()
	id := e.last
	e.mu.Unlock()
	return e.ResponseMid(id, v)
}

func (e *entity) ResponseMid(id uint64, v any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case id == 0 || e.answered[id]:
		return session.ErrSessionOnNotify
	case e.closed != nil:
		return e.closed
	}
	e.answer(id)
	e.responses[id] = v
	return nil
}

// answer records that a request was answered. The caller holds mu.
func (e *entity) answer(id uint64) {
	if e.answered == nil {
		e.answered = map[uint64]bool{}
	}
	e.answered[id] = true
}

func (e *entity) Fail(id uint64, err *message.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answered[id] {
		return
	}
	e.answer(id)
	e.fails[id] = err.Error()
}

func (e *entity) Refuse(id uint64, err *message.Error) { e.Fail(id, err) }

func (e *entity) Hold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holds++
	e.held++
	e.mostHolds = max(e.mostHolds, e.holds)
}

func (e *entity) Release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holds--
}

// failed checks that a request was answered with an error whose text begins with want.
// With "" it checks that there was no error.
func (b *bed) failed(id uint64, want string) {
	b.t.Helper()
	b.entity.mu.Lock()
	defer b.entity.mu.Unlock()
	got := b.entity.fails[id]
	if want == "" && got != "" || !strings.HasPrefix(got, want) {
		b.t.Errorf("request %d was answered with the error %q, want %q", id, got, want)
	}
}

// responded checks the response to a request.
func (b *bed) responded(id uint64, want any) {
	b.t.Helper()
	b.entity.mu.Lock()
	defer b.entity.mu.Unlock()
	if got := b.entity.responses[id]; fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("request %d was answered with %v, want %v", id, got, want)
	}
}

// counted checks the counters of the dispatcher.
func (b *bed) counted(dropped, failed, panics int64) {
	b.t.Helper()
	c := &b.Counts
	if c.Dropped.Load() != dropped || c.Failed.Load() != failed || c.Panics.Load() != panics {
		b.t.Errorf("%d dropped, %d failed, %d panics counted, want %d, %d, %d",
			c.Dropped.Load(), c.Failed.Load(), c.Panics.Load(), dropped, failed, panics)
	}
}

// called checks the number of calls that a handler has counted.
func (b *bed) called(route string, want int64) {
	b.t.Helper()
	h, ok := b.Handler(route)
	if !ok {
		b.t.Fatalf("%s has no handler", route)
	}
	if n, _, _ := h.Stats.Load(); n != want {
		b.t.Errorf("%d calls of %s counted, want %d", n, route, want)
	}
}

// logged checks the number of log lines that contain text.
func (b *bed) logged(text string, want int) {
	b.t.Helper()
	n := 0
	for line := range strings.Lines(b.log.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	if n != want {
		b.t.Errorf("%d lines of the log contain %q, want %d: %s", n, text, want, b.log)
	}
}

// record is a log that the test can read.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// trace is a list of events in order.
type trace struct {
	mu   sync.Mutex
	list []string
}

func (r *trace) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, fmt.Sprintf(format, args...))
}

func (r *trace) expect(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.list, want) {
		t.Errorf("happened: %q, want %q", r.list, want)
	}
}

// desk is a component whose handlers call the functions in its fields.
type desk struct {
	component.Base
	raw   func(s *session.Session, data []byte) error
	typed func(s *session.Session, v *value) (*value, error)
}

// value is the type of requests and replies.
type value struct{ N int }

func (d *desk) Raw(s *session.Session, data []byte) error {
	if d.raw == nil {
		return nil
	}
	return d.raw(s, data)
}

func (d *desk) Typed(s *session.Session, v *value) (*value, error) {
	if d.typed == nil {
		return &value{v.N + 1}, nil
	}
	return d.typed(s, v)
}

// Node has no session, so only other nodes may call it.
func (d *desk) Node(_ context.Context, v *value) (*value, error) { return v, nil }

// Ctx responds with the cause of its context's end.
func (d *desk) Ctx(ctx context.Context, _ *session.Session, _ []byte) (*value, error) {
	if context.Cause(ctx) != nil {
		return nil, context.Cause(ctx)
	}
	return &value{}, nil
}

// running reports whether the caller is on the goroutine of a scheduler.
func running(s *scheduler.Scheduler) bool {
	l, ok := runloop.Of(s)
	return ok && l.Running()
}
