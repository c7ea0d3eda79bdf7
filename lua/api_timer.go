package lua

import (
	"math"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano/scheduler"
)

// timer is a timer of the script.
type timer struct {
	t       *scheduler.Timer
	owner   *version // version whose function it calls; nil for a name
	left    int      // calls that are left; below 0 without end
	stopped bool
}

// stop ends the timer.
func (t *timer) stop() {
	t.stopped = true
	t.t.Stop()
	if t.owner != nil {
		delete(t.owner.timers, t)
	}
}

// seconds returns an argument as a duration. An interval is 1 ms or more.
func seconds(l *glua.LState, n int, least time.Duration) time.Duration {
	f := float64(l.CheckNumber(n))
	if math.IsNaN(f) || f > 1e9 || f < least.Seconds() {
		l.ArgError(n, "want seconds, from "+least.String()+" to 1e9 s")
	}
	return time.Duration(f * float64(time.Second))
}

// newTimer makes a timer of a callback, which start arms. The arguments of the callback follow
// argument n of the script. If owned is true, the timer ends with this version even if the
// callback is a name.
func (v *vm) newTimer(l *glua.LState, n, count int, owned bool, start func(*scheduler.Scheduler, scheduler.TimerFunc) *scheduler.Timer) int {
	c := v.callback(l, n)
	t := &timer{left: count}
	if owned || c.function != nil {
		t.owner = v.current
		t.owner.timers[t] = struct{}{}
	}
	if v.made != nil {
		v.made = append(v.made, t)
	}
	var args []glua.LValue
	for i := n + 1; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	t.t = start(v.server.Scheduler(), func() {
		if t.stopped {
			return
		}
		if t.left--; t.left == 0 {
			t.stop()
		}
		v.run("a timer", c, args...)
	})
	l.Push(v.value(t, v.types.timer))
	return 1
}

// after implements nano.after(seconds, callback, ...).
func (v *vm) after(l *glua.LState) int {
	v.ready(l)
	d := seconds(l, 1, 0)
	return v.newTimer(l, 2, 1, false, func(s *scheduler.Scheduler, f scheduler.TimerFunc) *scheduler.Timer {
		return s.NewAfterTimer(d, f)
	})
}

// every implements nano.every(seconds, callback, ...).
func (v *vm) every(l *glua.LState) int {
	v.ready(l)
	d := seconds(l, 1, time.Millisecond)
	return v.newTimer(l, 2, -1, false, func(s *scheduler.Scheduler, f scheduler.TimerFunc) *scheduler.Timer {
		return s.NewTimer(d, f)
	})
}

// times implements nano.times(seconds, count, callback, ...).
func (v *vm) times(l *glua.LState) int {
	v.ready(l)
	d, count := seconds(l, 1, time.Millisecond), integer(l, 2, 0)
	if count < 1 {
		l.ArgError(2, "want 1 or more")
	}
	return v.newTimer(l, 3, count, false, func(s *scheduler.Scheduler, f scheduler.TimerFunc) *scheduler.Timer {
		return s.NewCountTimer(d, count, f)
	})
}

// condition is a function of the script that decides whether a timer fires.
type condition func() bool

// Check calls the function.
func (c condition) Check(time.Time) bool { return c() }

// when implements nano.when(condition, callback, ...).
func (v *vm) when(l *glua.LState) int {
	v.ready(l)
	asks := v.callback(l, 1)
	check := condition(func() bool {
		f := asks.function
		if f == nil {
			f = v.current.function(asks.name)
		}
		if f == nil {
			return false
		}
		picked, _, err := v.call(f, 1)
		if err != nil {
			v.log.Error("nano: script failed", "in", "a condition", "error", err)
			return false
		}
		return glua.LVAsBool(picked)
	})
	return v.newTimer(l, 2, -1, asks.function != nil, func(s *scheduler.Scheduler, f scheduler.TimerFunc) *scheduler.Timer {
		return s.NewCondTimer(check, f)
	})
}

// invoke implements nano.invoke(callback, ...): the callback is a task of its own, after those
// that wait.
func (v *vm) invoke(l *glua.LState) int {
	v.ready(l)
	c := v.callback(l, 1)
	var args []glua.LValue
	for i := 2; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	return v.result(l, v.queue(func() { v.run("a task", c, args...) }))
}

func (v *vm) timerStop(l *glua.LState) int {
	as[*timer](l, 1, "timer").stop()
	return 0
}

func (v *vm) timerID(l *glua.LState) int {
	l.Push(id(as[*timer](l, 1, "timer").t.ID()))
	return 1
}
