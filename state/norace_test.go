//go:build !race

package state

// raceDetector reports whether the race detector is on. It makes the tests about ten
// times slower.
const raceDetector = false
