package runloop

import (
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Usage is how much time a function took on the loop since the loop was made.
type Usage struct {
	Name  string // name of the function, or the name given to Label
	Timer bool   // called by timers; false for tasks
	Count int64
	Sum   time.Duration
	Max   time.Duration
}

// Load is how a loop has used its time since it was made.
type Load struct {
	Busy    time.Duration // time in batches, including flushes
	Flush   time.Duration // part of Busy in Config.End, and in Config.Begin in the middle of a batch
	Running time.Duration // for how long the current task has run; 0 for none
	Used    []Usage       // in no particular order; without tasks that called SelfTimed
}

// account adds up the time of one function. The loop writes it; any goroutine reads it.
type account struct {
	name            string
	timer           bool
	count, sum, max atomic.Int64
}

// add adds the time of one call. Only the loop calls it.
func (a *account) add(took time.Duration) {
	a.count.Add(1)
	a.sum.Add(int64(took))
	if int64(took) > a.max.Load() {
		a.max.Store(int64(took))
	}
}

// accounts are the accounts of a loop. Only the loop's goroutine uses the maps and last;
// any goroutine reads the list.
type accounts struct {
	tasks, timers map[uintptr]*account // by the code of the function
	labels        [2]map[string]*account
	last          struct { // the task that ran last, as tasks often repeat
		code    uintptr
		account *account
	}

	mu   sync.Mutex
	list []*account // mu guards it
}

// Label makes the time of the running task or timer count for a name, prefix and name
// together, instead of its function. Only the running task or timer may call it.
func (l *Loop) Label(prefix, name string) { l.prefix, l.label = prefix, name }

// chargeTask adds the time of a task. It reads no clock: the loop measures each task and
// timer anyway.
func (l *Loop) chargeTask(f func(), took time.Duration) {
	a := &l.accounts
	if l.label != "" {
		l.chargeLabel(false, took)
		return
	}
	code := reflect.ValueOf(f).Pointer()
	if code != a.last.code {
		if a.tasks == nil {
			a.tasks = map[uintptr]*account{}
		}
		if a.tasks[code] == nil {
			a.tasks[code] = a.open(taskName(f), false)
		}
		a.last.code, a.last.account = code, a.tasks[code]
	}
	a.last.account.add(took)
}

// chargeTimer adds the time of a call of a timer.
func (l *Loop) chargeTimer(t *Timer, took time.Duration) {
	a := &l.accounts
	if l.label != "" {
		l.chargeLabel(true, took)
		return
	}
	if t.account == nil {
		code := reflect.ValueOf(t.f).Pointer()
		if a.timers == nil {
			a.timers = map[uintptr]*account{}
		}
		if a.timers[code] == nil {
			a.timers[code] = a.open(taskName(t.f), true)
		}
		t.account = a.timers[code]
	}
	t.account.add(took)
}

// chargeLabel adds the time of a task or timer that called Label.
func (l *Loop) chargeLabel(timer bool, took time.Duration) {
	labels := &l.accounts.labels[0]
	if timer {
		labels = &l.accounts.labels[1]
	}
	if *labels == nil {
		*labels = map[string]*account{}
	}
	a := (*labels)[l.label]
	if a == nil {
		a = l.accounts.open(l.prefix+l.label, timer)
		(*labels)[l.label] = a
	}
	a.add(took)
}

// open makes an account.
func (a *accounts) open(name string, timer bool) *account {
	opened := &account{name: name, timer: timer}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, opened)
	return opened
}

// Load returns how the loop has used its time. The time of a batch counts when the batch
// ends, that of a task when the task ends.
func (l *Loop) Load() Load {
	load := Load{Busy: time.Duration(l.busyTime.Load()), Flush: time.Duration(l.flushTime.Load())}
	if began := l.busy.Load(); began != 0 {
		load.Running = max(l.now()-time.Duration(began), 0)
	}
	l.accounts.mu.Lock()
	defer l.accounts.mu.Unlock()
	load.Used = make([]Usage, 0, len(l.accounts.list))
	for _, a := range l.accounts.list {
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
