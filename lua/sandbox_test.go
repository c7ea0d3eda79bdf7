package lua

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// newTestVM makes a Lua state with one version whose function run is the given body.
func newTestVM(t testing.TB, body string, opts ...Option) *vm {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.lua")
	write(t, path, "local M = {}\nfunction M.run(...)\n"+body+"\nend\nreturn M\n")
	o := New(path, opts...).options
	v := newVM(o, "game.lua", discard)
	src, err := readSource(path)
	if err != nil {
		t.Fatalf("%s\n%v", body, err)
	}
	if v.current, err = v.load(src, 1); err != nil {
		t.Fatalf("%s\n%v", body, err)
	}
	return v
}

// eval runs the body of a function and returns its result as text.
func eval(t testing.TB, body string, opts ...Option) (string, error) {
	t.Helper()
	v := newTestVM(t, body, opts...)
	value, _, err := v.call(v.current.function("run"), 1)
	if err != nil {
		return "", err
	}
	if n := v.state.GetTop(); n != 0 {
		t.Errorf("%d values are left on the stack after %s", n, body)
	}
	return value.String(), nil
}

// TestEscapes checks that scripts have no way to code, files and the process.
func TestEscapes(t *testing.T) {
	for _, name := range []string{
		"load", "loadstring", "loadfile", "dofile", "debug", "os", "io", "package", "module", "newproxy", "setfenv", "getfenv",
		"collectgarbage", "_printregs", "channel", "string.dump",
		"_G.loadstring", "_G._G.debug", "getmetatable('').__index", "getmetatable(nano.null)", "string.gfind",
	} {
		got, err := eval(t, "local ok, value = pcall(function() return "+name+" end) return ok and value or nil")
		if err != nil || got != "nil" && got != "false" {
			t.Errorf("%s = %s, %v, want nil", name, got, err)
		}
	}
	for _, body := range []string{
		"setmetatable('', {__index = {rep = print}})",
		"setmetatable(nil, {})",
		"setmetatable(1, {})",
		"setmetatable(nano.group('a'), {})",
		"setmetatable(nano.json.decode('[]'), {})",
		"nano.group('a').x = 1",
		"nano.group('a').add = print",
		"nano.group.count({})",
		"string.rep()",
		"require('x', 1)",
		"coroutine.create(print, 1)()",
		"coroutine.yield(1)",
	} {
		if got, err := eval(t, body); err == nil {
			t.Errorf("%s = %s, want an error", body, got)
		}
	}
}

// TestVersionsAreApart checks that a version cannot change the libraries of a later one.
func TestVersionsAreApart(t *testing.T) {
	v := newTestVM(t, `string.rep = nil; table.concat = print; leaked = 1; _G.pairs = nil; nano.log = nil
		return ("x"):rep(3)`)
	if got, _, err := v.call(v.current.function("run"), 1); err != nil || got.String() != "xxx" {
		t.Errorf("run = %v, %v, want xxx", got, err)
	}
	env := v.environment(v.current)
	if env.RawGetString("leaked") != glua.LNil || env.RawGetString("pairs") == glua.LNil ||
		env.RawGetString("string").(*glua.LTable).RawGetString("rep") == glua.LNil {
		t.Error("a later version sees the changes of an earlier one")
	}
}

// TestLimitsOfCalls checks that no call runs without end, whatever it does.
func TestLimitsOfCalls(t *testing.T) {
	for _, body := range []string{
		"while true do end",
		"repeat until false",
		"for i = 1, 1e300 do end",
		"::a:: goto a",
		"local function f() return f() end return f()",
		"while true do pcall(function() while true do end end) end",
		"local function f() pcall(f) f() end f()",
		"while true do pcall(error) end",
		"while true do xpcall(function() while true do end end, function() while true do end end) end",
		"local function f() return pcall(f) end while true do f() end",
		"local co = coroutine.wrap(function() while true do end end) co()",
		"local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
		"local co = coroutine.create(function() while true do end end) while true do coroutine.resume(co) end",
		"while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) end",
		"while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
		"local s = ('a'):rep(1000) while true do s:gsub('a', function() while true do end end) end",
		"local s = ('a'):rep(1000) while true do s:gsub('.', pcall) end",
		"local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x",
		"local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
		"local t = setmetatable({}, {__tostring = function() while true do end end}) return tostring(t)",
		"local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function(a, b) while true do end end)",
		"local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t, function(a, b) return true end) end",
		"local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
		"local s = ('a'):rep(1000) while true do s:find('(a*)(a*)(a*)(a*)b') end",
		"return (('a'):rep(1e6)):find('.-.-.-.-b')",
		"return (('a'):rep(1e6)):match('a*a*a*a*a*b')",
		"return (('('):rep(1e6)):find('%b()')",
		"for w in (('a'):rep(1e6)):gmatch('a-b') do end",
		"local s = ('x'):rep(1e6) while true do local y = s:upper() end",
		"local s = ('x'):rep(1e6) while true do local y = s .. '' end",
		"local t = {} while true do t[#t + 1] = 1 end",
		"while true do print('x') end",
		"local s = ('x'):rep(1e6) while true do print(s) end",
		"local s = ('x'):rep(1e6) while true do nano.log.info(s) end",
		"local s = ('a'):rep(1e6) local t = {} for i = 1, 5000 do t[i] = s end table.sort(t)",
		"while true do nano.json.decode('[]') end",
	} {
		began := time.Now()
		got, err := eval(t, body, WithSteps(100_000), WithTimeout(10*time.Second))
		if err == nil || !strings.Contains(err.Error(), "the call took") || !strings.HasPrefix(err.Error(), "game.lua:") {
			t.Errorf("%s\n= %s, %v, want an error of the limit with its place", body, got, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s\ntook %v", body, took)
		}
	}
}

// TestTimeout checks the limit of time.
func TestTimeout(t *testing.T) {
	began := time.Now()
	_, err := eval(t, "while true do end", WithSteps(1<<40), WithTimeout(20*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "the call took longer than 20ms") {
		t.Errorf("err = %v, want the limit of time", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the call took %v", took)
	}
	// A step may take long: here each one copies more arguments than the one before.
	_, err = eval(t, "local function f(...) return f(1, ...) end return f()", WithTimeout(50*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "the call took longer than 50ms") && !strings.Contains(err.Error(), "overflow") {
		t.Errorf("err = %v, want the limit of time", err)
	}
}

// TestPauseOfTheProcess checks that a call which the process has not run for a while does not end,
// and that this holds once in a call.
func TestPauseOfTheProcess(t *testing.T) {
	m := meter{steps: 1000, timeout: time.Second}
	m.begin(1)
	at := m.began
	for i, step := range []struct {
		after time.Duration
		late  bool
	}{{400 * time.Millisecond, false}, {time.Hour, false}, {500 * time.Millisecond, false}, {200 * time.Millisecond, true}} {
		at = at.Add(step.after)
		if late := m.late(at, time.Second); late != step.late {
			t.Errorf("step %d: late = %t, want %t", i, late, step.late)
		}
	}
	m.begin(1)
	at = m.began.Add(time.Hour)
	if m.late(at, time.Second) || !m.late(at.Add(time.Hour), time.Second) {
		t.Error("a second pause was left out too")
	}
}

// TestLimitsOfText checks that no function makes or takes a text that is too long, or recurses too
// deep.
func TestLimitsOfText(t *testing.T) {
	before := memory()
	for body, want := range map[string]string{
		"return ('x'):rep(1e9)":                                                                   "more than 1048576 bytes",
		"return string.rep('xx', 2^53)":                                                           "more than 1048576 bytes",
		"local s = 'x' for i = 1, 100 do s = s .. s end":                                          "more than 1048576 bytes",
		"local s = ('x'):rep(2^20) return s .. 'y'":                                               "more than 1048576 bytes",
		"local s = ('x'):rep(2^19) return s .. s .. s .. s":                                       "more than 1048576 bytes",
		"return ('%999999999d'):format(1)":                                                        "width or precision too long",
		"return ('%.999f'):format(1)":                                                             "width or precision too long",
		"return ('%99d'):rep(2e5):format(1)":                                                      "more than 1048576 bytes|bad argument",
		"local s = ('x'):rep(2^19) return ('%s%s%s'):format(s, s, s)":                             "more than 1048576 bytes",
		"local s = ('x'):rep(2^19) return table.concat({s, s, s})":                                "more than 1048576 bytes",
		"local s = ('x'):rep(1000) return table.concat({1, 2, 3}, s:rep(600))":                    "more than 1048576 bytes",
		"return (('x'):rep(2^20)):gsub('x', 'yyyy')":                                              "more than 1048576 bytes|the call took",
		"return (('x'):rep(2^19)):gsub('.*', '%0%0%0%0')":                                         "more than 1048576 bytes",
		"return ('x'):find(('a'):rep(2000))":                                                      "nil",
		"return ('x'):find(('a?'):rep(2000))":                                                     "the pattern is too long",
		"return ('x'):find(('('):rep(100))":                                                       "too many captures",
		"return ('x'):find(('a?'):rep(500) .. '[')":                                               "malformed|complex",
		"return (('x'):rep(400)):find(('x?'):rep(300) .. 'y')":                                    "too complex",
		"return unpack({}, 1, 1e9)":                                                               "too many results",
		"return (('x'):rep(1e5)):byte(1, -1)":                                                     "too long",
		"local function f() return 1 + f() end return f()":                                        "stack overflow",
		"local function f() coroutine.wrap(f)() end f()":                                          "are nested",
		"local t = {} t[1] = t return nano.json.encode(t)":                                        "contains itself",
		"return nano.json.encode(('x'):rep(2^20))":                                                "more than 1048576 bytes",
		"return string.format('%q', 1, 2) .. ('%T'):format(1)":                                    "invalid option",
		"return ('%v'):format(nano.group('x'))":                                                   "invalid option",
		"return ('%'):format(1)":                                                                  "ends inside a verb",
		"return ('%d'):format('x')":                                                               "number expected",
		"return ('%s'):format()":                                                                  "value expected",
		"local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x":                   "recursions",
		"local s = tostring(setmetatable({}, {__tostring = function(x) return tostring(x) end}))": "overflow",
		"return (('x'):rep(100)):gsub('x', function(c) return {} end)":                            "invalid replacement",
	} {
		got, err := eval(t, body, WithTimeout(time.Minute))
		text := got
		if err != nil {
			text = err.Error()
		}
		matched := false
		for part := range strings.SplitSeq(want, "|") {
			matched = matched || strings.Contains(text, part)
		}
		if !matched {
			t.Errorf("%s\n= %.200q, want %q", body, text, want)
		}
	}
	if after := memory(); after > before+(256<<20) {
		t.Errorf("the heap has grown from %d to %d bytes", before, after)
	}
}

func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

// TestAStateSurvives checks that a script works as before after calls that were ended.
func TestAStateSurvives(t *testing.T) {
	v := newTestVM(t, `
local how = ...
if how == "loop" then while true do end end
if how == "co" then coroutine.wrap(function() while true do end end)() end
if how == "deep" then local function f() return 1 + f() end f() end
if how == "yield" then coroutine.wrap(function() ("x"):gsub(".", function() coroutine.yield() end) end)() end
if how == "sort" then coroutine.wrap(function() table.sort({3, 2, 1}, function() coroutine.yield() end) end)() end
if how == "pcall" then coroutine.wrap(function() pcall(coroutine.yield, 1) end)() end
local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
local _, x = coroutine.resume(co, 1)
local _, y = coroutine.resume(co, 21)
return table.concat({x, y, coroutine.status(co), tostring(coroutine.running())}, " ")`, WithSteps(20_000))
	for i := range 20 {
		for _, how := range []string{"loop", "co", "deep", "yield", "sort", "pcall"} {
			_, _, _ = v.call(v.current.function("run"), 1, glua.LString(how)) // an error, or the result below
			got, _, err := v.call(v.current.function("run"), 1, glua.LString(""))
			if err != nil || got.String() != "2 42 dead nil" {
				t.Fatalf("run %d after %q = %v, %v", i, how, got, err)
			}
		}
	}
}

func TestStrings(t *testing.T) {
	for body, want := range map[string]string{
		`pcall(tostring, 5)`:                                                                                          "true 5",
		`pcall(pcall, pcall, error, "x")`:                                                                             "true true false x",
		`pcall(string.rep, "x", 2), select("#", pcall(print))`:                                                        "true 2",
		`pcall(nano.group) == true, type(select(2, pcall(nano.group)))`:                                               "true userdata",
		`select(2, pcall(string.rep))`:                                                                                "game.lua:4: bad argument #1 to called (string expected, got nil)",
		`select(2, pcall(coroutine.create, print))`:                                                                   "game.lua:4: bad argument #1 to called (Lua function expected)",
		`xpcall(nano.group, print) == true`:                                                                           "true",
		`pcall(error, "x"), pcall(function(a, b) return a + b end, 1, 2)`:                                             "false true 3",
		`pcall(error, {1}) == false, select(2, pcall(error, nil)), pcall(1)`:                                          "true nil false attempt to call a number value",
		`pcall(setmetatable({}, {__call = function(_, x) return x end}), 7)`:                                          "true 7",
		`select(2, pcall(function() error("m") end))`:                                                                 "game.lua:4: m",
		`select(2, pcall(function() error("m", 0) end))`:                                                              "m",
		`xpcall(function() error("m", 0) end, function(e) return "<" .. e .. ">" end)`:                                "false <m>",
		`xpcall(function() error("m", 0) end, function(e) error("n", 0) end)`:                                         "false n",
		`xpcall(function() return 1, 2 end, print)`:                                                                   "true 1 2",
		`coroutine.wrap(function() return pcall(function() coroutine.yield(1) end) end)()`:                            "false game.lua:4: attempt to yield across a protected call",
		`(function() local x = 1 local f = function() return x end pcall(error) x = 2 return f() end)()`:              "2",
		`(function() local f pcall(function() local y = 5 f = function() return y end error() end) return f() end)()`: "5",
		`("hello"):find("l")`:                               "3 3",
		`("hello"):find("xyz")`:                             "nil",
		`("hello"):find("")`:                                "1 0",
		`("hello"):find("", 10)`:                            "nil",
		`("hello"):find("l", -2)`:                           "4 4",
		`("a.b"):find(".", 1, true)`:                        "2 2",
		`("a.b"):find("%.")`:                                "2 2",
		`("hello world"):find("(o)( )")`:                    "5 6 o  ",
		`("hello"):find("()ll()")`:                          "3 4 3 5",
		`("hello"):match("^(h)(.-)o$")`:                     "h ell",
		`("  trim  "):match("^%s*(.-)%s*$")`:                "trim",
		`("key = value"):match("^(%w+)%s*=%s*(%w+)$")`:      "key value",
		`("f(a(b)c)d"):match("%b()")`:                       "(a(b)c)",
		`("THE (quick) fox"):find("%((%a+)%)")`:             "5 11 quick",
		`("x=1,y=2"):gsub("(%w)=(%w)", "%2=%1")`:            "1=x,2=y 2",
		`("abc"):gsub("", "-")`:                             "-a-b-c- 4",
		`("abc"):gsub(".", {a = "1", b = false})`:           "1bc 3",
		`("abc"):gsub("%w", function(c) return c .. c end)`: "aabbcc 3",
		`("abc"):gsub("%w", "%0%0", 2)`:                     "aabbc 2",
		`("abc"):gsub("^a", "x")`:                           "xbc 1",
		`("hello"):gsub("l+", function() end)`:              "hello 1",
		`("%d"):gsub("%%d", "%%")`:                          "% 1",
		`("THE (quick) fox"):gsub("%f[%a]%a+", "W")`:        "W (W) W 3",
		`("aXb"):match("%u"), ("a1"):match("%d"), ("a_"):match("%p"), ("\0x"):match("%z") == "\0"`:  "X 1 _ true",
		`("a-b"):match("[a%-]+"), ("]"):match("[]]"), ("x^"):match("[x^]+"), ("c"):match("[^a-b]")`: "a- ] x^ c",
		`("aa bb aa"):match("(%a+) .* %1")`:                                                   "aa",
		`("aaa"):match("a-"), ("aaab"):match("a-b"), ("b"):match("a?b"), ("ab"):match("a?b")`: " aaab b ab",
		`("x"):rep(3), ("x"):rep(0), ("x"):rep(-1), (""):rep(1e9)`:                            "xxx   ",
		`("abc"):byte(), ("abc"):byte(2), ("abc"):byte(-1)`:                                   "97 98 99",
		`("abc"):byte(1, -1)`: "97 98 99",
		`("abc"):byte(10)`:    "",
		`("abc"):sub(2), ("abc"):sub(-2, -2), ("abc"):upper(), ("abc"):reverse(), ("abc"):len()`: "bc b ABC cba 3",
		`string.char(104, 105)`:                                                               "hi",
		`("%d|%5d|%-5d|%05d|%+d"):format(1, 2, 3, 4, 5)`:                                      "1|    2|3    |00004|+5",
		`("%5.2f|%g|%g|%e"):format(3.14159, 0.1, 1e20, 1)`:                                    " 3.14|0.1|1e+20|1.000000e+00",
		`("%g"):format(1/3)`:                                                                  "0.333333",
		`("%s|%10s|%-4s|%.2s"):format("a", "b", "c", "def")`:                                  "a|         b|c   |de",
		`("%x|%X|%o|%c|%%|%i|%u"):format(255, 255, 8, 65, 7, 9)`:                              "ff|FF|10|A|%|7|9",
		`("%q"):format('a"b\n\0')`:                                                            "\"a\\\"b\\\n\\000\"",
		`("%s"):format(nil), ("%s"):format(true), ("%d"):format("12")`:                        "nil true 12",
		`"a" .. 1 .. 2.5`:                                                                     "a12.5",
		`1 .. ""`:                                                                             "1",
		`"a" .. (function() return "b", "c" end)()`:                                           "ab",
		`"a" .. (... or "n")`:                                                                 "an",
		`setmetatable({}, {__concat = function(a, b) return "meta" end}) .. "x"`:              "meta",
		`"x" .. "y" .. setmetatable({}, {__concat = function(a, b) return a end})`:            "xy",
		`table.concat({1, 2, 3}, ", "), table.concat({}), table.concat({1, 2, 3}, "-", 2, 3)`: "1, 2, 3  2-3",
		`unpack({1, 2, 3})`:                                                                   "1 2 3",
		`unpack({1, 2, 3}, 2, 5)`:                                                             "2 3 nil nil",
		`math.random() < 1, math.random(1), math.random(5, 5), math.floor(2.5)`:               "true 1 5 2",
		`#"abc", ("x"):rep(2^20):len()`:                                                       "3 1048576",
		`select("#", ("a,b"):gmatch("%a")())`:                                                 "1",
		`(function() local t = {} for k, v in ("a=1, b=2"):gmatch("(%w)=(%w)") do t[#t + 1] = k .. v end return table.concat(t, " ") end)()`: "a1 b2",
		`(function() local n = 0 for _ in ("abc"):gmatch("") do n = n + 1 end return n end)()`:                                               "4",
	} {
		v := newTestVM(t, "local function join(...) local t = {...} for i = 1, select('#', ...) do t[i] = tostring(t[i]) end return table.concat(t, ' ') end\n return join("+body+")")
		got, _, err := v.call(v.current.function("run"), 1)
		if err != nil || got.String() != want {
			t.Errorf("%s = %q, %v, want %q", body, fmt.Sprint(got), err, want)
		}
	}
}
