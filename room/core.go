package room

import (
	"encoding/base32"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	crand "crypto/rand"

	"github.com/lonng/nano/internal/stacktrace"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/state"
)

// These are the routes of a room's pushes.
const (
	routeState  = "room.state"
	routeLeft   = "room.left"   // {"reason":...}: the seat was taken away
	routeClosed = "room.closed" // {"reason":...}: the room has ended
)

// maxPanics is the number of consecutive ticks with a panic after which the room is
// closed.
const maxPanics = 10

// maxQueued is the number of queued bytes above which a client gets no state.
const maxQueued = 64 << 10

// slowRetry is the interval at which a room without a tick rate checks clients that got
// no state.
const slowRetry = 100 * time.Millisecond

// flushMemory is the number of flushes whose times are kept.
const flushMemory = 64

// flushed records when the state of a tick was sent, on the room's clock.
type flushed struct {
	tick uint64
	at   time.Duration
}

// core is a room without its type parameters. The room's scheduler owns all fields except
// those that mu guards.
type core struct {
	kind  *kind
	node  *node
	id    string
	sched *scheduler.Scheduler
	log   *slog.Logger
	rng   *rand.Rand
	src   *rand.ChaCha8 // source of rng

	value   reflect.Value // the pointer to the program's struct
	ticker  interface{ Tick() }
	viewer  interface{ View(*Player, *state.View) }
	sync    *state.Sync
	players []*Player // players and spectators, in the order of their ids
	nextID  PlayerID
	timers  timers
	timerID uint64

	base       time.Time // start of the room's clock
	clock      time.Duration
	next       time.Duration // when the next tick is due, since base
	alarm      *scheduler.Timer
	dt         time.Duration
	ticks      uint64
	lag        time.Duration
	sentAt     uint64 // the tick of the last flush
	flushes    [flushMemory]flushed
	flushCount int
	pending    bool // a flush is scheduled
	ticking    bool // a tick is running, and the clock is stopped
	panics     int  // consecutive ticks with a panic
	closed     bool
	early      []func()  // what waits for the start
	parked     *parked   // holds the work of a room that moves; nil otherwise
	arriving   bool      // another node has the room until the commit of its move
	token      string    // of the move that brought the room here
	doubt      time.Time // the room does not move until then, because another node may have a copy
	copies     []copyAt  // copies that may exist on other nodes; see indoubt.go
	away       bool      // closed because another node has the room
	unmoved    bool      // a node that drains could not move the room
	records    []string  // names of the nodes that know that the room has moved
	empty      *timer
	recording  *recording // nil for none
	recorded   bool       // the recording was opened
	retry      *timer     // flushes again for clients that are slow
	buf        []byte

	stats roomStats

	mu       sync.Mutex
	code     string         // code of a private room, set before it starts; mu guards it and the following fields
	taken    int            // number of taken seats, including held and reserved ones
	seated   map[claim]bool // users with a seat, for which none is reserved
	reserved map[claim]*ticket
	locked   bool
	gone     bool // the room accepts no players
	labels   map[string]any
	watchers int
	teams    map[int64]int // by uid: the teams of a match
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
		id:       newID(n.name),
		sched:    sched,
		log:      n.log,
		value:    reflect.New(k.typ),
		dt:       k.dt,
		base:     time.Now(),
		nextID:   1,
		seated:   map[claim]bool{},
		reserved: map[claim]*ticket{},
		labels:   map[string]any{},
	}
	var seed [32]byte
	if k.options.seed != nil {
		seed = *k.options.seed
	} else {
		_, _ = crand.Read(seed[:])
	}
	c.src = rand.NewChaCha8(seed)
	c.rng = rand.New(c.src)
	room := c.value.Interface()
	room.(embedded).attach(c)
	c.ticker, _ = room.(interface{ Tick() })
	c.viewer, _ = room.(interface {
		View(*Player, *state.View)
	})
	return c
}

// start runs OnCreate and starts the ticks. It runs on the room's scheduler.
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
				err, _ := reflect.TypeAssert[error](out[len(out)-1])
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
	if c.closed {
		return ErrNotFound // OnCreate closed it
	}
	c.watchEmpty()
	c.setAlarm()
	return nil
}

func (c *core) setCode(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.code = code
}

func (c *core) getCode() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code
}

// abandon removes a room whose start failed.
func (c *core) abandon() {
	c.endReservations()
	c.node.remove(c)
	c.direct(func() {
		c.closed = true
		c.runEarly()
	})
}

// optionsValue returns opts, or a pointer to a zero value if opts is nil.
func optionsValue(t reflect.Type, opts any) reflect.Value {
	if v := reflect.ValueOf(opts); v.IsValid() && v.Type() == reflect.PointerTo(t) && !v.IsNil() {
		return v
	}
	return reflect.New(t)
}

// guard calls f and converts a panic to an error.
func (c *core) guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.stats.panics.Add(1)
			c.node.panics.Add(1)
			c.log.Error("nano: panic in a room", "room", c.id, "method", what, "panic", fmt.Sprint(p), stacktrace.Attr())
			err = errPanic
		}
	}()
	return f()
}

// call is guard for a method without results.
func (c *core) call(what string, f func()) bool {
	return c.guard(what, func() error { f(); return nil }) == nil
}

func (c *core) player(id PlayerID) *Player {
	i, ok := slices.BinarySearchFunc(c.players, id, func(p *Player, id PlayerID) int { return int(int64(p.ID) - int64(id)) })
	if !ok {
		return nil
	}
	return c.players[i]
}

// flush compares the state with the values sent before, and sends each player the changes
// that it can see.
func (c *core) flush(tick uint64) {
	c.sentAt = tick
	now := time.Since(c.base)
	c.flushes[c.flushCount%flushMemory] = flushed{tick, now}
	c.flushCount++
	if err := c.sync.Tick(tick); err != nil {
		c.log.Error("nano: room state", "room", c.id, "error", err)
	}
	c.record(now)
	slow := false
	for _, p := range c.players {
		if p.session == nil || p.dropped || p.session.Suspended() {
			continue // the view misses this tick, and sends a snapshot later
		}
		c.stats.presence.Add(int64(now - p.counted))
		p.counted = now
		if queued(p.session) > maxQueued {
			c.stats.slow.Add(1)
			slow = true
			continue // this view also misses the tick
		}
		if c.viewer != nil && !c.call("View", func() { c.viewer.View(p, p.view) }) {
			p.view.Reset()
			continue
		}
		if c.buf = p.view.Append(c.buf[:0]); len(c.buf) == 0 || p.session == nil {
			continue
		}
		p.sent += int64(len(c.buf))
		c.stats.bytes.Add(int64(len(c.buf)))
		if err := pushState(p.session, c.buf); err != nil {
			p.view.Reset()
			if !p.session.Closed() { // otherwise, the player is dropped soon
				c.log.Error("nano: a player gets no room state", "room", c.id, "uid", p.UID, "bytes", len(c.buf), "error", err)
			}
		}
	}
	if slow && c.dt == 0 && !c.closed && (c.retry == nil || c.retry.f == nil) {
		c.retry = c.newTimer(slowRetry, c.touch)
	}
}

// flushedAt returns when the state of a tick was sent.
func (c *core) flushedAt(tick uint64) (at time.Duration, ok bool) {
	for _, f := range c.flushes {
		if f.tick == tick && tick > 0 {
			return f.at, true
		}
	}
	return 0, false
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
