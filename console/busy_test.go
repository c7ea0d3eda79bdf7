package console_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/console"
)

type busyPage struct {
	Window  float64
	Busy    *float64
	Running float64
	Stack   string
	Users   []struct {
		Kind, Name       string
		Count            int64
		Time, Load, Mean float64
	}
}

// takeTime is a timer that holds the logic goroutine for 20 ms.
func takeTime() { time.Sleep(20 * time.Millisecond) }

// In fake time only sleeps take time, so every share is exact.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{})
		if got := get[busyPage](b, "busy"); got.Busy != nil || got.Window != 0 || len(got.Users) != 0 {
			t.Errorf("at the start, the page is %+v, want no shares", got)
		}
		p := b.login(1, "Ann")
		timer := b.Scheduler().NewTimer(100*time.Millisecond, takeTime)
		time.Sleep(20*time.Second + 50*time.Millisecond)
		if err := p.Request(t.Context(), "room.sleep", 500, nil); err != nil {
			t.Fatal(err)
		}
		b.Invoke(func() { time.Sleep(250 * time.Millisecond) })
		time.Sleep(9*time.Second + 900*time.Millisecond)
		timer.Stop()
		got := get[busyPage](b, "busy")
		if got.Window != 10 || got.Busy == nil || math.Abs(*got.Busy-0.275) > 0.02 {
			t.Fatalf("the logic goroutine was busy for %v of %v s, want about 0.275", got.Busy, got.Window)
		}
		names := []string{"console_test.takeTime", "room.sleep", "console_test.TestBusy.func1.1"}
		for i, want := range []struct {
			kind  string
			count int64
			time  float64
		}{{"timer", 92, 1.84}, {"route", 1, 0.5}, {"task", 1, 0.25}} {
			u := got.Users[i]
			if u.Kind != want.kind || !strings.HasSuffix(u.Name, names[i]) || math.Abs(float64(u.Count-want.count)) > 3 || math.Abs(u.Time-want.time) > 0.06 {
				t.Errorf("user %d is %+v, want %s %s with about %d calls and %v s", i, u, want.kind, names[i], want.count, want.time)
			}
			if math.Abs(u.Load-u.Time/10) > 1e-9 || math.Abs(u.Mean-u.Time/float64(u.Count)) > 1e-9 {
				t.Errorf("user %d is %+v, want a share of 10 s and the mean", i, u)
			}
		}
		sum := 0.0
		for _, u := range got.Users {
			sum += u.Load
		}
		if math.Abs(sum-*got.Busy) > 1e-9 {
			t.Errorf("the shares add up to %v, want %v", sum, *got.Busy)
		}
	})
}

// A task that does not end is shown with the time that it has run, and with its stack.
func TestBusyStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{})
		if err := b.login(1, "Ann").Notify("room.wait", nil); err != nil {
			t.Fatal(err)
		}
		<-b.room.began
		time.Sleep(10*time.Second + time.Millisecond)
		got := get[busyPage](b, "busy")
		if got.Running < 9.9 || !strings.Contains(got.Stack, "console_test.(*hall).Wait") {
			t.Errorf("one task has run for %v s at %q, want about 10 s in Wait", got.Running, got.Stack)
		}
		close(b.room.block)
		time.Sleep(5 * time.Second)
		if got := get[busyPage](b, "busy"); got.Running != 0 || got.Stack != "" {
			t.Errorf("after its end, the task has run for %v s, want none", got.Running)
		}
	})
}

func TestSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{})
		p := b.login(7, "Ann")
		for _, ms := range []int{10, 50, 30, 20, 60, 40, 5} {
			if err := p.Request(t.Context(), "room.sleep", ms, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Request(t.Context(), "room.sleep", -1, nil); err == nil {
			t.Fatal("room.sleep of -1 does not fail")
		}
		type page struct {
			Handlers []struct {
				Route          string
				Errors, Failed int64
				Slowest        []struct {
					Took         float64
					Session, UID string
					Time         time.Time
				}
			}
		}
		time.Sleep(5 * time.Second)
		h := get[page](b, "handlers").Handlers[0]
		if h.Route != "room.sleep" || h.Errors != 1 || h.Failed != 1 || len(h.Slowest) != 5 {
			t.Fatalf("the handler is %+v, want room.sleep with one error and five slow calls", h)
		}
		for i, want := range []float64{0.06, 0.05, 0.04, 0.03, 0.02} {
			if c := h.Slowest[i]; c.Took != want || c.UID != "7" || c.Session == "0" || c.Time.IsZero() {
				t.Errorf("slow call %d is %+v, want %v s of uid 7", i, c, want)
			}
		}
		time.Sleep(16 * time.Minute)
		if h := get[page](b, "handlers").Handlers[0]; len(h.Slowest) != 0 || h.Failed != 0 || h.Errors != 1 {
			t.Errorf("16 min later, the handler is %+v, want no slow calls", h)
		}
	})
}
