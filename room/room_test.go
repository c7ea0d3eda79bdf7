package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Pond is the room of most tests.
type Pond struct {
	room.Base[struct {
		Round uint16
		Frogs state.Map[room.PlayerID, Frog]
	}]
	log []string
}

type Frog struct {
	Name string
	X    int
	Hand []uint8 `state:"owner"`
}

type PondOptions struct {
	Mode string `json:"mode"`
	Fail bool   `json:"fail"`
}

type JoinOptions struct {
	Name string `json:"name"`
}

type Welcome struct {
	Hello string `json:"hello"`
}

func (p *Pond) note(format string, args ...any) { p.log = append(p.log, fmt.Sprintf(format, args...)) }

func (p *Pond) OnCreate(o *PondOptions) error {
	if o.Fail {
		return nano.Errorf("POND-DRY", "no water")
	}
	if o.Mode != "" {
		p.SetLabel("mode", o.Mode)
	}
	return nil
}

func (p *Pond) OnJoin(pl *room.Player, o *JoinOptions) (*Welcome, error) {
	if o.Name == "thief" {
		return nil, nano.Errorf("POND-THIEF", "go away")
	}
	p.note("join %d %s", pl.ID, o.Name)
	p.State.Frogs.Put(pl.ID, &Frog{Name: o.Name, Hand: []uint8{uint8(pl.ID)}})
	return &Welcome{"hello " + o.Name}, nil
}

func (p *Pond) OnDrop(pl *room.Player)   { p.note("drop %d", pl.ID) }
func (p *Pond) OnReturn(pl *room.Player) { p.note("return %d", pl.ID) }
func (p *Pond) OnClose()                 { p.note("close") }
func (p *Pond) OnLeave(pl *room.Player) {
	p.note("leave %d: %v", pl.ID, pl.Why())
	p.State.Frogs.Delete(pl.ID)
}

type Step struct {
	DX int `json:"dx"`
}

func (p *Pond) Jump(pl *room.Player, m *Step) (*Step, error) {
	if m.DX > 100 {
		return nil, nano.Errorf("POND-FAR", "too far")
	}
	f := p.State.Frogs.Get(pl.ID)
	f.X += m.DX
	return &Step{f.X}, nil
}

func (p *Pond) Shout(pl *room.Player, m *Step) error {
	return errors.Join(p.Broadcast("onShout", m), pl.Send("onEcho", m))
}
func (p *Pond) Quiet(*room.Player, *Step)      {}
func (p *Pond) Panic(*room.Player, *Step)      { panic("frog") }
func (p *Pond) Kick(pl *room.Player, _ *Step)  { pl.Kick("croaked") }
func (p *Pond) LockIt(_ *room.Player, m *Step) { p.Lock(m.DX > 0) }
func (p *Pond) Finish(_ *room.Player, _ *Step) { p.State.Round = 9; p.Close("over") }
func (p *Pond) Later(pl *room.Player, m *Step) {
	p.After(time.Duration(m.DX)*time.Second, func() { _ = pl.Send("onLater", m) })
}
func (p *Pond) NotAMessage(int) string               { return "" }
func (p *Pond) Order(pl *room.Player, m *Step) error { p.note("%d", m.DX); return nil }

// Login binds users.
type Login struct{ component.Base }

func (*Login) As(s *session.Session, uid *int64) error {
	return errors.Join(s.Bind(*uid), s.Response([]byte("{}")))
}

// lake is a server with ponds.
type lake struct {
	*nanotest.Server
	*room.Kind[Pond]
	t *testing.T
}

func newLake(t *testing.T, opts ...room.Option) *lake {
	kind := room.Define[Pond]("pond", opts...)
	cs := &component.Components{}
	cs.Register(&Login{}, component.WithName("login"))
	srv := nanotest.Start(t, kind.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()))
	return &lake{srv, kind.On(srv.Server), t}
}

// connect connects the user uid, or a client without a user for 0.
func (l *lake) connect(uid int64) *nanotest.Player {
	l.t.Helper()
	p := l.Connect(l.t)
	if uid != 0 {
		if err := p.Request(l.t.Context(), "login.As", uid, nil); err != nil {
			l.t.Fatal(err)
		}
	}
	return p
}

// join connects the user uid and takes a seat in any pond.
func (l *lake) join(uid int64, name string) (*nanotest.Player, *croom.Room) {
	l.t.Helper()
	p := l.connect(uid)
	r, err := croom.JoinOrCreate(l.t.Context(), p.Client, "pond", JoinOptions{name}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return p, r
}

// rejoin joins a given pond.
func (l *lake) rejoin(p *nanotest.Player, id, name string) (*croom.Room, error) {
	return croom.Join(l.t.Context(), p.Client, id, JoinOptions{name})
}

// log returns the recorded events of a pond.
func (l *lake) log(id string) string {
	l.t.Helper()
	var log []string
	if err := l.Kind.Do(l.t.Context(), id, func(p *Pond) { log = slices.Clone(p.log) }); err != nil {
		return err.Error()
	}
	return strings.Join(log, "; ")
}

func (l *lake) wantLog(id, want string) {
	l.t.Helper()
	synctest.Wait()
	if got := l.log(id); got != want {
		l.t.Errorf("log = %q, want %q", got, want)
	}
}

func (l *lake) infos() []room.Info { return slices.Collect(l.List(room.Filter{})) }

// text returns a state as JSON.
func text(r *croom.Room) string {
	b, err := json.Marshal(r.State())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func code(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, n := range []int{0, 2} {
		t.Run(fmt.Sprintf("schedulers=%d", n), func(t *testing.T) {
			schedulers = n
			synctest.Test(t, f)
		})
	}
}

// schedulers is the number of schedulers for the ponds of a test.
var schedulers int

func ponds(t *testing.T, opts ...room.Option) *lake {
	return newLake(t, append([]room.Option{room.Schedulers(schedulers)}, opts...)...)
}

func TestJoinAndState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		ann, a := l.join(1, "ann")
		_, b := l.join(2, "bob")
		if a.ID() != b.ID() || a.Player() != 1 || b.Player() != 2 {
			t.Fatalf("ids %s, %s, players %d, %d, want one room with players 1 and 2", a.ID(), b.ID(), a.Player(), b.Player())
		}
		var w Welcome
		if err := b.Reply(&w); err != nil || w.Hello != "hello bob" {
			t.Errorf("Reply = %v, %v, want hello bob", w, err)
		}
		var got Step
		if err := a.Request(t.Context(), "Jump", Step{7}, &got); err != nil || got.DX != 7 {
			t.Errorf("Jump = %v, %v, want 7", got, err)
		}
		if err := a.Request(t.Context(), "Jump", Step{101}, nil); code(err) != "POND-FAR" {
			t.Errorf("Jump too far = %v, want POND-FAR", err)
		}
		if err := a.Request(t.Context(), "Quiet", Step{}, nil); err != nil {
			t.Errorf("a request to a method without a reply = %v, want an empty answer", err)
		}
		synctest.Wait()
		if got, want := text(a), `{"frogs":{"1":{"hand":[1],"name":"ann","x":7},"2":{"hand":[],"name":"bob","x":0}},"round":0}`; got != want {
			t.Errorf("Ann's state = %s\nwant %s", got, want)
		}
		if got, want := text(b), `{"frogs":{"1":{"hand":[],"name":"ann","x":7},"2":{"hand":[2],"name":"bob","x":0}},"round":0}`; got != want {
			t.Errorf("Bob's state = %s\nwant %s", got, want)
		}
		if err := ann.Request(t.Context(), "pond.Jump", Step{1}, nil); err != nil {
			t.Error(err)
		}
		if err := b.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if err := b.Request(t.Context(), "Jump", Step{1}, nil); code(err) != "ROOM-NONE" {
			t.Errorf("Jump after Leave = %v, want ROOM-NONE", err)
		}
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; leave 2: "+room.ErrLeft.Error())
		if got, want := text(a), `{"frogs":{"1":{"hand":[1],"name":"ann","x":8}},"round":0}`; got != want {
			t.Errorf("state = %s, want %s", got, want)
		}
	})
}

func TestRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(2))
		_, a := l.join(1, "ann")
		eve := l.connect(3)
		if _, err := l.rejoin(eve, a.ID(), "thief"); code(err) != "POND-THIEF" {
			t.Errorf("join of a thief = %v, want POND-THIEF", err)
		}
		if n := l.infos()[0].Players; n != 1 {
			t.Errorf("%d seats taken after a refused join, want 1", n)
		}
		if _, err := l.rejoin(eve, "0-nothing", "eve"); code(err) != "ROOM-404" {
			t.Errorf("join of no room = %v, want ROOM-404", err)
		}
		if err := a.Request(t.Context(), "LockIt", Step{1}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := l.rejoin(eve, a.ID(), "eve"); code(err) != "ROOM-LOCKED" {
			t.Errorf("join of a locked room = %v, want ROOM-LOCKED", err)
		}
		_, other := l.join(4, "dan")
		if other.ID() == a.ID() {
			t.Error("JoinOrCreate entered a locked room")
		}
		if err := a.Request(t.Context(), "LockIt", Step{0}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := l.rejoin(eve, a.ID(), "eve"); err != nil {
			t.Errorf("join of an unlocked room = %v", err)
		}
		if _, err := l.rejoin(l.connect(5), a.ID(), "fay"); code(err) != "ROOM-FULL" {
			t.Errorf("join of a full room = %v, want ROOM-FULL", err)
		}
		if _, err := l.rejoin(eve, other.ID(), "eve"); code(err) != "ROOM-JOINED" {
			t.Errorf("join of a second room = %v, want ROOM-JOINED", err)
		}
		guest, _ := l.join(0, "gus")
		rooms := len(l.infos())
		if _, err := croom.JoinOrCreate(t.Context(), guest.Client, "pond", nil, croom.Filter{"mode": "none"}); code(err) != "ROOM-JOINED" {
			t.Errorf("joinOrCreate of a second room = %v, want ROOM-JOINED", err)
		}
		if n := len(l.infos()); n != rooms {
			t.Errorf("%d rooms after a refused joinOrCreate, want %d", n, rooms)
		}
		if err := eve.Request(t.Context(), "room.create", map[string]any{"kind": "pond", "options": PondOptions{Fail: true}}, nil); code(err) != "POND-DRY" {
			t.Errorf("room.create that fails = %v, want POND-DRY", err)
		}
		if err := eve.Request(t.Context(), "room.create", map[string]any{"kind": "lava"}, nil); code(err) != "ROOM-404" {
			t.Errorf("room.create of no kind = %v, want ROOM-404", err)
		}
		if err := eve.Request(t.Context(), "room.list", []byte(`{"kind":`), nil); code(err) != "NANO-400" {
			t.Errorf("room.list with half a request = %v, want NANO-400", err)
		}
		if n := len(l.infos()); n != 2 {
			t.Errorf("%d rooms, want 2", n)
		}
	})
}

func TestSendComesBeforeState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.TickRate(10))
		ann, a := l.join(1, "ann")
		time.Sleep(time.Second)
		ann.Pushes("")
		if err := a.Send("Jump", Step{1}); err != nil {
			t.Fatal(err)
		}
		if err := a.Request(t.Context(), "Shout", Step{2}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
		var routes []string
		for _, m := range ann.Pushes("") {
			routes = append(routes, m.Route)
		}
		if got := strings.Join(routes, " "); got != "onShout onEcho room.state" {
			t.Errorf("pushes = %s, want onShout onEcho room.state", got)
		}
	})
}

func TestOrderOfMessages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		want := "join 1 ann"
		for i := range 100 {
			if err := a.Send("Order", Step{i}); err != nil {
				t.Fatal(err)
			}
			want += fmt.Sprintf("; %d", i)
		}
		l.wantLog(a.ID(), want)
	})
}

func TestDropHoldAndReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Hold(10*time.Second), room.Seats(2))
		ann, a := l.join(1, "ann")
		_, b := l.join(2, "bob")
		if err := ann.Close(); err != nil {
			t.Fatal(err)
		}
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; drop 1")
		if _, err := l.rejoin(l.connect(3), a.ID(), "eve"); code(err) != "ROOM-FULL" {
			t.Errorf("join of a held seat = %v, want ROOM-FULL", err)
		}
		time.Sleep(9 * time.Second)
		_, again := l.join(1, "whatever")
		if again.ID() != a.ID() || again.Player() != 1 {
			t.Errorf("the user came back as player %d of %s, want 1 of %s", again.Player(), again.ID(), a.ID())
		}
		time.Sleep(time.Minute)
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; drop 1; return 1")
		if text(again) != strings.Replace(strings.Replace(text(b), `"hand":[]`, `"hand":[1]`, 1), `"hand":[2]`, `"hand":[]`, 1) {
			t.Errorf("after the return: %s, and the other sees %s", text(again), text(b))
		}
	})
}

func TestHoldExpires(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Hold(10*time.Second))
		ann, a := l.join(1, "ann")
		l.join(2, "bob")
		_ = ann.Close()
		time.Sleep(10*time.Second + time.Millisecond)
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; drop 1; leave 1: "+room.ErrHoldExpired.Error())
		if n := l.infos()[0].Players; n != 1 {
			t.Errorf("%d seats taken, want 1", n)
		}
		if _, again := l.join(1, "ann"); again.Player() != 3 {
			t.Errorf("the user joined as player %d, want 3: ids are not used again", again.Player())
		}
	})
}

func TestSecondLoginTakesTheSeatOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, hold := range []time.Duration{0, time.Minute} {
			l := ponds(t, room.Hold(hold))
			first, a := l.join(1, "ann")
			_, again := l.join(1, "ann")
			if again.Player() != 1 || again.ID() != a.ID() {
				t.Fatalf("the second login has seat %d of %s, want 1 of %s", again.Player(), again.ID(), a.ID())
			}
			synctest.Wait()
			if a.Reason() != "taken over" {
				t.Errorf("the first login got the reason %q, want taken over", a.Reason())
			}
			if err := first.Request(t.Context(), "pond.Jump", Step{1}, nil); code(err) != "ROOM-NONE" {
				t.Errorf("a message of the first login = %v, want ROOM-NONE", err)
			}
			_ = first.Close()
			l.wantLog(a.ID(), "join 1 ann; drop 1; return 1")
			if err := again.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestKickAndClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		_, b := l.join(2, "bob")
		if err := a.Request(t.Context(), "Kick", Step{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.Reason() != "croaked" {
			t.Errorf("the kicked player got the reason %q, want croaked", a.Reason())
		}
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; leave 1: "+room.ErrKicked.Error())
		if err := b.Request(t.Context(), "Finish", Step{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if round, _ := b.Get("round"); b.Reason() != "over" || fmt.Sprint(round) != "9" {
			t.Errorf("reason %q, round %v, want over and the last state", b.Reason(), round)
		}
		if len(l.infos()) != 0 {
			t.Errorf("rooms = %v, want none", l.infos())
		}
		if err := b.Request(t.Context(), "Jump", Step{}, nil); code(err) != "ROOM-NONE" {
			t.Errorf("a message to a closed room = %v, want ROOM-NONE", err)
		}
	})
}

// Hut is a room whose hooks take seats away.
type Hut struct {
	room.Base[struct{ Knocks int }]
	how  string // what OnReturn and OnLeave do
	left []string
}

func (h *Hut) OnJoin(_ *room.Player, o *JoinOptions) error {
	h.State.Knocks++
	if h.how = o.Name; h.how == "thief" {
		return nano.Errorf("HUT-THIEF", "go away")
	}
	return nil
}

func (h *Hut) OnReturn(p *room.Player) {
	switch h.how {
	case "kick":
		p.Kick("too late")
	case "close":
		h.Close("too late")
	}
}

func (h *Hut) OnLeave(p *room.Player) {
	h.left = append(h.left, fmt.Sprintf("%d: %v", p.ID, p.Why()))
	h.Close("empty")
}

func huts(t *testing.T) (*nanotest.Server, *room.Kind[Hut]) {
	kind := room.Define[Hut]("hut")
	cs := &component.Components{}
	cs.Register(&Login{}, component.WithName("login"))
	srv := nanotest.Start(t, kind.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()))
	return srv, kind.On(srv.Server)
}

// A client whose seat is taken away by OnReturn does not get it as the answer to its join.
func TestReturnIsRefused(t *testing.T) {
	for how, want := range map[string]string{"kick": "ROOM-REFUSED", "close": "ROOM-404"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				srv, _ := huts(t)
				enter := func(id string) (*croom.Room, error) {
					p := srv.Connect(t)
					if err := p.Request(t.Context(), "login.As", 1, nil); err != nil {
						t.Fatal(err)
					}
					if id == "" {
						return croom.JoinOrCreate(t.Context(), p.Client, "hut", JoinOptions{how}, nil)
					}
					return croom.Join(t.Context(), p.Client, id, nil)
				}
				r, err := enter("")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := enter(r.ID()); code(err) != want {
					t.Errorf("join of a player who is refused = %v, want %s", err, want)
				}
			})
		})
	}
}

// OnLeave runs once for each player, also if it closes the room.
func TestOnLeaveThatCloses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := huts(t)
		var rooms []*croom.Room
		var left func() []string
		for range 2 {
			r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "hut", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			rooms = append(rooms, r)
		}
		if err := kind.Do(t.Context(), rooms[0].ID(), func(h *Hut) { left = func() []string { return h.left } }); err != nil {
			t.Fatal(err)
		}
		if err := rooms[0].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{"1: " + room.ErrLeft.Error(), "2: " + room.ErrClosed.Error()}
		if got := left(); !slices.Equal(got, want) {
			t.Errorf("OnLeave ran for %q, want %q", got, want)
		}
		if rooms[1].Reason() != "empty" {
			t.Errorf("the other player got the reason %q, want empty", rooms[1].Reason())
		}
	})
}

// What OnJoin did to the state before it refused a player is sent.
func TestStateAfterARefusal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, _ := huts(t)
		r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "hut", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := croom.Join(t.Context(), srv.Connect(t).Client, r.ID(), JoinOptions{"thief"}); code(err) != "HUT-THIEF" {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := get(r, "knocks"); got != "2" {
			t.Errorf("knocks = %s, want 2", got)
		}
	})
}

func TestEmptyRoomIsDisposed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Empty(5*time.Second))
		info, err := l.Create(t.Context(), &PondOptions{Mode: "duel"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		ann := l.connect(1)
		r, err := l.rejoin(ann, info.ID, "ann")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(l.infos()) != 1 {
			t.Fatal("a room with a player was disposed of")
		}
		if err := r.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if len(l.infos()) != 1 {
			t.Error("the empty room ended early")
		}
		time.Sleep(1001 * time.Millisecond)
		if len(l.infos()) != 0 {
			t.Error("the empty room did not end after 5 s")
		}
	})
}

func TestReserve(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(2), room.Reserve(10*time.Second))
		_, a := l.join(1, "ann")
		if err := l.Kind.Reserve(a.ID(), 7, 8); !errors.Is(err, room.ErrFull) {
			t.Errorf("Reserve of 2 seats where 1 is free = %v, want ErrFull", err)
		}
		if err := l.Kind.Reserve(a.ID(), 7, 7); err != nil {
			t.Errorf("Reserve = %v", err)
		}
		if err := a.Request(t.Context(), "LockIt", Step{1}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := l.rejoin(l.connect(2), a.ID(), "bob"); code(err) != "ROOM-LOCKED" {
			t.Errorf("join without a reservation = %v, want ROOM-LOCKED", err)
		}
		if _, err := l.rejoin(l.connect(7), a.ID(), "gus"); err != nil {
			t.Errorf("join with a reservation = %v", err)
		}
		if n := l.infos()[0].Players; n != 2 {
			t.Errorf("%d seats taken, want 2", n)
		}
		if err := l.Kind.Reserve(a.ID(), 0); !errors.Is(err, session.ErrIllegalUID) {
			t.Errorf("Reserve for no user = %v, want ErrIllegalUID", err)
		}
		info, err := l.Create(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Kind.Reserve(info.ID, 9); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if _, err := l.rejoin(l.connect(9), info.ID, "hal"); err != nil {
			t.Errorf("join after the reservation, in a room that is not empty for long yet = %v", err)
		}
	})
}

// A player who must leave another room first keeps the reserved seat, and a room that gets
// no player ends.
func TestReservationOfASeatedPlayer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(1), room.Reserve(10*time.Second))
		ann, first := l.join(7, "ann")
		info, err := l.Place(t.Context(), nil, 7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.rejoin(ann, info.ID, "ann"); code(err) != "ROOM-JOINED" {
			t.Errorf("join with a seat in another room = %v, want ROOM-JOINED", err)
		}
		if _, err := l.rejoin(l.connect(8), info.ID, "bob"); code(err) != "ROOM-FULL" {
			t.Errorf("join of the reserved seat = %v, want ROOM-FULL", err)
		}
		if err := first.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Second)
		if rooms := l.infos(); len(rooms) != 0 {
			t.Errorf("%d rooms are left, want none: both are empty", len(rooms))
		}
	})
}

func TestSpectators(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(1), room.Spectators(1))
		_, a := l.join(1, "ann")
		w := l.connect(2)
		s, err := croom.Spectate(t.Context(), w.Client, a.ID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := croom.Spectate(t.Context(), l.connect(3).Client, a.ID()); code(err) != "ROOM-FULL" {
			t.Errorf("a second spectator = %v, want ROOM-FULL", err)
		}
		if err := a.Request(t.Context(), "Jump", Step{5}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := text(s), `{"frogs":{"1":{"hand":[],"name":"ann","x":5}},"round":0}`; got != want {
			t.Errorf("the spectator sees %s, want %s", got, want)
		}
		if err := s.Request(t.Context(), "Jump", Step{5}, nil); code(err) != "ROOM-SPECTATOR" {
			t.Errorf("a message of a spectator = %v, want ROOM-SPECTATOR", err)
		}
		_ = w.Close()
		synctest.Wait()
		if _, err := croom.Spectate(t.Context(), l.connect(3).Client, a.ID()); err != nil {
			t.Errorf("a spectator in place of one who is gone = %v", err)
		}
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if len(l.infos()) != 0 {
			t.Error("a spectator keeps the room open")
		}
	})
}

func TestLabelsAndFilters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		duel := map[string]any{"kind": "pond", "filter": map[string]any{"equal": map[string]any{"mode": "duel"}}, "options": map[string]any{}}
		ids := map[string]string{}
		for i, mode := range []string{"duel", "race", "duel", "race"} {
			p := l.connect(int64(i + 1))
			r, err := croom.JoinOrCreate(t.Context(), p.Client, "pond", JoinOptions{"x"}, croom.Filter{"mode": mode})
			if err != nil {
				t.Fatal(err)
			}
			if id := ids[mode]; id != "" && id != r.ID() {
				t.Errorf("mode %s: rooms %s and %s, want one", mode, id, r.ID())
			}
			ids[mode] = r.ID()
		}
		if ids["duel"] == ids["race"] {
			t.Error("two modes share a room")
		}
		var list []room.Info
		if err := l.connect(9).Request(t.Context(), "room.list", duel, &list); err != nil || len(list) != 1 || list[0].ID != ids["duel"] || list[0].Players != 2 {
			t.Errorf("room.list = %v, %v, want the room of the duel with 2 players", list, err)
		}
		tooMany := map[string]any{}
		for i := range 17 {
			tooMany[fmt.Sprint(i)] = i
		}
		for name, equal := range map[string]map[string]any{
			"many labels": tooMany, "a list": {"a": []int{1}}, "long text": {"a": strings.Repeat("a", 65)}, "long key": {strings.Repeat("a", 65): 1},
		} {
			duel["filter"] = map[string]any{"equal": equal}
			if err := l.connect(0).Request(t.Context(), "room.joinOrCreate", duel, nil); code(err) != "NANO-400" {
				t.Errorf("a filter with %s = %v, want NANO-400", name, err)
			}
		}
	})
}

func TestAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, rate := range []float64{0, 10} {
			l := ponds(t, room.TickRate(rate))
			ann, a := l.join(1, "ann")
			for _, s := range []int{3, 1} {
				if err := a.Request(t.Context(), "Later", Step{s}, nil); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range []int{0, 1, 1, 2} {
				if got := len(ann.Pushes("onLater")); got != want-max(0, []int{0, 0, 1, 1}[i]) {
					t.Errorf("rate %v: after %d s %d timers have run, want %d in all", rate, i, got, want)
				}
				time.Sleep(1100 * time.Millisecond)
			}
		}
	})
}

// Metronome starts the same timer again and again.
type Metronome struct {
	room.Base[struct{ Beats int }]
}

func (m *Metronome) OnCreate() { m.beat() }
func (m *Metronome) beat() {
	if m.State.Beats++; m.State.Beats < 1000 {
		m.After(0, m.beat)
	}
}

// A timer that starts itself runs once a tick.
func TestAfterInATimer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		kind := room.Define[Metronome]("metronome", room.TickRate(10))
		srv := nanotest.Start(t, kind.Option())
		r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "metronome", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1050 * time.Millisecond)
		if got := get(r, "beats"); got != "11" {
			t.Errorf("%s beats after 10 ticks, want 11", got)
		}
	})
}

func TestPanicsOfMessages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		for range 20 {
			if err := a.Request(t.Context(), "Panic", Step{}, nil); code(err) != "NANO-500" {
				t.Errorf("Panic = %v, want NANO-500", err)
			}
		}
		if err := a.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Errorf("Jump after panics = %v", err)
		}
		if s := l.Kind.Stats(); len(s) != 1 || s[0].Panics != 20 {
			t.Errorf("Stats = %+v, want one room with 20 panics", s)
		}
	})
}

func TestDraining(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		began := time.Now()
		go func() { ended <- l.Shutdown(ctx) }()
		time.Sleep(20 * time.Second)
		if err := a.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Errorf("a message while the server drains = %v", err)
		}
		if err := a.Request(t.Context(), "Finish", Step{}, nil); err != nil {
			t.Errorf("Finish = %v", err)
		}
		if err := <-ended; err != nil || time.Since(began) > 21*time.Second {
			t.Errorf("Shutdown = %v after %v, want nil when the last room has ended", err, time.Since(began))
		}
		synctest.Wait()
		if a.Reason() != "over" {
			t.Errorf("the room ended with %q, want over", a.Reason())
		}
	})
}

func TestDrainingHasADeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		if err := l.Shutdown(ctx); err != nil || time.Since(began) != 28*time.Second {
			t.Errorf("Shutdown = %v after %v, want nil after 28 s", err, time.Since(began))
		}
		synctest.Wait()
		if a.Reason() != "shutdown" {
			t.Errorf("the room ended with %q, want shutdown", a.Reason())
		}
	})
}

func TestDrainingDoesNotWaitForPlayersWhoAreGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Hold(time.Hour))
		ann, _ := l.join(1, "ann")
		l.join(2, "bob")
		_ = ann.Close()
		synctest.Wait()
		if len(l.infos()) != 1 {
			t.Fatal("the room ended although a seat is held")
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(5*time.Second, func() {
			for _, s := range l.Kind.Stats() {
				_ = l.Kind.Do(context.Background(), s.ID, func(p *Pond) { p.Player(2).Kick("bye") })
			}
		})
		if err := l.Shutdown(ctx); err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("Shutdown = %v after %v, want nil once the last connected player is gone", err, time.Since(began))
		}
	})
}
