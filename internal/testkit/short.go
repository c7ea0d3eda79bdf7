package testkit

import "testing"

// SkipInShort skips the test in short mode (go test -short). Tests that start browsers or
// processes, chaos and capacity call it, with what they need as the reason.
func SkipInShort(t testing.TB, reason string) {
	t.Helper()
	if testing.Short() {
		t.Skip("short mode: " + reason)
	}
}
