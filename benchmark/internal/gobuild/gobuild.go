// Package gobuild builds programs of modules outside of the workspace, with other folders
// in place of modules that they require.
package gobuild

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program builds the package pkg of the module in dir. Modules of replace, by their path,
// come from the folders there. The go.mod in dir stays as it is: a changed copy is beside
// the program.
func Program(ctx context.Context, dir, pkg, program string, replace map[string]string) error {
	mod := program + ".mod" // Go expects go.sum at program + ".sum"
	for from, to := range map[string]string{"go.mod": mod, "go.sum": program + ".sum"} {
		data, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil && (from == "go.mod" || !os.IsNotExist(err)) {
			return err
		}
		if err := os.WriteFile(to, data, 0o666); err != nil {
			return err
		}
	}
	for path, folder := range replace {
		if _, err := Output(ctx, dir, "go", "mod", "edit", "-replace", path+"="+folder, mod); err != nil {
			return err
		}
	}
	_, err := Output(ctx, dir, "go", "build", "-buildvcs=false", "-mod=mod", "-modfile="+mod, "-o", program, pkg)
	return err
}

// Output runs a command outside of the workspace and returns its output without space
// around it. An error has the last lines of the standard error.
func Output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		text := strings.TrimSpace(log.String())
		if over := len(text) - 1000; over > 0 {
			text = text[over:]
		}
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, text)
	}
	return strings.TrimSpace(string(out)), nil
}
