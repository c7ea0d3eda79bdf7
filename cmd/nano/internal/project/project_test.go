package project

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

// write writes the project of a template. The project uses this repository.
func write(t *testing.T, template string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "demo")
	files, err := Write(Config{Dir: dir, Template: template, Replace: programtest.Root(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".gitignore", "Dockerfile", "README.md", "go.mod", "main.go", "main_test.go", "web/app.js", "web/index.html", "web/style.css"} {
		if !slices.Contains(files, name) {
			t.Errorf("the project has no %s, only %v", name, files)
		}
	}
	return dir
}

// command runs a command in the directory of a project.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestProjects checks that each project passes its own tests, and that the commands of
// its Dockerfile build it without the network.
func TestProjects(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three programs")
	}
	for _, template := range Templates {
		t.Run(template, func(t *testing.T) {
			dir := write(t, template)
			if out := command(t, dir, "gofmt", "-l", "."); out != "" {
				t.Errorf("gofmt would change %s", out)
			}
			command(t, dir, "go", "vet", "./...")
			command(t, dir, "go", "test", "./...")
			for _, run := range dockerRuns(t, dir) {
				command(t, dir, "sh", "-c", run)
			}
			if _, err := os.Stat(filepath.Join(dir, "demo")); err != nil {
				t.Errorf("the commands of the Dockerfile built no program: %v", err)
			}
		})
	}
}

// dockerRuns returns the commands of the RUN lines of the project's Dockerfile.
func dockerRuns(t *testing.T, dir string) (runs []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if run, ok := strings.CutPrefix(s.Text(), "RUN "); ok {
			runs = append(runs, run)
		}
	}
	if len(runs) == 0 {
		t.Error("the Dockerfile runs nothing")
	}
	return runs
}

func TestVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	if _, err := Write(Config{Dir: dir, Module: "example.com/demo", Template: "chat", Version: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if want := "module example.com/demo\n\ngo 1.26\n\nrequire github.com/lonng/nano v1.2.3\n"; err != nil || string(got) != want {
		t.Errorf("go.mod is %q, %v, want %q", got, err, want)
	}
}

func TestFaults(t *testing.T) {
	root, full := programtest.Root(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Dir: "Bad Name", Template: "chat", Replace: root}, `the name "Bad Name" has to consist of a-z`},
		{Config{Dir: "demo", Template: "opera", Replace: root}, `there is no template "opera"; there are chat, rooms, cluster`},
		{Config{Dir: "demo", Template: "chat"}, "name a clone of the library with --replace DIR"},
		{Config{Dir: "demo", Template: "chat", Replace: full}, "--replace: open"},
		{Config{Dir: "demo", Template: "chat", Replace: filepath.Join(root, "examples")}, "is not a clone of github.com/lonng/nano"},
		{Config{Dir: "go", Template: "chat", Replace: root}, `the path "go" belongs to Go: name another one with --module PATH`},
		{Config{Dir: "demo", Module: "sort", Template: "chat", Replace: root}, `the path "sort" belongs to Go`},
		{Config{Dir: "con", Template: "chat", Replace: root}, `malformed import path "con"`},
		{Config{Dir: "demo", Module: "a demo", Template: "chat", Replace: root}, `malformed import path "a demo"`},
		{Config{Dir: full, Template: "chat", Replace: root}, "is not empty: it holds notes"},
	} {
		t.Chdir(t.TempDir())
		if _, err := Write(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Write(%+v) = %v, want %q in it", c.config, err, c.want)
		}
		if _, err := os.Stat(c.config.Dir); err == nil && c.config.Dir != full {
			t.Errorf("Write(%+v) left a directory behind", c.config)
		}
	}
}
