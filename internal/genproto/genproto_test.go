package genproto

import (
	"os"
	"regexp"
	"testing"
)

// The requirement raises the version that a program of 2019 pins to one after the split. It
// is a direct one, which go mod tidy of the program keeps.
func TestRequirement(t *testing.T) {
	const split = "20230526" // when googleapis/rpc became a module of its own
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*google\.golang\.org/genproto v0\.0\.0-(\d{8})\d+-[0-9a-f]+$`).FindSubmatch(b)
	if m == nil || string(m[1]) < split {
		t.Errorf("go.mod has no direct requirement of google.golang.org/genproto after %s: %q", split, m)
	}
}
