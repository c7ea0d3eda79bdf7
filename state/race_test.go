//go:build race

package state

// raceDetector makes everything about ten times as slow.
const raceDetector = true
