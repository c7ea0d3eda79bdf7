// Package programtest writes Go modules for tests. The modules use the nano of this
// repository.
package programtest

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// Root returns the root of the repository.
func Root(t *testing.T) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the test does not know where its source is")
	}
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
}

// Module is the module path of the programs that Write writes.
const Module = "example.com/game"

var moduleLine = regexp.MustCompile(`(?m)^module .*$`)

// Write writes a module to a temporary directory and returns the directory. files maps
// file names to sources. The module has the requirements of nano itself. Write also sets
// the environment so that the go command needs no network.
func Write(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	root := Root(t)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mod := moduleLine.ReplaceAllString(read("go.mod"), "module "+Module)
	mod += "\nrequire github.com/lonng/nano v0.0.0\n\nreplace github.com/lonng/nano => " + filepath.ToSlash(root) + "\n"
	write("go.mod", mod)
	write("go.sum", read("go.sum"))
	for name, text := range files {
		write(name, strings.TrimLeft(text, "\n"))
	}
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	return dir
}
