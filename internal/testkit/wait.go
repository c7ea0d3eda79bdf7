package testkit

import (
	"testing"
	"time"
)

// Patience is the longest time that a test waits for an event.
const Patience = 20 * time.Second

// Receive returns the next value of c. what names the value in the failure message.
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

// Eventually calls so every millisecond until it returns true. It is for states without
// an event.
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
