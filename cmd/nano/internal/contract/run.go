package contract

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// routesFile is the environment variable with the name of the file to which a server writes its routes instead of starting.
const routesFile = "NANO_ROUTES_FILE"

// askTimeout is how long a program may take to write its routes, without the build.
const askTimeout = 30 * time.Second

// running is a route that a running server has reported.
type running struct {
	Route     string `json:"route"`
	Component string `json:"component"` // import path and name of the type
	Method    string `json:"method"`
}

// ask builds the program and starts it with args. Each of its servers writes its routes
// and does not start.
func ask(ctx context.Context, dir, pattern string, args []string) ([]running, error) {
	tmp, err := os.MkdirTemp("", "nano-routes-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	bin := filepath.Join(tmp, "program")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, pattern)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	file := filepath.Join(tmp, "routes.json")
	run := exec.CommandContext(ctx, bin, args...)
	run.WaitDelay = time.Second // for child processes that keep the output open
	run.Dir = dir
	run.Env = append(os.Environ(), routesFile+"="+file)
	out, runErr := run.CombinedOutput() // the program ends with the error of Listen
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("it wrote no routes: it has to call nano.New or nano.Listen when it is started with the arguments %q. "+
			"It ended with: %w\n%s", args, cmp.Or(ctx.Err(), runErr, errors.New("exit status 0")), bytes.TrimSpace(out))
	}
	return decodeRunning(data)
}

// decodeRunning reads one JSON list for each server of the program.
func decodeRunning(data []byte) (all []running, err error) {
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var list []running
		if err := d.Decode(&list); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("its routes: %w", err)
		}
		all = append(all, list...)
	}
}

// addRoutes adds the routes that only the running program knows. Their types come from
// the source.
func (s *source) addRoutes(list []running) error {
	known := map[string]bool{}
	for _, r := range s.contract.Routes {
		known[r.Route] = true
	}
	for _, r := range list {
		if known[r.Route] {
			continue
		}
		known[r.Route] = true
		named := s.lookup(r.Component)
		if named == nil {
			return fmt.Errorf("route %s: the source has no type %s at package level", r.Route, r.Component)
		}
		for _, m := range methods(named) {
			if sig, ok := s.signature(m); ok && m.Name() == r.Method {
				if err := s.route(r.Route, named, m, sig); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// lookup finds a type by its name in package reflect.
func (s *source) lookup(name string) *types.Named {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return nil
	}
	p := s.main.Types
	if name[:i] != "main" {
		p = imported(s.main.Types, name[:i], map[*types.Package]bool{})
	}
	if p == nil {
		return nil
	}
	o := p.Scope().Lookup(name[i+1:])
	if o == nil {
		return nil
	}
	n, _ := o.Type().(*types.Named)
	return n
}

// imported returns the package with the import path among the direct and indirect imports
// of p, or nil.
func imported(p *types.Package, path string, seen map[*types.Package]bool) *types.Package {
	if seen[p] {
		return nil
	}
	seen[p] = true
	for _, i := range p.Imports() {
		if i.Path() == path {
			return i
		}
		if found := imported(i, path, seen); found != nil {
			return found
		}
	}
	return nil
}
