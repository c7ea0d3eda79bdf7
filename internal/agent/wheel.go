package agent

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// wheel calls connections at their deadlines, and provides a coarse clock. One goroutine
// serves all connections of a server. A ticker per connection would use more memory and
// wake-ups. It is a hashed timing wheel: a connection is in the slot of the tick at which
// it is due. If that is more than a turn away, the connection is in an earlier slot.
type wheel struct {
	tick  time.Duration
	span  time.Duration // the duration that ticks divide
	base  time.Time
	clock atomic.Int64 // time since base at the latest tick

	paused atomic.Int64  // detected time in which the process was stopped
	noted  time.Duration // when paused last increased, since base; owned by the wheel's goroutine

	mu      sync.Mutex
	slots   [wheelSlots]*Conn // heads of lists; mu guards it and the following fields
	at      int64             // the latest tick that was served
	count   int
	watches int  // number of users of the clock, see watch
	idle    bool // the clock is unused, and the wheel's goroutine waits on wake
	stopped bool

	wake    chan struct{} // capacity 1
	quit    chan struct{}
	done    chan struct{}
	running bool
}

const (
	wheelSlots = 256
	minTick    = 5 * time.Millisecond
	maxTick    = 250 * time.Millisecond

	// pauseSpans is the minimum number of spans between two pauses of less than a span.
	pauseSpans = 4
)

// elapsed returns the time since base without pauses.
func (w *wheel) elapsed() time.Duration {
	return time.Since(w.base) - time.Duration(w.paused.Load())
}

// advance returns the time of a tick. If the tick is more than two ticks late, the
// process was stopped: readers had no chance to read, and the clock excludes the excess.
// An overloaded server has late ticks all the time. For short delays, the clock excludes
// at most one in four spans.
func (w *wheel) advance() time.Duration {
	now := w.elapsed()
	excess := now - time.Duration(w.clock.Load()) - w.tick
	if excess <= 2*w.tick {
		return now
	}
	age := time.Since(w.base)
	if excess < w.span && age-w.noted < pauseSpans*w.span {
		return now
	}
	w.noted = age
	w.paused.Add(int64(excess))
	return now - excess
}

// passed returns elapsed without a pause that is ending now and that no tick has
// recorded. It requires a running clock.
func (w *wheel) passed() time.Duration {
	return min(w.elapsed(), time.Duration(w.clock.Load())+3*w.tick)
}

// left returns how long to wait for the time until, at least one tick, or 0 if it has
// passed. It requires a running clock or a stopped wheel.
func (w *wheel) left(until time.Duration) time.Duration {
	d := until - w.passed()
	if d <= 0 {
		return 0
	}
	return max(d, w.tick)
}

// lost returns how long the process was stopped. It requires a running clock.
func (w *wheel) lost() time.Duration { return time.Since(w.base) - w.passed() }

// watch keeps the clock running until unwatch is called, even if the wheel is empty.
func (w *wheel) watch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.needed()
	w.watches++
}

// unwatch ends a watch.
func (w *wheel) unwatch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches--
}

// needed is called before a further use of the clock. It wakes the wheel's goroutine if
// that waits. The caller holds mu.
func (w *wheel) needed() {
	if w.count == 0 && w.watches == 0 {
		w.refresh()
	}
	if w.idle {
		w.idle = false
		w.wake <- struct{}{} // does not block: the goroutine takes it before it is idle again
	}
}

// node is the position of a connection in the wheel. The wheel's mu guards all fields
// except at, which is set before the connection is inserted. From then on the wheel's
// goroutine owns it.
type node struct {
	next, prev *Conn
	slot       int16
	linked     bool
	removed    bool          // permanently
	hastened   bool          // hasten was called while dueAt ran
	at         time.Duration // the deadline of the handshake, then the time of the next heartbeat
}

// init prepares a wheel with a precision of a sixteenth of d.
func (w *wheel) init(d time.Duration) {
	w.tick = min(max(d/16, minTick), maxTick)
	w.span = d
	w.base = time.Now()
	w.noted = -pauseSpans * d
	w.wake = make(chan struct{}, 1)
	w.quit = make(chan struct{})
	w.done = make(chan struct{})
}

func (w *wheel) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running && !w.stopped {
		w.running = true
		go w.run()
	}
}

func (w *wheel) stop() {
	w.mu.Lock()
	running := w.running
	if !w.stopped {
		w.stopped = true
		close(w.quit)
	}
	w.mu.Unlock()
	if running {
		<-w.done
	}
	w.clock.Store(math.MaxInt64 / 2) // no further tick: see passed
}

// now returns the coarse clock, which is up to one tick late.
func (w *wheel) now() int64 { return w.clock.Load() }

// add inserts c and calls it after d, its handshake deadline.
func (w *wheel) add(c *Conn, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.timer.removed {
		return
	}
	w.needed()
	c.timer.at = w.elapsed() + d
	w.insert(c, c.timer.at)
}

// reset moves c to the time d from now.
func (w *wheel) reset(c *Conn, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.timer.linked {
		w.unlink(c)
		w.insert(c, w.elapsed()+d)
	}
}

// hasten moves c to d from now, unless it is called before that.
func (w *wheel) hasten(c *Conn, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.timer.linked {
		c.timer.hastened = true
		return
	}
	when := w.elapsed() + d
	ticks := (int64(c.timer.slot) - w.at%wheelSlots + wheelSlots) % wheelSlots // until it is called
	if time.Duration(w.at+ticks)*w.tick > when {
		w.unlink(c)
		w.insert(c, when)
	}
}

// refresh sets the clock, which stops while it is unused. The caller holds mu.
func (w *wheel) refresh() {
	now := w.elapsed()
	w.clock.Store(int64(now))
	w.at = int64(now / w.tick)
}

// remove permanently removes c from the wheel.
func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.timer.removed = true
	w.unlink(c)
}

// insert puts c into the slot of the time when. The caller holds mu.
func (w *wheel) insert(c *Conn, when time.Duration) {
	tick := int64((when + w.tick - 1) / w.tick)
	tick = min(max(tick, w.at+1), w.at+wheelSlots-1)
	slot := tick % wheelSlots
	n := &c.timer
	n.slot, n.linked, n.prev, n.next = int16(slot), true, nil, w.slots[slot]
	if n.next != nil {
		n.next.timer.prev = c
	}
	w.slots[slot] = c
	w.count++
}

// unlink removes c from its slot, if it is in one. The caller holds mu.
func (w *wheel) unlink(c *Conn) {
	n := &c.timer
	if !n.linked {
		return
	}
	if n.prev != nil {
		n.prev.timer.next = n.next
	} else {
		w.slots[n.slot] = n.next
	}
	if n.next != nil {
		n.next.timer.prev = n.prev
	}
	n.linked, n.next, n.prev = false, nil, nil
	w.count--
}

func (w *wheel) run() {
	defer close(w.done)
	ticker := time.NewTicker(w.tick)
	defer ticker.Stop()
	var due []*Conn
	for {
		select {
		case <-w.quit:
			return
		case <-ticker.C:
		}
		w.mu.Lock()
		if w.count == 0 && w.watches == 0 {
			w.idle = true
			w.mu.Unlock()
			ticker.Stop()
			select {
			case <-w.quit:
				return
			case <-w.wake:
			}
			ticker.Reset(w.tick)
			continue
		}
		now := w.advance()
		w.clock.Store(int64(now))
		for last := int64(now / w.tick); w.at < last; {
			w.at++
			slot := w.at % wheelSlots
			for c := w.slots[slot]; c != nil; c = w.slots[slot] {
				w.unlink(c)
				due = append(due, c)
			}
		}
		w.mu.Unlock()
		for i, c := range due {
			due[i] = nil
			w.call(c, now)
		}
		due = due[:0]
	}
}

// call runs the due work of a connection and inserts the connection again.
func (w *wheel) call(c *Conn, now time.Duration) {
	next := c.dueAt(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	if next != 0 && !c.timer.removed && !c.timer.linked {
		if c.timer.hastened {
			next = min(next, now+ackDelay)
		}
		w.insert(c, next)
	}
	c.timer.hastened = false
}
