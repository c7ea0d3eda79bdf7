package runloop_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/runloop"
)

func hold() { time.Sleep(30 * time.Millisecond) }

type world struct{}

func (*world) tick() { time.Sleep(10 * time.Millisecond) }

// In fake time only sleeps take time, so every sum is exact.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := runloop.DefaultConfig()
		c.End = func() { time.Sleep(time.Millisecond) }
		l := runloop.New(c)
		l.Start()
		defer l.Close()
		var timer, once runloop.Timer
		l.Every(&timer, time.Second, runloop.Endless, (&world{}).tick)
		l.After(&once, 1500*time.Millisecond, hold)
		for range 3 {
			l.Invoke(hold)
		}
		l.Invoke(func() {
			l.SelfTimed()
			time.Sleep(5 * time.Millisecond)
		})
		time.Sleep(3500 * time.Millisecond)
		timer.Stop()
		load := l.Load()
		want := map[string]runloop.Usage{
			"task hold":     {Count: 3, Sum: 90 * time.Millisecond, Max: 30 * time.Millisecond},
			"timer hold":    {Count: 1, Sum: 30 * time.Millisecond, Max: 30 * time.Millisecond},
			"timer tick-fm": {Count: 3, Sum: 30 * time.Millisecond, Max: 10 * time.Millisecond},
		}
		for _, u := range load.Used {
			key := "task "
			if u.Timer {
				key = "timer "
			}
			key += u.Name[strings.LastIndexByte(u.Name, '.')+1:]
			if w := want[key]; u.Count != w.Count || u.Sum != w.Sum || u.Max != w.Max {
				t.Errorf("%s used %+v, want %+v", key, u, w)
			}
			delete(want, key)
		}
		if len(want) > 0 {
			t.Errorf("there is no usage of %v", want)
		}
		// The batch of tasks is flushed after each task, as it takes longer than a millisecond, and at its end.
		batches, flushes := time.Duration(5), time.Duration(9)
		if load.Flush != flushes*time.Millisecond {
			t.Errorf("flushes took %v in %d batches, want %v", load.Flush, batches, flushes*time.Millisecond)
		}
		if wantBusy := 155*time.Millisecond + load.Flush; load.Busy != wantBusy || load.Running != 0 {
			t.Errorf("the loop was busy for %v, and a task runs for %v; want %v and none", load.Busy, load.Running, wantBusy)
		}
	})
}

func TestLoadRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := runloop.New(runloop.DefaultConfig())
		l.Start()
		defer l.Close()
		leave := make(chan struct{})
		l.Invoke(func() { <-leave })
		time.Sleep(7 * time.Second)
		if got := l.Load(); got.Running < 7*time.Second-time.Microsecond || got.Running > 7*time.Second || got.Busy != 0 {
			t.Errorf("a task has run for %v, busy %v; want 7s and 0, because it has not ended", got.Running, got.Busy)
		}
		close(leave)
	})
}

func TestLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := runloop.New(runloop.DefaultConfig())
		l.Start()
		defer l.Close()
		labeled := func() {
			l.Label("rooms of kind ", "arena")
			hold()
		}
		var timer runloop.Timer
		l.After(&timer, time.Second, labeled)
		l.Invoke(labeled)
		l.Invoke(func() { l.Label("rooms of kind ", "arena") })
		l.Invoke(hold)
		time.Sleep(2 * time.Second)
		want := map[runloop.Usage]bool{
			{Name: "rooms of kind arena", Count: 2, Sum: 30 * time.Millisecond, Max: 30 * time.Millisecond}:                              true,
			{Name: "rooms of kind arena", Timer: true, Count: 1, Sum: 30 * time.Millisecond, Max: 30 * time.Millisecond}:                 true,
			{Name: "github.com/lonng/nano/internal/runloop_test.hold", Count: 1, Sum: 30 * time.Millisecond, Max: 30 * time.Millisecond}: true,
		}
		used := l.Load().Used
		for _, u := range used {
			if !want[u] {
				t.Errorf("used %+v, want one of %v", u, want)
			}
		}
		if len(used) != len(want) {
			t.Errorf("%d functions were used, want %d", len(used), len(want))
		}
	})
}

// A task and a timer cost no allocation for being counted.
func BenchmarkCharge(b *testing.B) {
	l := runloop.New(runloop.DefaultConfig())
	l.Start()
	defer l.Close()
	done := make(chan struct{}, 1)
	f := func() { done <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		l.Invoke(f)
		<-done
	}
}
