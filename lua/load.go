package lua

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// lifecycle are the functions of a module that are not routes.
var lifecycle = []string{"on_start", "on_reload", "on_stop"}

// load runs the file of a version. It does not make the version current.
func (v *vm) load(src *source, number int) (*version, error) {
	ver := &version{
		number:  number,
		source:  src,
		modules: map[string]glua.LValue{},
		timers:  map[*timer]struct{}{},
	}
	ver.env = v.environment(ver)
	v.loading = ver
	defer func() { v.loading = nil }()
	value, err := v.runFile(ver, src.get(src.main))
	if err != nil {
		return nil, err
	}
	module, ok := value.(*glua.LTable)
	if !ok {
		return nil, &scriptError{fmt.Sprintf("%s: the file returns a %s, want its module: a table of functions", v.file, value.Type()), number}
	}
	ver.module = module
	return ver, nil
}

// runFile runs a file with the globals of a version and returns its result.
func (v *vm) runFile(ver *version, f *file) (glua.LValue, error) {
	if f.err != nil {
		return nil, f.err
	}
	function, err := v.fileFunction(ver, f)
	if err != nil {
		return nil, err
	}
	value, _, err := v.call(function, longFactor)
	return value, err
}

// fileFunction returns the function of a compiled file.
func (v *vm) fileFunction(ver *version, f *file) (*glua.LFunction, error) {
	outer := v.state.NewFunctionFromProto(f.proto)
	outer.Env = ver.env
	value, _, err := v.call(outer, longFactor, v.state.NewFunction(v.concat))
	if err != nil {
		return nil, err
	}
	function, ok := value.(*glua.LFunction)
	if !ok {
		return nil, errors.New("lua: a compiled file has no function")
	}
	return function, nil
}

// require implements require for the modules in the folder of the script. A file is read and
// compiled once for each version.
func (v *vm) require(l *glua.LState, ver *version) int {
	module := l.CheckString(1)
	if value, ok := ver.modules[module]; ok {
		if value == nil {
			l.RaiseError("module %q requires itself", module)
		}
		l.Push(value)
		return 1
	}
	name, err := moduleFile(module)
	if err != nil {
		l.RaiseError("%v", err)
	}
	f := ver.source.get(name)
	if f.err != nil {
		l.RaiseError("module %q: %v", module, f.err)
	}
	function, err := v.fileFunction(ver, f)
	if err != nil {
		l.RaiseError("module %q: %v", module, err)
	}
	ver.modules[module] = nil
	loaded := false
	defer func() {
		if !loaded {
			delete(ver.modules, module)
		}
	}()
	l.Push(function)
	l.Push(glua.LString(module))
	l.Call(1, 1)
	value := l.Get(-1)
	if value == glua.LNil {
		value = glua.LTrue
	}
	loaded = true
	ver.modules[module] = value
	l.Push(value)
	return 1
}

// routes returns the names of the functions that clients call, in order, and of those that
// other nodes call.
func (ver *version) routes() (clients, nodes []string, err error) {
	if clients, err = functionNames(ver.module); err != nil {
		return nil, nil, err
	}
	if t, ok := ver.module.RawGetString("nodes").(*glua.LTable); ok {
		if nodes, err = functionNames(t); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range nodes {
		if slices.Contains(clients, name) {
			return nil, nil, fmt.Errorf("lua: the function %q is in the module and in nodes: want one of both", name)
		}
	}
	return clients, nodes, nil
}

// functionNames returns the names of the functions of a table that are routes.
func functionNames(t *glua.LTable) (names []string, err error) {
	t.ForEach(func(key, value glua.LValue) {
		if value.Type() != glua.LTFunction {
			return
		}
		name, ok := key.(glua.LString)
		switch {
		case !ok:
			err = fmt.Errorf("lua: a function of the module has a %s as name, want a string", key.Type())
		case strings.HasPrefix(string(name), "_") || slices.Contains(lifecycle, string(name)):
		default:
			names = append(names, string(name))
		}
	})
	slices.Sort(names)
	return names, err
}
