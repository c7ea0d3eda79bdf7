package ledger

import (
	"sync"
	"sync/atomic"
	"testing"
)

// claim fails the test unless Claim(id) returns the wanted results.
func claim(t *testing.T, l *Ledger, id uint64, ok, current bool) {
	t.Helper()
	if gotOK, gotCurrent := l.Claim(id); gotOK != ok || gotCurrent != current {
		t.Errorf("Claim(%d) = %v, %v, want %v, %v", id, gotOK, gotCurrent, ok, current)
	}
}

func TestCurrentIsAnsweredOnce(t *testing.T) {
	var l Ledger
	claim(t, &l, 1, false, false)
	l.Begin(1)
	if got := l.Current(); got != 1 {
		t.Errorf("Current() = %d, want 1", got)
	}
	claim(t, &l, 1, true, true)
	claim(t, &l, 1, false, true)
	l.Begin(2)
	claim(t, &l, 1, false, false)
	claim(t, &l, 2, true, true)
}

func TestNotifyHasNoAnswer(t *testing.T) {
	var l Ledger
	l.Begin(7)
	l.Begin(0)
	claim(t, &l, 0, false, false)
	if got := l.Current(); got != 0 {
		t.Errorf("Current() = %d, want 0", got)
	}
	claim(t, &l, 7, true, false)
	l.Begin(8)
	claim(t, &l, 0, false, false)
}

func TestDeferredIsAnsweredOnce(t *testing.T) {
	var l Ledger
	for id := range uint64(5) {
		l.Begin(id + 1)
	}
	claim(t, &l, 3, true, false)
	claim(t, &l, 3, false, false)
	claim(t, &l, 1, true, false)
	claim(t, &l, 5, true, true)
	l.Begin(6)
	claim(t, &l, 5, false, false)
	claim(t, &l, 1, false, false)
	claim(t, &l, 4, true, false)
	claim(t, &l, 2, true, false)
	claim(t, &l, 2, false, false)
	claim(t, &l, 99, false, false)
}

func TestRestore(t *testing.T) {
	var l Ledger
	l.Begin(1)
	claim(t, &l, 1, true, true)
	l.Restore(1)
	claim(t, &l, 1, true, true)
	l.Begin(2) // while the answer to 1 is being encoded, and fails
	l.Restore(1)
	claim(t, &l, 1, true, false)
	claim(t, &l, 1, false, false)
	claim(t, &l, 2, true, true)
}

// TestRestoreWithoutSerial checks that a claim by the id alone, which was taken back, leaves
// the request to those who know its serial number.
func TestRestoreWithoutSerial(t *testing.T) {
	var l Ledger
	l.Begin(1)
	serial := l.Serial()
	l.Begin(2)
	claim(t, &l, 1, true, false)
	l.Restore(1)
	if ok, current := l.ClaimSerial(1, serial); !ok || current {
		t.Errorf("ClaimSerial(1, %d) = %v, %v, want true, false", serial, ok, current)
	}
	claim(t, &l, 1, false, false)
}

func TestAnIDUsedAgain(t *testing.T) {
	var l Ledger
	l.Begin(1)
	claim(t, &l, 1, true, true)
	l.Begin(1)
	claim(t, &l, 1, true, true)
	l.Begin(2)
	l.Begin(2) // two requests with one id are answered separately
	claim(t, &l, 2, true, true)
	claim(t, &l, 2, true, false)
	claim(t, &l, 2, false, true)
}

func TestForgetting(t *testing.T) {
	var l Ledger
	for id := uint64(1); id <= MaxWaiting+11; id++ {
		l.Begin(id)
	}
	const last = MaxWaiting + 11
	if n := len(l.deferred.Load().waiting); n != MaxWaiting {
		t.Errorf("%d requests are remembered, want %d", n, MaxWaiting)
	}
	claim(t, &l, 10, true, false) // request 10 was removed
	claim(t, &l, 10, true, false)
	claim(t, &l, 11, true, false)
	claim(t, &l, 11, false, false)
	claim(t, &l, last-1, true, false)
	claim(t, &l, last-1, false, false)
	claim(t, &l, last, true, true)
	claim(t, &l, last, false, true)
}

func TestConcurrentClaims(t *testing.T) {
	var l Ledger
	const requests, claimers = 200, 4
	var won [requests + 1]atomic.Int32
	var wg sync.WaitGroup
	for range claimers {
		wg.Go(func() {
			for id := uint64(1); id <= requests; {
				if ok, _ := l.Claim(id); ok {
					won[id].Add(1)
				}
				if won[id].Load() > 0 {
					id++
				}
			}
		})
	}
	for id := uint64(1); id <= requests; id++ {
		l.Begin(id)
	}
	wg.Wait()
	for id := 1; id <= requests; id++ {
		if n := won[id].Load(); n != 1 {
			t.Errorf("request %d was claimed %d times, want once", id, n)
		}
	}
}

// TestCurrentIsNeverTorn checks that other goroutines never see the serial of one request
// beside the id of another: all ids are even, and no two requests in a row have ids that
// follow each other.
func TestCurrentIsNeverTorn(t *testing.T) {
	var l Ledger
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				id := l.Current()
				if id%2 != 0 {
					t.Errorf("Current() = %d, want an even id", id)
					return
				}
				if ok, _ := l.Claim(id + 1); ok || l.Waiting(id+1) {
					t.Errorf("request %d was claimed or waits, but has not begun", id+1)
					return
				}
			}
		})
	}
	for id := uint64(2); id <= 200_000 && !t.Failed(); id += 2 {
		l.Begin(id)
		if ok, _ := l.Claim(id); !ok {
			t.Errorf("Claim(%d) = false, want true", id)
		}
		if id%6 == 0 {
			l.Begin(0)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func BenchmarkBeginClaim(b *testing.B) {
	var l Ledger
	id := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		id++
		l.Begin(id)
		l.Claim(id)
	}
}

func TestTakeAndWaiting(t *testing.T) {
	var l Ledger
	if l.Taken() || l.Waiting(0) || l.Waiting(7) {
		t.Error("a new ledger has a request")
	}
	l.Begin(7)
	if l.Current() != 7 || l.Taken() || !l.Waiting(7) {
		t.Errorf("after Begin(7): Taken = %v, Waiting(7) = %v, want false, true", l.Taken(), l.Waiting(7))
	}
	if id := l.Take(); id != 7 || !l.Taken() {
		t.Errorf("Take = %d, Taken = %v, want 7, true", id, l.Taken())
	}
	l.Begin(8)
	if l.Taken() || !l.Waiting(7) || !l.Waiting(8) {
		t.Errorf("after Begin(8): Taken = %v, Waiting = %v, %v, want false, true, true", l.Taken(), l.Waiting(7), l.Waiting(8))
	}
	l.Claim(7)
	l.Claim(8)
	if l.Waiting(7) || l.Waiting(8) {
		t.Error("answered requests wait")
	}
	l.Begin(0)
	if l.Waiting(0) {
		t.Error("a notify waits for an answer")
	}
}

// TestSerial checks that the serial number distinguishes two requests with the same id.
func TestSerial(t *testing.T) {
	var l Ledger
	exact := func(serial uint64, ok, current bool) {
		t.Helper()
		if gotOK, gotCurrent := l.ClaimSerial(5, serial); gotOK != ok || gotCurrent != current {
			t.Errorf("ClaimSerial(5, %d) = %v, %v, want %v, %v", serial, gotOK, gotCurrent, ok, current)
		}
	}
	l.Begin(5)
	first := l.Serial()
	l.Begin(5)
	second := l.Serial()
	l.Begin(5)
	third := l.Serial()
	if first == second || second == third {
		t.Fatalf("serials %d, %d, %d, want three different ones", first, second, third)
	}
	exact(second, true, false)
	exact(second, false, false)
	l.RestoreSerial(5, second)
	exact(second, true, false)
	exact(third, true, true)
	exact(third, false, true)
	l.RestoreSerial(5, third)
	exact(third, true, true)
	exact(first, true, false)
	exact(first, false, false)
	exact(99, false, false)
}
