package lua

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/session"
)

// Script is a component whose handlers are the functions of a Lua module. Make one with [New] for
// each server. Reload and ScriptStats may be called concurrently; the server calls the rest.
type Script struct {
	component.Base
	path    string
	options options

	vm      *vm
	env     handler.Env
	server  *nano.Server
	added   map[string]bool // routes of the server; used by Start, then on the logic goroutine
	turn    chan struct{}   // holds a value while a new version loads
	last    atomic.Pointer[source]
	loaded  atomic.Pointer[loaded]
	reloads atomic.Int64
	refused atomic.Int64 // versions that had an error

	ctx    context.Context // ends at the shutdown
	cancel context.CancelFunc
	poller sync.WaitGroup
}

// loaded describes the current version for statistics.
type loaded struct {
	number int
	hash   string
	at     time.Time
}

var (
	_ handler.Provider     = (*Script)(nil)
	_ handler.Namer        = (*Script)(nil)
	_ nano.ServerComponent = (*Script)(nil)
	_ nano.ScriptReporter  = (*Script)(nil)
)

// New makes a component of the script at path. The service has the name of the file without its
// extension, unless component.WithName sets another one. If the script has an error, the server
// returns it when it starts.
func New(path string, opts ...Option) *Script {
	s := &Script{
		path:    path,
		options: options{timeout: defaultTimeout, steps: defaultSteps, poll: defaultPoll},
		added:   map[string]bool{},
		turn:    make(chan struct{}, 1),
	}
	for _, o := range opts {
		o(&s.options)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// DefaultName returns the name of the file without its extension.
func (s *Script) DefaultName() string {
	base := filepath.Base(s.path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// Provide loads the script. The server calls it when it starts.
func (s *Script) Provide(env handler.Env) ([]handler.Func, error) {
	if err := s.options.check(); err != nil {
		return nil, err
	}
	switch {
	case s.vm != nil:
		return nil, errors.New("lua: the Script was given to two servers: call New for each")
	case env.SchedName != "":
		return nil, errors.New("lua: a script runs on the logic goroutine: remove component.WithSchedulerName")
	}
	src, err := readSource(s.path)
	s.last.Store(src)
	if err != nil {
		return nil, err
	}
	s.env = env
	s.vm = newVM(s.options, filepath.Base(s.path), env.Log)
	ver, err := s.vm.load(src, 1)
	if err != nil {
		return nil, err
	}
	funcs, err := s.funcs(ver)
	if err != nil {
		return nil, err
	}
	for _, f := range funcs {
		s.added[f.Name] = f.Nodes != nil
	}
	s.use(ver)
	return funcs, nil
}

// funcs returns the handlers of a version.
func (s *Script) funcs(ver *version) ([]handler.Func, error) {
	clients, nodes, err := ver.routes()
	if err != nil {
		return nil, err
	}
	var list []handler.Func
	for _, name := range clients {
		list = append(list, handler.Func{Name: name, Call: func(from *session.Session, data any) (any, error) {
			return s.vm.serve(s.env.Service+"."+name, name, from, data.([]byte))
		}})
	}
	for _, name := range nodes {
		list = append(list, handler.Func{Name: name, Nodes: func(_ context.Context, data []byte, done func(any, error)) {
			done(s.vm.serveNode(s.env.Service+"."+name, name, data))
		}})
	}
	return list, nil
}

// use makes a version the current one.
func (s *Script) use(ver *version) {
	hash := ver.source.hash()
	s.vm.current = ver
	s.vm.log = s.vm.base.With("version", ver.number, "hash", hash)
	s.loaded.Store(&loaded{ver.number, hash, time.Now()})
}

// InitServer gets the server.
func (s *Script) InitServer(srv *nano.Server) {
	s.server = srv
	s.vm.start(srv)
}

// AfterInit calls on_start, and begins to look for changes of the file. An error of on_start
// fails the start of the server.
func (s *Script) AfterInit() {
	if f := s.vm.current.function("on_start"); f != nil {
		if _, _, err := s.vm.call(f, longFactor); err != nil {
			panic(fmt.Errorf("on_start: %w", err))
		}
	}
	s.vm.log.Info("nano: script loaded")
	if s.options.poll > 0 {
		s.poller.Go(s.poll)
	}
}

// BeforeShutdown calls on_stop, and ends the search for changes.
func (s *Script) BeforeShutdown() {
	s.cancel()
	if f := s.vm.current.function("on_stop"); f != nil {
		if _, _, err := s.vm.call(f, longFactor); err != nil {
			s.vm.log.Error("nano: script failed", "in", "on_stop", "error", err)
		}
	}
}

// Shutdown ends the calls to other nodes.
func (s *Script) Shutdown() {
	s.cancel()
	s.vm.calls.close()
	s.poller.Wait()
}

// ScriptStats returns the figures of the script.
func (s *Script) ScriptStats() nano.ScriptStats {
	st := nano.ScriptStats{Name: s.env.Service, File: s.path, Reloads: s.reloads.Load(), ReloadsFailed: s.refused.Load()}
	if l := s.loaded.Load(); l != nil {
		st.Version, st.Hash, st.Loaded = l.number, l.hash, l.at
	}
	if s.vm != nil {
		st.Calls, st.Errors, st.Stopped = s.vm.ran.Load(), s.vm.failed.Load(), s.vm.stopped.Load()
	}
	return st
}

// serve runs the handler of a message.
func (v *vm) serve(route, name string, from *session.Session, data []byte) (any, error) {
	f := v.current.function(name)
	if f == nil {
		return nil, nano.Errorf(nano.CodeNotFound, "route %q is not served here", route)
	}
	request, err := v.received(data)
	if err != nil {
		return nil, nano.Errorf(nano.CodeBadRequest, "the payload of %s does not decode", route)
	}
	v.answered = false
	reply, failure, err := v.call(f, 1, v.session(from), request)
	switch {
	case err != nil:
		return nil, err
	case failure != glua.LNil:
		return nil, v.returned(f, failure)
	case reply == glua.LNil && v.answered:
		return nil, nil
	}
	return v.reply(f, reply)
}

// serveNode runs the handler of a call of another node.
func (v *vm) serveNode(route, name string, data []byte) (any, error) {
	var f *glua.LFunction
	if t, ok := v.current.module.RawGetString("nodes").(*glua.LTable); ok {
		f, _ = t.RawGetString(name).(*glua.LFunction)
	}
	if f == nil {
		return nil, nano.Errorf(nano.CodeNotFound, "route %q is not served here", route)
	}
	request, err := v.received(data)
	if err != nil {
		return nil, nano.Errorf(nano.CodeBadRequest, "the payload of %s does not decode", route)
	}
	reply, failure, err := v.call(f, 1, request)
	switch {
	case err != nil:
		return nil, err
	case failure != glua.LNil:
		return nil, v.returned(f, failure)
	}
	return v.reply(f, reply)
}

// reply returns the payload of a handler's result.
func (v *vm) reply(f *glua.LFunction, value glua.LValue) (any, error) {
	data, err := v.payload(value)
	if err != nil {
		return nil, &scriptError{definition(f) + "the result of the handler: " + err.Error(), v.number()}
	}
	return data, nil
}

// returned returns the error that a handler has returned as its second result.
func (v *vm) returned(f *glua.LFunction, value glua.LValue) error {
	if public, ok := publicError(value); ok {
		return public
	}
	return &scriptError{definition(f) + "the handler returned the error: " + value.String(), v.number()}
}

// definition returns the place where a function begins, with ": ", or "" for one in Go.
func definition(f *glua.LFunction) string {
	if f.Proto == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", f.Proto.SourceName, f.Proto.LineDefined)
}
