package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/runloop"
)

// errNotRunning is returned by Reload before the server has started and after it has ended.
var errNotRunning = errors.New("lua: the server is not running")

// poll reloads the script when a file has changed, until the server shuts down.
func (s *Script) poll() {
	t := time.NewTicker(s.options.poll)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
			if l, ok := runloop.Of(s.server.Scheduler()); ok && l.Closed() {
				return // another component failed to start
			}
			if s.last.Load().changed() {
				_ = s.Reload(s.ctx) // it has logged its error
			}
		}
	}
}

// Reload compiles the files of the script as they are now, and replaces the running
// version by them. The replacement is one task of the logic goroutine, between two
// messages. If the new version has an error, Reload logs and returns it, and the old
// version continues to run.
//
// Reload waits for the logic goroutine until ctx ends, so the logic goroutine must not call it.
// If ctx ends first, the replacement may still happen.
func (s *Script) Reload(ctx context.Context) error {
	if s.server == nil {
		return errNotRunning
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	src, err := readSource(s.path)
	s.last.Store(src)
	if err != nil {
		s.refuse(err)
		return err
	}
	done := make(chan error, 1)
	if !s.server.Scheduler().Invoke(func() { done <- s.swap(src) }) {
		return errNotRunning
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuse logs that a new version has an error.
func (s *Script) refuse(err error) {
	s.refused.Add(1)
	s.vm.base.Error("nano: script not reloaded: the old version continues to run", "version", s.loaded.Load().number, "error", err)
}

// swap replaces the current version by a new one. It is one task.
func (s *Script) swap(src *source) error {
	began, old := time.Now(), s.vm.current
	ver, err := s.vm.load(src, old.number+1)
	if err == nil {
		err = s.addRoutes(ver)
	}
	if err == nil {
		err = s.vm.takeOver(ver, old)
	}
	if err != nil {
		s.refuse(err)
		return err
	}
	for t := range old.timers {
		t.stop()
	}
	s.use(ver)
	s.reloads.Add(1)
	s.vm.log.Info("nano: script reloaded", "took", time.Since(began))
	return nil
}

// addRoutes makes the server serve the functions that no earlier version had. A route that a
// version lacks stays, and answers NANO-404.
func (s *Script) addRoutes(ver *version) error {
	funcs, err := s.funcs(ver)
	if err != nil {
		return err
	}
	for _, f := range funcs {
		nodes, known := s.added[f.Name]
		switch {
		case known && nodes != (f.Nodes != nil):
			return fmt.Errorf("lua: %q was a route for clients in one version and for nodes in another: restart the server", f.Name)
		case known:
			continue
		}
		if err := s.env.Add(f); err != nil {
			return err
		}
		s.added[f.Name] = f.Nodes != nil
	}
	return nil
}

// takeOver calls on_reload of a new version with the state of the old one. After an error, no
// timer that it has made continues.
func (v *vm) takeOver(ver, old *version) error {
	f := ver.function("on_reload")
	if f == nil {
		return nil
	}
	v.current, v.loading = ver, nil
	v.made = []*timer{}
	_, _, err := v.call(f, longFactor, old.module.RawGetString("state"))
	if err != nil {
		v.current = old
		for _, t := range v.made {
			t.stop()
		}
	}
	v.made = nil
	return err
}

// start lets the script use the server.
func (v *vm) start(srv *nano.Server) { v.server = srv }

// ready raises an error while the file of the script runs.
func (v *vm) ready(l *glua.LState) {
	if v.loading != nil || v.server == nil {
		l.RaiseError("not available while the file runs: call this in on_start, on_reload or later")
	}
}
