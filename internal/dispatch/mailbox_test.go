package dispatch_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// tracing returns a desk that records its name and each payload.
func tracing(steps *trace, name string) *desk {
	return &desk{raw: func(_ *session.Session, data []byte) error {
		steps.add("%s %s", name, data)
		return nil
	}}
}

func TestMessagesRunInOrder(t *testing.T) {
	var steps trace
	inBed(t, nil, with("desk", tracing(&steps, "desk")), func(b *bed) {
		var want []string
		for i := 0; i < 60; i += 3 {
			b.send(notify("desk.Raw", fmt.Sprint(i)), request(1, "desk.Raw", fmt.Sprint(i+1)), notify("desk.Raw", fmt.Sprint(i+2)))
			want = append(want, fmt.Sprint("desk ", i), fmt.Sprint("desk ", i+1), fmt.Sprint("desk ", i+2))
		}
		synctest.Wait()
		steps.expect(t, want...)
	})
}

// TestGoexitInAHandler checks that runtime.Goexit in a handler, which t.FailNow calls,
// affects only that message. It is answered with an error, and the others run.
func TestGoexitInAHandler(t *testing.T) {
	for _, where := range []string{"", "room"} {
		var steps trace
		d := &desk{raw: func(_ *session.Session, data []byte) error {
			steps.add("%s", data)
			if strings.HasPrefix(string(data), "exit") {
				runtime.Goexit()
			}
			return nil
		}}
		comps := with("desk", d)
		if where != "" {
			comps = on(comps, where)
		}
		inBed(t, nil, comps, func(b *bed) {
			room := scheduler.New(scheduler.WithLogger(b.Log))
			defer room.Close()
			b.session.Set("room", room)
			b.send(request(1, "desk.Raw", "exit 1"), request(2, "desk.Raw", "a"), request(3, "desk.Raw", "exit 2"))
			b.send(notify("desk.Raw", "exit 3"), request(4, "desk.Raw", "b"))
			b.send(request(5, "desk.Raw", "exit 4"))
			b.box.Seal(func() { steps.add("last") })
			synctest.Wait()
			steps.expect(t, "exit 1", "a", "exit 2", "exit 3", "b", "exit 4", "last")
			for id, want := range map[uint64]string{1: "NANO-500: internal error", 2: "", 3: "NANO-500", 4: "", 5: "NANO-500"} {
				b.failed(id, want)
			}
			b.counted(1, 3, 0)
			b.logged("a handler ended its goroutine with runtime.Goexit", 4)
			if b.entity.holds != 0 || b.box.Room() != 100 {
				t.Errorf("%d holds were not released, Room() = %d, want 0 and 100", b.entity.holds, b.box.Room())
			}
		})
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSeal(t *testing.T) {
	var steps trace
	comps := append(with("main", tracing(&steps, "main")), with("room", tracing(&steps, "room"))...)
	inBed(t, nil, on(comps, "room"), func(b *bed) {
		room := scheduler.New()
		defer room.Close()
		b.session.Set("room", room)
		last := func(name string) func() {
			return func() { steps.add("%s, on main %v", name, b.loop.Running()) }
		}
		if !b.send(notify("main.Raw", "1"), notify("room.Raw", "2")) {
			t.Error("Deliver() = false, want true before Seal")
		}
		if !b.box.Seal(last("last")) || b.box.Seal(last("another")) {
			t.Error("Seal: want true of the first call, false of the second")
		}
		if b.send(notify("main.Raw", "too late")) {
			t.Error("Deliver() = true after Seal, want false")
		}
		synctest.Wait()
		if b.box.Seal(last("another")) || b.send(notify("main.Raw", "too late")) {
			t.Error("Seal or Deliver = true when last has run, want false")
		}
		b.send(request(1, "main.Raw", "too late"))
		b.failed(1, "NANO-503")
		b.counted(2, 1, 0)
		b.box.Wait() // Wait returns
		synctest.Wait()
		steps.expect(t, "main 1", "room 2", "last, on main true")
	})
}

func TestSealOfAnIdleMailbox(t *testing.T) {
	var steps trace
	inBed(t, nil, with("desk", tracing(&steps, "desk")), func(b *bed) {
		b.box.Seal(func() { steps.add("last, on main %v", b.loop.Running()) })
		synctest.Wait()
		steps.expect(t, "last, on main true")
	})
}

func TestSealFromInsideAHandler(t *testing.T) {
	var steps trace
	var b *bed
	d := &desk{raw: func(_ *session.Session, data []byte) error {
		steps.add("%s", data)
		if string(data) == "1" {
			b.box.Seal(func() { steps.add("last") })
			if b.send(notify("desk.Raw", "too late")) {
				t.Error("Deliver() = true after Seal, want false")
			}
		}
		return nil
	}}
	inBed(t, nil, with("desk", d), func(inner *bed) {
		b = inner
		b.send(notify("desk.Raw", "1"), notify("desk.Raw", "2"))
		synctest.Wait()
		steps.expect(t, "1", "2", "last")
	})
}

func TestLastThatPanics(t *testing.T) {
	var steps trace
	inBed(t, nil, with("desk", tracing(&steps, "desk")), func(b *bed) {
		b.send(notify("desk.Raw", "1"))
		b.box.Seal(func() { panic("boom") })
		synctest.Wait()
		b.logged("boom", 1)
		b.sched.Invoke(func() { steps.add("goes on") })
		synctest.Wait()
		steps.expect(t, "desk 1", "goes on")
	})
}

// TestRoomAndWait checks that a mailbox bounds the waiting messages. Room returns the
// free space, and Wait returns when half of the mailbox is free.
func TestRoomAndWait(t *testing.T) {
	inBed(t, nil, with("desk", &desk{raw: func(_ *session.Session, data []byte) error {
		time.Sleep(time.Second)
		return nil
	}}), func(b *bed) {
		b.box.Init(b.Dispatcher, b.session, b.entity, 10, 1000)
		if b.box.Room() != 10 || b.box.MaxSize() != 1000 {
			t.Errorf("Room() = %d, MaxSize() = %d, want 10 and 1000", b.box.Room(), b.box.MaxSize())
		}
		b.box.Wait() // Wait returns at once
		start := time.Now()
		for range 4 {
			b.send(notify("desk.Raw", ""), notify("desk.Raw", ""))
		}
		if b.box.Room() != 2 {
			t.Errorf("Room() = %d with 8 waiting, want 2", b.box.Room())
		}
		b.send(notify("desk.Raw", ""), notify("desk.Raw", ""), notify("desk.Raw", ""))
		if b.box.Room() != 0 {
			t.Errorf("Room() = %d with 11 waiting, want 0", b.box.Room())
		}
		b.box.Wait()
		if waited := time.Since(start); b.box.Room() < 5 || waited > 11*time.Second {
			t.Errorf("after Wait and %v Room() = %d, want 5 at least, after the 11s of the handlers at most", waited, b.box.Room())
		}
		time.Sleep(time.Minute)
		if b.box.Room() != 10 {
			t.Errorf("Room() = %d when all have run, want 10", b.box.Room())
		}
	})
}

func TestRoomInBytes(t *testing.T) {
	inBed(t, nil, with("desk", &desk{raw: func(*session.Session, []byte) error {
		time.Sleep(time.Second)
		return nil
	}}), func(b *bed) {
		big := strings.Repeat("x", 400)
		b.send(notify("desk.Raw", big))
		b.send(notify("desk.Raw", big))
		if b.box.Room() != 98 {
			t.Errorf("Room() = %d with 800 of 1000 bytes waiting, want 98", b.box.Room())
		}
		b.send(notify("desk.Raw", big))
		if b.box.Room() != 0 {
			t.Errorf("Room() = %d with 1200 of 1000 bytes waiting, want 0", b.box.Room())
		}
		b.box.Wait()
		if b.box.Room() < 98 {
			t.Errorf("Room() = %d after Wait, want 98 at least", b.box.Room())
		}
		b.send(notify("desk.Raw", strings.Repeat("y", 5000))) // a packet may be larger than the bound
		synctest.Wait()
		time.Sleep(time.Minute)
		if b.box.Room() != 100 {
			t.Errorf("Room() = %d when all have run, want 100", b.box.Room())
		}
	})
}

func TestRoomForOne(t *testing.T) {
	var steps trace
	inBed(t, nil, with("desk", tracing(&steps, "desk")), func(b *bed) {
		b.box.Init(b.Dispatcher, b.session, b.entity, 1, 1)
		for i := range 3 {
			if b.box.Room() != 1 {
				t.Errorf("Room() = %d, want 1", b.box.Room())
			}
			b.send(notify("desk.Raw", fmt.Sprint(i)))
			b.box.Wait()
		}
		steps.expect(t, "desk 0", "desk 1", "desk 2")
	})
}

// TestSealEndsWait checks that a waiting reader continues when the session closes, even
// if the handler never returns.
func TestSealEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBed(t, nil, with("desk", &desk{raw: func(*session.Session, []byte) error { <-release; return nil }})...)
		defer b.sched.Close()
		b.box.Init(b.Dispatcher, b.session, b.entity, 2, 1000)
		b.send(notify("desk.Raw", ""), notify("desk.Raw", ""))
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			b.box.Wait()
		}()
		synctest.Wait()
		select {
		case <-returned:
			t.Error("Wait returned with no room")
		default:
		}
		b.box.Seal(func() {})
		<-returned
		close(release)
	})
}

// TestSessionsDoNotWaitForEachOther checks that messages of a session run while a handler
// blocks the scheduler of another session.
func TestSessionsDoNotWaitForEachOther(t *testing.T) {
	var steps trace
	d := &desk{raw: func(_ *session.Session, data []byte) error {
		if string(data) == "slow" {
			time.Sleep(time.Hour)
		}
		steps.add("%s", data)
		return nil
	}}
	inBed(t, nil, on(with("desk", d), "room"), func(b *bed) {
		one, two := scheduler.New(scheduler.WithSlow(0)), scheduler.New()
		defer one.Close()
		defer two.Close()
		b.session.Set("room", one)
		b.send(notify("desk.Raw", "slow"), notify("desk.Raw", "behind"))

		e := &entity{responses: map[uint64]any{}, fails: map[uint64]string{}}
		s := session.New(e)
		s.Set("room", two)
		var box dispatch.Mailbox
		box.Init(b.Dispatcher, s, e, 10, 1000)
		batch := dispatch.NewBatch()
		batch.Add(b.Decode(s, header(t, notify("desk.Raw", "quick")), dispatch.Clones), 5)
		box.Deliver(batch)
		synctest.Wait()
		steps.expect(t, "quick")
		time.Sleep(2 * time.Hour)
		steps.expect(t, "quick", "slow", "behind")
	})
}

func TestHandlersAreTimed(t *testing.T) {
	d := &desk{raw: func(_ *session.Session, data []byte) error {
		took, err := time.ParseDuration(string(data))
		time.Sleep(took)
		return err
	}}
	slow := func(c *dispatch.Config) { c.Slow = 100 * time.Millisecond }
	inBed(t, slow, with("desk", d), func(b *bed) {
		b.send(notify("desk.Raw", "10ms"), request(1, "desk.Raw", "30ms"), request(2, "desk.Typed", `{"N":1}`),
			notify("desk.Raw", "150ms"), notify("desk.Raw", "20ms"), request(3, "none.None", ""))
		time.Sleep(time.Second)
		synctest.Wait()
		h, _ := b.Handler("desk.Raw")
		if n, sum, longest := h.Stats.Load(); n != 4 || sum != 210*time.Millisecond || longest != 150*time.Millisecond {
			t.Errorf("desk.Raw: %d calls, %v together, %v the longest, want 4, 210ms, 150ms", n, sum, longest)
		}
		h, _ = b.Handler("desk.Typed")
		if n, sum, longest := h.Stats.Load(); n != 1 || sum != 0 || longest != 0 {
			t.Errorf("desk.Typed: %d calls, %v together, %v the longest, want 1, 0, 0", n, sum, longest)
		}
		b.logged("nano: slow handler", 1)
		b.logged("route=desk.Raw took=150ms", 1)
		b.logged("slow task", 0)
		b.box.Seal(func() { time.Sleep(200 * time.Millisecond) })
		time.Sleep(time.Second)
		synctest.Wait()
		b.logged("nano: slow close", 1)
		b.logged("slow task", 0)
	})
	// Calls that were timed together are logged so, because a single one may not be slow.
	inBed(t, slow, with("desk", d), func(b *bed) {
		b.send(slices.Concat(slices.Repeat([]*message.Message{notify("desk.Raw", "0s")}, 15),
			slices.Repeat([]*message.Message{notify("desk.Raw", "15ms")}, 8))...)
		time.Sleep(time.Second)
		synctest.Wait()
		b.logged("nano: slow handler", 1)
		b.logged("route=desk.Raw took=120ms", 1)
		b.logged("calls=8", 1)
	})
	inBed(t, nil, with("desk", d), func(b *bed) {
		b.do(notify("desk.Raw", "10h"))
		b.box.Seal(func() { time.Sleep(time.Hour) })
		time.Sleep(24 * time.Hour)
		b.logged("slow", 0)
	})
}

func TestDebugLogsEveryMessage(t *testing.T) {
	for _, debug := range []bool{false, true} {
		inBed(t, func(c *dispatch.Config) { c.Debug = debug }, with("desk", &desk{}), func(b *bed) {
			b.do(request(5, "desk.Raw", "secret"), notify("desk.Raw", ""))
			b.logged("nano: message", boolInt(debug)*2)
			b.logged("secret", 0)
		})
	}
}

// TestBatchesAreReused checks that a batch that is empty or not delivered does not change
// the next batch.
func TestBatchesAreReused(t *testing.T) {
	var steps trace
	inBed(t, nil, with("desk", tracing(&steps, "desk")), func(b *bed) {
		for range 3 {
			batch := dispatch.NewBatch()
			for range 400 {
				batch.Add(b.Decode(b.session, header(t, notify("desk.Raw", "dropped")), dispatch.Clones), 7)
			}
			batch.Free()
			if batch = dispatch.NewBatch(); batch.Len() != 0 || batch.Size() != 0 {
				t.Errorf("NewBatch: Len() = %d, Size() = %d, want 0 and 0", batch.Len(), batch.Size())
			}
			batch.Free()
		}
		b.send(notify("desk.Raw", "1"))
		b.send()
		b.send(notify("desk.Raw", "2"))
		b.box.Seal(func() { steps.add("last") })
		synctest.Wait()
		steps.expect(t, "desk 1", "desk 2", "last")
	})
}

// TestConcurrentSessions checks that every accepted message runs or is answered, in
// order. Many sessions use schedulers of every kind, close, and have failing handlers.
func TestConcurrentSessions(t *testing.T) {
	rooms := []scheduler.LocalScheduler{scheduler.New(), scheduler.New(), newLane(), lanes{newLane()}, &hall{scheduler.New(), ""}}
	defer func() {
		for _, r := range rooms {
			switch r := r.(type) {
			case interface{ Close() }:
				r.Close()
			case *lane:
				r.close()
			case lanes:
				r[0].close()
			}
		}
	}()
	d := &desk{raw: func(s *session.Session, data []byte) error {
		n := s.Int("n")
		if want := fmt.Sprint(n); string(data) != want {
			t.Errorf("session %d got %s, want %s", s.ID(), data, want)
		}
		s.Set("n", n+1)
		switch n % 11 {
		case 3:
			return errors.New("failed")
		case 7:
			s.Set("room", rooms[(n+int(s.ID()))%len(rooms)])
		}
		return nil
	}}
	comps := on(append(with("main", d), with("room", d)...), "room")
	b := newBed(t, nil, comps...)
	defer b.sched.Close()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			e := &entity{responses: map[uint64]any{}, fails: map[uint64]string{}}
			s := session.New(e)
			s.Set("room", rooms[i%len(rooms)])
			var box dispatch.Mailbox
			box.Init(b.Dispatcher, s, e, 16, 1<<10)
			sent := 0
			for sent < 300 {
				batch := dispatch.NewBatch()
				for range min(1+sent%5, box.Room()) {
					route := []string{"main.Raw", "room.Raw"}[(sent/3+i)%2]
					m := notify(route, fmt.Sprint(sent))
					batch.Add(b.Decode(s, header(t, m), dispatch.Clones), len(m.Data))
					sent++
				}
				if batch.Len() == 0 {
					batch.Free()
					box.Wait()
					continue
				}
				if !box.Deliver(batch) {
					t.Error("Deliver() = false before Seal")
				}
			}
			last := make(chan int)
			box.Seal(func() { last <- s.Int("n") })
			if n := <-last; n != sent {
				t.Errorf("%d messages had run when last did, want %d", n, sent)
			}
		})
	}
	wg.Wait()
}

// BenchmarkMessage measures a message from decoding through mailbox and scheduler to a
// handler that does nothing.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{1, 32} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			for _, route := range []string{"desk.Raw", "desk.Typed"} {
				b.Run(route, func(b *testing.B) { benchmarkMessage(b, size, route) })
			}
		})
	}
}

func benchmarkMessage(b *testing.B, size int, route string) {
	loop := runloop.New(runloop.DefaultConfig())
	loop.Start()
	defer loop.Close()
	d := dispatch.New(dispatch.Config{Loop: loop, Serializer: nothing{}})
	if err := d.Add(&desk{typed: func(*session.Session, *value) (*value, error) { return nil, nil }},
		[]component.Option{component.WithName("desk")}); err != nil {
		b.Fatal(err)
	}
	e := &idle{}
	u := session.New(e)
	var box dispatch.Mailbox
	box.Init(d, u, e, 256, 1<<20)
	h := header(b, request(1, route, "payload"))
	b.ReportAllocs()
	for b.Loop() {
		batch := dispatch.NewBatch()
		for range size {
			batch.Add(d.Decode(u, h, dispatch.Clones), len(h.Body))
		}
		box.Deliver(batch)
		if box.Room() == 0 {
			box.Wait()
		}
	}
	done := make(chan struct{})
	box.Seal(func() { close(done) })
	<-done
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(size*b.N), "ns/message")
}

// nothing is a serializer that does nothing.
type nothing struct{}

func (nothing) Marshal(any) ([]byte, error) { return nil, nil }
func (nothing) Unmarshal([]byte, any) error { return nil }
func (nothing) CopiesInput() bool           { return true }

// idle is a network entity that does nothing.
type idle struct{ entity }

func (*idle) Begin(uint64, *string)         {}
func (*idle) Deferred() bool                { return true }
func (*idle) Hold()                         {}
func (*idle) Release()                      {}
func (*idle) ResponseMid(uint64, any) error { return nil }
