package lua

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestHandlers(t *testing.T) {
	b := start(t, module(`
function M.echo(session, request) return request end
function M.hello(session, request) return {text = "hello " .. request.name, n = #request.name} end
function M.nothing(session) end
function M.public() return nil, nano.error("GAME-1", "not your turn") end
function M.raised() error(nano.error("GAME-2", "no")) end
function M.returned() return nil, "secret" end
function M.failed()
  local t = nil
  return t.x
end
function M._private() return 1 end
M.limit = 3
`))
	p := b.Connect(t)
	want(t, p, "game.hello", `{"name":"ann"}`, `{"text":"hello ann","n":3}`)
	want(t, p, "game.nothing", `{}`, `null`)
	want(t, p, "game.nothing", ``, `null`)
	for _, value := range []string{
		`1`, `-1.5`, `"a \" \\ \n é 💡"`, `true`, `[]`, `{}`, `[1,[2,{"a":[]}]]`, `[null,1]`, `9007199254740991`, `null`,
	} {
		want(t, p, "game.echo", value, value)
	}
	want(t, p, "game.echo", `{"a":null}`, `{}`)
	want(t, p, "game.echo", `9223372036854775807`, `"9223372036854775807"`)
	want(t, p, "game.echo", `[-9007199254740993]`, `["-9007199254740993"]`)
	want(t, p, "game.echo", `1e300`, `1e+300`)
	wantError(t, p, "game.public", `{}`, "GAME-1")
	wantError(t, p, "game.raised", `{}`, "GAME-2")
	wantError(t, p, "game.returned", `{}`, nano.CodeInternal)
	wantError(t, p, "game.failed", `{}`, nano.CodeInternal)
	for _, route := range []string{"game._private", "game.limit", "game.on_start", "game.missing", "game."} {
		wantError(t, p, route, `{}`, nano.CodeNotFound)
	}
	wantError(t, p, "game.echo", `{`, nano.CodeBadRequest)
	wantError(t, p, "game.echo", `1 2`, nano.CodeBadRequest)
	wantError(t, p, "game.echo", strings.Repeat("[", 200)+strings.Repeat("]", 200), nano.CodeBadRequest)
	b.logged(t, "handler failed", "game.failed", "game.lua:11: ", "(version 1)")
	b.logged(t, "handler failed", "game.returned", "secret")
}

// TestErrorsThatAreNoText checks that the log names the place of every error.
func TestErrorsThatAreNoText(t *testing.T) {
	b := start(t, module(`
function M.table() error({}) end
function M.none() error() end
function M.cycle() local t = {}; t.t = t; return t end
function M.f() return function() end end
function M.mixed() return {1, 2, x = 3} end
function M.nan() return 0/0 end
function M.key() return {[{}] = 1} end
function M.bare() error("no place", 0) end
`))
	p := b.Connect(t)
	for _, route := range []string{"game.table", "game.none", "game.cycle", "game.f", "game.mixed", "game.nan", "game.key", "game.bare"} {
		wantError(t, p, route, `{}`, nano.CodeInternal)
	}
	b.logged(t, "game.table", "game.lua:3", "table")
	b.logged(t, "game.none", "game.lua:4")
	b.logged(t, "game.cycle", "game.lua:5: ", "contains itself")
	b.logged(t, "game.bare", "game.lua:10: no place")
}

func TestRawPayloads(t *testing.T) {
	b := start(t, module(`
function M.echo(session, request) return "<" .. request .. ">" end
function M.table() return {} end
function M.push(session) session:push("onBytes", "\0\255"); return "" end
`), WithRawPayloads())
	p := b.Connect(t)
	want(t, p, "game.echo", "\x00\xff{", "<\x00\xff{>")
	want(t, p, "game.push", "", "")
	if m := p.Wait("onBytes", 5*time.Second); string(m.Data) != "\x00\xff" {
		t.Errorf("onBytes = %x, want 00ff", m.Data)
	}
	wantError(t, p, "game.table", "", nano.CodeInternal)
}

// TestLifecycle checks the order of on_start and on_stop, and that modules of the folder load.
func TestLifecycle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.lua")
	write(t, filepath.Join(filepath.Dir(path), "rules", "score.lua"), "local M = {}\nfunction M.of(x) return x * 2 end\nreturn M\n")
	write(t, path, module(`
local score = require("rules.score")
assert(score == require("rules.score"))
function M.on_start() M.started = true end
function M.on_stop() nano.log.info("stopped now", {a = 1}) end
function M.get() return {M.started, score.of(21)} end
`))
	log := &records{}
	srv, script := newServer(t, path, log)
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	if st := script.ScriptStats(); st.Version != 1 || len(st.Hash) != 8 || st.Name != "game" || st.Loaded.IsZero() {
		t.Errorf("ScriptStats() = %+v, want version 1 of game with a hash", st)
	}
	if all := srv.Stats().Scripts; len(all) != 1 || all[0].Version != 1 || all[0].File != path {
		t.Errorf("Stats().Scripts = %+v, want the script", all)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "stopped now") || !strings.Contains(text, `"version":1`) {
		t.Errorf("log = %s, want the text of on_stop with the version", text)
	}
}

// TestFaultsAtStart checks that the server does not start with a script that has an error, and
// that the error names the place.
func TestFaultsAtStart(t *testing.T) {
	for want, text := range map[string]string{
		"game.lua:2: ":                         "local M = {}\nif x y\n",
		"game.lua:2: syntax error at the end":  "local M = {\n1,\n",
		"game.lua:1: boom":                     "error('boom')",
		"the file returns a nil":               "local M = {}",
		"the file returns a string":            "return 'x'",
		"bytecode is not accepted":             "\x1bLua",
		"game.lua:2: not available while":      "local M = {}\nnano.after(1, print)\nreturn M",
		"more than 10000000 steps":             "while true do end",
		"on_start: game.lua:1: no":             "return {on_start = function() error('no') end}",
		`the name "a b" of a handler`:          "return {['a b'] = function() end}",
		"a function of the module has a numbe": "return {function() end}",
		`in the module and in nodes`:           "return {a = print, nodes = {a = print}}",
		"module \"other\"":                     "require('other')",
		"module \"game\" requires itself":      "return require('game')",
		"other.lua:1: ":                        "local x = require 'broken.other'",
		"more than 1000 levels":                "return " + strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000) + strings.Repeat("+(1", 2000) + strings.Repeat(")", 2000),
	} {
		path := filepath.Join(t.TempDir(), "game.lua")
		write(t, path, text)
		write(t, filepath.Join(filepath.Dir(path), "broken", "other.lua"), "x = = 1")
		srv, _ := newServer(t, path, &records{}, WithTimeout(time.Hour))
		if err := srv.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start() with %.40q = %v, want %q in the error", text, err, want)
			_ = srv.Shutdown(t.Context())
		}
	}
	marked := filepath.Join(t.TempDir(), "marked.lua")
	write(t, marked, "\xef\xbb\xbfreturn {}") // as some editors write UTF-8
	srv, _ := newServer(t, marked, &records{})
	if err := srv.Start(); err != nil {
		t.Errorf("Start() with a byte order mark = %v", err)
	}
	_ = srv.Shutdown(t.Context())
	srv, _ = newServer(t, filepath.Join(t.TempDir(), "none.lua"), &records{})
	if err := srv.Start(); err == nil || !strings.Contains(err.Error(), "none.lua") {
		t.Errorf("Start() without a file = %v, want an error that names it", err)
	}
}

func TestFaultsOfOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.lua")
	write(t, path, "return {}")
	for want, o := range map[string]Option{
		"WithTimeout(0s)": WithTimeout(0),
		"WithSteps(-1)":   WithSteps(-1),
		"WithPoll(1ms)":   WithPoll(time.Millisecond),
	} {
		srv, _ := newServer(t, path, &records{}, o)
		if err := srv.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start() = %v, want %q in the error", err, want)
			_ = srv.Shutdown(t.Context())
		}
	}
	comps := &component.Components{}
	comps.Register(New(path), component.WithSchedulerName("table"))
	srv := nano.New(nano.WithComponents(comps), nano.WithSerializer(jsonserializer.NewSerializer()), nano.WithSlog(discard))
	if err := srv.Start(); err == nil || !strings.Contains(err.Error(), "remove component.WithSchedulerName") {
		t.Errorf("Start() with a scheduler = %v, want an error", err)
	}
	script := New(path, WithPoll(0))
	if err := script.Reload(t.Context()); !errors.Is(err, errNotRunning) {
		t.Errorf("Reload before the start = %v, want %v", err, errNotRunning)
	}
}

// goSide is a component in Go beside a script.
type goSide struct{ component.Base }

type goRequest struct {
	N int `json:"n"`
}

// Double answers with twice the number, and stores a value for the script.
func (*goSide) Double(s *session.Session, r *goRequest) (*goRequest, error) {
	s.Set("fromGo", int64(7))
	s.Set("small", 5)
	return &goRequest{r.N * 2}, nil
}

// TestALoopCostsOneMessage checks that a loop without end ends its own message only: those before
// and after it, and those of other players, are served.
func TestALoopCostsOneMessage(t *testing.T) {
	b := start(t, module(`
function M.loop() while true do end end
function M.caught()
  while true do pcall(function() while true do end end) end
end
function M.ok() return "ok" end
`))
	p, q := b.Connect(t), b.Connect(t)
	type result struct {
		reply string
		err   error
	}
	results := make(chan result, 1)
	go func() {
		reply, err := ask(t, p, "game.loop", `{}`)
		results <- result{reply, err}
	}()
	for range 10 {
		want(t, q, "game.ok", `{}`, `"ok"`)
	}
	r := <-results
	var e *nano.Error
	if !errors.As(r.err, &e) || e.Code != nano.CodeInternal {
		t.Errorf("game.loop = %s, %v, want %s", r.reply, r.err, nano.CodeInternal)
	}
	wantError(t, p, "game.caught", `{}`, nano.CodeInternal)
	want(t, p, "game.ok", `{}`, `"ok"`)
	b.logged(t, "handler failed", "game.loop", "game.lua:3: the call took")
	if s := b.Stats().Scripts[0]; s.Stopped != 2 || s.Errors != 2 || s.Calls != 13 {
		t.Errorf("script = %+v, want 13 calls of which 2 were stopped", s)
	}
}

// TestBadOptions checks that the server returns the bad values of all options together.
func TestBadOptions(t *testing.T) {
	components := &component.Components{}
	components.Register(New("none.lua", WithTimeout(0), WithSteps(-1), WithPoll(time.Millisecond)))
	err := nano.New(nano.WithComponents(components)).Start()
	for _, want := range []string{"WithTimeout(0s): want more than 0", "WithSteps(-1): want 1 to 2^40", "WithPoll(1ms): want 10ms or more, or 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start = %v, want %q in it", err, want)
		}
	}
}
