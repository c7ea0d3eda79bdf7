package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Shop is the component of the node under test.
type Shop struct {
	component.Base
	do func(s *session.Session, data []byte) error
}

func (p *Shop) Do(s *session.Session, data []byte) error { return p.do(s, data) }

func (p *Shop) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// Tell has no session parameter.
func (p *Shop) Tell(_ context.Context, data []byte) (*string, error) {
	text := string(data)
	return &text, p.do(nil, data)
}

// Nothing has no session parameter and replies nil.
func (p *Shop) Nothing(context.Context, []byte) (*string, error) { return nil, nil }

// visitor is a client of the node under test.
type visitor struct {
	mock.NetworkEntity
	id      int64
	control sessionctl.Control
	session *session.Session
	box     dispatch.Mailbox
	broker  *Broker

	mu    sync.Mutex
	sent  []string // data sent to the client
	fault error    // the error that Relay returns; RelayAnswers sends nothing then
	most  int      // the most answers that RelayAnswers sends; 0 for all

	hook func(id uint64) // runs for each message, if set; RelayAnswers sends nothing then
}

func (v *visitor) SessionID() int64 { return v.id }

func (v *visitor) Attach(c sessionctl.Control) { v.control = c }

func (v *visitor) Control() sessionctl.Control { return v.control }

func (v *visitor) Session() *session.Session { return v.session }

func (v *visitor) Mailbox() *dispatch.Mailbox { return &v.box }

func (v *visitor) Begin(uint64, *string) {}

func (v *visitor) Deferred() bool { return true }

func (v *visitor) Waiting(uint64) bool { return false }

func (v *visitor) Hold() {}

func (v *visitor) Release() {}

func (v *visitor) got(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sent = append(v.sent, fmt.Sprintf(format, args...))
}

func (v *visitor) Refuse(id uint64, e *message.Error) { v.Fail(id, e) }

func (v *visitor) Fail(id uint64, e *message.Error) { v.got("failed %d %s", id, e.Code) }

func (v *visitor) Relay(m *message.Message, _ bool) error {
	v.runHook(m.ID)
	v.mu.Lock()
	fault := v.fault
	v.mu.Unlock()
	if fault == nil {
		v.got("%v %d %s %s", m.Type, m.ID, m.Route, m.Data)
	}
	return fault
}

func (v *visitor) RelayAnswers(list []message.Message) (sent int) {
	v.mu.Lock()
	fault := v.fault
	v.mu.Unlock()
	if fault != nil || v.hook != nil {
		return 0
	}
	if v.most > 0 {
		list = list[:min(v.most, len(list))]
	}
	for i := range list {
		m := &list[i]
		v.got("answer %d %s %s", m.ID, m.Route, m.Data)
	}
	return len(list)
}

func (v *visitor) runHook(id uint64) {
	if v.hook != nil {
		v.hook(id)
	}
}

func (v *visitor) RelayError(id uint64, route string, e *message.Error, _ bool) {
	v.runHook(id)
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

// end closes the session as an agent does.
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

// lobby holds the clients of the node under test.
type lobby struct {
	mu       sync.Mutex
	visitors []*visitor
	carried  func(conn *carry.Conn, ask *carry.Ask) *carry.Refusal
}

func (l *lobby) Begin() {}

func (l *lobby) Carried(conn *carry.Conn, ask *carry.Ask) *carry.Refusal {
	l.mu.Lock()
	f := l.carried
	l.mu.Unlock()
	return f(conn, ask)
}

func (l *lobby) End() {}

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
		_ = c.Relay(&message.Message{Type: message.Push, Route: route, Data: data}, false)
	}
}

// scene is a node under test and a second node, which serves Far. The test writes and
// reads the frames of the second node.
type scene struct {
	*Broker
	t     *testing.T
	shop  *Shop
	lobby *lobby
	far   *farNode
	link  *link.Link // the link of the second node
	read  int        // number of frames read from the second node's recorder
}

func newScene(t *testing.T, configure func(*Config)) *scene {
	t.Helper()
	s := &scene{t: t, shop: &Shop{}, lobby: &lobby{}}
	loop := runloop.New(runloop.DefaultConfig())
	loop.Start()
	t.Cleanup(loop.Close)
	d := dispatch.New(dispatch.Config{Log: logger(t), Serializer: json.NewSerializer(), Loop: loop})
	if err := d.Add(s.shop, nil); err != nil {
		t.Fatal(err)
	}
	timing := quick()
	c := Config{
		Node: &mesh.Config{ID: 1, Services: []string{"Shop"}, Logger: logger(t), Timing: &timing}, Log: logger(t),
		Dispatcher: d, Gate: s.lobby,
	}
	if configure != nil {
		configure(&c)
	}
	s.Broker = New(c)
	d.SetRemote(s.Broker)
	s.boxLimit, s.boxSize = 4, 64<<10
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Join(ctx, listen(t)); err != nil {
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
	s.far = startFar(t, 2, "Far", s.Address(), c.Node.Traces)
	s.link = s.far.Link(s.Address())
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

// says sends frames from the second node.
func (s *scene) says(frames ...link.Frame) {
	s.t.Helper()
	for _, f := range frames {
		if err := s.link.Send(&f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// next returns the next frame that the second node received.
func (s *scene) next() link.Frame {
	s.t.Helper()
	if !s.far.Wait(patience, func() bool { return len(s.far.Frames) > s.read }) {
		s.t.Fatal("no frame came")
	}
	s.far.Mu.Lock()
	defer s.far.Mu.Unlock()
	s.read++
	return s.far.Frames[s.read-1]
}

// hears checks the kinds, ids, routes and payloads of the next frames that the second
// node received. For an error it checks the code.
func (s *scene) hears(want ...link.Frame) {
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

// silent fails if there are frames that the test has not read. A request with its answer
// follows them on the link, so none can arrive later.
func (s *scene) silent() {
	s.t.Helper()
	s.says(link.Frame{Kind: kindCall, ID: 12345, Route: "Nobody.Here", Meta: appendTime(nil, 1e6)})
	s.hears(link.Frame{Kind: kindReturn, Flags: flagError, ID: 12345, Data: []byte(message.CodeNotFound)})
}

// enter adds a client to the node under test.
func (s *scene) enter(id int64) *visitor {
	v := &visitor{id: id, broker: s.Broker}
	v.session = session.New(v)
	v.box.Init(s.Dispatcher, v.session, v, 1<<20, 1<<30)
	s.lobby.mu.Lock()
	defer s.lobby.mu.Unlock()
	s.lobby.visitors = append(s.lobby.visitors, v)
	return v
}

// gets checks the next things that were sent to a client.
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

// proxy returns the proxy session of the second node's client.
func (s *scene) proxy(id int64) *proxySession {
	s.t.Helper()
	r := (*s.peers.Load())[0].session(id)
	if r == nil {
		s.t.Fatalf("session %d is not known", id)
	}
	return r
}

func hello(uid int64) []byte {
	i := introduction{uid: uid, network: "tcp", address: "192.0.2.1:5"}
	return i.append(nil)
}

func failed(f link.Frame, code string) link.Frame {
	f.Flags |= flagError
	f.Data = []byte(code)
	return f
}
