package lua

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/testkit"
)

// TestCluster checks that scripts serve the clients of other nodes, and call each other.
func TestCluster(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "front.lua"), module(`
function M.login(session, request) assert(session:bind(request)) return session:uid() end
function M.ask(session, n)
  local r = session:defer()
  session:call("back.double", n, function(reply, err)
    if err then r:fail(err) else r:reply(reply) end
  end)
end
function M.sum(session, list)
  local r = session:defer()
  nano.call("back.sum", list, function(reply, err)
    if err then r:fail(err) else r:reply(reply) end
  end)
end
function M.members()
  local m = nano.members()[1]
  return {#nano.members(), type(m.id), m.up, m.services[1]}
end
`))
	write(t, filepath.Join(dir, "back.lua"), module(`
local group = nano.group("all")
function M.join(session)
  group:add(session)
  group:broadcast("onJoin", {uid = session:uid(), count = group:count()})
end
function M.double(session, n)
  if n < 0 then return nil, nano.error("BACK-1", "below 0") end
  return {n = n * 2, uid = session:uid()}
end
function M.wake(_, uid) nano.push(uid, "onWake", "up") end
M.nodes = {sum = function(list)
  local n = 0
  for _, x in ipairs(list) do n = n + x end
  return n
end}
`))
	script := func(name string) *Script {
		return New(filepath.Join(dir, name+".lua"), WithPoll(0), WithTimeout(time.Minute))
	}
	gate := testkit.StartNode(t, testkit.Services{"front": script("front")}, nil)
	testkit.StartNode(t, testkit.Services{"back": script("back")}, []*testkit.Node{gate})
	p := gate.Connect()
	pushes := make(chan string, 10)
	for _, route := range []string{"onJoin", "onWake"} {
		p.On(route, func(m *client.Message) { pushes <- string(m.Data) })
	}
	for _, c := range []struct{ route, request, reply string }{
		{"front.login", `"9007199254740993"`, `"9007199254740993"`},
		{"front.members", `{}`, `[1,"string",true,"back"]`},
		{"back.double", `3`, `{"n":6,"uid":"9007199254740993"}`},
		{"front.ask", `21`, `{"n":42,"uid":"9007199254740993"}`},
		{"front.sum", `[1,2,3]`, `6`},
		{"back.join", `{}`, `null`},
		{"back.wake", `"9007199254740993"`, `null`},
	} {
		var reply []byte
		if err := p.Request(t.Context(), c.route, []byte(c.request), &reply); err != nil || string(reply) != c.reply {
			t.Errorf("%s(%s) = %s, %v, want %s", c.route, c.request, reply, err, c.reply)
		}
	}
	for _, want := range []string{`{"uid":"9007199254740993","count":1}`, `"up"`} {
		if got := testkit.Receive(t, pushes, "a push"); got != want {
			t.Errorf("push = %s, want %s", got, want)
		}
	}
	for request, code := range map[string]string{"-1": "BACK-1", `"x"`: nano.CodeInternal} {
		if err := p.Request(t.Context(), "front.ask", []byte(request), nil); !testkit.HasCode(err, code) {
			t.Errorf("front.ask(%s) = %v, want %s", request, err, code)
		}
	}
	if err := p.Request(t.Context(), "back.sum", []byte(`[1]`), nil); !testkit.HasCode(err, nano.CodeNotFound) {
		t.Errorf("back.sum of a client = %v, want %s", err, nano.CodeNotFound)
	}
}
