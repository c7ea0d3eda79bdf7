package dispatch_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// TestOrderAcrossSchedulers checks that messages for several schedulers run one at a
// time, in the order sent, each on its scheduler.
func TestOrderAcrossSchedulers(t *testing.T) {
	const n = 600
	red, blue := scheduler.New(), scheduler.New()
	defer red.Close()
	defer blue.Close()
	var b *bed
	var inside atomic.Int32
	var order []string // not guarded, so the race detector finds handlers that overlap
	seat := func(name string, where func() *scheduler.Scheduler) *desk {
		return &desk{raw: func(_ *session.Session, data []byte) error {
			if inside.Add(1) != 1 {
				t.Errorf("handler %s %s runs beside another one of its session", name, data)
			}
			if !running(where()) {
				t.Errorf("handler %s %s runs elsewhere, want it on its scheduler", name, data)
			}
			order = append(order, name+" "+string(data))
			runtime.Gosched()
			inside.Add(-1)
			return nil
		}}
	}
	comps := with("main", seat("main", func() *scheduler.Scheduler { return b.sched }))
	comps = on(append(comps, with("red", seat("red", func() *scheduler.Scheduler { return red }))...), "table")
	comps = on(append(comps, with("blue", seat("blue", func() *scheduler.Scheduler { return blue }))...), "room")
	b = newBed(t, nil, comps...)
	defer b.sched.Close()
	b.session.Set("table", red)
	b.session.Set("room", blue)
	names := []string{"main", "red", "blue"}
	var want []string
	for i := 0; i < n; {
		var list []*message.Message
		for range 1 + i%7 {
			name := names[(i*i/3+i)%3]
			list = append(list, notify(name+".Raw", fmt.Sprint(i)))
			want = append(want, fmt.Sprint(name, " ", i))
			i++
		}
		b.send(list...)
	}
	done := make(chan struct{})
	b.box.Seal(func() { close(done) })
	<-done
	if len(order) != len(want) {
		t.Fatalf("%d messages ran, want %d", len(order), len(want))
	}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("message %d = %q, want %q", i, order[i], want[i])
		}
	}
	if e := b.entity; e.holds != 0 || e.mostHolds != 1 || e.held == 0 {
		t.Errorf("%d holds were not released, %d at once, %d in all, want 0, 1 at once, and some", e.holds, e.mostHolds, e.held)
	}
}

// TestSchedulerChangesOnTheWay checks that messages that wait move to another scheduler
// if a handler changes the scheduler of the session.
func TestSchedulerChangesOnTheWay(t *testing.T) {
	var steps trace
	synctest.Test(t, func(t *testing.T) {
		red, blue := scheduler.New(), scheduler.New()
		defer red.Close()
		defer blue.Close()
		where := func() string {
			switch {
			case running(red):
				return "red"
			case running(blue):
				return "blue"
			}
			return "main"
		}
		move := &desk{raw: func(s *session.Session, data []byte) error {
			steps.add("%s on %s", data, where())
			switch string(data) {
			case "to red":
				s.Set("table", red)
			case "to blue":
				s.Set("table", blue)
			case "nowhere":
				s.Remove("table")
			}
			return nil
		}}
		comps := on(append(with("main", move), with("table", move)...), "table")
		b := newBed(t, nil, comps...)
		defer b.sched.Close()
		b.send(request(1, "table.Raw", "lost"), request(2, "main.Raw", "to red"), request(3, "table.Raw", "a"),
			request(4, "table.Raw", "to blue"), request(5, "table.Raw", "b"), request(6, "table.Raw", "nowhere"),
			request(7, "table.Raw", "lost"), request(8, "main.Raw", "c"))
		synctest.Wait()
		steps.expect(t, "to red on main", "a on red", "to blue on red", "b on blue", "nowhere on blue", "c on main")
		b.failed(1, "NANO-500: internal error")
		b.failed(7, "NANO-500: internal error")
		b.logged(`under the key \"table\"`, 2)
		b.counted(0, 2, 0)
	})
}

// These are schedulers as programs implement them.
type (
	// lane runs tasks on its own goroutine.
	lane struct {
		tasks chan scheduler.Task
		done  chan struct{}
	}
	// lanes is a scheduler type whose values are not comparable.
	lanes []*lane
	// odd is a comparable type with a value that is not comparable.
	odd struct {
		*lane
		tags any
	}
	// inline runs a task at once.
	inline struct{ n *int }
	// hall is a room with a scheduler.
	hall struct {
		*scheduler.Scheduler
		name string
	}
	// ruin is a closed scheduler that panics.
	ruin struct{}
)

func newLane() *lane {
	l := &lane{make(chan scheduler.Task, 100), make(chan struct{})}
	go func() {
		defer close(l.done)
		for t := range l.tasks {
			t()
		}
	}()
	return l
}

func (l *lane) Schedule(t scheduler.Task) { l.tasks <- t }
func (l *lane) close()                    { close(l.tasks); <-l.done }
func (l lanes) Schedule(t scheduler.Task) { l[0].Schedule(t) }
func (i inline) Schedule(t scheduler.Task) {
	*i.n++
	t()
}
func (ruin) Schedule(scheduler.Task) { panic("this room is in ruins") }

func TestSchedulersOfPrograms(t *testing.T) {
	for name, build := range map[string]func() (scheduler.LocalScheduler, func()){
		"a goroutine":       func() (scheduler.LocalScheduler, func()) { l := newLane(); return l, l.close },
		"not comparable":    func() (scheduler.LocalScheduler, func()) { l := newLane(); return lanes{l}, l.close },
		"comparable, or so": func() (scheduler.LocalScheduler, func()) { l := newLane(); return odd{l, []int{1}}, l.close },
		"at once":           func() (scheduler.LocalScheduler, func()) { return inline{new(int)}, func() {} },
		"embedded": func() (scheduler.LocalScheduler, func()) {
			s := scheduler.New()
			return &hall{s, "hall"}, s.Close
		},
	} {
		t.Run(name, func(t *testing.T) {
			var steps trace
			comps := append(with("main", tracing(&steps, "main")), with("room", tracing(&steps, "room"))...)
			inBed(t, nil, on(comps, "room"), func(b *bed) {
				l, end := build()
				defer end()
				b.session.Set("room", l)
				b.send(notify("room.Raw", "1"), notify("room.Raw", "2"), notify("main.Raw", "3"), notify("room.Raw", "4"))
				b.send(notify("room.Raw", "5"), notify("main.Raw", "6"))
				b.box.Seal(func() {
					steps.add("last, on main %v", b.loop.Running())
				})
				synctest.Wait()
				steps.expect(t, "room 1", "room 2", "main 3", "room 4", "room 5", "main 6", "last, on main true")
				b.counted(0, 0, 0)
				if b.entity.holds != 0 {
					t.Errorf("%d holds were not released, want 0", b.entity.holds)
				}
			})
		})
	}
}

// TestSchedulersThatHaveEnded checks that a message for a closed scheduler is answered
// with an error, and that the session continues.
func TestSchedulersThatHaveEnded(t *testing.T) {
	closed := func() *scheduler.Scheduler {
		s := scheduler.New()
		s.Close()
		return s
	}
	for name, build := range map[string]func() any{
		"none":     func() any { return nil },
		"no such":  func() any { return "a string" },
		"closed":   func() any { return closed() },
		"embedded": func() any { return &hall{closed(), "hall"} },
		"panics":   func() any { return ruin{} },
	} {
		t.Run(name, func(t *testing.T) {
			var steps trace
			comps := append(with("main", tracing(&steps, "main")), with("room", tracing(&steps, "room"))...)
			comps = on(append(on(comps, "room"), with("other", tracing(&steps, "other"))...), "other")
			inBed(t, nil, comps, func(b *bed) {
				b.session.Set("room", build())
				other := scheduler.New()
				defer other.Close()
				b.session.Set("other", other)
				b.send(request(1, "room.Raw", "lost"), request(2, "room.Raw", "lost"), request(3, "main.Raw", "a"),
					request(4, "room.Raw", "lost"), request(5, "other.Raw", "b"), request(6, "room.Raw", "lost"))
				b.send(notify("room.Raw", "lost"), request(7, "main.Raw", "c"))
				b.box.Seal(func() { steps.add("last, on main %v", b.loop.Running()) })
				synctest.Wait()
				steps.expect(t, "main a", "other b", "main c", "last, on main true")
				for id, want := range map[uint64]string{1: "NANO-500", 2: "NANO-500", 3: "", 4: "NANO-500", 5: "", 6: "NANO-500", 7: ""} {
					b.failed(id, want)
				}
				b.logged(`under the key \"room\"`, 5)
				if c := &b.Counts; c.Dropped.Load() != 1 || c.Failed.Load() != 4 {
					t.Errorf("%d dropped and %d failed counted, want 1 and 4", c.Dropped.Load(), c.Failed.Load())
				}
				b.called("room.Raw", 0)
			})
		})
	}
}

// TestSchedulerClosesUnderWay checks that a scheduler that closes runs the messages it
// accepted. Messages behind them are answered with an error.
func TestSchedulerClosesUnderWay(t *testing.T) {
	var steps trace
	synctest.Test(t, func(t *testing.T) {
		room := scheduler.New()
		d := &desk{raw: func(_ *session.Session, data []byte) error {
			steps.add("room %s", data)
			if string(data) == "2" {
				room.Close()
			}
			return nil
		}}
		main := &desk{raw: func(_ *session.Session, data []byte) error {
			room.Close() // waits until the room has closed
			steps.add("main %s", data)
			return nil
		}}
		comps := on(append(with("main", main), with("room", d)...), "room")
		b := newBed(t, nil, comps...)
		defer b.sched.Close()
		b.session.Set("room", room)
		b.send(request(1, "room.Raw", "1"), request(2, "room.Raw", "2"), request(3, "room.Raw", "3"),
			request(4, "main.Raw", "4"), request(5, "room.Raw", "5"))
		synctest.Wait()
		steps.expect(t, "room 1", "room 2", "room 3", "main 4")
		b.failed(3, "")
		b.failed(5, "NANO-500")
		room.Close()
	})
}

// TestSchedulerIsReplacedAfterItsEnd checks that messages run on the scheduler that a handler
// sets in place of one that has closed, also if they came together with messages for that.
func TestSchedulerIsReplacedAfterItsEnd(t *testing.T) {
	var steps trace
	synctest.Test(t, func(t *testing.T) {
		old, next := scheduler.New(), scheduler.New()
		old.Close()
		defer next.Close()
		room := &desk{raw: func(_ *session.Session, data []byte) error {
			steps.add("%s, on next %v", data, running(next))
			return nil
		}}
		main := &desk{raw: func(s *session.Session, data []byte) error {
			s.Set("room", next)
			steps.add("%s", data)
			return nil
		}}
		comps := on(append(with("main", main), with("room", room)...), "room")
		b := newBed(t, nil, comps...)
		defer b.sched.Close()
		b.session.Set("room", old)
		b.send(request(1, "room.Raw", "lost"), request(2, "main.Raw", "replace"), request(3, "room.Raw", "a"))
		synctest.Wait()
		steps.expect(t, "replace", "a, on next true")
		b.failed(1, "NANO-500")
		b.failed(3, "")
	})
}

// TestTheServersOwnSchedulerByName checks that a program may name the server's own
// scheduler.
func TestTheServersOwnSchedulerByName(t *testing.T) {
	var steps trace
	d := tracing(&steps, "desk")
	inBed(t, nil, on(with("desk", d), "own"), func(b *bed) {
		b.session.Set("own", b.sched)
		b.send(request(1, "desk.Raw", "1"), request(2, "desk.Raw", "2"))
		synctest.Wait()
		steps.expect(t, "desk 1", "desk 2")
		b.counted(0, 0, 0)
	})
}
