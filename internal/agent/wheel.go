package agent

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// wheel calls connections when their deadlines come, and keeps a coarse clock. One
// goroutine serves all of a server's connections, where a ticker for each would cost
// memory and wake-ups. It is a hashed timing wheel: a connection is in the slot of the
// tick at which it is due, or in an earlier one if that is more than a turn away.
type wheel struct {
	tick  time.Duration
	span  time.Duration // of which the tick is a part
	base  time.Time
	clock atomic.Int64 // time since base, at the last tick

	paused atomic.Int64  // how long the process did not run, as far as the clock leaves that out
	noted  time.Duration // when paused has grown last, since base; it belongs to the wheel's goroutine

	mu      sync.Mutex
	slots   [wheelSlots]*Conn // heads of lists; mu guards it and what follows
	at      int64             // the last tick that was served
	count   int
	watches int  // of the clock, see watch
	idle    bool // nobody needs the clock, and the wheel's goroutine waits on wake
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

	// pauseSpans is how many spans lie between two pauses of less than a span.
	pauseSpans = 4
)

// elapsed is the time since base without pauses.
func (w *wheel) elapsed() time.Duration {
	return time.Since(w.base) - time.Duration(w.paused.Load())
}

// advance returns the time of a tick. If the tick comes more than two ticks late, the
// process did not run: readers had no chance to see what clients have sent, and the clock
// leaves the excess out. A server that is merely overloaded has late ticks all the time:
// of them the clock leaves out one in four spans.
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

// passed is elapsed as far as the ticks are certain of it: the pause that ends just now is
// left out before a tick has noted it. It needs a clock that runs.
func (w *wheel) passed() time.Duration {
	return min(w.elapsed(), time.Duration(w.clock.Load())+3*w.tick)
}

// left returns how long to wait for a moment before asking again, a tick at least; 0 if it
// has passed. It needs a clock that runs, or the wheel has stopped.
func (w *wheel) left(until time.Duration) time.Duration {
	d := until - w.passed()
	if d <= 0 {
		return 0
	}
	return max(d, w.tick)
}

// lost returns for how long the process did not run. It needs a clock that runs.
func (w *wheel) lost() time.Duration { return time.Since(w.base) - w.passed() }

// watch keeps the clock running until unwatch is called, though the wheel may be empty.
func (w *wheel) watch() {
	w.mu.Lock()
	w.needed()
	w.watches++
	w.unlockAwake()
}

// unwatch ends what watch began.
func (w *wheel) unwatch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches--
}

// needed is called before the clock is needed for one thing more. The caller holds mu.
func (w *wheel) needed() {
	if w.count == 0 && w.watches == 0 {
		w.refresh()
	}
}

// unlockAwake releases mu, and wakes the wheel's goroutine if that waits.
func (w *wheel) unlockAwake() {
	wake := w.idle
	w.idle = false
	w.mu.Unlock()
	if wake {
		w.wake <- struct{}{}
	}
}

// node is the place of a connection in the wheel. The wheel's mu guards all fields but
// at: it is set before the connection is inserted, and belongs to the wheel's goroutine
// from then on.
type node struct {
	next, prev *Conn
	slot       int16
	linked     bool
	removed    bool          // for good
	at         time.Duration // the deadline of the handshake, then when the next heartbeat goes out
}

// init prepares a wheel that is to be exact to a sixteenth of d.
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
	w.clock.Store(math.MaxInt64 / 2) // no tick comes any more: see passed
}

// now is the coarse clock: up to a tick late.
func (w *wheel) now() int64 { return w.clock.Load() }

// add inserts c, which is called after d, its deadline for the handshake.
func (w *wheel) add(c *Conn, d time.Duration) {
	w.mu.Lock()
	if c.timer.removed {
		w.mu.Unlock()
		return
	}
	w.needed()
	c.timer.at = w.elapsed() + d
	w.insert(c, c.timer.at)
	w.unlockAwake()
}

// reset moves c to d from now.
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
		return
	}
	when := w.elapsed() + d
	ticks := (int64(c.timer.slot) - w.at%wheelSlots + wheelSlots) % wheelSlots // until it is called
	if time.Duration(w.at+ticks)*w.tick > when {
		w.unlink(c)
		w.insert(c, when)
	}
}

// refresh sets the clock, which stood still while nobody needed it. The caller holds
// mu.
func (w *wheel) refresh() {
	now := w.elapsed()
	w.clock.Store(int64(now))
	w.at = int64(now / w.tick)
}

// remove takes c out of the wheel for good.
func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.timer.removed = true
	w.unlink(c)
}

// insert puts c into the slot for a moment; the caller holds mu.
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

// unlink takes c out of its slot, if it is in one; the caller holds mu.
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

// call lets a connection do what is due and inserts it again.
func (w *wheel) call(c *Conn, now time.Duration) {
	next := c.dueAt(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	if next != 0 && !c.timer.removed && !c.timer.linked {
		w.insert(c, next)
	}
}
