package genproto

import (
	"os"
	"regexp"
	"testing"
)

// TestRequirement checks that the requirement raises the old version that programs pin to
// one after the module split. It must be a direct requirement, because go mod tidy of the
// program keeps those.
func TestRequirement(t *testing.T) {
	const split = "20230526" // the version in which googleapis/rpc became a module
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*google\.golang\.org/genproto v0\.0\.0-(\d{8})\d+-[0-9a-f]+$`).FindSubmatch(b)
	if m == nil || string(m[1]) < split {
		t.Errorf("go.mod has no direct requirement of google.golang.org/genproto after %s: %q", split, m)
	}
}
