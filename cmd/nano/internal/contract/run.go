package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// routesFile is the environment variable with the name of the file to which a server writes its routes instead of starting.
const routesFile = "NANO_ROUTES_FILE"

// askTimeout is how long a program may take to write its routes, without the build.
const askTimeout = 30 * time.Second

// running is a route as a running server knows it.
type running struct {
	Route     string `json:"route"`
	Component string `json:"component"` // import path and name of the type
	Method    string `json:"method"`
}

// ask builds and starts the program so that it writes its routes and ends.
func ask(ctx context.Context, dir, pattern string) ([]running, error) {
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
	run := exec.CommandContext(ctx, bin)
	run.Dir = dir
	run.Env = append(os.Environ(), routesFile+"="+file)
	out, runErr := run.CombinedOutput() // it ends with the error of Listen
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("it wrote no routes: does it call nano.Listen or Server.Start? Its output: %s", out), runErr)
	}
	var list []running
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("its routes: %w", err)
	}
	return list, nil
}

// addRoutes replaces the routes of the contract by those of the running program, whose types are in its source.
func (s *source) addRoutes(list []running) error {
	s.contract.Routes = []Route{}
	for _, r := range list {
		named := s.lookup(r.Component)
		if named == nil {
			return fmt.Errorf("route %s: the source has no type %s", r.Route, r.Component)
		}
		for _, m := range methods(named) {
			if m.Name() != r.Method {
				continue
			}
			if sig, ok := s.signature(m); ok {
				if err := s.route(r.Route, named, m, sig); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *source) lookup(name string) *types.Named {
	for _, p := range s.packages {
		path := p.PkgPath
		if p == s.main {
			path = "main" // as reflection calls it
		}
		for _, prefix := range []string{path, p.PkgPath} {
			if len(name) > len(prefix)+1 && name[:len(prefix)+1] == prefix+"." {
				if o := p.Types.Scope().Lookup(name[len(prefix)+1:]); o != nil {
					n, _ := o.Type().(*types.Named)
					return n
				}
			}
		}
	}
	return nil
}
