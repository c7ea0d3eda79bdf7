package lua

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

// counting is a script whose state is carried over. Its replies name its version.
func counting(version int) string {
	return module(fmt.Sprintf(`
M.state = {n = 0}
function M.on_reload(old) M.state = old end
function M.count()
  M.state.n = M.state.n + 1
  return {version = %d, n = M.state.n}
end
`, version))
}

// TestReloadUnderLoad replaces the script 100 times while players send requests. No request may be
// lost or answered twice, and the state has to count each one.
func TestReloadUnderLoad(t *testing.T) {
	b := start(t, counting(1))
	const players = 4
	var (
		wg       sync.WaitGroup
		sent     atomic.Int64
		versions sync.Map
		stop     = make(chan struct{})
	)
	for range players {
		p := b.Connect(t)
		wg.Go(func() {
			last := -1
			for {
				select {
				case <-stop:
					return
				default:
				}
				var reply struct{ Version, N int }
				if err := p.Request(t.Context(), "game.count", struct{}{}, &reply); err != nil {
					t.Errorf("request = %v", err)
					return
				}
				if reply.Version < last {
					t.Errorf("version %d answered after version %d", reply.Version, last)
				}
				last = reply.Version
				sent.Add(1)
				versions.Store(reply.Version, true)
			}
		})
	}
	const reloads = 100
	for i := range reloads {
		write(t, b.path, counting(i+2))
		if err := b.script.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for before := sent.Load(); sent.Load() < before+2*players; {
			if t.Failed() {
				return
			}
			done := make(chan struct{}) // wait for the logic goroutine, which serves the requests
			b.Invoke(func() { close(done) })
			<-done
		}
	}
	close(stop)
	wg.Wait()
	n := 0
	versions.Range(func(any, any) bool { n++; return true })
	if n <= reloads {
		t.Errorf("%d versions answered, want each of %d", n, reloads+1)
	}
	want(t, b.Connect(t), "game.count", `{}`, fmt.Sprintf(`{"version":%d,"n":%d}`, reloads+1, sent.Load()+1))
	st := b.Stats()
	if s := st.Scripts[0]; s.Version != reloads+1 || s.Reloads != reloads || s.ReloadsFailed != 0 || s.Errors != 0 || s.Calls != sent.Load()+1 {
		t.Errorf("script = %+v, want %d reloads and %d calls without errors", s, reloads, sent.Load()+1)
	}
	if f := st.Refused["request"]; f != 0 {
		t.Errorf("%d requests were answered with an error", f)
	}
}

// TestReloadFaults checks that an error in a new version keeps the old one, with its state and
// timers.
func TestReloadFaults(t *testing.T) {
	b := start(t, counting(1))
	p := b.Connect(t)
	want(t, p, "game.count", `{}`, `{"version":1,"n":1}`)
	for text, place := range map[string]string{
		"local M = {\n":                     "at the end of the file",
		"local M = {}\nerror('no')\n":       "game.lua:2: no",
		"while true do end":                 "more than 10000000 steps",
		"return 1":                          "the file returns a number",
		"return {on_reload = error, a = 1}": "game.lua",
		"return {['a b'] = print}":          "a b",
		"return {nodes = {count = print}}":  "restart the server",
		"local x = require('../game')":      "letters, digits",
		"return {on_reload = function()\nnano.every(0.001, function() nano.push('1', 'onLeak') end)\nerror('late') end}": "game.lua:3: late",
	} {
		write(t, b.path, text)
		if err := b.script.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), place) && place != "game.lua" {
			t.Errorf("Reload of %q = %v, want %q", text, err, place)
		}
	}
	want(t, p, "game.count", `{}`, `{"version":1,"n":2}`)
	b.logged(t, "not reloaded", "game.lua:2: no", `"version":1`)
	if s := b.script.ScriptStats(); s.Version != 1 || s.ReloadsFailed != 9 || s.Reloads != 0 {
		t.Errorf("ScriptStats() = %+v, want version 1 and 9 failed reloads", s)
	}
	if n := len(b.script.vm.current.timers); n != 0 {
		t.Errorf("%d timers of a version with an error", n)
	}
	write(t, b.path, counting(2))
	if err := b.script.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, p, "game.count", `{}`, `{"version":2,"n":3}`)
	b.logged(t, "script reloaded", `"version":2`, `"hash"`)
}

// TestReloadRoutes checks that a new version may add and remove routes.
func TestReloadRoutes(t *testing.T) {
	b := start(t, module("function M.a() return 'a' end"))
	p := b.Connect(t)
	wantError(t, p, "game.b", `{}`, nano.CodeNotFound)
	write(t, b.path, module("function M.b() return 'b' end"))
	if err := b.script.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, p, "game.b", `{}`, `"b"`)
	wantError(t, p, "game.a", `{}`, nano.CodeNotFound)
	if n := b.Stats().Routes["game.b"].Count; n != 1 {
		t.Errorf("Stats().Routes counts %d calls of game.b, want 1", n)
	}
	write(t, b.path, module("function M.a() return 'a2' end"))
	if err := b.script.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, p, "game.a", `{}`, `"a2"`)
	wantError(t, p, "game.b", `{}`, nano.CodeNotFound)
}

// TestPoll checks that a changed file, or a changed module, is loaded without a call of Reload.
func TestPoll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.lua")
	rule := filepath.Join(filepath.Dir(path), "rule.lua")
	write(t, path, module("function M.get() return require('rule') end"))
	write(t, rule, "return 1")
	srv, script := newServer(t, path, &records{}, WithPoll(10*time.Millisecond))
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Shutdown(t.Context()) }()
	reached := func(version int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); script.ScriptStats().Version < version; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("version %d did not come", version)
			}
		}
	}
	write(t, rule, "return 22")
	reached(2)
	write(t, path, "x x")
	for deadline := time.Now().Add(20 * time.Second); script.ScriptStats().ReloadsFailed == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the change with an error was not noticed")
		}
	}
	write(t, path, module("function M.get() return 333 end"))
	reached(3)
}

// TestReloadTimers checks which timers a new version keeps: those with the name of a function.
func TestReloadTimers(t *testing.T) {
	b := start(t, module(`
M.state = {}
function M.begin(session)
  M.state.s = session
  M.state.named = nano.every(0.001, "tick", "named")
  M.state.own = nano.every(0.001, function() session:push("onTick", "old") end)
  M.state.asked = nano.when(function() return true end, "ask")
end
function M.tick(word) end
function M.ask() end
`))
	p := b.Connect(t)
	want(t, p, "game.begin", `{}`, `null`)
	p.Wait("onTick", 10*time.Second)
	write(t, b.path, module(`
function M.on_reload(old) M.state = old end
function M.tick(word) M.state.s:push("onTick", "new " .. word) end
function M.ask() M.state.s:push("onTick", "a condition of the old version") end
function M.stop() M.state.named:stop() end
`))
	if err := b.script.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Pushes("onTick") // those of the old version
	for range 3 {
		if m := p.Wait("onTick", 10*time.Second); string(m.Data) != `"new named"` && string(m.Data) != `"old"` {
			t.Errorf("onTick = %s", m.Data)
		}
	}
	p.Pushes("onTick")
	if m := p.Wait("onTick", 10*time.Second); string(m.Data) != `"new named"` {
		t.Errorf("onTick = %s after the reload, want the new version's", m.Data)
	}
	want(t, p, "game.stop", `{}`, `null`)
	p.Pushes("onTick")
	want(t, p, "game.stop", `{}`, `null`)
	if got := p.Pushes("onTick"); len(got) != 0 {
		t.Errorf("%d pushes of a timer that was stopped", len(got))
	}
}

// TestModulesStayInTheFolder checks that require reaches no file outside of the script's folder.
func TestModulesStayInTheFolder(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret.lua"), "return 'secret'")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "inside.lua"), "return 'inside'")
	for link, target := range map[string]string{
		"link.lua": filepath.Join(outside, "secret.lua"), "folder": outside, "good.lua": "inside.lua",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skipf("no symbolic links: %v", err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d.lua"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "game.lua")
	write(t, path, module("function M.get(_, name) return require(name) end"))
	log := &records{}
	srv, script := newServer(t, path, log)
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Shutdown(t.Context()) }()
	try := func(name string) (got any, err error) {
		done := make(chan struct{})
		srv.Invoke(func() {
			defer close(done)
			got, err = script.vm.serve("game.get", "get", session.New(mock.NewNetworkEntity()), []byte(fmt.Sprintf("%q", name)))
		})
		<-done
		return got, err
	}
	for _, name := range []string{
		"link", "folder.secret", "../" + filepath.Base(outside) + "/secret", "..", "...secret", "/etc/passwd",
		filepath.Join(outside, "secret"), "secret", "d", "inside.lua", "a/b", `a\b`, "", ".", "inside.", "nul\x00l", strings.Repeat("a", 300),
	} {
		if got, err := try(name); err == nil {
			t.Errorf("require(%q) = %s, want an error", name, got)
		}
	}
	for _, name := range []string{"inside", "good"} {
		if got, err := try(name); err != nil || string(got.([]byte)) != `"inside"` {
			t.Errorf("require(%q) = %s, %v, want inside", name, got, err)
		}
	}
}
