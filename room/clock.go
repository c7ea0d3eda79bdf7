package room

import (
	"container/heap"
	"time"
)

// timer is a function to be called later.
type timer struct {
	at  time.Duration // time on the room's clock
	seq uint64        // order of timers with equal times
	f   func()        // nil after the timer was canceled or has run
}

func (t *timer) stop() {
	if t != nil {
		t.f = nil
	}
}

// now reads the clock of the room.
func (c *core) now() time.Duration {
	c.clock = time.Since(c.base)
	return c.clock
}

// after schedules f after d on the room's clock.
func (c *core) after(d time.Duration, f func()) (cancel func()) {
	return c.newTimer(d, f).stop
}

func (c *core) newTimer(d time.Duration, f func()) *timer {
	if !c.ticking {
		c.now()
	}
	c.timerID++
	t := &timer{at: c.clock + max(d, 0), seq: c.timerID, f: f}
	heap.Push(&c.timers, t)
	if c.dt == 0 {
		c.setAlarm()
	}
	return t
}

// setAlarm schedules wake for the next tick, or for the next timer of a room without
// ticks.
func (c *core) setAlarm() {
	if c.closed || c.ticking || c.parked != nil {
		return
	}
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	at := c.next
	if c.dt == 0 {
		if len(c.timers) == 0 {
			return
		}
		at = c.timers[0].at
	}
	c.alarm = c.sched.NewAfterTimer(max(at-time.Since(c.base), time.Nanosecond), c.wake)
}

// wake runs due ticks and timers.
func (c *core) wake() {
	if c.closed || c.parked != nil {
		return
	}
	c.alarm = nil
	c.labelTime()
	now := c.now()
	if c.dt == 0 {
		c.fire(now)
		c.stats.took(time.Since(c.base) - now)
		c.touch()
		c.setAlarm()
		return
	}
	if now >= c.next {
		due := int((now-c.next)/c.dt) + 1
		run := min(due, 1+c.kind.options.catchUp)
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
		c.stats.skipped.Add(int64(due - run))
		c.next += time.Duration(due-run) * c.dt
	}
	c.setAlarm()
}

// fire runs due timers, without those that they start. It returns false if one panicked.
func (c *core) fire(now time.Duration) (ok bool) {
	ok = true
	last := c.timerID
	for len(c.timers) > 0 && c.timers[0].at <= now && c.timers[0].seq <= last && !c.closed {
		t := heap.Pop(&c.timers).(*timer)
		if f := t.f; f != nil {
			t.f = nil
			ok = c.call("After", f) && ok
		}
	}
	return ok
}

// tick runs one tick: timers, inputs, Tick, and the flush.
func (c *core) tick() {
	began := time.Now()
	c.ticking = true
	c.ticks++
	c.stats.ticks.Add(1)
	ok := c.fire(c.clock)
	for _, p := range c.players {
		ok = c.runInputs(p) && ok
	}
	if c.ticker != nil && !c.closed {
		ok = c.call("Tick", c.ticker.Tick) && ok
	}
	c.ticking = false
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

// runInputs runs the queued inputs of a player. It returns false if one panicked.
func (c *core) runInputs(p *Player) (ok bool) {
	ok = true
	inputs := p.inputs
	p.inputs = nil
	for _, in := range inputs {
		if c.closed || p.why != nil || p.dropped {
			return ok
		}
		ok = c.call("input", func() { c.runInput(p, in) }) && ok
		p.acked = max(p.acked, in.seq)
		p.view.Ack(in.seq)
	}
	return ok
}

// touch schedules a flush at the end of this batch for a room without a tick rate.
func (c *core) touch() {
	if c.dt > 0 || c.pending || c.closed {
		return
	}
	c.pending = true
	c.sched.Invoke(func() {
		c.pending = false
		c.labelTime()
		if !c.closed && c.parked == nil {
			began := time.Now()
			c.flush(c.sentAt + 1)
			c.stats.took(time.Since(began))
		}
	})
}

// timers is a heap ordered by time, then by age.
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
