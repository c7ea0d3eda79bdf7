package dispatch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// Entity is the owner of a Mailbox: a session's network entity, with what running a message needs.
type Entity interface {
	session.NetworkEntity
	// Begin is called before a message runs: id is that of the request, or 0 for a notify; route is nil where it
	// is not known.
	Begin(id uint64, route *string)
	// Fail answers the request with an error, unless it was answered.
	Fail(id uint64, err *message.Error)
	// Refuse answers a request with an error for which Begin was not called. It may be called during a run.
	Refuse(id uint64, err *message.Error)
	// Hold and Release enclose a run of messages: what is sent meanwhile may go out together at its end.
	Hold()
	Release()
}

// Accountant is an Entity that wants to know what has run.
type Accountant interface {
	// Ran is called after every run, with how many messages have run and the bytes of payload they had. The calls come
	// one at a time.
	Ran(messages, size int)
}

// Batch is messages of one session that arrived together. Get one with NewBatch; Deliver takes it over.
type Batch struct {
	calls []Call
	size  int // bytes of payload, and what else is pinned
	next  *Batch
}

var batches = sync.Pool{New: func() any { return &Batch{calls: make([]Call, 0, 8)} }}

// maxIdleCalls is the largest batch that is kept for reuse.
const maxIdleCalls = 256

// NewBatch returns an empty batch.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Add appends a message with a payload of size bytes.
func (b *Batch) Add(c Call, size int) {
	b.calls = append(b.calls, c)
	b.size += size
}

// Next adds a message with a payload of size bytes, and returns its Call, which is zero, to be made in place: copying a
// Call costs as much as making one. It holds until the batch is added to again.
func (b *Batch) Next(size int) *Call {
	if len(b.calls) < cap(b.calls) {
		b.calls = b.calls[:len(b.calls)+1] // Free has cleared it
	} else {
		b.calls = append(b.calls, Call{})
	}
	b.size += size
	return &b.calls[len(b.calls)-1]
}

// Pin counts n bytes more, which the payloads keep from being freed.
func (b *Batch) Pin(n int) { b.size += n }

// Len returns the number of messages.
func (b *Batch) Len() int { return len(b.calls) }

// Size returns the bytes of payload, and what else is pinned.
func (b *Batch) Size() int { return b.size }

// Free gives up a batch that is not delivered.
func (b *Batch) Free() {
	if cap(b.calls) > maxIdleCalls {
		return
	}
	clear(b.calls)
	b.calls, b.size, b.next = b.calls[:0], 0, nil
	batches.Put(b)
}

// Mailbox runs the messages of one session one at a time, in the order they were delivered, each on the scheduler
// that it belongs to. Its methods may be called concurrently, but for Wait, which is for one goroutine.
//
// The memory it takes is bounded by who delivers: Wait returns when there is room, and Offer refuses what has none.
type Mailbox struct {
	d       *Dispatcher
	s       *session.Session
	entity  Entity
	limit   int            // messages that may wait
	bytes   int            // bytes of payload that may wait, beside one message
	runTask scheduler.Task // m.run, made once

	mu          sync.Mutex
	head, tail  *Batch // waiting; mu guards it and what follows
	count       int    // messages that wait or run
	size        int    // bytes of payload of those
	lent        *lent  // what other nodes have; made by the first Lend
	active      bool   // run is scheduled, or runs
	sealed      bool   // nothing more is accepted
	interrupted bool   // Interrupt was called, and no Wait has returned since
	last        func() // runs when everything else has, on the dispatcher's scheduler
	room        chan struct{}

	away *elsewhere // where run runs, or will; nil for the dispatcher's scheduler. Of the run alone
}

// lent is what of a session's messages waits on other nodes.
type lent struct {
	messages, size int
}

// elsewhere is a scheduler that a session holds under a name.
type elsewhere struct {
	on   scheduler.LocalScheduler
	name string
	shut bool // it was found closed: its messages fail, on the dispatcher's scheduler
}

// Init prepares a mailbox for the messages of s. At most limit messages, and size bytes of payload beside one message,
// are to wait.
func (m *Mailbox) Init(d *Dispatcher, s *session.Session, e Entity, limit, size int) {
	m.d, m.s, m.entity, m.limit, m.bytes = d, s, e, limit, size
	m.runTask = m.run
}

// What may wait on other nodes at the least, whatever the limits of the mailbox.
const (
	LentMessages = 128
	LentSize     = 128 << 10
)

// Room returns how many more messages may wait, 0 where the bytes that wait are too many.
func (m *Mailbox) Room() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free()
}

// free is Room; the caller holds mu.
func (m *Mailbox) free() int {
	if m.sealed {
		return m.limit // to be refused
	}
	if m.size >= m.bytes {
		return 0
	}
	free := m.limit - m.count
	if l := m.lent; l != nil {
		if l.size >= max(m.bytes, LentSize) {
			return 0
		}
		free = min(free, max(m.limit, LentMessages)-l.messages)
	}
	return max(free, 0)
}

// full reports whether more than half of the room is taken. The caller holds mu.
func (m *Mailbox) full() bool {
	if m.count > m.limit/2 || m.size > m.bytes/2 {
		return true
	}
	l := m.lent
	return l != nil && (l.messages > max(m.limit, LentMessages)/2 || l.size > max(m.bytes, LentSize)/2)
}

// Lend notes that messages went on to another node, where they take room here, or with negative numbers that they do not
// wait there any more.
func (m *Mailbox) Lend(messages, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lent == nil {
		m.lent = &lent{}
	}
	m.lent.messages += messages
	m.lent.size += size
	m.wakeReader()
}

// Idle reports whether nothing waits or runs.
func (m *Mailbox) Idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.active
}

// MaxSize returns how many bytes of payload may wait, beside one message.
func (m *Mailbox) MaxSize() int { return m.bytes }

// Wait blocks until half of the room is free again, the mailbox is sealed, or Interrupt is called.
func (m *Mailbox) Wait() {
	m.mu.Lock()
	for !m.sealed && m.full() && !m.interrupted {
		if m.room == nil {
			m.room = make(chan struct{}, 1)
		}
		room := m.room
		m.mu.Unlock()
		<-room
		m.mu.Lock()
	}
	m.interrupted = false
	m.mu.Unlock()
}

// Interrupt ends the Wait that runs. If none runs, the next one returns at once.
func (m *Mailbox) Interrupt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.interrupted = true
	m.signal()
}

// wakeReader ends a Wait that may end. The caller holds mu.
func (m *Mailbox) wakeReader() {
	if m.room != nil && (m.sealed || !m.full()) {
		m.signal()
	}
}

// signal wakes a Wait, if there is one. The caller holds mu.
func (m *Mailbox) signal() {
	if m.room == nil {
		return
	}
	select {
	case m.room <- struct{}{}:
	default:
	}
}

// Deliver hands over b, which is not touched any more. It reports false, and refuses the messages of b, when the
// mailbox is sealed.
func (m *Mailbox) Deliver(b *Batch) bool { return m.deliver(b, false) == nil }

// ErrFull tells of a message for which a mailbox had no room.
var ErrFull error = message.Errorf(message.CodeLimit, "too many messages of the session wait")

// Offer delivers one message with a payload of size bytes, if there is room for it. The error is ErrFull, or
// session.ErrBrokenPipe if the mailbox is sealed.
func (m *Mailbox) Offer(c Call, size int) error {
	b := NewBatch()
	b.Add(c, size)
	return m.deliver(b, true)
}

// deliver is Deliver, and refuses what has no room if it is asked to.
func (m *Mailbox) deliver(b *Batch, polite bool) error {
	m.mu.Lock()
	var err error
	switch {
	case m.sealed:
		err = session.ErrBrokenPipe
	case polite && m.free() == 0:
		err = ErrFull
	}
	if err != nil || len(b.calls) == 0 {
		m.mu.Unlock()
		if err != nil && !polite {
			m.refuse(b)
		}
		b.Free()
		return err
	}
	m.count += len(b.calls)
	m.size += b.size
	if m.tail == nil {
		m.head = b
	} else {
		m.tail.next = b
	}
	m.tail = b
	start := !m.active
	m.active = true
	m.mu.Unlock()
	if start {
		m.start(&b.calls[0]) // nothing else waits
	}
	return nil
}

// refuse answers the requests of a batch that comes too late, and drops its notifies. A session that is closed sends
// nothing; one that has to close when what it had accepted has run still does.
func (m *Mailbox) refuse(b *Batch) {
	for i := range b.calls {
		if id := b.calls[i].id; id == 0 {
			m.d.Counts.Dropped.Add(1)
		} else {
			m.d.Counts.Failed.Add(1)
			m.entity.Refuse(id, m.d.Public(errDraining))
		}
	}
}

// Seal accepts no more messages, and has last run after those that were accepted, on the dispatcher's scheduler.
// Only the first call counts; it reports whether this was it.
func (m *Mailbox) Seal(last func()) bool {
	m.mu.Lock()
	if m.sealed {
		m.mu.Unlock()
		return false
	}
	m.sealed, m.last = true, last
	m.wakeReader()
	start := !m.active
	m.active = true
	m.mu.Unlock()
	if start {
		m.start(nil)
	}
	return true
}

// start schedules run where its first message belongs, on the dispatcher's scheduler where that is nil. Between Deliver
// or Seal and run, and within run, only one goroutine is here at a time.
func (m *Mailbox) start(first *Call) {
	m.away = nil
	if first != nil {
		m.away = m.place(first)
	}
	m.schedule()
}

// schedule queues run on the scheduler it belongs to; one that has closed is replaced by the dispatcher's.
func (m *Mailbox) schedule() {
	if away := m.away; away != nil && !away.shut {
		if m.offer(away) {
			return // once run is queued, away is the run's
		}
		m.away = &elsewhere{name: away.name, shut: true}
	}
	m.d.Scheduler.PushTask(m.runTask)
}

// offer queues run on a scheduler of the program's. It reports false if that has ended, or panics.
func (m *Mailbox) offer(away *elsewhere) (accepted bool) {
	defer func() {
		if p := recover(); p != nil {
			m.d.panicked("scheduler", away.name, p)
			accepted = false
		}
	}()
	if s, ok := away.on.(interface{ Offer(scheduler.Task) bool }); ok {
		return s.Offer(m.runTask)
	}
	away.on.Schedule(m.runTask)
	return true
}

// find returns the scheduler that the session holds under a name, unless that is the dispatcher's own.
func (m *Mailbox) find(name string) (scheduler.LocalScheduler, bool) {
	l, ok := m.s.Value(name).(scheduler.LocalScheduler)
	return l, ok && l != scheduler.LocalScheduler(m.d.Scheduler)
}

// place returns where c belongs: nil for the dispatcher's scheduler, which also answers what belongs nowhere.
func (m *Mailbox) place(c *Call) *elsewhere {
	if c.handler == nil || c.handler.SchedName == "" {
		return nil
	}
	if l, ok := m.find(c.handler.SchedName); ok {
		return &elsewhere{on: l, name: c.handler.SchedName}
	}
	return nil
}

// stays reports whether c runs where run is; first is whether run was scheduled for its sake.
func (m *Mailbox) stays(c *Call, first bool) bool {
	shut := m.away != nil && m.away.shut
	if c.handler == nil || c.handler.SchedName == "" {
		return m.away == nil || shut
	}
	if shut {
		return c.handler.SchedName == m.away.name
	}
	l, ok := m.find(c.handler.SchedName)
	if !ok || m.away == nil {
		return !ok && m.away == nil
	}
	return c.handler.SchedName == m.away.name && same(l, m.away.on, first)
}

// same compares two schedulers, of whatever type; unsure is the answer where values of that type cannot be compared.
func same(a, b scheduler.LocalScheduler, unsure bool) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	if !reflect.ValueOf(a).Comparable() || !reflect.ValueOf(b).Comparable() {
		return unsure
	}
	return a == b
}

// run runs what waits, up to the first message that belongs to another scheduler.
func (m *Mailbox) run() {
	m.mu.Lock()
	list := m.head
	m.head, m.tail = nil, nil
	m.mu.Unlock()
	r := run{m: m, next: list}
	if m.away == nil || m.away.shut {
		r.began = m.d.Scheduler.Watched()
	} else {
		m.entity.Hold() // the dispatcher's own scheduler holds for a whole batch
		r.held = true
		r.began = m.d.now()
		if w, ok := m.away.on.(interface{ Watched() time.Duration }); ok {
			w.Watched()
		}
	}
	defer r.end() // also when a handler ends the goroutine with runtime.Goexit
	for r.next != nil && !r.batch() {
		b := r.next
		r.next, r.at = b.next, 0
		b.Free()
	}
}

// finish puts back what has not run, and decides what comes next.
func (m *Mailbox) finish(r *run) {
	if e, ok := m.entity.(Accountant); ok {
		e.Ran(r.done, r.doneSize)
	}
	m.mu.Lock()
	m.count -= r.done
	m.size -= r.doneSize
	if r.next != nil {
		end := r.next
		for end.next != nil {
			end = end.next
		}
		end.next = m.head
		if m.head == nil {
			m.tail = end
		}
		m.head = r.next
	}
	m.wakeReader()
	switch {
	case m.head != nil:
		first := &m.head.calls[0]
		m.mu.Unlock()
		m.away = m.place(first)
		m.schedule()
	case m.sealed && m.last != nil:
		if m.away != nil && !m.away.shut {
			m.away = nil
			m.mu.Unlock()
			m.schedule()
			return
		}
		last := m.last
		m.last = nil
		m.mu.Unlock()
		last()
		if took := m.d.now() - r.began; m.d.Slow > 0 && took > m.d.Slow {
			m.d.Log.Warn("nano: slow close", "session", m.s.ID(), "took", took)
		}
	default:
		m.active = false
		m.mu.Unlock()
		if !r.held {
			m.d.Scheduler.Done(r.began)
		}
	}
}

// run is one run of a mailbox.
type run struct {
	m        *Mailbox
	held     bool
	next     *Batch // the batch that runs, or that is to run elsewhere
	at       int    // of it, the message that runs
	done     int    // messages that ran
	doneSize int    // bytes of payload of the batches that ran

	// The calls of one handler after the other, or of none: their figures are added together.
	handler *component.Handler
	n       int64
	sum     time.Duration
	max     time.Duration

	began   time.Duration // when the clock was read last
	unread  int64         // calls since
	stretch int64         // how many calls to make before it is read again
}

// Reading the clock takes as long as a quick call, so calls that took less than quick in a row are timed together, more
// and more of them, and those of a handler that was quick when it was timed last: 32 requests that come at once cost 4
// readings. How long a quick one took is not known then to more than a few microseconds; in a stretch that turns out slow,
// the slowest may have taken as long as all of it.
const (
	quick      = 2 * time.Microsecond
	maxStretch = 8
)

// batch runs the messages of r.next, and reports whether it stopped at one that belongs to another scheduler.
func (r *run) batch() (moved bool) {
	b := r.next
	for r.at < len(b.calls) && !moved {
		moved = r.some(b)
	}
	if !moved {
		r.doneSize += b.size
	}
	return moved
}

// some runs messages of b, up to one that panics or belongs to another scheduler; it reports whether that is so. To be
// ready for a panic costs as much as a quick call: it is for all of them together.
func (r *run) some(b *Batch) (moved bool) {
	returned := false
	defer func() {
		if !returned {
			r.m.unreturned(&b.calls[r.at-1], recover())
		}
	}()
	for r.at < len(b.calls) && !moved {
		c := &b.calls[r.at]
		if moved = !r.m.stays(c, r.done == 0); !moved {
			r.at++
			r.done++
			r.call(c)
		}
	}
	returned = true
	return moved
}

// end hands on what has not run.
func (r *run) end() {
	r.readClock()
	r.flushStats()
	if b := r.next; b != nil && r.at == len(b.calls) { // the last one ended the goroutine
		r.next = b.next
		r.doneSize += b.size
	} else if b != nil && r.at > 0 {
		n := copy(b.calls, b.calls[r.at:])
		clear(b.calls[n:])
		b.calls = b.calls[:n]
	}
	if r.held {
		r.m.entity.Release()
	}
	r.m.finish(r)
}

// call runs one message and takes its time.
func (r *run) call(c *Call) {
	handler := c.handler
	refusal := r.m.refusal(c)
	if refusal != nil {
		handler = nil // which is not called
	}
	if r.handler != handler {
		r.readClock()
		r.flushStats()
		r.handler, r.stretch = handler, 1
		if handler != nil && handler.Stats.Quick() {
			r.stretch = maxStretch
		}
	}
	r.unread++
	r.m.exec(c, refusal)
	if r.handler != nil && r.unread >= r.stretch {
		r.readClock()
	}
}

// readClock ends a stretch of calls.
func (r *run) readClock() {
	n := r.unread
	if n == 0 {
		return
	}
	now := r.m.d.now()
	took := now - r.began
	r.began, r.unread = now, 0
	if r.handler == nil {
		return
	}
	longest := took
	mean := took / time.Duration(n)
	if mean < quick {
		longest = mean
		r.stretch = min(2*r.stretch, maxStretch)
	} else {
		r.stretch = 1
	}
	r.handler.Stats.SetQuick(mean < quick)
	r.n += n
	r.sum += took
	r.max = max(r.max, longest)
	if d := r.m.d; d.Slow > 0 && longest > d.Slow {
		d.Log.Warn("nano: slow handler", "route", r.handler.Route, "took", longest, "calls", n, "session", r.m.s.ID())
	}
}

func (r *run) flushStats() {
	if r.n > 0 {
		r.handler.Stats.Add(r.n, r.sum, r.max)
	}
	r.n, r.sum, r.max = 0, 0, 0
}

// refusal returns why the handler of a message is not called, or nil.
func (m *Mailbox) refusal(c *Call) error {
	switch {
	case c.handler == nil:
	case c.more != nil && c.more.ctx.Err() != nil:
		return errLate
	case c.handler.SchedName != "" && !m.held(c.handler.SchedName):
		return fmt.Errorf("the session holds no running scheduler.LocalScheduler under the key %q", c.handler.SchedName)
	}
	return nil
}

// exec runs one message: its handler, or what is to be answered instead.
func (m *Mailbox) exec(c *Call, refusal error) {
	m.entity.Begin(c.id, c.route())
	if m.d.Debug {
		m.d.Log.Debug("nano: message", "session", m.s.ID(), "uid", m.s.UID(), "route", c.name(), "id", c.id)
	}
	err := refusal
	if err == nil {
		err = m.serve(c)
	}
	if err != nil {
		m.failed(c, err)
	}
}

// failed answers what could not be served, and logs why where that is the program's business.
func (m *Mailbox) failed(c *Call, err error) {
	m.answer(c, err)
	if _, public := errorAs(err); public || errors.Is(err, errLogged) {
		return
	}
	if errors.Is(err, session.ErrBrokenPipe) && m.s.Closed() {
		return // the client is gone: no fault of the handler
	}
	m.d.Log.Error("nano: handler failed", "route", c.name(), "session", m.s.ID(), "uid", m.s.UID(), "error", err)
}

// answer answers a request with an error, and drops a notify. Both are counted.
func (m *Mailbox) answer(c *Call, err error) {
	if c.id == 0 {
		m.d.Counts.Dropped.Add(1)
		return
	}
	m.d.Counts.Failed.Add(1)
	m.entity.Fail(c.id, m.d.Public(err))
}

// errLogged stands for a panic, or the like, that was logged.
var errLogged = errors.New("internal error")

// unreturned is called for a message whose handler did not return: it panicked with p, or ended this goroutine with
// runtime.Goexit if that is nil.
func (m *Mailbox) unreturned(c *Call, p any) {
	if p == nil {
		m.d.Log.Error("nano: a handler ended its goroutine with runtime.Goexit", "route", c.name(), "session", m.s.ID(),
			"uid", m.s.UID())
	} else {
		m.d.Counts.Panics.Add(1)
		m.d.Log.Error("nano: panic in a handler", "route", c.name(), "session", m.s.ID(), "uid", m.s.UID(),
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	m.failed(c, errLogged)
}

// serve runs the handler, or what is in its place.
func (m *Mailbox) serve(c *Call) error {
	if c.handler == nil {
		return m.instead(c.more)
	}
	ctx := context.Background()
	if c.handler.Context() {
		if c.more != nil {
			ctx = c.more.ctx
		} else {
			ctx = m.s.Context()
		}
	}
	reply, err := c.handler.Call(ctx, m.s, c.arg)
	if err != nil || reply == nil {
		return err
	}
	if c.id == 0 {
		return nil // nobody waits for the reply to a notify
	}
	return m.entity.ResponseMid(c.id, reply)
}

// instead does what is to be done where there is no handler.
func (m *Mailbox) instead(c *more) error {
	switch {
	case c.fail != nil:
		return c.fail
	case c.forward != nil:
		return m.d.remote.Forward(m.s, c.forward)
	}
	return c.do()
}

// held reports whether run is on a scheduler that the session holds under a name.
func (m *Mailbox) held(name string) bool {
	if m.away != nil {
		return !m.away.shut && m.away.name == name
	}
	l, ok := m.s.Value(name).(scheduler.LocalScheduler)
	return ok && l == scheduler.LocalScheduler(m.d.Scheduler)
}

func (c *Call) route() *string {
	switch {
	case c.handler != nil:
		return &c.handler.Route
	case c.more != nil && c.more.forward != nil:
		return &c.more.forward.Route
	}
	return nil
}

func (c *Call) name() string {
	if r := c.route(); r != nil {
		return *r
	}
	return ""
}

// errorAs returns err as the *Error that it is or wraps. A nil *Error in an error is none: it has nothing to tell.
func errorAs(err error) (*message.Error, bool) {
	e, ok := err.(*message.Error)
	if !ok {
		ok = errors.As(err, &e)
	}
	return e, ok && e != nil
}
