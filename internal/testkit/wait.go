package testkit

import (
	"testing"
	"time"
)

// Patience is how long a test waits for an event before it fails.
const Patience = 20 * time.Second

// Receive returns the next value of c, which the failure message names what.
func Receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// Eventually polls so every millisecond until it returns true. It is for states that send no event.
func Eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Patience)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after %v: %s", Patience, what)
		}
	}
}
