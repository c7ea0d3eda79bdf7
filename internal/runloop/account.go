package runloop

import (
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
)

// Usage is how much time a function took on the loop since the loop was made.
type Usage struct {
	Name  string // of the function, or that of Label
	Timer bool   // timers called it; otherwise it was a task
	Count int64
	Sum   time.Duration
	Max   time.Duration
}

// Load is how a loop has used its time since it was made.
type Load struct {
	Busy    time.Duration // in batches, flushes included
	Flush   time.Duration // of that, in Config.Begin and Config.End
	Running time.Duration // for how long the current task has run; 0 for none
	Used    []Usage       // in no order; without the tasks that called SelfTimed
}

// account adds up the time of one function. The loop writes it; any goroutine reads it.
type account struct {
	name            string
	timer           bool
	count, sum, max atomic.Int64
}

// accountKey identifies an account.
type accountKey struct {
	code  uintptr // of the function; 0 with a label
	label string
	timer bool
}

// Label makes the time of the running task or timer count for a name, prefix and name
// together, instead of its function. Only the running task or timer may call it.
func (l *Loop) Label(prefix, name string) { l.prefix, l.label = prefix, name }

// charge adds the time of one call of f. Only the loop calls it. It reads no clock: the
// loop measures each task and timer anyway.
func (l *Loop) charge(f func(), timer bool, took time.Duration) {
	key := accountKey{label: l.label, timer: timer}
	if l.label == "" {
		key.code = reflect.ValueOf(f).Pointer()
	}
	a := l.accounts[key] // only this goroutine writes the map, so it reads without mu
	if a == nil {
		a = &account{name: l.prefix + l.label, timer: timer}
		if l.label == "" {
			a.name = taskName(f)
		}
		l.mu.Lock()
		if l.accounts == nil {
			l.accounts = map[accountKey]*account{}
		}
		l.accounts[key] = a
		l.mu.Unlock()
	}
	a.count.Add(1)
	a.sum.Add(int64(took))
	if int64(took) > a.max.Load() {
		a.max.Store(int64(took))
	}
}

// Load returns how the loop has used its time. The time of a batch counts when the batch
// ends, that of a task when the task ends.
func (l *Loop) Load() Load {
	load := Load{Busy: time.Duration(l.busyTime.Load()), Flush: time.Duration(l.flushTime.Load())}
	if began := l.busy.Load(); began != 0 {
		load.Running = max(l.now()-time.Duration(began), 0)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	load.Used = make([]Usage, 0, len(l.accounts))
	for _, a := range l.accounts {
		load.Used = append(load.Used, Usage{
			Name: a.name, Timer: a.timer, Count: a.count.Load(), Sum: time.Duration(a.sum.Load()), Max: time.Duration(a.max.Load()),
		})
	}
	return load
}

// Stack returns the stack of the loop's goroutine. It stops all goroutines meanwhile.
func (l *Loop) Stack() string { return l.goid.Stack() }

// taskName returns the name of a function.
func taskName(f func()) string {
	if f := runtime.FuncForPC(reflect.ValueOf(f).Pointer()); f != nil {
		return f.Name()
	}
	return "unknown"
}
