package gosched

import "testing"

// A yield returns, whatever the build.
func TestYieldReturns(t *testing.T) {
	var y Yielder
	for range 1000 {
		y.Yield()
	}
}
