package room

import (
	"container/heap"
	"encoding/base32"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	crand "crypto/rand"

	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/state"
)

// The routes of what a room pushes.
const (
	routeState  = "room.state"
	routeLeft   = "room.left"   // {"reason":...}: the seat was taken away
	routeClosed = "room.closed" // {"reason":...}: the room has ended
)

// maxPanics is how many ticks may panic in a row before the room is closed.
const maxPanics = 10

// maxWaiting is how many bytes may wait for a client before it gets no more state until they are sent.
const maxWaiting = 64 << 10

// core is a room without its type parameters. Everything but what mu guards is for the room's scheduler.
type core struct {
	kind  *kind
	node  *node
	id    string
	code  string // of a private room, "" for none
	sched *scheduler.Scheduler
	log   *slog.Logger
	rng   *rand.Rand

	value   reflect.Value // the pointer to the program's struct
	ticker  interface{ Tick() }
	viewer  interface{ View(*Player, *state.View) }
	sync    *state.Sync
	players []*Player // and spectators, in the order of their ids
	nextID  PlayerID
	timers  timers
	timerID uint64

	base    time.Time // when the clock began
	clock   time.Duration
	next    time.Duration // when the next tick is due, since base
	alarm   *scheduler.Timer
	dt      time.Duration
	ticks   uint64
	lag     time.Duration
	flushes uint64 // of a room without a tick rate: the ticks of its state
	pending bool   // a flush is scheduled
	panics  int    // ticks in a row that panicked
	closed  bool
	empty   *timer
	buf     []byte

	stats roomStats

	mu       sync.Mutex
	taken    int               // seats, with those that are held and reserved; mu guards it and what follows
	reserved map[int64]*ticket // by uid
	locked   bool
	gone     bool // takes no more players
	labels   map[string]any
	watchers int
}

var idLetters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID returns a room id: the node and 10 random letters.
func newID(node string) string {
	var b [7]byte
	_, _ = crand.Read(b[:]) // never fails
	return node + "-" + idLetters.EncodeToString(b[:])[:10]
}

func newCore(k *kind, n *node, sched *scheduler.Scheduler) *core {
	c := &core{
		kind:     k,
		node:     n,
		id:       newID(n.name()),
		sched:    sched,
		log:      n.log,
		value:    reflect.New(k.typ),
		dt:       k.dt,
		base:     time.Now(),
		nextID:   1,
		reserved: map[int64]*ticket{},
		labels:   map[string]any{},
	}
	var seed [32]byte
	if k.options.seed != nil {
		seed = *k.options.seed
	} else {
		_, _ = crand.Read(seed[:])
	}
	c.rng = rand.New(rand.NewChaCha8(seed))
	room := c.value.Interface()
	room.(embedded).attach(c)
	c.ticker, _ = room.(interface{ Tick() })
	c.viewer, _ = room.(interface {
		View(*Player, *state.View)
	})
	return c
}

// start runs OnCreate and begins the ticks. It runs on the room's scheduler.
func (c *core) start(opts any) (err error) {
	if c.sync, err = c.value.Interface().(embedded).newSync(); err != nil {
		return err
	}
	if h := c.kind.create; h != nil {
		var in []reflect.Value
		if h.options != nil {
			in = append(in, optionsValue(h.options, opts))
		}
		if err := c.guard("OnCreate", func() error {
			out := c.value.Method(h.index).Call(in)
			if h.err {
				err, _ := out[len(out)-1].Interface().(error)
				return err
			}
			return nil
		}); err != nil {
			return err
		}
	}
	c.now()
	if c.dt > 0 {
		c.next = c.clock + c.dt
	}
	c.watchEmpty()
	c.setAlarm()
	return nil
}

// optionsValue returns opts, or a pointer to a zero value if there are none.
func optionsValue(t reflect.Type, opts any) reflect.Value {
	if v := reflect.ValueOf(opts); v.IsValid() && v.Type() == reflect.PointerTo(t) && !v.IsNil() {
		return v
	}
	return reflect.New(t)
}

// guard calls f and turns a panic into an error.
func (c *core) guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.stats.panics.Add(1)
			c.log.Error("nano: panic in a room", "room", c.id, "method", what, "panic", p, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// call is guard for a method without results.
func (c *core) call(what string, f func()) bool {
	return c.guard(what, func() error { f(); return nil }) == nil
}

// now reads the clock of the room.
func (c *core) now() time.Duration {
	c.clock = time.Since(c.base)
	return c.clock
}

func (c *core) player(id PlayerID) *Player {
	i, ok := slices.BinarySearchFunc(c.players, id, func(p *Player, id PlayerID) int { return int(int64(p.ID) - int64(id)) })
	if !ok {
		return nil
	}
	return c.players[i]
}

// after calls f on the room's clock.
func (c *core) after(d time.Duration, f func()) (cancel func()) {
	t := c.newTimer(d, f)
	return func() { t.f = nil }
}

func (c *core) newTimer(d time.Duration, f func()) *timer {
	if !c.running() {
		c.now()
	}
	c.timerID++
	t := &timer{at: c.clock + max(d, 0), seq: c.timerID, f: f}
	heap.Push(&c.timers, t)
	if c.dt == 0 || len(c.players) == 0 {
		c.setAlarm()
	}
	return t
}

// running reports whether a tick runs: the clock stands still in it.
func (c *core) running() bool { return c.stats.began != 0 }

// setAlarm has wake called when the next tick or timer is due.
func (c *core) setAlarm() {
	if c.closed || c.running() {
		return
	}
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	at := c.next
	if len(c.timers) > 0 && (c.dt == 0 || c.timers[0].at < at && c.dt == 0) {
		at = c.timers[0].at
	} else if c.dt == 0 {
		return
	}
	c.alarm = c.sched.NewAfterTimer(max(at-time.Since(c.base), time.Nanosecond), c.wake)
}

// wake runs the ticks and timers that are due.
func (c *core) wake() {
	if c.closed {
		return
	}
	c.alarm = nil
	now := c.now()
	if c.dt == 0 {
		c.fire(now)
		c.touch()
		c.setAlarm()
		return
	}
	due := int((now-c.next)/c.dt) + 1
	run := min(due, 1+c.kind.options.catchUp)
	if now < c.next {
		run = 0
	}
	for range run {
		c.lag = now - c.next
		c.stats.late(c.lag)
		c.clock = c.next
		c.next += c.dt
		c.tick()
		if c.closed {
			return
		}
	}
	if skipped := due - run; skipped > 0 && run > 0 {
		c.stats.skipped.Add(int64(skipped))
		c.next += time.Duration(skipped) * c.dt
	}
	c.setAlarm()
}

// fire runs the timers that are due.
func (c *core) fire(now time.Duration) {
	for len(c.timers) > 0 && c.timers[0].at <= now && !c.closed {
		t := heap.Pop(&c.timers).(*timer)
		if f := t.f; f != nil {
			t.f = nil
			c.call("After", f)
		}
	}
}

// tick runs one tick: timers, inputs, Tick, and the flush.
func (c *core) tick() {
	began := time.Now()
	c.stats.began = 1
	c.ticks++
	ok := true
	c.fire(c.clock)
	for _, p := range c.players {
		ok = c.runInputs(p) && ok
	}
	if c.ticker != nil && !c.closed {
		ok = c.call("Tick", c.ticker.Tick) && ok
	}
	c.stats.began = 0
	if ok {
		c.panics = 0
	} else if c.panics++; c.panics == maxPanics {
		c.close("panic")
	}
	if !c.closed && c.ticks%c.kind.every == 0 {
		c.flush(c.ticks)
	}
	c.stats.took(time.Since(began))
}

// runInputs runs the inputs of a player that wait.
func (c *core) runInputs(p *Player) (ok bool) {
	ok = true
	inputs := p.inputs
	p.inputs = nil
	for _, in := range inputs {
		if c.closed || p.why != nil {
			return ok
		}
		ok = c.call("input", in.run) && ok
		p.view.Ack(in.seq)
	}
	return ok
}

// touch has the state of a room without a tick rate flushed at the end of this batch.
func (c *core) touch() {
	if c.dt > 0 || c.pending || c.closed {
		return
	}
	c.pending = true
	c.sched.PushTask(func() {
		c.pending = false
		if !c.closed {
			c.flushes++
			c.flush(c.flushes)
		}
	})
}

// flush compares the state with what was sent, and sends each player what changed for it.
func (c *core) flush(tick uint64) {
	if err := c.sync.Tick(tick); err != nil {
		c.log.Error("nano: room state", "room", c.id, "error", err)
	}
	for _, p := range c.players {
		if p.session == nil || p.dropped {
			continue
		}
		if waiting(p.session) > maxWaiting {
			p.skipping = true // the view misses this tick, and sends a snapshot later
			c.stats.slow.Add(1)
			continue
		}
		if p.skipping {
			p.skipping = false
			p.view.Reset()
		}
		if c.viewer != nil && !c.call("View", func() { c.viewer.View(p, p.view) }) {
			p.view.Reset()
			continue
		}
		c.buf = p.view.Append(c.buf[:0])
		if len(c.buf) == 0 {
			continue
		}
		p.sent += int64(len(c.buf))
		c.stats.bytes.Add(int64(len(c.buf)))
		_ = pushState(p.session, c.buf) // a session that is closed is dropped soon
	}
}

func (c *core) broadcast(route string, v any) error {
	var first error
	for _, p := range c.players {
		if p.session != nil {
			if err := p.session.Push(route, v); err != nil && first == nil && !p.session.Closed() {
				first = err
			}
		}
	}
	return first
}

// timers is a heap by time, then by age.
type timers []*timer

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	return t[i].at < t[j].at || t[i].at == t[j].at && t[i].seq < t[j].seq
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)   { *t = append(*t, x.(*timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return last
}
