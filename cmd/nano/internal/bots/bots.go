// Package bots builds the program that plays with the bots of a Go package.
package bots

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/tools/go/packages"

	"github.com/lonng/nano/bot"
)

const botPath = "github.com/lonng/nano/bot"

// DefaultName is the name of the function where a pattern has none.
const DefaultName = "Bot"

// grace is how long a program may take to end after the context has ended.
const grace = 15 * time.Second

// Split splits PACKAGE.FUNC, such as ./bots.Walk. Without a function it is DefaultName.
func Split(text string) (pattern, name string) {
	at := strings.LastIndexByte(text, '.')
	if at > strings.LastIndexByte(text, '/') && at > 0 && text[at+1:] != "" && text != ".." {
		return text[:at], text[at+1:]
	}
	return text, DefaultName
}

// Build writes a program to the file bin that plays with the bot. text is PACKAGE or
// PACKAGE.FUNC; dir is where the pattern of the package is resolved, "" for the working
// directory.
func Build(ctx context.Context, dir, text, bin string) error {
	pattern, name := Split(text)
	found, err := packages.Load(&packages.Config{
		Context: ctx, Dir: dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes, // without dependencies, because the build checks them
	}, pattern)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("%s is %d packages, want one", pattern, len(found))
	}
	p := found[0]
	if err := check(p, name); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "nano-bots-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// The program is beside the package, so that it may import it where it is internal. It is
	// there for the compiler only.
	at := filepath.Join(p.Dir, path.Base(filepath.ToSlash(tmp)))
	source := filepath.Join(tmp, "main.go")
	overlay := filepath.Join(tmp, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(at, "main.go"): source}})
	if err != nil {
		return err
	}
	text = fmt.Sprintf("package main\n\nimport (\n\t%q\n\tplayers %q\n)\n\nfunc main() { bot.Main(players.%s) }\n", botPath, p.PkgPath, name)
	if err := errors.Join(os.WriteFile(source, []byte(text), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", bin, at)
	build.Dir = p.Dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// check reports whether p has a bot with the name.
func check(p *packages.Package, name string) error {
	if len(p.Errors) > 0 {
		return fmt.Errorf("%s: %w", p.PkgPath, p.Errors[0])
	}
	if p.Name == "main" {
		return fmt.Errorf("%s is a main package, which cannot be imported: put the bot into a package of its own", p.PkgPath)
	}
	f, ok := p.Types.Scope().Lookup(name).(*types.Func)
	if !ok || !f.Exported() {
		return fmt.Errorf("%s has no exported function %s: want func %s(ctx context.Context, p *bot.Player) error", p.PkgPath, name, name)
	}
	if got, want := types.TypeString(f.Type(), nil), "func(context.Context, *"+botPath+".Player) error"; unnamed(f) != want {
		return fmt.Errorf("%s.%s is a %s, want a bot: func(ctx context.Context, p *bot.Player) error", p.PkgPath, name, got)
	}
	return nil
}

// unnamed returns the type of f without names of parameters.
func unnamed(f *types.Func) string {
	s := f.Signature()
	list := func(t *types.Tuple) string {
		var all []string
		for v := range t.Variables() {
			all = append(all, types.TypeString(v.Type(), nil))
		}
		return strings.Join(all, ", ")
	}
	if s.Results().Len() != 1 || s.Variadic() || s.TypeParams().Len() > 0 {
		return ""
	}
	return "func(" + list(s.Params()) + ") " + list(s.Results())
}

// Run runs a program that Build has built, and returns its report. What the bots print goes to errOut.
// When ctx ends, the game ends early.
func Run(ctx context.Context, bin string, args []string, errOut io.Writer) (bot.Report, error) {
	var out bytes.Buffer
	c := exec.CommandContext(ctx, bin, args...)
	c.Stdout, c.Stderr = &out, errOut
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = grace
	err := c.Run()
	var r bot.Report
	if decodeErr := json.Unmarshal(out.Bytes(), &r); decodeErr != nil {
		return r, fmt.Errorf("the bots have printed no report: %w", errors.Join(err, decodeErr))
	}
	return r, nil // the exit status repeats what the report says
}
