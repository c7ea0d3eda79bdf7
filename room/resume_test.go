package room_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

const window = 30 * time.Second

// mobile is a client that resumes its session. It decodes the state as the clients of the library do.
type mobile struct {
	t      *testing.T
	l      *nanotest.Listener
	settle func() // waits until everything has happened, in fake time
	client testkit.ResumeClient
	conn   *slowConn
	wire   *testkit.Wire

	mu      sync.Mutex
	next    uint64
	answers map[uint64]chan *message.Message
	decoder *state.Decoder
	pushes  []string // the route of each push; of a state push also "empty", "snapshot" or "patch"
}

// resumable is a server with ponds whose clients may resume their sessions.
func resumable(t *testing.T, opts ...room.Option) *lake {
	kind := room.Define[Pond]("pond", append([]room.Option{room.Schedulers(schedulers)}, opts...)...)
	cs := &component.Components{}
	cs.Register(&Login{}, component.WithName("login"))
	srv := nanotest.Start(t, kind.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()),
		nano.WithResume(nano.Resume{Window: window}))
	return &lake{srv, kind.On(srv.Server), t}
}

// mobile connects the user uid.
func (l *lake) mobile(uid int64) *mobile { return newMobile(l.t, l.Listener, synctest.Wait, uid) }

func newMobile(t *testing.T, l *nanotest.Listener, settle func(), uid int64) *mobile {
	m := &mobile{t: t, l: l, settle: settle, answers: map[uint64]chan *message.Message{}}
	m.connect(false)
	m.request("login.As", uid)
	return m
}

// connect connects the client. If resumed is true, the client must resume its session.
func (m *mobile) connect(resumed bool) {
	m.t.Helper()
	conn, err := m.l.DialContext(m.t.Context(), "", "")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	m.conn = &slowConn{Conn: conn}
	m.wire = testkit.NewWire(m.conn)
	m.wire.Patience = time.Hour
	a, err := testkit.Ask(m.wire, m.client.Handshake())
	if err != nil || a.Resumed != resumed {
		m.t.Fatalf("handshake = %+v, %v, want resumed %v", a, err, resumed)
	}
	go m.read(m.wire)
	if err := m.client.Enter(m.wire, a); err != nil {
		m.t.Fatal(err)
	}
	m.settle()
}

func (m *mobile) read(w *testkit.Wire) {
	for {
		msg, err := m.client.Next(w)
		if err != nil {
			m.client.Lost()
			return
		}
		m.mu.Lock()
		if msg.Type == message.Push {
			m.push(msg)
		} else if c := m.answers[msg.ID]; c != nil {
			c <- msg
		}
		m.mu.Unlock()
	}
}

// push records a push. The caller holds mu.
func (m *mobile) push(msg *message.Message) {
	note := msg.Route
	if msg.Route == "room.state" {
		switch {
		case len(msg.Data) == 0:
			note = "empty"
		case msg.Data[0]&1 != 0:
			note = "snapshot"
		default:
			note = "patch"
		}
		if m.decoder != nil && len(msg.Data) > 0 {
			if err := m.decoder.Decode(msg.Data); err != nil {
				note += ": " + err.Error()
			}
		}
	} else if len(msg.Data) > 0 {
		note += " " + string(msg.Data)
	}
	m.pushes = append(m.pushes, note)
}

// stall makes the client read one more time and then nothing until the connection is lost.
func (m *mobile) stall() {
	gate := make(chan struct{})
	m.conn.gate.Store(&gate)
}

// lose closes the connection.
func (m *mobile) lose() {
	m.t.Helper()
	_ = m.conn.Close()
	if gate := m.conn.gate.Load(); gate != nil {
		close(*gate)
	}
	m.settle()
}

// ask sends a request. The server receives it at once, or after the client has
// reconnected.
func (m *mobile) ask(route string, v any) <-chan *message.Message {
	body, err := json.Marshal(v)
	if err != nil {
		m.t.Fatal(err)
	}
	c := make(chan *message.Message, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.answers[id] = c
	m.mu.Unlock()
	m.client.Send(testkit.Request(id, route, string(body)))
	return c
}

// request sends a request and returns its answer.
func (m *mobile) request(route string, v any) []byte {
	m.t.Helper()
	msg := <-m.ask(route, v)
	if msg.Err {
		m.t.Fatalf("%s = %q", route, msg.Data)
	}
	return msg.Data
}

// join joins a pond. The id "" means any pond.
func (m *mobile) join(id, name string) (joined room.Joined) {
	m.t.Helper()
	route, body := "room.joinOrCreate", map[string]any{"kind": "pond", "options": JoinOptions{name}}
	if id != "" {
		route, body["id"] = "room.join", id
	}
	if err := json.Unmarshal(m.request(route, body), &joined); err != nil {
		m.t.Fatal(err)
	}
	d, err := state.NewDecoder(string(joined.Schema))
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.decoder = d
	m.mu.Unlock()
	return joined
}

// wantPushes checks which pushes came since the last call. want is a regular expression.
func (m *mobile) wantPushes(want string) {
	m.t.Helper()
	m.settle()
	m.mu.Lock()
	defer m.mu.Unlock()
	if got := strings.Join(m.pushes, ", "); !regexp.MustCompile("^(" + want + ")$").MatchString(got) {
		m.t.Errorf("pushes = %s\nwant %s", got, want)
	}
	m.pushes = nil
}

func (m *mobile) forget() {
	m.settle()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pushes = nil
}

// state returns the state as JSON.
func (m *mobile) state() string {
	m.settle()
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(m.decoder.State())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestSuspendDropsAndResumeReturns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := resumable(t, room.Hold(time.Minute))
		ann := l.mobile(1)
		j := ann.join("", "ann")
		_, bob := l.join(2, "bob")
		ann.forget()
		ann.lose()
		l.wantLog(j.ID, "join 1 ann; join 2 bob; drop 1")
		for range 3 {
			if err := bob.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := bob.Request(t.Context(), "Shout", Step{7}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(window - time.Second)
		answer := ann.ask("pond.Jump", Step{5})
		ann.connect(true)
		l.wantLog(j.ID, "join 1 ann; join 2 bob; drop 1; return 1")
		if msg := <-answer; msg.Err {
			t.Errorf("a message that was sent while the client was away = %q", msg.Data)
		}
		// No state was pushed while the session was suspended. Other pushes of the
		// program were kept. The message that was resent may run before the snapshot or
		// after it.
		ann.wantPushes(`onShout {"dx":7}, snapshot(, patch)?`)
		if got, want := ann.state(), `{"frogs":{"1":{"hand":[1],"name":"ann","x":5},"2":{"hand":[],"name":"bob","x":3}},"round":0}`; got != want {
			t.Errorf("state after the resume = %s\nwant %s", got, want)
		}
	})
}

func TestMissedStateIsReplayedEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := resumable(t)
		ann := l.mobile(1)
		ann.join("", "ann")
		_, bob := l.join(2, "bob")
		ann.forget()
		ann.stall()
		for range 3 { // the client reads the first of them
			if err := bob.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
				t.Fatal(err)
			}
			ann.settle() // the state was flushed and, if the connection takes it, written
		}
		if err := bob.Request(t.Context(), "Shout", Step{7}, nil); err != nil {
			t.Fatal(err)
		}
		if err := bob.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Fatal(err)
		}
		ann.settle()
		ann.lose()
		ann.connect(true)
		ann.wantPushes(`patch, empty, empty, onShout {"dx":7}, empty, snapshot`)
		if got, want := ann.state(), `{"frogs":{"1":{"hand":[1],"name":"ann","x":0},"2":{"hand":[],"name":"bob","x":4}},"round":0}`; got != want {
			t.Errorf("state after the resume = %s\nwant %s", got, want)
		}
		if err := bob.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Fatal(err)
		}
		ann.wantPushes("patch")
	})
}

func TestHoldCountsFromTheSuspension(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, test := range []struct {
			hold      time.Duration
			away      time.Duration
			log, push string
		}{
			{hold: 10 * time.Second, away: 10*time.Second - time.Millisecond, log: "return 1", push: "snapshot"},
			{hold: 10 * time.Second, away: 10*time.Second + time.Millisecond, log: "leave 1: " + room.ErrHoldExpired.Error(),
				push: `room.left {"reason":"hold expired"}`},
			{hold: 0, away: time.Millisecond, log: "leave 1: " + room.ErrHoldExpired.Error(), push: `room.left {"reason":"hold expired"}`},
		} {
			l := resumable(t, room.Hold(test.hold))
			ann := l.mobile(1)
			j := ann.join("", "ann")
			l.join(2, "bob")
			ann.forget()
			ann.lose()
			time.Sleep(test.away)
			ann.connect(true)
			want := "join 1 ann; join 2 bob; drop 1; " + test.log
			if test.hold == 0 {
				want = strings.Replace(want, "drop 1; ", "", 1)
			}
			l.wantLog(j.ID, want)
			ann.wantPushes(test.push)
		}
	})
}

func TestHoldGoesOnWhenTheSessionHasExpired(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, late := range []bool{false, true} {
			l := resumable(t, room.Hold(window+10*time.Second))
			ann := l.mobile(1)
			j := ann.join("", "ann")
			l.join(2, "bob")
			ann.lose()
			time.Sleep(window + time.Second)
			l.wantLog(j.ID, "join 1 ann; join 2 bob; drop 1") // once, although the session has closed since
			if !late {
				time.Sleep(9*time.Second - time.Millisecond)
				again := l.mobile(1)
				if a := again.join("", "ann"); a.ID != j.ID || a.Player != 1 {
					t.Errorf("a login after the session has expired = player %d of %s, want 1 of %s", a.Player, a.ID, j.ID)
				}
				l.wantLog(j.ID, "join 1 ann; join 2 bob; drop 1; return 1")
				time.Sleep(time.Minute)
				l.wantLog(j.ID, "join 1 ann; join 2 bob; drop 1; return 1")
				continue
			}
			time.Sleep(9*time.Second + time.Millisecond)
			l.wantLog(j.ID, "join 1 ann; join 2 bob; drop 1; leave 1: "+room.ErrHoldExpired.Error())
		}
	})
}

func TestLoginTakesTheSeatOfASuspendedSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := resumable(t)
		ann := l.mobile(1)
		j := ann.join("", "ann")
		ann.forget()
		ann.lose()
		again := l.mobile(1)
		if a := again.join("", "ann"); a.ID != j.ID || a.Player != 1 {
			t.Errorf("the second login has player %d of %s, want 1 of %s", a.Player, a.ID, j.ID)
		}
		l.wantLog(j.ID, "join 1 ann; drop 1; return 1")
		ann.connect(true)
		l.wantLog(j.ID, "join 1 ann; drop 1; return 1")
		ann.wantPushes(`room.left {"reason":"taken over"}`)
		if msg := <-ann.ask("pond.Jump", Step{1}); !msg.Err || !strings.Contains(string(msg.Data), "ROOM-NONE") {
			t.Errorf("a message of the first login = %q, want ROOM-NONE", msg.Data)
		}
		again.request("pond.Jump", Step{1})
	})
}

func TestSecondLiveLoginTakesTheSeatOverWithResume(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := resumable(t)
		ann := l.mobile(1)
		j := ann.join("", "ann")
		ann.forget()
		again := l.mobile(1)
		if a := again.join(j.ID, "ann"); a.Player != 1 {
			t.Errorf("the second login has player %d, want 1", a.Player)
		}
		l.wantLog(j.ID, "join 1 ann; drop 1; return 1")
		ann.wantPushes(`room.left {"reason":"taken over"}`)
		ann.lose() // she has no seat
		l.wantLog(j.ID, "join 1 ann; drop 1; return 1")
	})
}

func TestSpectatorComesBackWithTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := resumable(t)
		_, a := l.join(1, "ann")
		w := l.mobile(2)
		w.request("room.spectate", map[string]any{"id": a.ID()})
		w.forget()
		w.lose()
		if err := a.Request(t.Context(), "Jump", Step{5}, nil); err != nil {
			t.Fatal(err)
		}
		w.connect(true)
		w.wantPushes("snapshot")
		w.lose()
		time.Sleep(window + time.Second)
		synctest.Wait()
		if n := l.Kind.Stats()[0].Spectators; n != 0 {
			t.Errorf("%d spectators after the session has expired, want 0", n)
		}
		l.wantLog(a.ID(), "join 1 ann")
	})
}

// A session that was suspended gets no state, although OnSuspend waits for the logic goroutine.
func TestNoStateWhileSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		schedulers = 1
		l := resumable(t, room.TickRate(10))
		ann := l.mobile(1)
		j := ann.join("", "ann")
		l.join(2, "bob")
		time.Sleep(time.Second)
		ann.forget()
		release := make(chan struct{})
		l.Invoke(func() { <-release })
		ann.lose()
		for range 5 {
			if err := l.Kind.Do(t.Context(), j.ID, func(p *Pond) { p.State.Round++ }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		close(release)
		ann.connect(true)
		time.Sleep(200 * time.Millisecond)
		ann.wantPushes("snapshot(, snapshot)?") // the second one if a flush was due at the resume
	})
}

// Behind a gate, a suspension reaches the room and ends there as on one node.
func TestSuspendBehindAGate(t *testing.T) {
	kind := room.Define[Pond]("pond")
	backend := testkit.StartNode(t, nil, nil, kind.Option())
	gate := testkit.StartNode(t, testkit.Services{"login": &Login{}}, []*testkit.Node{backend}, nano.WithResume(nano.Resume{Window: window}))
	listener := nanotest.Listen()
	served := make(chan error, 1)
	go func() { served <- gate.Serve(listener) }()
	t.Cleanup(func() { _, _ = listener.Close(), <-served })
	kind = kind.On(backend.Server)
	ann := newMobile(t, listener, func() {}, 1)
	j := ann.join("", "ann")
	bob, err := croom.JoinOrCreate(t.Context(), gate.Connect().Client, "pond", JoinOptions{"bob"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	logged := func(want string) {
		t.Helper()
		testkit.Eventually(t, "the log is "+want, func() bool {
			var log string
			if err := kind.Do(t.Context(), j.ID, func(p *Pond) { log = strings.Join(p.log, "; ") }); err != nil {
				t.Fatal(err)
			}
			return log == want
		})
	}
	pushed := func(want string) {
		t.Helper()
		var got string
		testkit.Eventually(t, "the pushes are "+want, func() bool {
			ann.mu.Lock()
			defer ann.mu.Unlock()
			got = strings.Join(ann.pushes, ", ")
			return regexp.MustCompile("(^|, )" + want + "$").MatchString(got)
		})
	}
	pushed("snapshot, patch")
	ann.stall()
	for range 3 { // the client reads the first of them
		if err := bob.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	ann.lose()
	logged("join 1 ann; join 2 bob; drop 1")
	if err := bob.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := bob.Request(t.Context(), "Shout", Step{7}, nil); err != nil {
		t.Fatal(err)
	}
	ann.connect(true)
	logged("join 1 ann; join 2 bob; drop 1; return 1")
	// How many of the three patches the client has read depends on the gate's writer; it misses the last one at least.
	pushed(`snapshot, patch(, patch)*(, empty)+, onShout \{"dx":7\}, snapshot`)
	if got, want := ann.state(), `{"frogs":{"1":{"hand":[1],"name":"ann","x":0},"2":{"hand":[],"name":"bob","x":4}},"round":0}`; got != want {
		t.Errorf("state after the resume = %s\nwant %s", got, want)
	}
	ann.request("pond.Jump", Step{1})
}
