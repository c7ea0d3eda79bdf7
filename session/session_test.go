package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

// entity is a NetworkEntity that records its calls and controls the end of its session.
type entity struct {
	mock.NetworkEntity
	id      int64
	control sessionctl.Control
	err     error // the error that calls return

	mu    sync.Mutex
	calls []string
}

func (e *entity) note(format string, args ...any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
	return e.err
}

func (e *entity) SessionID() int64                    { return e.id }
func (e *entity) Attach(c sessionctl.Control)         { e.control = c }
func (e *entity) Push(route string, v any) error      { return e.note("push %s %v", route, v) }
func (e *entity) RPC(route string, v any) error       { return e.note("rpc %s %v", route, v) }
func (e *entity) Response(v any) error                { return e.note("response %v", v) }
func (e *entity) ResponseMid(mid uint64, v any) error { return e.note("response %d %v", mid, v) }
func (e *entity) LastMid() uint64                     { return 1 << 63 }
func (e *entity) Close() error                        { return e.note("close") }
func (e *entity) Kick(reason string) error            { return e.note("kick %s", reason) }
func (e *entity) RemoteAddr() net.Addr                { return &net.IPAddr{IP: net.IPv4(10, 0, 0, 1)} }
func (e *entity) Bound(s *session.Session, old, uid int64) error {
	return e.note("bound %v %d %d", s != nil && s.UID() == uid, old, uid)
}

func (e *entity) Routed(s *session.Session, service, address string) {
	_ = e.note("routed %v %s %s", s != nil, service, address)
}

func (e *entity) expect(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.calls, want) {
		t.Errorf("the entity was called with %q, want %q", e.calls, want)
	}
	e.calls = nil
}

func newSession() (*session.Session, *entity) {
	e := &entity{id: 7}
	return session.New(e), e
}

func TestID(t *testing.T) {
	if s, _ := newSession(); s.ID() != 7 {
		t.Errorf("ID() = %d, want the 7 of the entity", s.ID())
	}
	last := int64(0)
	for range 100 {
		s := session.New(mock.NewNetworkEntity())
		if s.ID() <= last {
			t.Errorf("ID() = %d after %d over entities without numbers, want it to grow", s.ID(), last)
		}
		last = s.ID()
	}
}

func TestEntityIsAsked(t *testing.T) {
	s, e := newSession()
	if s.NetworkEntity() != session.NetworkEntity(e) {
		t.Errorf("NetworkEntity() = %v, want what New was given", s.NetworkEntity())
	}
	if s.LastMid() != 1<<63 || s.RemoteAddr().String() != "10.0.0.1" {
		t.Errorf("LastMid() = %d, RemoteAddr() = %v, want those of the entity", s.LastMid(), s.RemoteAddr())
	}
	for _, want := range []error{nil, errors.New("broken")} {
		e.err = want
		for what, got := range map[string]error{
			"Push": s.Push("onMove", 1), "RPC": s.RPC("Bank.Pay", 2), "Response": s.Response(3),
			"ResponseMID": s.ResponseMID(1<<63, 4), "Kick": s.Kick("cheating"), "Bind": s.Bind(5),
		} {
			if got != want {
				t.Errorf("%s = %v, want %v", what, got, want)
			}
		}
		s.Close()
		slices.Sort(e.calls)
		old := 0
		if want != nil {
			old = 5
		}
		e.expect(t, fmt.Sprintf("bound true %d 5", old), "close", "kick cheating", "push onMove 1", "response 3",
			"response 9223372036854775808 4", "rpc Bank.Pay 2")
	}
}

// TestKickWithoutKick checks that Kick closes an entity that has no Kick method.
func TestKickWithoutKick(t *testing.T) {
	e := &closer{}
	if err := session.New(e).Kick("cheating"); err != nil || e.closed != 1 {
		t.Errorf("Kick = %v, the entity was closed %d times, want nil and once", err, e.closed)
	}
}

type closer struct {
	mock.NetworkEntity
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

func TestBind(t *testing.T) {
	s, e := newSession()
	for _, uid := range []int64{0, -1, -1 << 63} {
		if err := s.Bind(uid); !errors.Is(err, session.ErrIllegalUID) || s.UID() != 0 {
			t.Errorf("Bind(%d) = %v, then UID() = %d, want ErrIllegalUID and 0", uid, err, s.UID())
		}
	}
	e.expect(t)
	for _, uid := range []int64{1, 1<<63 - 1, 42} {
		if err := s.Bind(uid); err != nil || s.UID() != uid {
			t.Errorf("Bind(%d) = %v, then UID() = %d", uid, err, s.UID())
		}
	}
	if err := s.Bind(0); !errors.Is(err, session.ErrIllegalUID) || s.UID() != 42 {
		t.Errorf("Bind(0) = %v, then UID() = %d, want ErrIllegalUID and the 42 that was bound", err, s.UID())
	}
	e.expect(t, "bound true 0 1", "bound true 1 9223372036854775807", "bound true 9223372036854775807 42")

	plain := session.New(mock.NewNetworkEntity())
	if err := plain.Bind(3); err != nil || plain.UID() != 3 {
		t.Errorf("Bind(3) over an entity that does not care = %v, then UID() = %d", err, plain.UID())
	}
}

func TestTypedValues(t *testing.T) {
	get := map[string]func(*session.Session, string) any{
		"int":     func(s *session.Session, k string) any { return s.Int(k) },
		"int8":    func(s *session.Session, k string) any { return s.Int8(k) },
		"int16":   func(s *session.Session, k string) any { return s.Int16(k) },
		"int32":   func(s *session.Session, k string) any { return s.Int32(k) },
		"int64":   func(s *session.Session, k string) any { return s.Int64(k) },
		"uint":    func(s *session.Session, k string) any { return s.Uint(k) },
		"uint8":   func(s *session.Session, k string) any { return s.Uint8(k) },
		"uint16":  func(s *session.Session, k string) any { return s.Uint16(k) },
		"uint32":  func(s *session.Session, k string) any { return s.Uint32(k) },
		"uint64":  func(s *session.Session, k string) any { return s.Uint64(k) },
		"float32": func(s *session.Session, k string) any { return s.Float32(k) },
		"float64": func(s *session.Session, k string) any { return s.Float64(k) },
		"string":  func(s *session.Session, k string) any { return s.String(k) },
	}
	values := map[string]any{
		"int": int(-1), "int8": int8(-128), "int16": int16(-1 << 15), "int32": int32(-1 << 31), "int64": int64(-1 << 63),
		"uint": uint(1), "uint8": uint8(255), "uint16": uint16(1<<16 - 1), "uint32": uint32(1<<32 - 1),
		"uint64": uint64(1<<64 - 1), "float32": float32(1.5), "float64": -2.25, "string": "ann",
	}
	s, _ := newSession()
	for typ, f := range get {
		zero := reflect.Zero(reflect.TypeOf(values[typ])).Interface()
		if got := f(s, typ); got != zero {
			t.Errorf("%s of an empty session = %#v, want %#v", typ, got, zero)
		}
	}
	for typ, v := range values {
		s.Set(typ, v)
	}
	s.Set("nil", nil)
	for typ, f := range get {
		zero := reflect.Zero(reflect.TypeOf(values[typ])).Interface()
		for key := range s.State() {
			want := zero
			if key == typ {
				want = values[typ]
			}
			if got := f(s, key); got != want {
				t.Errorf("the getter of %s, of a value of type %s = %#v, want %#v", typ, key, got, want)
			}
		}
	}
}

func TestValues(t *testing.T) {
	s, _ := newSession()
	if s.HasKey("room") || s.Value("room") != nil {
		t.Error("an empty session has a value")
	}
	s.Remove("room")
	s.Set("room", "lobby")
	s.Set("room", "arena")
	s.Set("guild", nil)
	if s.Value("room") != "arena" || !s.HasKey("room") || !s.HasKey("guild") || s.Value("guild") != nil {
		t.Errorf("State() = %v, want the last value of each key, nil included", s.State())
	}
	s.Remove("room")
	if s.HasKey("room") || s.Value("room") != nil || s.String("room") != "" {
		t.Errorf("State() = %v after Remove(room), want no room", s.State())
	}
}

func TestStateAndRestoreCopy(t *testing.T) {
	a, _ := newSession()
	b, _ := newSession()
	if got := a.State(); got == nil || len(got) != 0 {
		t.Errorf("State() of an empty session = %#v, want an empty map", got)
	}
	a.State()["level"] = 1 // has no effect and is not an error
	a.Set("level", 2)
	state := a.State()
	a.Set("level", 3)
	a.Set("gold", 1)
	if !maps.Equal(state, map[string]any{"level": 2}) {
		t.Errorf("State() became %v when the session changed, want level 2", state)
	}
	state["level"] = 4
	if a.Int("level") != 3 {
		t.Errorf("level = %d after the map of State changed, want 3", a.Int("level"))
	}

	b.Set("old", true)
	b.Restore(state)
	if !maps.Equal(b.State(), map[string]any{"level": 4}) {
		t.Errorf("State() = %v after Restore, want level 4 and nothing old", b.State())
	}
	state["level"] = 5
	b.Set("guild", "red")
	if b.Int("level") != 4 || len(state) != 1 {
		t.Errorf("level = %d, map = %v: the session and the map that it was restored from are one", b.Int("level"), state)
	}
	b.Restore(nil)
	if b.HasKey("level") || b.State() == nil {
		t.Errorf("State() = %#v after Restore(nil), want an empty map", b.State())
	}
	b.Set("level", 6)
	if b.Int("level") != 6 {
		t.Error("Set after Restore(nil) kept nothing")
	}
}

func TestClear(t *testing.T) {
	s, e := newSession()
	s.Clear()
	e.expect(t)
	if err := s.Bind(9); err != nil {
		t.Fatal(err)
	}
	s.Set("room", "lobby")
	s.Clear()
	s.Clear()
	if s.UID() != 0 || s.HasKey("room") || len(s.State()) != 0 {
		t.Errorf("UID() = %d, State() = %v after Clear, want 0 and none", s.UID(), s.State())
	}
	e.expect(t, "bound true 0 9", "bound true 9 0")
	s.Set("room", "arena")
	if err := s.Bind(10); err != nil || s.UID() != 10 || s.String("room") != "arena" {
		t.Errorf("a cleared session took no uid or value: Bind = %v, UID() = %d, State() = %v", err, s.UID(), s.State())
	}
}

func TestRouter(t *testing.T) {
	s, _ := newSession()
	r := s.Router()
	if r == nil || s.Router() != r {
		t.Fatalf("Router() = %p, then %p, want the same twice", r, s.Router())
	}
	if addr, ok := r.Find("Bank"); ok || addr != "" {
		t.Errorf("Find(Bank) = %q, %v of an empty router, want none", addr, ok)
	}
	r.Delete("Bank")
	r.Bind("Bank", "10.0.0.1:4450")
	r.Bind("Bank", "10.0.0.2:4450")
	r.Bind("Shop", "10.0.0.3:4450")
	for service, want := range map[string]string{"Bank": "10.0.0.2:4450", "Shop": "10.0.0.3:4450"} {
		if addr, ok := r.Find(service); !ok || addr != want {
			t.Errorf("Find(%s) = %q, %v, want %s", service, addr, ok, want)
		}
	}
	r.Delete("Bank")
	if addr, ok := r.Find("Bank"); ok {
		t.Errorf("Find(Bank) = %q after Delete, want none", addr)
	}
	if _, ok := r.Find("Shop"); !ok {
		t.Error("Delete(Bank) deleted Shop")
	}
	var zero session.Router
	zero.Bind("Bank", "10.0.0.1:4450")
	if addr, _ := zero.Find("Bank"); addr != "10.0.0.1:4450" {
		t.Errorf("Find(Bank) = %q of a router that was a zero value", addr)
	}
}

// TestRouterTellsTheEntity checks that the entity learns of changes that the program makes
// through a session's Router. Changes by the entity are not sent back to it.
func TestRouterTellsTheEntity(t *testing.T) {
	s, e := newSession()
	if got := e.control.Routes(); got != nil {
		t.Errorf("Routes() = %v of a session without a Router, want none", got)
	}
	s.Router().Bind("Bank", "10.0.0.1:4450")
	s.Router().Bind("Shop", "10.0.0.2:4450")
	s.Router().Delete("Shop")
	e.expect(t, "routed true Bank 10.0.0.1:4450", "routed true Shop 10.0.0.2:4450", "routed true Shop ")

	e.control.Route("Chat", "10.0.0.3:4450")
	e.control.Route("Bank", "")
	for _, c := range []struct {
		old, address, now string
		done              bool
	}{
		{"10.0.0.1:4450", "10.0.0.2:4450", "", false},
		{"", "10.0.0.2:4450", "10.0.0.2:4450", true},
		{"", "10.0.0.3:4450", "10.0.0.2:4450", false},
		{"10.0.0.3:4450", "", "10.0.0.2:4450", false},
		{"10.0.0.2:4450", "", "", true},
	} {
		now, done := e.control.Reroute("Bank", c.old, c.address)
		if bound, _ := s.Router().Find("Bank"); now != c.now || done != c.done || bound != now {
			t.Errorf("Reroute(Bank, %q, %q) = %q, %v with %q bound then, want %q, %v", c.old, c.address, now, done, bound, c.now, c.done)
		}
	}
	e.expect(t)
	if _, ok := s.Router().Find("Bank"); ok {
		t.Error("Find(Bank) is there when its owner unbound it, want none")
	}
	routes := e.control.Routes()
	if !maps.Equal(routes, map[string]string{"Chat": "10.0.0.3:4450"}) {
		t.Errorf("Routes() = %v, want Chat alone", routes)
	}
	routes["Chat"] = "changed"
	if addr, _ := s.Router().Find("Chat"); addr != "10.0.0.3:4450" {
		t.Errorf("Find(Chat) = %q when the copy of Routes changed", addr)
	}
}

func TestOwnerBinds(t *testing.T) {
	s, e := newSession()
	if old := e.control.Bind(4); old != 0 || s.UID() != 4 {
		t.Errorf("Bind(4) = %d, then UID() = %d, want 0 and 4", old, s.UID())
	}
	if old := e.control.Bind(0); old != 4 || s.UID() != 0 {
		t.Errorf("Bind(0) = %d, then UID() = %d, want 4 and 0", old, s.UID())
	}
	e.expect(t)
}

// caller is an entity that can call other nodes.
type caller struct{ *entity }

func (c caller) Call(ctx context.Context, route string, in, out any) error {
	*out.(*string) = fmt.Sprint(ctx.Value(caller{}), " ", in)
	return c.note("call %s", route)
}

func TestCall(t *testing.T) {
	e := caller{&entity{err: errors.New("down")}}
	var out string
	ctx := context.WithValue(context.Background(), caller{}, "value")
	if err := session.New(e).Call(ctx, "Bank.Pay", 10, &out); err != e.err || out != "value 10" {
		t.Errorf("Call = %v, reply %q, want the error and the reply of the entity", err, out)
	}
	e.expect(t, "call Bank.Pay")
	if err := session.New(mock.NewNetworkEntity()).Call(ctx, "Bank.Pay", 10, &out); !errors.Is(err, session.ErrNotSupported) {
		t.Errorf("Call over an entity that cannot = %v, want ErrNotSupported", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	s, e := newSession()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key, other := fmt.Sprint("key", i), session.New(mock.NewNetworkEntity())
			for j := range 100 {
				s.Set(key, j)
				if got := s.Int(key); got != j {
					t.Errorf("Int(%s) = %d, want the %d that was set", key, got, j)
				}
				other.Restore(s.State())
				_, _, _ = s.HasKey("key0"), s.Value("key1"), s.UID()
				s.Remove("none")
				if err := s.Bind(int64(i + 1)); err != nil {
					t.Error(err)
				}
				r := s.Router()
				r.Bind(key, "x")
				if addr, _ := r.Find(key); addr != "x" {
					t.Errorf("Find(%s) = %q, want x", key, addr)
				}
				r.Delete(key)
				s.OnClose(func(*session.Session, error) {})
				_, _ = s.Context(), s.Closed()
			}
		})
	}
	wg.Go(func() { e.control.End(session.ErrKicked); e.control.Finish() })
	wg.Wait()
}

func TestErrorsHaveTexts(t *testing.T) {
	all := []error{
		session.ErrClientClosed, session.ErrClosed, session.ErrKicked, session.ErrReplaced, session.ErrHeartbeat,
		session.ErrHandshake, session.ErrSlowClient, session.ErrProtocol, session.ErrShutdown, session.ErrIllegalUID,
		session.ErrBrokenPipe, session.ErrBufferExceed, session.ErrCloseClosedSession, session.ErrSessionOnNotify,
		session.ErrNotSupported,
	}
	for i, a := range all {
		if !strings.HasPrefix(a.Error(), "session: ") {
			t.Errorf("error %q does not begin with the package's name", a)
		}
		for _, b := range all[i+1:] {
			if errors.Is(a, b) || a.Error() == b.Error() {
				t.Errorf("errors %q and %q are the same", a, b)
			}
		}
	}
}

func Example() {
	s := session.New(mock.NewNetworkEntity()) // in a server, every handler gets its session
	if err := s.Bind(1001); err != nil {
		fmt.Println(err)
	}
	s.Set("room", "lobby")
	s.Set("level", 7)
	fmt.Println(s.UID(), s.String("room"), s.Int("level"), s.Int("room"))
	fmt.Println(s.Bind(0))
	// Output:
	// 1001 lobby 7 0
	// session: illegal uid, want 1 or more
}

func ExampleSession_State() {
	before := session.New(mock.NewNetworkEntity())
	before.Set("gold", 120)

	saved := before.State() // the player reconnects and gets another session

	after := session.New(mock.NewNetworkEntity())
	after.Restore(saved)
	fmt.Println(after.Int("gold"))
	// Output: 120
}
