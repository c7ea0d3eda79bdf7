package goid

import (
	"strings"
	"sync"
	"testing"
)

//go:noinline
func deep(n int, f func()) int {
	if n == 0 {
		f()
		return 0
	}
	return deep(n-1, f) + 1
}

func TestCurrent(t *testing.T) {
	var first, second Mark
	if first.Current() {
		t.Error("Current = true before Run")
	}
	first.Run(func() {
		if !first.Current() || second.Current() {
			t.Errorf("Current = %v, %v in the first Run, want true, false", first.Current(), second.Current())
		}
		second.Run(func() {
			if !first.Current() || !second.Current() {
				t.Errorf("Current = %v, %v in both, want true, true", first.Current(), second.Current())
			}
			deep(500, func() {
				if !first.Current() || !second.Current() {
					t.Error("Current = false on a deep stack")
				}
			})
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			if first.Current() {
				t.Error("Current = true on a goroutine that the marked one started")
			}
		}()
		<-done
		if second.Current() {
			t.Error("Current = true after Run")
		}
	})
	if first.Current() {
		t.Error("Current = true after Run")
	}
	first.Run(func() {
		if !first.Current() {
			t.Error("Current = false in a second Run")
		}
	})
}

func TestCurrentOfMany(t *testing.T) {
	marks := make([]Mark, 40)
	var wg sync.WaitGroup
	for i := range marks {
		wg.Go(func() {
			marks[i].Run(func() {
				for j := range marks {
					if got := marks[j].Current(); got != (i == j) {
						t.Errorf("goroutine %d: mark %d is current: %v", i, j, got)
					}
				}
			})
		})
	}
	wg.Wait()
}

func TestRunOfAFunctionThatPanics(t *testing.T) {
	var m Mark
	func() {
		defer func() { _ = recover() }()
		m.Run(func() { panic("out") })
	}()
	if m.Current() {
		t.Error("Current = true after a panic left Run")
	}
}

func TestStack(t *testing.T) {
	var m Mark
	in, leave, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		m.Run(func() { close(in); <-leave })
	}()
	<-in
	if s := m.Stack(); !strings.Contains(s, "goid.TestStack") {
		t.Errorf("Stack = %q, want the marked goroutine's", s)
	}
	close(leave)
	<-done
}

func BenchmarkCurrent(b *testing.B) {
	var m Mark
	b.ReportAllocs()
	m.Run(func() {
		for b.Loop() {
			if !m.Current() {
				b.Fatal("not current")
			}
		}
	})
}
