package nano

import (
	"strings"
	"time"

	"github.com/lonng/nano/internal/runloop"
)

// LoopStats holds how the logic goroutine has used its time since it began. If servers
// share a scheduler, each has the figures of all of them.
type LoopStats struct {
	Busy    time.Duration // time with work: messages, tasks, timers, and writing to clients
	Flush   time.Duration // part of Busy spent writing to clients
	Running time.Duration // how long the current task has run; 0 if no task runs

	// Tasks and Timers hold the time by function, such as "main.(*World).Tick", and that of
	// rooms by "rooms of kind NAME". Tasks are the functions of [Server.Invoke]. Messages
	// are in [Stats.Routes].
	Tasks, Timers map[string]TaskStats
}

// TaskStats holds the figures of one function that the logic goroutine runs.
type TaskStats struct {
	Count int64         // calls
	Sum   time.Duration // time of all calls
	Max   time.Duration // time of the longest call
}

// loopStats returns the figures of the logic goroutine.
func loopStats(l *runloop.Loop) LoopStats {
	load := l.Load()
	st := LoopStats{
		Busy: load.Busy, Flush: load.Flush, Running: load.Running,
		Tasks: map[string]TaskStats{}, Timers: map[string]TaskStats{},
	}
	for _, u := range load.Used {
		m := st.Tasks
		if u.Timer {
			m = st.Timers
		}
		name := strings.TrimSuffix(u.Name, "-fm") // of a method value
		sum := m[name]                            // instances of a generic function share a name
		m[name] = TaskStats{sum.Count + u.Count, sum.Sum + u.Sum, max(sum.Max, u.Max)}
	}
	return st
}
