package sim

import (
	"os"
	"testing"
)

func TestSimulation(t *testing.T) {
	hands := 2000
	if testing.Short() {
		hands = 300
	}
	r := Run(hands, 7)
	if r.FaultCount() > 0 {
		r.Print(os.Stderr)
		t.Fatalf("%d faults", r.FaultCount())
	}
}
