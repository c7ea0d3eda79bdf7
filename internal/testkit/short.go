package testkit

import "testing"

// SkipInShort skips the test in short mode (go test -short). Tests of browsers,
// processes, chaos and capacity call it. reason says what the test needs.
func SkipInShort(t testing.TB, reason string) {
	t.Helper()
	if testing.Short() {
		t.Skip("short mode: " + reason)
	}
}
