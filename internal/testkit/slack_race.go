//go:build race

package testkit

// Slack is how much slower than on its own a server may be in these tests: the race detector takes its time.
const Slack = 10
