//go:build race

package nano_test

// slack is how much slower than on its own a server may be in these tests: the race detector takes its time.
const slack = 10
