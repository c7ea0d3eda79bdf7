package gosched

import "testing"

// TestYieldReturns checks that Yield returns with every build tag.
func TestYieldReturns(t *testing.T) {
	var y Yielder
	for range 1000 {
		y.Yield()
	}
}
