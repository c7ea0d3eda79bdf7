package agent

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// waiting is a connection whose handshake deadline is registered with the wheel.
func waiting(h *Hub) *Conn {
	c, _ := h.newConn(&script{}, nil, false)
	go func() {
		<-c.closed()
		c.finishReading(io.EOF)
	}()
	return c
}

// closed returns a channel that is closed when the session closes.
func (c *Conn) closed() <-chan struct{} { return c.agent.Load().session.Context().Done() }

// isClosed reports whether the session is closed.
func (c *Conn) isClosed() bool { return c.agent.Load().flags.has(flagClosed) }

func TestWheelCallsInTime(t *testing.T) {
	for _, tick := range []time.Duration{minTick, 20 * time.Millisecond, maxTick} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, func(c *Config) { c.HandshakeTimeout = 16 * tick })
			if h.wheel.tick != tick {
				t.Fatalf("tick %v, want %v", h.wheel.tick, tick)
			}
			// The durations are shorter than a tick, one turn of the wheel, and longer
			// than a turn.
			for _, d := range []time.Duration{1, tick / 2, tick, 3 * tick, 255 * tick, 256 * tick, 257*tick + 1, 1000 * tick} {
				a := waiting(h)
				start := time.Now()
				h.wheel.add(a, d)
				<-a.closed()
				if took := time.Since(start); took < d || took > d+2*tick {
					t.Errorf("tick %v: a deadline of %v came after %v", tick, d, took)
				}
			}
		})
	}
}

func TestWheelManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		const n = 1000
		agents := make([]*Conn, n)
		start := time.Now()
		for i := range agents {
			agents[i] = waiting(h)
			h.wheel.add(agents[i], time.Duration(i)*10*time.Millisecond)
		}
		for i := 0; i < n; i += 3 {
			h.wheel.remove(agents[i])
		}
		for i := 1; i < n; i += 3 {
			h.wheel.reset(agents[i], time.Minute)
		}
		for i := 2; i < n; i += 3 {
			<-agents[i].closed()
			want := time.Duration(i) * 10 * time.Millisecond
			if took := time.Since(start); took < want || took > want+2*h.wheel.tick {
				t.Fatalf("agent %d was due after %v, and called after %v", i, want, took)
			}
		}
		for i := 1; i < n; i += 3 {
			if agents[i].isClosed() {
				t.Fatalf("agent %d was moved to a minute later, and called after %v", i, time.Since(start))
			}
		}
		for i := 1; i < n; i += 3 {
			<-agents[i].closed()
		}
		if took := time.Since(start); took < time.Minute || took > time.Minute+2*h.wheel.tick {
			t.Errorf("agents that were moved to a minute later were called after %v", took)
		}
		time.Sleep(time.Minute)
		for i := 0; i < n; i += 3 {
			if agents[i].isClosed() {
				t.Fatalf("agent %d was removed, and called", i)
			}
			h.wheel.add(agents[i], time.Second)
		}
		time.Sleep(time.Minute)
		for i, a := range agents {
			if i%3 == 0 && a.isClosed() {
				t.Fatalf("agent %d was removed for good, and called", i)
			}
			_ = a.agent.Load().Close()
		}
		if h.wheel.count != 0 {
			t.Errorf("%d agents hang in the wheel, want none", h.wheel.count)
		}
	})
}

// TestWheelIdle checks that the wheel stops while it is empty, and is exact for the next
// deadline.
func TestWheelIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		for range 3 {
			time.Sleep(time.Hour + 77*time.Millisecond)
			synctest.Wait()
			h.wheel.mu.Lock()
			idle := h.wheel.idle
			h.wheel.mu.Unlock()
			if !idle {
				t.Fatal("the wheel turns, want it to stand still while it is empty")
			}
			a := waiting(h)
			start := time.Now()
			h.wheel.add(a, time.Second)
			<-a.closed()
			if took := time.Since(start); took < time.Second || took > time.Second+2*h.wheel.tick {
				t.Errorf("a deadline of a second came after %v", took)
			}
		}
	})
}

// TestWheelPauses checks that the clock excludes exactly the time in which the process
// did not run.
func TestWheelPauses(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name  string
		ticks []time.Duration // between one tick and the next
		want  time.Duration   // time that the clock excludes
	}{
		{"in time", []time.Duration{second / 4, second / 4, second / 4}, 0},
		{"two ticks late", []time.Duration{3 * second / 4, 3 * second / 4}, 0},
		{"a pause", []time.Duration{second / 4, 100 * second, second / 4}, 100*second - second/4},
		{"two pauses", []time.Duration{100 * second, 50 * second}, 150*second - 2*second/4},
		{"overload", []time.Duration{second, second, second, second, second, second, second, second}, second * 3 / 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w wheel
				w.init(30 * second)
				for _, d := range c.ticks {
					time.Sleep(d)
					w.clock.Store(int64(w.advance()))
				}
				if got := time.Duration(w.paused.Load()); got != c.want {
					t.Errorf("the clock leaves out %v, want %v", got, c.want)
				}
			})
		})
	}
}

// TestWheelHastenDuringCall checks that a connection that is hastened while the wheel
// calls it is called again soon.
func TestWheelHastenDuringCall(t *testing.T) {
	h := newHost(t, nil)
	var w wheel
	w.init(time.Minute)
	c := &Conn{hub: h}
	c.agent.Store(newAgent(h))
	c.timer.at = 20 * time.Second // of the handshake: the next call
	for _, hastened := range []bool{false, true, false} {
		if hastened {
			w.hasten(c, ackDelay)
		}
		w.call(c, 0)
		ticks := (int64(c.timer.slot) - w.at%wheelSlots + wheelSlots) % wheelSlots
		if got := time.Duration(ticks) * w.tick; hastened && got > ackDelay+2*w.tick || !hastened && got < 19*time.Second {
			t.Errorf("hastened %v: called after %v", hastened, got)
		}
		w.mu.Lock()
		w.unlink(c)
		w.mu.Unlock()
	}
}
