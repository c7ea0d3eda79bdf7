package lua

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
)

// scripts has a script for each function that scripts can call. Each is the body of a handler
// run(session, request, finish) that returns "ok", or that calls finish later, which answers with
// "ok". An error of assert fails the test with its line.
var scripts = map[string]string{
	"nano.array": `
assert(nano.json.encode(nano.array()) == "[]")
assert(nano.json.encode(nano.array({1, 2})) == "[1,2]")
assert(nano.json.encode({}) == "{}")
assert(nano.json.encode(nano.json.decode("[]")) == "[]")
assert(not pcall(nano.array, setmetatable({}, {})))
return "ok"`,
	"nano.integer": `
assert(nano.json.encode({id = nano.integer("9223372036854775807")}) == '{"id":9223372036854775807}')
assert(nano.json.encode(nano.integer(5)) == "5")
assert(tostring(nano.integer("-7")) == "-7")
assert(not pcall(nano.integer, "1.5"))
assert(not pcall(nano.integer, "9223372036854775808"))
assert(not pcall(nano.integer, 2^60))
return "ok"`,
	"nano.error": `
local e = nano.error("GAME-1", "text")
assert(e.code == "GAME-1" and e.message == "text" and tostring(e) == "GAME-1: text" and e.other == nil)
local ok, caught = pcall(error, e)
assert(not ok and caught == e)
return "ok"`,
	"nano.now": `
local t = nano.now()
assert(t > 1.6e9 and t < 1e10)
return "ok"`,
	"nano.version": `assert(nano.version() == 1) return "ok"`,
	"nano.null": `
assert(nano.json.encode({nano.null}) == "[null]")
assert(nano.json.decode("[null]")[1] == nano.null)
return "ok"`,
	"nano.json.encode": `
assert(nano.json.encode({a = {1, 2.5, true, "x"}}) == '{"a":[1,2.5,true,"x"]}')
assert(not pcall(nano.json.encode, print))
return "ok"`,
	"nano.json.decode": `
local v = nano.json.decode('{"a":[1,{"b":"9"}],"big":12345678901234567890}')
assert(v.a[1] == 1 and v.a[2].b == "9" and v.big == "12345678901234567890")
local nothing, err = nano.json.decode("{")
assert(nothing == nil and type(err) == "string")
return "ok"`,
	"nano.log.debug": `nano.log.debug("words of debug", {a = 1, b = "x"}) return "ok"`,
	"nano.log.info":  `nano.log.info("words of info") return "ok"`,
	"nano.log.warn":  `nano.log.warn("words of warn") return "ok"`,
	"nano.log.error": `nano.log.error("words of error", {session = session:id()}) return "ok"`,
	"nano.after": `
local began = nano.now()
nano.after(0.02, function(a, b)
  assert(a == 1 and b == "x" and nano.now() - began >= 0.019)
  finish()
end, 1, "x")`,
	"nano.every": `
local n = 0
local t
t = nano.every(0.001, function()
  n = n + 1
  if n == 3 then t:stop() finish() end
end)
assert(not pcall(nano.every, 0, print))
assert(not pcall(nano.every, 0/0, print))
assert(not pcall(nano.every, 1, "missing"))
assert(not pcall(nano.every, 1))`,
	"nano.times": `
local n = 0
nano.times(0.001, 3, function() n = n + 1 end)
nano.after(0.05, function() assert(n == 3, n) finish() end)
assert(not pcall(nano.times, 1, 0, print))`,
	"nano.when": `
local ready = false
local t
t = nano.when(function() return ready end, function() assert(ready) t:stop() finish() end)
ready = true`,
	"nano.invoke": `
local now = true
assert(nano.invoke(function(x) assert(not now and x == 4) finish() end, 4))
now = false`,
	"timer:stop": `
local t = nano.after(0.001, function() error("not stopped") end)
t:stop()
t:stop()
nano.after(0.02, finish)`,
	"timer:id": `
local a, b = nano.after(100, print), nano.after(100, print)
assert(type(a:id()) == "string" and a:id() ~= b:id())
a:stop() b:stop()
return "ok"`,
	"nano.push": `
assert(session:bind("9007199254740993"))
assert(nano.push("9007199254740993", "onPush", {x = 1}))
local nothing, err = nano.push("5", "onPush", {})
assert(nothing == nil and err:find("no session of this user"))
return "ok"`,
	"nano.kick": `
local nothing, err = nano.kick("5", "reason")
assert(nothing == nil and err:find("no session"))
return "ok"`,
	"nano.session": `
assert(nano.session(session:id()) == session)
assert(nano.session("1") == nil)
assert(not pcall(nano.session, "x"))
return "ok"`,
	"nano.sessions": `
assert(session:bind(77))
local list = nano.sessions("77")
assert(#list == 1 and list[1] == session)
assert(#nano.sessions("78") == 0)
return "ok"`,
	"nano.call": `
assert(nano.call("game.sum", {2, 3}, function(reply, err)
  assert(reply == 5 and err == nil)
  nano.call("game.missing", {}, function(reply, err)
    assert(reply == nil and err.code == "NANO-404")
    finish()
  end)
end))`,
	"nano.members": `assert(#nano.members() == 0) return "ok"`,
	"nano.stats": `
local st = nano.stats()
assert(st.sessions == 1 and st.messages_in >= 1 and st.panics == 0)
return "ok"`,
	"nano.group": `
local g = nano.group("room")
assert(g:name() == "room" and g:count() == 0 and nano.group():name() == "")
return "ok"`,
	"group:name":  `assert(nano.group("x"):name() == "x") return "ok"`,
	"group:count": `local g = nano.group() assert(g:count() == 0) g:add(session) assert(g:count() == 1) return "ok"`,
	"group:add": `
local g = nano.group()
assert(g:add(session))
local nothing, err = g:add(session)
assert(nothing == nil and err:find("in the group already"))
assert(not pcall(g.add, g, "x"))
return "ok"`,
	"group:leave":     `local g = nano.group() g:add(session) assert(g:leave(session)) assert(g:count() == 0) return "ok"`,
	"group:leave_all": `local g = nano.group() g:add(session) assert(g:leave_all()) assert(g:count() == 0) return "ok"`,
	"group:close": `
local g = nano.group()
assert(g:close())
local nothing, err = g:add(session)
assert(nothing == nil and err:find("closed"))
return "ok"`,
	"group:contains": `
session:bind("900719925474099312")
local g = nano.group()
g:add(session)
assert(g:contains("900719925474099312") and not g:contains("900719925474099313"))
return "ok"`,
	"group:members": `
session:bind("900719925474099312")
local g = nano.group()
g:add(session)
local list = g:members()
assert(#list == 1 and list[1] == "900719925474099312")
return "ok"`,
	"group:member": `
session:bind(9)
local g = nano.group()
g:add(session)
assert(g:member(9) == session and g:member("10") == nil)
return "ok"`,
	"group:find": `
local g = nano.group()
g:add(session)
assert(g:find(function(s) return s == session end) == session)
assert(g:find(function() return false end) == nil)
assert(not pcall(g.find, g, function() error("x") end))
return "ok"`,
	"group:broadcast": `
local g = nano.group()
g:add(session)
assert(g:broadcast("onPush", {x = 1}))
assert(not pcall(g.broadcast, g, "", {}))
return "ok"`,
	"group:multicast": `
local g = nano.group()
g:add(session)
assert(g:multicast("onOther", {x = 2}, function() return false end))
assert(g:multicast("onPush", {x = 1}, function(s) return s == session end))
return "ok"`,
	"session:id":          `assert(type(session:id()) == "string" and session:id():match("^%d+$")) return "ok"`,
	"session:uid":         `assert(session:uid() == "0") session:bind("9223372036854775807") assert(session:uid() == "9223372036854775807") return "ok"`,
	"session:bind":        `assert(session:bind(5)) local nothing, err = session:bind(0) assert(nothing == nil and err:find("uid")) return "ok"`,
	"session:clear":       `session:bind(5) session:set("a", 1) session:clear() assert(session:uid() == "0" and not session:has("a")) return "ok"`,
	"session:closed":      `assert(session:closed() == false) return "ok"`,
	"session:suspended":   `assert(session:suspended() == false) return "ok"`,
	"session:remote_addr": `assert(session:remote_addr():match("^192%.0%.2%.2:%d+$")) return "ok"`,
	"session:push":        `assert(session:push("onPush", {x = 1})) assert(not pcall(session.push, session, "\255", {})) return "ok"`,
	"session:respond":     `assert(session:respond("ok")) local nothing, err = session:respond("again") assert(nothing == nil and err:find("no request"))`,
	"session:defer":       `local r = session:defer() nano.invoke(function() assert(r:reply("ok")) end)`,
	"responder:reply":     `local r = session:defer() assert(r:reply("ok")) assert(r:reply("again") == nil)`,
	"responder:fail":      `local r = session:defer() assert(r:fail(nano.error("GAME-9", "ok")))`,
	"session:set": `
session:set("n", 1.5) session:set("b", true) session:set("s", "x") session:set("t", {1})
assert(session:get("n") == 1.5 and session:get("b") == true and session:get("s") == "x" and session:get("t")[1] == 1)
session:set("n", nil)
assert(not session:has("n"))
return "ok"`,
	"session:get": `
session:call("Go.Double", {n = 1}, function(reply, err)
  assert(reply.n == 2 and session:get("fromGo") == "7" and session:get("small") == 5 and session:get("none") == nil)
  finish()
end)`,
	"session:has":    `session:set("a", 1) assert(session:has("a") and not session:has("b")) return "ok"`,
	"session:remove": `session:set("a", 1) session:remove("a") assert(not session:has("a")) return "ok"`,
	"session:values": `session:set("a", 1) session:set("b", "x") local v = session:values() assert(v.a == 1 and v.b == "x") return "ok"`,
	"session:call": `
assert(session:call("Go.Double", {n = 21}, function(reply, err)
  assert(reply.n == 42 and err == nil)
  finish()
end))
session:call("Go.Double", {n = 21})`,
	"session:rpc": `assert(session:rpc("game.note", "ok"))`,
	"session:on_close": `
session:on_close(function(s, reason)
  assert(s == session and reason == "client", reason)
  nano.log.info("the close of " .. s:id())
end)
return "ok"`,
	"session:on_suspend": `
session:on_suspend(function(s, reason) assert(s == session and s:suspended(), reason) s:set("away", true) end)
session:on_resume("resumed")
return "ok"`,
	"session:on_resume": `session:on_resume("resumed") return "ok"`,
	"session:close": `
session:on_close(function(_, reason) nano.log.info("closed for " .. reason) end)
nano.after(0.01, function() session:close() end)
return "ok"`,
	"session:kick":           `nano.after(0.02, function() assert(session:kick("bye")) end) return "ok"`,
	"session:bind_service":   `session:bind_service("x", "host:1") assert(session:service("x") == "host:1") session:unbind_service("x") return "ok"`,
	"session:unbind_service": `session:bind_service("x", "host:1") session:unbind_service("x") assert(session:service("x") == nil) return "ok"`,
	"session:service":        `assert(session:service("x") == nil) return "ok"`,
}

// after are what happens after the reply of a script.
var after = map[string]func(*testing.T, *bed, *nanotest.Player){
	"nano.push":       wantPush,
	"group:broadcast": wantPush,
	"group:multicast": func(t *testing.T, b *bed, p *nanotest.Player) {
		wantPush(t, b, p)
		if got := p.Pushes("onOther"); len(got) != 0 {
			t.Errorf("%d pushes to a session that the filter did not pick", len(got))
		}
	},
	"session:push": wantPush,
	"session:on_close": func(t *testing.T, b *bed, p *nanotest.Player) {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		b.logged(t, "the close of ")
	},
	"session:on_suspend": func(t *testing.T, b *bed, p *nanotest.Player) {
		p.Drop()
		p.Return()
		if m := p.Wait("onResumed", 10*time.Second); string(m.Data) != "true" {
			t.Errorf("onResumed = %s, want true", m.Data)
		}
	},
	"session:on_resume": func(t *testing.T, b *bed, p *nanotest.Player) {
		p.Drop()
		p.Return()
		p.Wait("onResumed", 10*time.Second)
	},
	"session:close": func(t *testing.T, b *bed, _ *nanotest.Player) { b.logged(t, "closed for server") },
	"session:kick": func(t *testing.T, _ *bed, p *nanotest.Player) {
		if reason := p.Kicked(10 * time.Second); reason != "bye" {
			t.Errorf("kicked with %q, want bye", reason)
		}
	},
	"nano.log.debug": func(t *testing.T, b *bed, _ *nanotest.Player) {
		b.logged(t, "words of debug", `"level":"DEBUG"`, `"fields":{"a":"1","b":"x"}`, `"script":"game.lua"`, `"version":1`)
	},
	"nano.log.info":  func(t *testing.T, b *bed, _ *nanotest.Player) { b.logged(t, "words of info", `"level":"INFO"`) },
	"nano.log.warn":  func(t *testing.T, b *bed, _ *nanotest.Player) { b.logged(t, "words of warn", `"level":"WARN"`) },
	"nano.log.error": func(t *testing.T, b *bed, _ *nanotest.Player) { b.logged(t, "words of error", `"level":"ERROR"`) },
}

func wantPush(t *testing.T, _ *bed, p *nanotest.Player) {
	t.Helper()
	if m := p.Wait("onPush", 10*time.Second); string(m.Data) != `{"x":1}` {
		t.Errorf("onPush = %s, want {\"x\":1}", m.Data)
	}
}

// TestFunctions runs the script of each function.
func TestFunctions(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		t.Run(name, func(t *testing.T) {
			comps := &component.Components{}
			comps.Register(&goSide{}, component.WithName("Go"))
			b := startWith(t, module(`
local function handler(session, request, finish)
`+scripts[name]+`
end
function M.run(session, request)
  local r
  local result = handler(session, request, function() r:reply("ok") end)
  if result == nil then r = session:defer() M.waiting = r end
  return result
end
function M.note(session, text) M.waiting:reply(text) end
function M.resumed(session) session:push("onResumed", session:get("away")) end
M.nodes = {sum = function(request) return request[1] + request[2] end}
`), []nano.Option{nano.WithComponents(comps), nano.WithResume(nano.Resume{})})
			p := b.Connect(t)
			switch name {
			case "responder:fail":
				wantError(t, p, "game.run", `{}`, "GAME-9")
			default:
				want(t, p, "game.run", `{}`, `"ok"`)
			}
			if f := after[name]; f != nil {
				f(t, b, p)
			}
			if text := b.log.String(); strings.Contains(text, "script failed") {
				t.Errorf("the script failed:\n%s", text)
			}
		})
	}
}

// TestEveryFunctionHasAScript checks that scripts has all functions of the library and the types.
func TestEveryFunctionHasAScript(t *testing.T) {
	v := newTestVM(t, "")
	check := func(prefix string, table *glua.LTable) {
		table.ForEach(func(key, value glua.LValue) {
			if name := prefix + key.String(); value.Type() == glua.LTFunction && scripts[name] == "" {
				t.Errorf("there is no script for %s", name)
			}
		})
	}
	library := v.current.env.RawGetString("nano").(*glua.LTable)
	check("nano.", library)
	check("nano.json.", library.RawGetString("json").(*glua.LTable))
	check("nano.log.", library.RawGetString("log").(*glua.LTable))
	for prefix, methods := range map[string]*glua.LTable{
		"session:": v.types.session, "group:": v.types.group, "timer:": v.types.timer, "responder:": v.types.responder,
	} {
		check(prefix, methods.RawGetString("__index").(*glua.LTable))
	}
}

// TestClosedSession checks what a script can do with a session that has ended, and that the
// server keeps nothing of it.
func TestClosedSession(t *testing.T) {
	b := start(t, module(`
local kept
local g = nano.group("g")
function M.keep(session)
  kept = session
  session:bind("12")
  session:on_close(function() g:leave(session) end)
  g:add(session)
end
function M.look()
  return {kept:id() ~= "0", kept:uid(), kept:closed(), (pcall(kept.push, kept, "a", 1)), (g:add(kept)) == nil, (g:leave(kept))}
end
`))
	p, q := b.Connect(t), b.Connect(t)
	want(t, p, "game.keep", `{}`, `null`)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 2; n > 1; {
		done := make(chan struct{})
		b.Invoke(func() {
			n = len(b.script.vm.sessions) + 1
			close(done)
		})
		<-done
	}
	want(t, q, "game.look", `{}`, `[true,"12",true,false,true,true]`)
}
