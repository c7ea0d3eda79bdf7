package contract_test

import (
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

func TestFaultsOfPackages(t *testing.T) {
	dir := programtest.Write(t, map[string]string{"main.go": "package main\n\nfunc main() { missing() }\n"})
	for _, c := range []struct{ pkg, want string }{
		{"./nope", "nope: directory not found"},
		{".", "undefined: missing"},
	} {
		_, err := contract.Load(t.Context(), dir, c.pkg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.HasPrefix(err.Error(), "-") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Load(%q) = %v, want one line with %q", c.pkg, err, c.want)
		}
	}
}
