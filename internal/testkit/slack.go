//go:build !race

package testkit

// Slack multiplies the time limits of tests. It is larger under the race detector.
const Slack = 1
