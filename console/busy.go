package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lonng/nano"
)

const (
	busyWindow = 2           // intervals that make the last ten seconds
	stuckAfter = time.Second // a task that runs for longer is shown with its stack
)

// user is a route, function or other work that took time of the logic goroutine.
type user struct {
	Kind  string  `json:"kind"`  // "route", "timer", "task", "flush" or "other"
	Name  string  `json:"name"`  // a route or a function; empty for "flush" and "other"
	Count int64   `json:"count"` // calls in the window
	Time  float64 `json:"time"`  // seconds in the window
	Load  float64 `json:"load"`  // share of the window, 0 to 1
	Mean  float64 `json:"mean"`  // seconds a call; 0 without calls
}

type busyPage struct {
	Time    time.Time `json:"time"`
	Window  float64   `json:"window"`  // seconds: ten, fewer at the start
	Busy    *float64  `json:"busy"`    // share of the window, 0 to 1; null at the start
	Running float64   `json:"running"` // seconds for which one task has run now; 0 for none
	Stack   string    `json:"stack"`   // stack of the logic goroutine if the task has run for more than a second
	Users   []user    `json:"users"`   // those with the most time first
}

// stuckStack is the stack of the logic goroutine at the time of a sample. It is taken once,
// because that stops the process for a moment.
type stuckStack struct {
	mu   sync.Mutex // guards the fields below
	time time.Time
	text string
}

// at returns the stack of the sample that was taken at t.
func (s *stuckStack) at(t time.Time, take func() string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.time.Equal(t) {
		s.time, s.text = t, take()
	}
	return s.text
}

// busy serves how the logic goroutine used the last ten seconds.
func (h *handler) busy(w http.ResponseWriter, _ *http.Request) {
	first, last := h.sampler.last(busyWindow)
	p := busyPage{Time: last.time, Window: last.time.Sub(first.time).Seconds(), Running: last.stats.Loop.Running.Seconds()}
	p.Users = usersOf(&first.stats, &last.stats, p.Window)
	if p.Window > 0 {
		p.Busy = new((last.stats.Loop.Busy - first.stats.Loop.Busy).Seconds() / p.Window)
	}
	if last.stats.Loop.Running > stuckAfter {
		p.Stack = h.stuck.at(last.time, func() string { return h.inside.StuckStack(stuckAfter) })
	}
	reply(w, p)
}

// usersOf returns the users of the time between two samples, which are the given seconds
// apart.
func usersOf(first, last *nano.Stats, seconds float64) []user {
	list := []user{}
	left := last.Loop.Busy - first.Loop.Busy // busy time that is not in the list yet
	add := func(kind, name string, count int64, sum time.Duration) {
		if sum <= 0 || seconds <= 0 {
			return
		}
		left -= sum
		u := user{Kind: kind, Name: name, Count: count, Time: sum.Seconds(), Load: sum.Seconds() / seconds}
		if count > 0 {
			u.Mean = u.Time / float64(count)
		}
		list = append(list, u)
	}
	for name, s := range last.Routes {
		if before := first.Routes[name]; s.Scheduler == "" {
			add("route", name, s.Count-before.Count, s.Sum-before.Sum)
		}
	}
	for name, s := range last.Loop.Timers {
		before := first.Loop.Timers[name]
		add("timer", name, s.Count-before.Count, s.Sum-before.Sum)
	}
	for name, s := range last.Loop.Tasks {
		before := first.Loop.Tasks[name]
		add("task", name, s.Count-before.Count, s.Sum-before.Sum)
	}
	add("flush", "", 0, last.Loop.Flush-first.Loop.Flush)
	add("other", "", 0, left)
	slices.SortFunc(list, func(a, b user) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return list
}
