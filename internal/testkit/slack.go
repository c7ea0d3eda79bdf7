//go:build !race

package testkit

// Slack is the factor by which limits of time are longer under the race detector.
const Slack = 1
