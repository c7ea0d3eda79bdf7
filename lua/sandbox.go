package lua

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

const (
	// maxFrames is how deep functions may call each other.
	maxFrames = 200
	// maxRegisters is how many values the stack of a state or a coroutine may hold.
	maxRegisters = 64 << 10
	// callerName is the name of the source of vm.caller.
	callerName = "(call)"
	// maxNested is how deep coroutines and protected calls may be nested.
	maxNested = 100
)

// baseNames are the functions of the base library that scripts get as they are. Scripts
// cannot load code, read files, or change the environment of functions.
var baseNames = []string{
	"assert", "error", "getmetatable", "ipairs", "next", "pairs", "rawequal", "rawget", "rawset", "select",
	"tonumber", "tostring", "type", "_VERSION",
}

// newState makes a Lua state whose globals no script sees.
func (v *vm) newState() {
	v.state = glua.NewState(glua.Options{
		SkipOpenLibs:     true,
		CallStackSize:    maxFrames,
		RegistrySize:     256,
		RegistryMaxSize:  maxRegisters,
		RegistryGrowStep: 1024,
	})
	for _, open := range []glua.LGFunction{
		glua.OpenBase, glua.OpenString, glua.OpenTable, glua.OpenMath, glua.OpenCoroutine,
	} {
		open(v.state)
	}
	v.state.SetTop(0)
	v.newCaller()
	v.state.SetContext(&v.meter)
	text := v.state.NewTable()
	text.RawSetString("__index", v.stringLibrary(v.original("string")))
	text.RawSetString("__metatable", glua.LFalse)
	v.state.SetMetatable(glua.LString(""), text)
}

// newCaller makes the function of Lua that calls its first argument with the others.
func (v *vm) newCaller() {
	outer, err := v.state.Load(strings.NewReader("return function(called, ...) return called(...) end"), callerName)
	if err != nil {
		panic(err) // the source is a constant
	}
	v.state.Push(outer)
	v.state.Call(0, 1)
	v.caller = v.state.CheckFunction(1)
	v.state.SetTop(0)
}

// original returns a library of gopher-lua.
func (v *vm) original(name string) *glua.LTable {
	return v.state.G.Global.RawGetString(name).(*glua.LTable)
}

// environment returns the globals of a new version.
func (v *vm) environment(ver *version) *glua.LTable {
	env := v.state.NewTable()
	for _, name := range baseNames {
		env.RawSetString(name, v.state.G.Global.RawGetString(name))
	}
	v.state.SetFuncs(env, map[string]glua.LGFunction{
		"setmetatable": v.setMetatable, "unpack": v.unpack, "print": v.print, "pcall": v.pcall, "xpcall": v.xpcall,
		"require": func(l *glua.LState) int { return v.require(l, ver) },
	})
	env.RawSetString("_G", env)
	env.RawSetString("string", v.stringLibrary(v.original("string")))
	env.RawSetString("table", v.tableLibrary())
	env.RawSetString("math", v.mathLibrary())
	env.RawSetString("coroutine", v.coroutineLibrary())
	env.RawSetString("nano", v.nanoLibrary())
	return env
}

// setMetatable is setmetatable for tables only: another value would change the metatable of
// all values of its type.
func (v *vm) setMetatable(l *glua.LState) int {
	l.CheckTable(1)
	return v.state.G.Global.RawGetString("setmetatable").(*glua.LFunction).GFunction(l)
}

func (v *vm) unpack(l *glua.LState) int {
	t := l.CheckTable(1)
	first, last := integer(l, 2, 1), integer(l, 3, t.Len())
	if last-first >= maxValues {
		l.RaiseError("too many results to unpack")
	}
	v.charge(l, max(last-first, 0))
	for i := first; i <= last; i++ {
		l.Push(t.RawGetInt(i))
	}
	return max(last-first+1, 0)
}

// print logs its arguments.
func (v *vm) print(l *glua.LState) int {
	parts := make([]string, l.GetTop())
	size := 0
	for i := range parts {
		parts[i] = l.ToStringMeta(l.Get(i + 1)).String()
		size = v.chargePart(l, size, len(parts[i])+1)
	}
	v.log.Info("nano: script printed", "text", strings.Join(parts, "\t"))
	return 0
}

// tableLibrary returns the library table.
func (v *vm) tableLibrary() *glua.LTable {
	lib, original := v.state.NewTable(), v.original("table")
	v.wrap(lib, original, "getn", func(*glua.LState) {})
	v.wrap(lib, original, "maxn", func(*glua.LState) {})
	v.wrap(lib, original, "insert", func(l *glua.LState) {
		if l.GetTop() == 3 { // the values after the position move
			v.charge(l, moved(l.CheckTable(1), integer(l, 2, 0))/copySteps)
		}
	})
	v.wrap(lib, original, "remove", func(l *glua.LState) {
		if t := l.CheckTable(1); l.GetTop() > 1 {
			v.charge(l, moved(t, integer(l, 2, 0))/copySteps)
		}
	})
	v.wrap(lib, original, "sort", func(l *glua.LState) {
		n, size := l.CheckTable(1).MaxN(), 0
		if l.GetTop() == 1 { // strings are compared byte by byte
			for i := 1; i <= n; i++ {
				if s, ok := l.CheckTable(1).RawGetInt(i).(glua.LString); ok {
					size += len(s)
				}
			}
		}
		v.charge(l, (n+size/copySteps)*bits.Len(uint(n)))
	})
	lib.RawSetString("concat", v.state.NewFunction(v.tableConcat))
	return lib
}

// moved returns how many values of a table are between a position and its end.
func moved(t *glua.LTable, at int) int {
	n := t.MaxN() - at
	return max(n, -n)
}

func (v *vm) tableConcat(l *glua.LState) int {
	t := l.CheckTable(1)
	separator := l.OptString(2, "")
	first, last := integer(l, 3, 1), integer(l, 4, t.Len())
	var b strings.Builder
	for i := first; i <= last; i++ {
		value := t.RawGetInt(i)
		if !glua.LVCanConvToString(value) {
			l.RaiseError("invalid value (%s) at index %d in table for 'concat'", value.Type(), i)
		}
		text := value.String()
		if i < last {
			text += separator
		}
		v.chargeBytes(l, len(text))
		if b.WriteString(text); b.Len() > maxText {
			l.RaiseError("the text would have more than %d bytes", maxText)
		}
	}
	l.Push(glua.LString(b.String()))
	return 1
}

// mathLibrary returns the library math. Its random numbers are those of math/rand/v2, so a
// script cannot seed those of the program.
func (v *vm) mathLibrary() *glua.LTable {
	lib := v.state.NewTable()
	v.original("math").ForEach(func(name, value glua.LValue) { lib.RawSet(name, value) })
	v.state.SetFuncs(lib, map[string]glua.LGFunction{
		"random":     random,
		"randomseed": func(*glua.LState) int { return 0 },
	})
	return lib
}

func random(l *glua.LState) int {
	if l.GetTop() == 0 {
		l.Push(glua.LNumber(rand.Float64()))
		return 1
	}
	low, high := 1, integer(l, 1, 1)
	if l.GetTop() > 1 {
		low, high = high, integer(l, 2, 1)
	}
	if low > high {
		l.RaiseError("bad argument to 'random' (interval is empty)")
	}
	l.Push(glua.LNumber(low + rand.IntN(high-low+1)))
	return 1
}

// coroutineLibrary returns the library coroutine. Coroutines count their steps with the call
// that resumes them.
func (v *vm) coroutineLibrary() *glua.LTable {
	lib, original := v.state.NewTable(), v.original("coroutine")
	for _, name := range []string{"running", "status", "yield"} {
		lib.RawSetString(name, original.RawGetString(name))
	}
	get := func(name string) glua.LGFunction { return original.RawGetString(name).(*glua.LFunction).GFunction }
	create, resume, wrap := get("create"), get("resume"), get("wrap")
	v.state.SetFuncs(lib, map[string]glua.LGFunction{
		"create": func(l *glua.LState) int {
			checkBody(l)
			create(l)
			l.CheckThread(l.GetTop()).SetContext(&v.meter)
			return 1
		},
		"resume": func(l *glua.LState) int { return v.nested(l, resume) },
		"wrap": func(l *glua.LState) int {
			checkBody(l)
			wrap(l)
			f := l.CheckFunction(l.GetTop())
			thread := f.Upvalues[0].Value().(*glua.LState)
			thread.SetContext(&v.meter)
			l.Push(l.NewClosure(func(l *glua.LState) int { return v.nested(l, f.GFunction) }, thread))
			return 1
		},
	})
	return lib
}

// checkBody checks that argument 1 is a function that a coroutine can run.
func checkBody(l *glua.LState) {
	if l.CheckFunction(1).IsG {
		l.ArgError(1, "Lua function expected")
	}
}

// nested calls a function that resumes a coroutine.
func (v *vm) nested(l *glua.LState, resume glua.LGFunction) int {
	if v.resumed >= maxNested {
		l.RaiseError("more than %d coroutines and protected calls are nested", maxNested)
	}
	v.resumed++
	defer func() { v.resumed-- }()
	return resume(l)
}

// protected calls a function on a coroutine of its own, and returns its results or the value of
// its error. An error of gopher-lua detaches the local variables of all functions on its stack
// from the closures that share them. With a stack of its own, those of the caller stay attached.
func (v *vm) protected(l *glua.LState, f *glua.LFunction, args ...glua.LValue) (results []glua.LValue, failure glua.LValue) {
	v.charge(l, 20) // cost of the coroutine
	thread, _ := l.NewThread()
	thread.SetContext(&v.meter)
	if f.IsG { // a coroutine runs functions of Lua only
		args = append([]glua.LValue{f}, args...)
		f = v.caller
	}
	v.nested(l, func(l *glua.LState) int {
		state, err, values := l.Resume(thread, f, args...)
		switch {
		case state == glua.ResumeYield:
			failure = glua.LString(l.Where(1) + " attempt to yield across a protected call")
		case err != nil:
			failure = v.placed(l, errorValue(err))
		default:
			results = values
		}
		return 0
	})
	return results, failure
}

// placed returns the value of an error. If it names the position in vm.caller, placed replaces that
// with the position of the protected call.
func (v *vm) placed(l *glua.LState, failure glua.LValue) glua.LValue {
	text, ok := failure.(glua.LString)
	if !ok {
		return failure
	}
	bare, ok := strings.CutPrefix(string(text), callerName+":1: ")
	if !ok {
		return failure
	}
	if at := l.Where(1); at != "" && !strings.HasPrefix(at, callerName) {
		bare = at + " " + bare
	}
	return glua.LString(bare)
}

// errorValue returns the value of an error of a call.
func errorValue(err error) glua.LValue {
	var e *glua.ApiError
	if errors.As(err, &e) && e.Object != nil {
		return e.Object
	}
	return glua.LString(err.Error())
}

func (v *vm) pcall(l *glua.LState) int {
	called := l.CheckAny(1)
	var args []glua.LValue
	f, ok := called.(*glua.LFunction)
	if !ok {
		if f, ok = l.GetMetaField(called, "__call").(*glua.LFunction); !ok {
			l.Push(glua.LFalse)
			l.Push(glua.LString("attempt to call a " + called.Type().String() + " value"))
			return 2
		}
		args = append(args, called)
	}
	for i := 2; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	results, failure := v.protected(l, f, args...)
	return pushOutcome(l, results, failure)
}

// xpcall calls its handler after the stack was unwound.
func (v *vm) xpcall(l *glua.LState) int {
	f, handle := l.CheckFunction(1), l.CheckFunction(2)
	results, failure := v.protected(l, f)
	if failure != nil {
		if handled, again := v.protected(l, handle, failure); again == nil {
			failure = handled[0]
		} else {
			failure = again
		}
	}
	return pushOutcome(l, results, failure)
}

// pushOutcome pushes the results of pcall.
func pushOutcome(l *glua.LState, results []glua.LValue, failure glua.LValue) int {
	if failure != nil {
		l.Push(glua.LFalse)
		l.Push(failure)
		return 2
	}
	l.Push(glua.LTrue)
	for _, r := range results {
		l.Push(r)
	}
	return 1 + len(results)
}
