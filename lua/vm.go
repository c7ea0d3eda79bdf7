package lua

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano"
	"github.com/lonng/nano/session"
)

// vm is the Lua state of a script. All versions of the script run in it, each with globals of
// its own, so values may pass from one version to the next. It is used on the logic goroutine,
// and before that by Start alone.
type vm struct {
	options options
	file    string
	state   *glua.LState
	meter   meter
	caller  *glua.LFunction // calls a function of Go from Lua
	server  *nano.Server
	base    *slog.Logger
	log     *slog.Logger // base with the version
	calls   calls

	current  *version // nil until the first version has loaded
	loading  *version // version whose file runs, or nil
	depth    int      // calls of the script that run inside each other
	resumed  int      // coroutines that resume each other
	made     []*timer // timers that on_reload makes; nil otherwise
	answered bool     // the handler that runs has answered, or will answer later

	sessions map[*session.Session]*glua.LUserData
	types    types
	null     *glua.LUserData // nano.null
	array    *glua.LTable    // metatable of arrays of JSON

	ran, failed, stopped atomic.Int64
}

// version is one version of the script.
type version struct {
	number  int
	source  *source
	module  *glua.LTable
	env     *glua.LTable
	modules map[string]glua.LValue // results of require
	timers  map[*timer]struct{}    // timers that call a function of this version
}

func newVM(o options, file string, log *slog.Logger) *vm {
	v := &vm{
		options:  o,
		file:     file,
		meter:    meter{steps: o.steps, timeout: o.timeout},
		base:     log.With("script", file),
		calls:    newCalls(),
		sessions: map[*session.Session]*glua.LUserData{},
	}
	v.log = v.base
	v.newState()
	v.null = v.state.NewUserData()
	v.array = v.state.NewTable()
	v.array.RawSetString("__metatable", glua.LFalse)
	v.newTypes()
	return v
}

// scriptError is an error of a script, with the place in the file if it is known.
type scriptError struct {
	text    string
	version int
}

func (e *scriptError) Error() string { return fmt.Sprintf("%s (version %d)", e.text, e.version) }

// longFactor multiplies the limits of a call that loads or starts a script.
const longFactor = 10

// call calls a function of the script and returns its first two results.
func (v *vm) call(f *glua.LFunction, factor int, args ...glua.LValue) (first, second glua.LValue, err error) {
	if v.depth == 0 {
		v.meter.begin(factor)
		v.resumed = 0
		v.state.G.CurrentThread = v.state
	}
	if factor == 1 {
		v.ran.Add(1)
	}
	v.depth++
	if v.depth == 1 {
		first, second, err = v.outermost(f, args)
	} else {
		first, second, err = v.inner(f, args)
	}
	v.depth--
	if err == nil {
		return first, second, nil
	}
	if factor == 1 {
		v.failed.Add(1)
	}
	if factor == 1 && v.depth == 0 && v.meter.err != nil {
		v.stopped.Add(1)
	}
	return nil, nil, v.explain(err)
}

// outermost is call when no function of the script runs.
func (v *vm) outermost(f *glua.LFunction, args []glua.LValue) (first, second glua.LValue, err error) {
	l := v.state
	l.Push(f)
	for _, a := range args {
		l.Push(a)
	}
	if err = l.PCall(len(args), 2, nil); err == nil {
		first, second = l.Get(-2), l.Get(-1)
	}
	l.SetTop(0)
	return first, second, err
}

// inner is call while a function of the script runs.
func (v *vm) inner(f *glua.LFunction, args []glua.LValue) (first, second glua.LValue, err error) {
	defer func() {
		if p := recover(); p != nil { // too many calls are nested
			e, ok := p.(*glua.ApiError)
			if !ok {
				panic(p)
			}
			err = e
		}
	}()
	results, failure := v.protected(v.state, f, args...)
	if failure != nil {
		return nil, nil, &glua.ApiError{Type: glua.ApiErrorRun, Object: failure}
	}
	results = append(results, glua.LNil, glua.LNil)
	return results[0], results[1], nil
}

// explain returns the error of a call: the *nano.Error that the script raised, or a text with
// the place in the file.
func (v *vm) explain(err error) error {
	var e *glua.ApiError
	if !errors.As(err, &e) {
		return &scriptError{err.Error(), v.number()}
	}
	if e.Object == nil {
		return &scriptError{place(e.StackTrace) + "an error without a value", v.number()}
	}
	if public, ok := publicError(e.Object); ok {
		return public
	}
	text := e.Object.String()
	switch {
	case e.Type == glua.ApiErrorPanic, e.Object.Type() == glua.LTString && !placed.MatchString(text):
		text = place(e.StackTrace) + text
	case e.Object.Type() != glua.LTString:
		text = fmt.Sprintf("%sthe error is a %s, want a string or an error of nano.error", place(e.StackTrace), e.Object.Type())
	}
	return &scriptError{text, v.number()}
}

// placed matches a text that begins with a place in a file.
var placed = regexp.MustCompile(`^[^\s:]+:\d+: `)

// place returns the first place in a file that a stack trace names, with ": ", or "".
func place(trace string) string {
	for line := range strings.Lines(trace) {
		line = strings.TrimSpace(line)
		if at, _, found := strings.Cut(line, ": in "); found && !strings.HasPrefix(at, "[") {
			return at + ": "
		}
	}
	return ""
}

// number returns the number of the version that runs.
func (v *vm) number() int {
	switch {
	case v.loading != nil:
		return v.loading.number
	case v.current != nil:
		return v.current.number
	}
	return 0
}

// publicError returns the error for the client that a value holds.
func publicError(value glua.LValue) (*nano.Error, bool) {
	if u, ok := value.(*glua.LUserData); ok {
		e, ok := u.Value.(*nano.Error)
		return e, ok
	}
	return nil, false
}

// callback is a function that the script has passed, or the name of a function of its module.
// A name stands for that function of the version that is current when it is called.
type callback struct {
	function *glua.LFunction
	name     string
}

// callback returns an argument as a callback.
func (v *vm) callback(l *glua.LState, n int) callback {
	switch f := l.Get(n).(type) {
	case *glua.LFunction:
		return callback{function: f}
	case glua.LString:
		if ver := v.active(); ver != nil && ver.function(string(f)) != nil {
			return callback{name: string(f)}
		}
		l.ArgError(n, fmt.Sprintf("the module has no function %q", string(f)))
	}
	l.ArgError(n, "want a function, or the name of a function of the module")
	return callback{}
}

// active returns the version that loads, or else the current one.
func (v *vm) active() *version {
	if v.loading != nil {
		return v.loading
	}
	return v.current
}

// function returns a function of the module, or nil.
func (ver *version) function(name string) *glua.LFunction {
	if ver.module == nil {
		return nil
	}
	f, _ := ver.module.RawGetString(name).(*glua.LFunction)
	return f
}

// run calls a callback and logs its error. what names the callback for the log.
func (v *vm) run(what string, c callback, args ...glua.LValue) {
	f := c.function
	if f == nil {
		if f = v.current.function(c.name); f == nil {
			v.failed.Add(1)
			v.log.Error("nano: script failed", "in", what, "error", fmt.Sprintf("the module has no function %q any more", c.name))
			return
		}
	}
	if _, _, err := v.call(f, 1, args...); err != nil {
		v.log.Error("nano: script failed", "in", what, "error", err)
	}
}
