package testkit

import (
	"testing"
	"time"
)

// Receive takes what has to come on a channel.
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

// Eventually waits until something is so that nothing tells of.
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

// Patience is how long a test waits for what has to come.
const Patience = 20 * time.Second
