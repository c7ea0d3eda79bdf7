//go:build !race

package testkit

// Slack is how much slower than on its own a server may be in these tests.
const Slack = 1
