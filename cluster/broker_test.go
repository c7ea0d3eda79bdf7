package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Shop is what the node under test serves.
type Shop struct {
	component.Base
	do func(s *session.Session, data []byte) error
}

func (p *Shop) Do(s *session.Session, data []byte) error { return p.do(s, data) }

func (p *Shop) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// Tell has no session.
func (p *Shop) Tell(_ context.Context, data []byte) (*string, error) {
	text := string(data)
	return &text, p.do(nil, data)
}

// visitor is a client of the node under test.
type visitor struct {
	mock.NetworkEntity
	id      int64
	control sessionctl.Control
	session *session.Session
	box     dispatch.Mailbox
	broker  *Broker

	mu    sync.Mutex
	sent  []string // what the client got
	fault error    // what Relay returns
}

func (v *visitor) SessionID() int64           { return v.id }
func (v *visitor) Attach(c sessionctl.Control)      { v.control = c }
func (v *visitor) Control() sessionctl.Control      { return v.control }
func (v *visitor) Session() *session.Session  { return v.session }
func (v *visitor) Mailbox() *dispatch.Mailbox { return &v.box }
func (v *visitor) Begin(uint64, *string)      {}
func (v *visitor) Hold()                      {}
func (v *visitor) Release()                   {}

func (v *visitor) got(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sent = append(v.sent, fmt.Sprintf(format, args...))
}

func (v *visitor) Refuse(id uint64, e *message.Error) { v.Fail(id, e) }

func (v *visitor) Fail(id uint64, e *message.Error) { v.got("failed %d %s", id, e.Code) }

func (v *visitor) Relay(m *message.Message) error {
	v.mu.Lock()
	fault := v.fault
	v.mu.Unlock()
	if fault == nil {
		v.got("%v %d %s %s", m.Type, m.ID, m.Route, m.Data)
	}
	return fault
}

func (v *visitor) RelayError(id uint64, route string, e *message.Error) {
	v.got("error %d %s %s", id, route, e.Code)
}

func (v *visitor) KickFor(why error, reason string) error {
	v.got("kick %s", reason)
	return v.end(why)
}

func (v *visitor) Close() error {
	v.got("close")
	return v.end(session.ErrClosed)
}

// end is what an agent does when its session closes.
func (v *visitor) end(why error) error {
	if v.control.End(why) {
		v.box.Seal(v.control.Finish)
	}
	return nil
}

func (v *visitor) Bound(s *session.Session, old, uid int64) error {
	v.broker.Bound(s, old, uid)
	return nil
}

func (v *visitor) Routed(s *session.Session, service, address string) {
	v.broker.Routed(s, service, address)
}

// lobby is the clients of the node under test.
type lobby struct {
	mu       sync.Mutex
	visitors []*visitor
}

func (l *lobby) Begin() {}
func (l *lobby) End()   {}

func (l *lobby) ByUID(uid int64) (list []*session.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.visitors {
		if v.session.UID() == uid && !v.session.Closed() {
			list = append(list, v.session)
		}
	}
	return list
}

func (l *lobby) Multicast(to []Client, route string, data []byte) {
	for _, c := range to {
		_ = c.Relay(&message.Message{Type: message.Push, Route: route, Data: data})
	}
}

// scene is a node under test and another one, whose frames the test makes and reads. The other serves Far.
type scene struct {
	*Broker
	t     *testing.T
	shop  *Shop
	lobby *lobby
	far   *testNode
	link  *Link // the other's
	read  int   // frames of the other's recorder
}

func newScene(t *testing.T, configure func(*BrokerConfig), tune ...func(*Node)) *scene {
	t.Helper()
	s := &scene{t: t, shop: &Shop{}, lobby: &lobby{}}
	loop := runloop.New(runloop.DefaultConfig())
	loop.Start()
	t.Cleanup(loop.Close)
	d := dispatch.New(dispatch.Config{Log: logger(t), Serializer: json.NewSerializer(), Loop: loop})
	if err := d.Add(s.shop, nil); err != nil {
		t.Fatal(err)
	}
	c := BrokerConfig{
		Node: &Config{ID: 1, Services: []string{"Shop"}, Logger: logger(t)}, Log: logger(t),
		Dispatcher: d, Gate: s.lobby, MaxPending: 4, MaxSize: 64 << 10,
	}
	if configure != nil {
		configure(&c)
	}
	s.Broker = NewBroker(c)
	d.SetRemote(s.Broker)
	quick(s.node)
	for _, f := range tune {
		f(s.node)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Join(ctx, listen(t, "127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.Drain()
		if err := errors.Join(s.Leave(ctx), s.Wait(ctx)); err != nil {
			t.Errorf("Leave and Wait = %v", err)
		}
	})
	s.far = newTestNode(t, Config{ID: 2, Services: []string{"Far"}, Seeds: []string{s.address()}})
	s.far.serve(listen(t, "127.0.0.1:0"))
	s.far.within(patience, "the node is up", s.far.hasUp(s.address()))
	s.link = s.far.link(s.address())
	s.eventually("the other is listed", func() bool { return len(s.node.LinksTo("Far")) == 1 })
	return s
}

func (s *scene) eventually(what string, so func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not so: %s", what)
		}
	}
}

// says has the other node send frames.
func (s *scene) says(frames ...Frame) {
	s.t.Helper()
	for _, f := range frames {
		if err := s.link.Send(&f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// next returns the next frame that the other node got.
func (s *scene) next() Frame {
	s.t.Helper()
	if !s.far.wait(patience, func() bool { return len(s.far.frames) > s.read }) {
		s.t.Fatal("no frame came")
	}
	s.far.recorder.mu.Lock()
	defer s.far.recorder.mu.Unlock()
	s.read++
	return s.far.frames[s.read-1]
}

// hears fails unless the next frames that the other node got are these: kinds, ids, routes and payloads count, of
// errors the code.
func (s *scene) hears(want ...Frame) {
	s.t.Helper()
	for _, w := range want {
		f := s.next()
		if f.Flags&flagError != 0 {
			f.Data = []byte(errorOf(f.Data).Code)
		}
		if f.Kind != w.Kind || f.Flags != w.Flags || f.Session != w.Session || f.ID != w.ID || f.Route != w.Route || !bytes.Equal(f.Data, w.Data) {
			s.t.Fatalf("the other node got %+v (%s), want %+v (%s)", f, f.Data, w, w.Data)
		}
	}
}

// silent fails if frames came that the test has not read. A request that goes there and back comes behind them.
func (s *scene) silent() {
	s.t.Helper()
	s.says(Frame{Kind: kindCall, ID: 12345, Route: "Nobody.Here", Meta: appendTime(nil, 1e6)})
	s.hears(Frame{Kind: kindReturn, Flags: flagError, ID: 12345, Data: []byte(message.CodeNotFound)})
}

// enter makes a client of the node under test.
func (s *scene) enter(id int64) *visitor {
	v := &visitor{id: id, broker: s.Broker}
	v.session = session.New(v)
	v.box.Init(s.Dispatcher, v.session, v, 1<<20, 1<<30)
	s.lobby.mu.Lock()
	defer s.lobby.mu.Unlock()
	s.lobby.visitors = append(s.lobby.visitors, v)
	return v
}

// gets fails unless the next things that a client got are these.
func (s *scene) gets(v *visitor, want ...string) {
	s.t.Helper()
	s.eventually("the client got something", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.sent) >= len(want)
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Equal(v.sent, want) {
		s.t.Fatalf("the client got %q, want %q", v.sent, want)
	}
	v.sent = nil
}

func hello(uid int64) []byte {
	i := introduction{uid: uid, network: "tcp", address: "192.0.2.1:5"}
	return i.append(nil)
}

func failed(f Frame, code string) Frame {
	f.Flags |= flagError
	f.Data = []byte(code)
	return f
}

// What a gate sends that makes no sense costs only itself.
func TestServeStrangeFrames(t *testing.T) {
	s := newScene(t, nil)
	request := Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Echo", Data: []byte("x")}
	s.says(request)
	s.hears(failed(Frame{Kind: kindResponse, Session: 7, ID: 1}, message.CodeUnavailable))
	request.Meta = []byte{0xff}
	s.says(request)
	s.hears(failed(Frame{Kind: kindResponse, Session: 7, ID: 1}, message.CodeUnavailable))
	s.says(Frame{Kind: kindNotify, Session: 7, Route: "Shop.Echo"})
	for _, kind := range []Frame{
		{Kind: kindClosed, Session: 7}, {Kind: kindUID, Session: 7, ID: 1}, {Kind: kindUID, ID: 1 << 63}, {Kind: kindUID, Flags: flagToGate, Session: 7},
		{Kind: kindRoute, Session: 7, Route: "x"}, {Kind: kindRoute, Flags: flagToGate, Session: 7}, {Kind: kindResponse, Session: 7, ID: 1},
		{Kind: kindPush, Session: 7, Route: "x"}, {Kind: kindKick, Session: 7}, {Kind: kindClose, Session: 7}, {Kind: kindDone, Session: 7, Meta: []byte{0xff}},
		{Kind: kindRPC, Session: 7, Route: "Shop.Do"}, {Kind: kindMulticast, Route: "x", Meta: []byte{1, 0xff}}, {Kind: kindReturn, ID: 5},
		{Kind: kindCancel, ID: 5}, {Kind: kindLogins, Data: []byte{0xff}}, {Kind: kindPushUser, ID: 9}, {Kind: kindKickUser, ID: 9}, {Kind: 200},
		{Kind: kindCall, ID: 5, Route: "Shop.Tell"}, // without a time
	} {
		s.says(kind)
	}
	s.silent()
	request.Meta = hello(3)
	s.says(request)
	s.hears(Frame{Kind: kindResponse, Session: 7, ID: 1, Data: []byte("x")})
	if list := s.SessionsByUID(3); len(list) != 1 || list[0].ID() != 7 {
		t.Errorf("SessionsByUID = %v, want the one that was introduced", list)
	}
	if n := s.Stats().Late; n != 2 {
		t.Errorf("%d answers came late, want 2", n)
	}
}

// Notifies for a handler without a session wait in bounds, and the gate is told of them when they have run.
func TestServeSessionlessNotifies(t *testing.T) {
	s := newScene(t, nil)
	block, ran := make(chan struct{}), make(chan struct{}, 2*maxJobs)
	release := sync.OnceFunc(func() { close(block) })
	t.Cleanup(release)
	s.shop.do = func(*session.Session, []byte) error {
		<-block
		ran <- struct{}{}
		return nil
	}
	f := Frame{Kind: kindNotify, Flags: flagByProgram, Session: 7, Route: "Shop.Tell", Data: []byte("x"), Meta: hello(0)}
	for range 2 * doneMessages {
		s.says(f)
		f.Meta = nil
	}
	s.silent()
	for range maxJobs {
		s.says(f)
	}
	const refused = 2 * doneMessages
	told := uint64(0)
	hear := func(n uint64) {
		t.Helper()
		for told+doneMessages <= n {
			done := s.next()
			if done.Kind != kindDone || done.Session != 7 {
				t.Fatalf("the gate was told %+v, want of what is done", done)
			}
			told += done.ID
		}
	}
	hear(refused)
	release()
	hear(maxJobs + refused)
	s.silent()
	if n := len(ran); n != maxJobs {
		t.Errorf("%d notifies were served, want %d", n, maxJobs)
	}
}

// A message that finds the mailbox full is refused, and the gate is told of each message that has run or was refused.
func TestServeTooMuch(t *testing.T) {
	s := newScene(t, nil)
	block, begun := make(chan struct{}), make(chan struct{}, 100)
	s.shop.do = func(sn *session.Session, data []byte) error {
		begun <- struct{}{}
		<-block
		return sn.Response(data)
	}
	s.says(Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Do", Meta: hello(0)})
	<-begun
	for id := uint64(2); id <= 10; id++ {
		s.says(Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Shop.Do"})
	}
	for id := uint64(5); id <= 10; id++ {
		s.hears(failed(Frame{Kind: kindResponse, Session: 7, ID: id}, message.CodeLimit))
	}
	s.says(Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do"})
	s.says(Frame{Kind: kindCall, Session: 7, ID: 1 << 63, Route: "Shop.Do", Meta: appendTime(nil, 1e9)})
	s.hears(failed(Frame{Kind: kindReturn, ID: 1 << 63}, message.CodeLimit))
	close(block)
	for id := uint64(1); id <= 4; id++ {
		s.hears(Frame{Kind: kindResponse, Session: 7, ID: id})
	}
	if n := s.Stats().Refused; n != 7 {
		t.Errorf("%d messages were refused, want 7", n)
	}
	if c := &s.Dispatcher.Counts; c.Failed.Load() != 6 || c.Dropped.Load() != 1 {
		t.Errorf("%d requests and %d notifies were counted as refused, want 6 and 1", c.Failed.Load(), c.Dropped.Load())
	}
	// So far the notify and the call were not answered: that makes two. After as many more as are told of at once, the gate
	// hears of them.
	s.shop.do = func(*session.Session, []byte) error { return nil }
	sent := 2
	for ; sent < doneMessages; sent++ {
		s.says(Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte("abc")})
		s.eventually("the notify has run", func() bool { r := s.remote(7); return r.box.Room() == 4 })
	}
	f := s.next()
	size, _ := binary.Uvarint(f.Meta)
	if f.Kind != kindDone || f.Session != 7 || f.ID != doneMessages || size != uint64(3*(sent-2)) {
		t.Errorf("the gate was told of %d messages of %d bytes in a frame of kind %d, want %d of %d", f.ID, size, f.Kind, doneMessages, 3*(sent-2))
	}
	s.says(Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: make([]byte, doneSize)})
	f = s.next()
	if size, _ := binary.Uvarint(f.Meta); f.Kind != kindDone || f.ID != 1 || size != doneSize {
		t.Errorf("the gate was told of %d messages of %d bytes in a frame of kind %d, want 1 of %d", f.ID, size, f.Kind, doneSize)
	}
}

// Requests that are answered when they have run are told of before that, as notifies are, and not a second time.
func TestServeLateAnswers(t *testing.T) {
	s := newScene(t, nil)
	s.shop.do = func(*session.Session, []byte) error { return nil }
	for id := uint64(1); id <= doneMessages; id++ {
		s.says(Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Shop.Do", Meta: hello(0)})
		s.eventually("the request has run", func() bool {
			r := (*s.neighbors.Load())[0].session(7)
			return r != nil && r.lastMid.Load() == id && r.box.Room() == 4
		})
	}
	s.hears(Frame{Kind: kindDone, Session: 7, ID: doneMessages})
	r := s.remote(7)
	for id := uint64(1); id < doneMessages; id += 2 {
		if err := r.ResponseMid(id, []byte("late")); err != nil {
			t.Fatal(err)
		}
		r.Fail(id+1, message.Errorf("SHOP-1", "sold out"))
	}
	for id := uint64(1); id < doneMessages; id += 2 {
		s.hears(Frame{Kind: kindResponse, Flags: flagLater, Session: 7, ID: id, Data: []byte("late")})
		f := s.next()
		want := uint8(flagLater | flagError)
		if id+1 == doneMessages {
			want = flagError // the one that ran last may still run, for all that is known
		}
		if f.Kind != kindResponse || f.Flags != want || f.ID != id+1 {
			t.Errorf("a frame of kind %d with flags %d for request %d, want %d with %d for %d", f.Kind, f.Flags, f.ID, kindResponse, want, id+1)
		}
	}
	if n := r.undone.Load(); n != -1 {
		t.Errorf("the gate was told of %d messages too few, want -1", n)
	}
}

// remote returns the copy of a session that the other node's client has.
func (s *scene) remote(id int64) *remote {
	s.t.Helper()
	r := (*s.neighbors.Load())[0].session(id)
	if r == nil {
		s.t.Fatalf("session %d is not known", id)
	}
	return r
}

// What a handler cannot send is its own fault, and its request is answered all the same.
func TestServeAnswers(t *testing.T) {
	s := newScene(t, nil)
	faults := make(chan error, 5)
	s.shop.do = func(sn *session.Session, data []byte) error {
		switch string(data) {
		case "large":
			return sn.Response(make([]byte, 1<<24))
		case "function":
			return sn.Response(func() {})
		case "route":
			return sn.Push(strings.Repeat("x", 256), data)
		case "error":
			return sn.Response(message.Errorf("SHOP-1", "sold out"))
		case "typed":
			return sn.Response(map[string]int{"N": 1})
		case "again":
			faults <- sn.Response([]byte("once"))
			faults <- sn.Response([]byte("twice"))
			faults <- sn.Response(message.Errorf("SHOP-1", "thrice"))
			faults <- sn.ResponseMID(0, nil)
			faults <- sn.ResponseMID(1<<40, []byte("other"))
			return nil
		}
		return nil
	}
	ask := func(id uint64, data string) {
		s.says(Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Shop.Do", Data: []byte(data), Meta: hello(0)})
	}
	for i, what := range []string{"large", "function", "route"} {
		ask(uint64(i+1), what)
		s.hears(failed(Frame{Kind: kindResponse, Session: 7, ID: uint64(i + 1)}, message.CodeInternal))
	}
	ask(4, "error")
	s.hears(failed(Frame{Kind: kindResponse, Session: 7, ID: 4}, "SHOP-1"))
	ask(4, "typed") // the client uses an id again
	s.hears(Frame{Kind: kindResponse, Session: 7, ID: 4, Data: []byte(`{"N":1}`)})
	ask(5, "again")
	s.hears(Frame{Kind: kindResponse, Session: 7, ID: 5, Data: []byte("once")},
		Frame{Kind: kindResponse, Flags: flagLater, Session: 7, ID: 1 << 40, Data: []byte("other")})
	for i, want := range []error{nil, session.ErrSessionOnNotify, session.ErrSessionOnNotify, session.ErrSessionOnNotify, nil} {
		if got := <-faults; !errors.Is(got, want) {
			t.Errorf("answer %d returned %v, want %v", i, got, want)
		}
	}
}

// While the gate has not seen what was bound here, what it says was before.
func TestServeBinds(t *testing.T) {
	s := newScene(t, nil)
	bound := make(chan error, 10)
	s.shop.do = func(sn *session.Session, data []byte) error {
		for _, uid := range data {
			bound <- sn.Bind(int64(uid))
			sn.Router().Bind("Bank", fmt.Sprint("10.0.0.", uid))
		}
		return nil
	}
	s.says(Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte{1, 2}, Meta: hello(0)})
	for _, uid := range []uint64{1, 2} {
		s.hears(Frame{Kind: kindUID, Flags: flagToGate, Session: 7, ID: uid},
			Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, Route: "Bank", Data: fmt.Append(nil, "10.0.0.", uid)})
	}
	r := s.remote(7)
	is := func(uid int64, address string) {
		t.Helper()
		s.silent()
		if got, _ := r.session.Router().Find("Bank"); r.session.UID() != uid || got != address {
			t.Errorf("the session has uid %d and Bank at %q, want %d and %q", r.session.UID(), got, uid, address)
		}
	}
	s.says(Frame{Kind: kindUID, Session: 7, ID: 9}, Frame{Kind: kindRoute, Session: 7, Route: "Bank", Data: []byte("10.0.0.9")})
	is(2, "10.0.0.2")
	s.says(Frame{Kind: kindUID, Flags: flagEcho, Session: 7, ID: 1}, Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.1")})
	is(2, "10.0.0.2")
	s.says(Frame{Kind: kindUID, Flags: flagEcho, Session: 7, ID: 3}, Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.3")})
	is(3, "10.0.0.3") // the gate was told something else meanwhile
	s.says(Frame{Kind: kindUID, Session: 7}, Frame{Kind: kindRoute, Session: 7, Route: "Bank"})
	is(0, "")
	if list := s.SessionsByUID(3); len(list) != 0 {
		t.Errorf("SessionsByUID = %v, want none", list)
	}
}

// A session that was closed here waits for its gate to say so, and so does one of a node that drains; what comes
// meanwhile is refused.
func TestServeClosed(t *testing.T) {
	s := newScene(t, nil)
	ended := make(chan error, 2)
	s.shop.do = func(sn *session.Session, data []byte) error {
		sn.OnClose(func(_ *session.Session, why error) { ended <- why })
		if len(data) > 0 {
			sn.Close()
			for what, err := range map[string]error{"Push": sn.Push("x", data), "ResponseMID": sn.ResponseMID(1, data)} {
				if !errors.Is(err, session.ErrBrokenPipe) {
					t.Errorf("%s after Close = %v, want ErrBrokenPipe", what, err)
				}
			}
			sn.Close()
		}
		return nil
	}
	s.says(Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte("close"), Meta: hello(5)})
	s.hears(Frame{Kind: kindClose, Session: 7})
	if err := <-ended; !errors.Is(err, session.ErrClosed) {
		t.Errorf("OnClose got %v, want ErrClosed", err)
	}
	again := Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Echo", Meta: hello(5)}
	s.says(again, Frame{Kind: kindCall, Session: 7, ID: 1 << 63, Route: "Shop.Echo", Meta: appendTime(nil, 1e9)})
	s.hears(failed(Frame{Kind: kindResponse, Session: 7, ID: 1}, message.CodeUnavailable), failed(Frame{Kind: kindReturn, ID: 1 << 63}, message.CodeUnavailable))
	if _, ok := s.Session(7); ok || len(s.SessionsByUID(5)) != 0 {
		t.Error("a session that was closed is still found")
	}
	s.says(Frame{Kind: kindClosed, Session: 7}, again)
	s.hears(Frame{Kind: kindResponse, Session: 7, ID: 1})

	s.says(Frame{Kind: kindNotify, Session: 8, Route: "Shop.Do", Meta: hello(0)})
	s.silent()
	s.Drain()
	if err := <-ended; !errors.Is(err, session.ErrShutdown) {
		t.Errorf("OnClose got %v, want ErrShutdown", err)
	}
	for id := int64(8); id < 10; id++ { // one that was known, and one that was not
		s.says(Frame{Kind: kindRequest, Session: id, ID: 1, Route: "Shop.Echo", Meta: hello(0)},
			Frame{Kind: kindCall, Session: id, ID: 1 << 63, Route: "Shop.Echo", Meta: append(appendTime(nil, 1e9), hello(0)...)})
		s.hears(failed(Frame{Kind: kindResponse, Session: id, ID: 1}, message.CodeUnavailable), failed(Frame{Kind: kindReturn, ID: 1 << 63}, message.CodeUnavailable))
	}
}

// Calls are bounded, end once, and are not begun when nobody waits any more.
func TestServeCalls(t *testing.T) {
	s := newScene(t, nil)
	block, begun := make(chan struct{}), make(chan struct{}, 100)
	s.shop.do = func(*session.Session, []byte) error {
		begun <- struct{}{}
		<-block
		return nil
	}
	call := func(id uint64, micros int64) Frame {
		return Frame{Kind: kindCall, ID: id, Route: "Shop.Tell", Meta: appendTime(nil, micros), Data: []byte("x")}
	}
	s.says(call(1, 1e9))
	<-begun
	s.says(call(1, 1e9))
	s.hears(failed(Frame{Kind: kindReturn, ID: 1}, message.CodeBadRequest))
	s.says(call(2, 1))
	for id := uint64(3); id <= maxJobs; id++ {
		s.says(call(id, 1e9))
	}
	s.says(call(1<<40, 1e9))
	s.hears(failed(Frame{Kind: kindReturn, ID: 1 << 40}, message.CodeLimit))
	for id := uint64(3); id <= maxJobs; id++ {
		s.says(Frame{Kind: kindCancel, ID: id})
	}
	s.says(call(1<<40, 1e9)) // there is room again
	s.silent()
	close(block)
	<-begun
	s.hears(Frame{Kind: kindReturn, ID: 1, Data: []byte(`"x"`)}, failed(Frame{Kind: kindReturn, ID: 2}, message.CodeDeadline), Frame{Kind: kindReturn, ID: 1 << 40, Data: []byte(`"x"`)})
	if len(begun) != 0 {
		t.Errorf("%d calls that were cancelled have run", len(begun))
	}
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if nb := (*s.neighbors.Load())[0]; len(s.jobs) != 0 || nb.jobs != 0 || nb.jobSize != 0 {
		t.Errorf("%d jobs are left, %d of %d bytes of the neighbor", len(s.jobs), nb.jobs, nb.jobSize)
	}
}

// A request that was forwarded is answered once, whatever the other node answers.
func TestForwardAnswers(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	ask := func(id uint64) {
		t.Helper()
		if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: id, Route: "Far.Do", Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		s.hears(Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Far.Do", Data: []byte("x")})
	}
	answer := func(id uint64, data string) Frame {
		return Frame{Kind: kindResponse, Session: 7, ID: id, Data: []byte(data)}
	}
	ask(1)
	ask(2)
	ask(3)
	late := answer(2, "two")
	late.Flags = flagLater
	s.says(Frame{Kind: kindDone, Session: 7, ID: 1}, late, answer(1, "one"), answer(2, "again"), answer(9, "nine"))
	s.gets(v, "response 2 Far.Do two", "response 1 Far.Do one")
	e, _ := message.Errorf("FAR-1", "no").MarshalProtobuf()
	bad := answer(3, string(e))
	bad.Flags = flagError
	s.says(bad)
	s.gets(v, "error 3 Far.Do FAR-1")
	ask(4)
	bad.ID, bad.Data = 4, []byte{0xff}
	s.says(bad)
	s.gets(v, "error 4 Far.Do NANO-500")
	v.mu.Lock()
	v.fault = session.ErrBufferExceed
	v.mu.Unlock()
	ask(5)
	s.says(answer(5, "five"), Frame{Kind: kindPush, Session: 7, Route: "onNews"})
	s.gets(v, "error 5 Far.Do NANO-500")
	s.silent()
	if lost, late := s.Stats().Lost, s.Stats().Late; lost != 2 || late != 2 {
		t.Errorf("%d were lost and %d late, want 2 and 2", lost, late)
	}

	for id := uint64(100); id < 100+maxAwaited; id++ {
		if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: id, Route: "Far.Do"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"}); !errors.Is(err, errAwaited) {
		t.Errorf("Forward = %v with %d requests waiting, want errAwaited", err, maxAwaited)
	}
	// Each answer counts for one message, also the two that nobody waited for; what the other may leave untold does not.
	if room := v.box.Room(); room != 1<<20-(maxAwaited-2)+doneMessages-1 {
		t.Errorf("the mailbox has room for %d with %d messages lent", room, maxAwaited-2)
	}
	v.mu.Lock()
	v.sent = nil
	v.mu.Unlock()
	s.far.kill()
	s.eventually("all of them failed", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.sent) == maxAwaited
	})
	if n := s.Dispatcher.Counts.Failed.Load(); n != maxAwaited {
		t.Errorf("%d requests were counted as refused, want %d", n, maxAwaited)
	}
	if v.sent[0] != "error 100 Far.Do NANO-503" || v.box.Room() != 1<<20 {
		t.Errorf("the client got %q first, and the mailbox has room for %d, want NANO-503 and all of it", v.sent[0], v.box.Room())
	}
	if _, bound := v.session.Router().Find("Far"); bound {
		t.Error("the session is still bound to the node that is down")
	}
	err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"})
	if e := (&message.Error{}); !errors.As(err, &e) || e.Code != message.CodeUnavailable {
		t.Errorf("Forward to a service whose node is down = %v, want NANO-503", err)
	}
}

// A link that is found broken is not chosen any more, before anybody says so.
func TestForwardToBrokenLink(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	nb := (*s.neighbors.Load())[0]
	nb.mu.Lock()
	nb.down = true
	nb.mu.Unlock()
	err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"})
	if e := (&message.Error{}); !errors.As(err, &e) || e.Code != message.CodeUnavailable || !nb.dead.Load() {
		t.Errorf("Forward = %v, want NANO-503", err)
	}
	for what, call := range map[string]func() error{
		"CallNode": func() error { return s.CallNode(t.Context(), "Far.Do", nil, nil) },
		"Call":     func() error { return s.Call(t.Context(), v.session, "Far.Do", nil, nil) },
	} {
		if e := (&message.Error{}); !errors.As(call(), &e) || e.Code != message.CodeUnavailable {
			t.Errorf("%s = %v, want NANO-503", what, call())
		}
	}
	if links := alive(slices.Repeat(s.node.LinksTo("Far"), 2)); len(links) != 0 {
		t.Errorf("%d links are alive, want none", len(links))
	}
}

// A node that has asked for the last answer before it leaves is sent nothing behind that, be it among those that serve.
func TestForwardToANodeThatWithdrew(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	s.says(Frame{Kind: kindCall, ID: 1, Meta: appendTime(nil, 1e6)})
	s.hears(failed(Frame{Kind: kindReturn, ID: 1}, message.CodeNotFound))
	nb := (*s.neighbors.Load())[0]
	for what, send := range map[string]func() error{
		"CallNode": func() error { return s.CallNode(t.Context(), "Far.Do", nil, nil) },
		"Call":     func() error { return s.Call(t.Context(), v.session, "Far.Do", nil, nil) },
		"Forward": func() error {
			return s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"})
		},
	} {
		nb.dead.Store(false)
		if e := (&message.Error{}); !errors.As(send(), &e) || e.Code != message.CodeUnavailable {
			t.Errorf("%s = %v, want NANO-503", what, e)
		}
	}
	const last = 12345
	s.says(Frame{Kind: kindCall, ID: last, Route: "Nobody.Here", Meta: appendTime(nil, 1e6)})
	for f := s.next(); f.Kind != kindReturn || f.ID != last; f = s.next() {
		if f.Kind == kindCall || f.Kind == kindRequest {
			t.Errorf("it was sent %+v", f)
		}
	}
}

// Withdraw leaves time for what comes after it, also where a neighbor does not answer and there is little time.
func TestWithdrawInLittleTime(t *testing.T) {
	s := newScene(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s.Withdraw(ctx)
	if err := ctx.Err(); err != nil {
		t.Errorf("all of the time had passed when Withdraw returned: %v", err)
	}
	if f := s.next(); f.Kind != kindCall || f.Session != 0 || f.Route != "" {
		t.Errorf("the other node got %+v, want a call of no route", f)
	}
}

// What the queue to another node has no room for fails at once, or is counted; the rest goes on.
func TestFullQueue(t *testing.T) {
	s := newScene(t, nil, func(n *Node) { n.t.link.QueueBytes = 4 << 10 })
	big := bytes.Repeat([]byte("x"), 4<<10) // as much as would have to wait
	full := func(what string, err error) {
		t.Helper()
		if e := (&message.Error{}); !errors.Is(err, ErrQueueFull) || !errors.As(err, &e) || e.Code != message.CodeUnavailable {
			t.Errorf("%s = %v, want NANO-503 and ErrQueueFull", what, err)
		}
	}
	v := s.enter(7)
	full("Forward", s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do", Data: big}))
	full("RPC", s.RPC(v.session, "Far.Do", big))
	full("Call", s.Call(t.Context(), v.session, "Far.Do", big, nil))
	full("CallNode", s.CallNode(t.Context(), "Far.Do", big, nil))
	for range 2 {
		if f := s.next(); f.Kind != kindCancel {
			t.Errorf("the other node got %+v, want only that the calls are given up", f)
		}
	}
	if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 2, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	if f := s.next(); f.Kind != kindRequest || f.ID != 2 || len(f.Meta) == 0 {
		t.Errorf("the other node got %+v, want request 2 with an introduction", f)
	}

	s.shop.do = func(sn *session.Session, _ []byte) error {
		if err := sn.Push("onNews", big); !errors.Is(err, session.ErrBufferExceed) {
			t.Errorf("Push = %v, want ErrBufferExceed", err)
		}
		if err := sn.Response(big); !errors.Is(err, session.ErrBufferExceed) {
			t.Errorf("Response = %v, want ErrBufferExceed", err)
		}
		var m Multicast
		m.Add(sn.NetworkEntity())
		if err := errors.Join(m.Send("onNews", big), m.Send("onNews", []byte("y"))); err != nil {
			t.Errorf("Send = %v, want nil", err)
		}
		return sn.Response([]byte("z"))
	}
	s.says(Frame{Kind: kindRequest, Session: 9, ID: 1, Route: "Shop.Do", Meta: hello(0)})
	s.hears(Frame{Kind: kindMulticast, Route: "onNews", Data: []byte("y")}, Frame{Kind: kindResponse, Session: 9, ID: 1, Data: []byte("z")})
	if n := s.Stats().Unsent; n != 1 {
		t.Errorf("%d pushes for many clients were not sent, want 1", n)
	}
}

// What the other node asks of a client is done, and what it knows of the session is kept right until it closes.
func TestForwardEntity(t *testing.T) {
	s := newScene(t, func(c *BrokerConfig) { c.SingleLogin = true })
	v, w := s.enter(7), s.enter(8)
	for _, v := range []*visitor{v, w} {
		if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
			t.Fatal(err)
		}
		f := s.next()
		if i, err := parseIntroduction(f.Meta); err != nil || i.routes["Far"] != s.far.addr {
			t.Errorf("the session was introduced as %+v, %v, want Far at %s", i, err, s.far.addr)
		}
	}
	s.says(Frame{Kind: kindPush, Session: 7, Route: "onNews", Data: []byte("1")},
		Frame{Kind: kindMulticast, Route: "onNews", Meta: appendIDs(nil, []int64{8, 99, 7}), Data: []byte("2")})
	s.gets(v, "push 0 onNews 1", "push 0 onNews 2")
	s.gets(w, "push 0 onNews 2")
	s.says(Frame{Kind: kindUID, Flags: flagToGate, Session: 7, ID: 5})
	logins := func() (list []login) {
		t.Helper()
		if err := parseLogins(s.next().Data, func(l login) { list = append(list, l) }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	l := logins()
	if len(l) != 1 || l[0].session != 7 || l[0].uid != 5 || l[0].old != 0 {
		t.Errorf("the other node was told of %+v, want session 7 of user 5", l)
	}
	s.hears(Frame{Kind: kindUID, Session: 7, ID: 5}, Frame{Kind: kindUID, Flags: flagEcho, Session: 7, ID: 5})
	s.says(Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")})
	s.hears(Frame{Kind: kindRoute, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")}, Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")})
	// What the other serves unbound is bound there, unless it is bound by now.
	s.says(Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, ID: ifUnbound, Route: "Bank", Data: []byte("10.0.0.2:1")})
	s.hears(Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")})
	s.says(Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, ID: ifUnbound, Route: "Post", Data: []byte("10.0.0.2:1")})
	s.hears(Frame{Kind: kindRoute, Session: 7, Route: "Post", Data: []byte("10.0.0.2:1")}, Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Post", Data: []byte("10.0.0.2:1")})
	s.says(Frame{Kind: kindPushUser, ID: 5, Route: "onNews", Data: []byte("3")})
	s.gets(v, "push 0 onNews 3")

	// A login elsewhere that was earlier changes nothing, a later one does.
	older := login{session: 1, uid: 5, when: l[0].when - 1}
	later := login{session: 2, uid: 5, when: l[0].when + 1e9}
	s.says(Frame{Kind: kindLogins, Data: older.append(nil)})
	s.silent()
	s.gets(v)
	s.says(Frame{Kind: kindLogins, Data: later.append(nil)})
	s.gets(v, "kick logged in elsewhere")
	for range 2 { // they come in any order
		switch f := s.next(); f.Kind {
		case kindClosed:
			if f.Session != 7 || !errors.Is(reasonOf(&f), session.ErrReplaced) {
				t.Errorf("the other node was told of the end of session %d: %v, want 7, ErrReplaced", f.Session, reasonOf(&f))
			}
		case kindLogins:
			if want := (login{session: 7, old: 5}).append(nil); !bytes.Equal(f.Data, want) {
				t.Errorf("the other node was told of logins %x, want %x", f.Data, want)
			}
		default:
			t.Errorf("the other node got a frame of kind %d", f.Kind)
		}
	}
	if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); !errors.Is(err, session.ErrBrokenPipe) {
		t.Errorf("Forward for a session that has finished = %v, want ErrBrokenPipe", err)
	}

	// Who logs in after a login elsewhere is later, whatever the clocks say.
	if err := w.session.Bind(5); err != nil {
		t.Fatal(err)
	}
	if l := logins(); len(l) != 1 || l[0].session != 8 || !l[0].later(later) {
		t.Errorf("the other node was told of %+v, want session 8, later than %+v", l, later)
	}
	s.hears(Frame{Kind: kindUID, Session: 8, ID: 5})
	if n, err := s.Push(5, "onNews", func() {}); n != 1 || err == nil {
		t.Errorf("Push of what does not encode = %d, %v, want an error", n, err)
	}
	if n, err := s.Push(5, "onNews", []byte("x")); n != 1 || err != nil {
		t.Errorf("Push = %d, %v, want one node", n, err)
	}
	s.hears(Frame{Kind: kindPushUser, ID: 5, Route: "onNews", Data: []byte("x")})
	if n, err := s.Kick(5, "out"); n != 1 || err != nil {
		t.Errorf("Kick = %d, %v, want one node", n, err)
	}
	s.hears(Frame{Kind: kindKickUser, ID: 5, Data: []byte("out")})
	s.says(Frame{Kind: kindKickUser, ID: 5, Data: []byte("in")})
	s.gets(w, "kick in")
}

// A call that is passed on ends once, and is cancelled where it went.
func TestForwardCalls(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.next()
	pass := Frame{Kind: kindCall, Flags: flagToGate, Session: 7, ID: 5, Route: "Far.Ask", Meta: appendTime(nil, 1e9), Data: []byte("x")}
	s.says(pass)
	on := s.next()
	if on.Kind != kindCall || on.Session != 7 || on.Route != "Far.Ask" || string(on.Data) != "x" || on.Flags != 0 {
		t.Fatalf("the call was passed on as %+v", on)
	}
	s.says(Frame{Kind: kindReturn, ID: on.ID, Data: []byte("y")}, Frame{Kind: kindReturn, ID: on.ID, Data: []byte("z")})
	s.hears(Frame{Kind: kindReturn, ID: 5, Data: []byte("y")})
	s.says(pass)
	on = s.next()
	s.says(Frame{Kind: kindCancel, ID: 5})
	s.hears(Frame{Kind: kindCancel, ID: on.ID})
	s.says(Frame{Kind: kindReturn, ID: on.ID, Data: []byte("y")})
	pass.Route = "Nobody.Ask"
	s.says(pass)
	s.hears(failed(Frame{Kind: kindReturn, ID: 5}, message.CodeNotFound))
	pass.Session = 99
	s.says(pass)
	s.hears(failed(Frame{Kind: kindReturn, ID: 5}, message.CodeUnavailable))
	s.silent()
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if len(s.jobs) != 0 || len(s.calls) != 0 {
		t.Errorf("%d jobs and %d calls are left", len(s.jobs), len(s.calls))
	}
}

func TestCallIDs(t *testing.T) {
	s := newScene(t, nil)
	seen := map[uint64]bool{}
	for range 1000 {
		id := s.ids.next()
		if seen[id] || !isCall(id) || !s.ids.made(id) {
			t.Fatalf("id %x is not new, or not known", id)
		}
		if s.ids.made(id^1) || s.ids.made(id&^(1<<63)) {
			t.Fatalf("an id that is not %x is taken for one of the node's", id)
		}
		seen[id] = true
	}
	for _, id := range []uint64{0, 1, 1 << 63, 1<<64 - 1} {
		if s.ids.made(id) {
			t.Errorf("id %x is taken for one of the node's", id)
		}
	}
}
