package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/state"
)

// Ferry is a room that can move.
type Ferry struct {
	room.Base[struct {
		Round  uint16
		Bells  int
		Guests state.Map[room.PlayerID, Passenger]
	}]
	log                       []string
	loadErr, saveErr, closing bool // closing: Load closes the room
}

type Passenger struct {
	Name string
	X    float64 `state:"q=0.5"`
	Last int
	Hand []uint8 `state:"owner"`
}

// ferryImage is what the state of a ferry does not hold.
type ferryImage struct {
	Log              []string
	LoadErr, Closing bool
}

func (f *Ferry) Save() ([]byte, error) {
	if f.saveErr {
		return nil, errors.New("the ferry cannot be saved")
	}
	return json.Marshal(ferryImage{f.log, f.loadErr, f.closing})
}

func (f *Ferry) Load(data []byte) error {
	var i ferryImage
	if err := json.Unmarshal(data, &i); err != nil {
		return err
	}
	if i.LoadErr {
		return nano.Errorf("FERRY-LOAD", "the ferry cannot be loaded")
	}
	if i.Closing {
		f.Close("over")
		return nil
	}
	f.log = append(i.Log, fmt.Sprintf("load with %d", len(f.Players())))
	f.ring()
	return nil
}

var _ room.Movable = (*Ferry)(nil)

func (f *Ferry) ring() { f.After(50*time.Millisecond, func() { f.State.Bells++; f.ring() }) }

func (f *Ferry) OnCreate()              { f.ring(); f.SetLabel("sea", "north") }
func (f *Ferry) OnDrop(p *room.Player)  { f.log = append(f.log, fmt.Sprint("drop ", p.ID)) }
func (f *Ferry) OnLeave(p *room.Player) { f.State.Guests.Delete(p.ID) }
func (f *Ferry) OnClose()               { f.log = append(f.log, "close") }
func (f *Ferry) OnReturn(p *room.Player) {
	f.log = append(f.log, fmt.Sprint("return ", p.ID))
}
func (f *Ferry) OnJoin(p *room.Player) {
	f.State.Guests.Put(p.ID, &Passenger{Name: fmt.Sprint("u", p.UID), X: 0.1, Hand: []uint8{uint8(p.ID)}})
}

// Next accepts the numbers 1, 2 and so on.
func (f *Ferry) Next(p *room.Player, m *Step) (*Step, error) {
	g := f.State.Guests.Get(p.ID)
	if m.DX != g.Last+1 {
		return nil, nano.Errorf("FERRY-ORDER", "%d after %d", m.DX, g.Last)
	}
	g.Last = m.DX
	return m, nil
}

// Steer is an input.
func (f *Ferry) Steer(p *room.Player, m *Steer) { f.State.Guests.Get(p.ID).X += float64(m.DX) }

func (f *Ferry) Say(_ *room.Player, m *Step) error { return f.Broadcast("onSay", m) }

// fleet is a cluster with ferries on its docks.
type fleet struct {
	t     *testing.T
	kind  *room.Kind[Ferry]
	gates []*testkit.Node
	docks []*testkit.Node
	gone  *testkit.Node // a dock that has stopped
}

func newFleet(t *testing.T, gates, docks int, opts ...room.Option) *fleet {
	f := &fleet{t: t, kind: room.Define[Ferry]("ferry", opts...)}
	for range gates {
		f.gates = append(f.gates, f.gate())
	}
	for range docks {
		f.docks = append(f.docks, f.dock())
	}
	return f
}

func (f *fleet) nodes() []*testkit.Node {
	all := append(slices.Clone(f.gates), f.docks...)
	return slices.DeleteFunc(all, func(n *testkit.Node) bool { return n == f.gone })
}

func (f *fleet) gate(opts ...nano.Option) *testkit.Node {
	f.t.Helper()
	return testkit.StartNode(f.t, testkit.Services{"login": &Login{}}, f.nodes(), opts...)
}

func (f *fleet) dock() *testkit.Node {
	f.t.Helper()
	return testkit.StartNode(f.t, nil, f.nodes(), f.kind.Option())
}

func (f *fleet) on(dock int) *room.Kind[Ferry] { return f.kind.On(f.docks[dock].Server) }

func (f *fleet) create(dock int) room.Info {
	f.t.Helper()
	info, err := f.on(dock).Create(f.t.Context(), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

func (f *fleet) guest(gate *testkit.Node, uid int64) *guest {
	f.t.Helper()
	g := &guest{gate.Connect(), f.t}
	if uid != 0 {
		g.ask("login.As", uid, nil)
	}
	return g
}

func (f *fleet) move(id string, dock int) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), testkit.Patience)
	defer cancel()
	return room.Move(ctx, id, f.docks[dock].ClusterAddr())
}

// has reports whether a dock lists the room.
func (f *fleet) has(dock int, id string) bool {
	for info := range f.on(dock).List(room.Filter{}) {
		if info.ID == id {
			return true
		}
	}
	return false
}

func (f *fleet) do(dock int, id string, fn func(*Ferry)) {
	f.t.Helper()
	if err := f.on(dock).Do(f.t.Context(), id, fn); err != nil {
		f.t.Fatal(err)
	}
}

func (g *guest) board(id string) *croom.Room {
	g.t.Helper()
	r, err := croom.Join(g.t.Context(), g.Client, id, nil)
	if err != nil {
		g.t.Fatalf("join %s = %v", id, err)
	}
	return r
}

// A moved room keeps everything: its players and spectators, held and reserved seats,
// labels, the tick, the random source, exact numbers and the numbers of inputs.
func TestMove(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	for _, schedulers := range []int{0, 1} {
		t.Run(fmt.Sprint("schedulers ", schedulers), func(t *testing.T) {
			seed := [32]byte{7}
			f := newFleet(t, 2, 2, room.Seats(4), room.TickRate(50), room.Schedulers(schedulers), room.Seed(seed), room.Reserve(time.Minute))
			id := f.create(0).ID
			ann, bob, eve := f.guest(f.gates[0], 1), f.guest(f.gates[1], 2), f.guest(f.gates[1], 0)
			a, b := ann.board(id), bob.board(id)
			lost := f.guest(f.gates[0], 3)
			lost.board(id)
			w, err := croom.Spectate(t.Context(), eve.Client, id)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.on(0).Reserve(id, 4); err != nil {
				t.Fatal(err)
			}
			if err := a.Send("Steer", &Steer{Input: room.Input{Seq: 41}, DX: 2}); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the input has run", func() bool { _, ack := a.Tick(); return ack == 41 })
			_ = lost.Close()
			var random uint64
			testkit.Eventually(t, "the drop is seen", func() (ok bool) {
				f.do(0, id, func(f *Ferry) { ok = len(f.log) == 1 })
				return ok
			})
			f.do(0, id, func(f *Ferry) { random = f.Rand().Uint64() })
			before, _ := a.Tick()

			if err := f.move(id, 1); err != nil {
				t.Fatalf("Move = %v", err)
			}
			if f.has(0, id) || !f.has(1, id) {
				t.Fatalf("the room is at the old node: %v, at the new node: %v", f.has(0, id), f.has(1, id))
			}
			want := rand.New(rand.NewChaCha8(seed))
			if n := want.Uint64(); n != random {
				t.Fatalf("first random number %d, want %d", random, n)
			}
			f.do(1, id, func(f *Ferry) {
				if got, want := f.Rand().Uint64(), want.Uint64(); got != want {
					t.Errorf("the next random number is %d, want %d", got, want)
				}
				if f.Ticks() < before {
					t.Errorf("tick %d, want %d or more", f.Ticks(), before)
				}
				if got := strings.Join(f.log, "; "); got != "drop 3; load with 4" {
					t.Errorf("log %q", got)
				}
				if g := f.State.Guests.Get(1); g == nil || g.X != 2.1 || g.Name != "u1" {
					t.Errorf("the passenger is %+v, want the exact X 2.1", g)
				}
				if f.Label("sea") != "north" || f.ID() != id {
					t.Errorf("label %v of the room %s", f.Label("sea"), f.ID())
				}
			})
			for info := range f.on(1).List(room.Filter{}) {
				if info.Players != 4 {
					t.Errorf("%d seats are taken, want 4", info.Players)
				}
			}
			// The clients continue, and the bell of the new node rings.
			for _, r := range []*croom.Room{a, b, w} {
				bells := get(r, "bells")
				testkit.Eventually(t, "the state goes on", func() bool {
					tick, _ := r.Tick()
					return tick > before && get(r, "bells") != bells
				})
				if r.Err() != nil || !r.Synced() {
					t.Errorf("the state: %v, synced %v", r.Err(), r.Synced())
				}
			}
			if err := a.Request(t.Context(), "Next", Step{1}, nil); err != nil {
				t.Errorf("Next = %v", err)
			}
			if _, ack := a.Tick(); ack != 41 {
				t.Errorf("ack %d, want 41", ack)
			}
			if err := a.Send("Steer", &Steer{Input: room.Input{Seq: 42}, DX: 2}); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the next input has run", func() bool { _, ack := a.Tick(); return ack == 42 })
			if err := w.Request(t.Context(), "Next", Step{1}, nil); code(err) != "ROOM-SPECTATOR" {
				t.Errorf("a message of a spectator = %v", err)
			}
			if _, err := croom.Join(t.Context(), f.guest(f.gates[0], 5).Client, id, nil); code(err) != "ROOM-FULL" {
				t.Errorf("a join of the full room = %v, want ROOM-FULL", err)
			}

			// The old node is gone. A new gate, which has not known it, joins by the old id.
			f.docks[0].Stop()
			f.gone = f.docks[0]
			gate := f.gate()
			testkit.Eventually(t, "the gate knows the dock", func() bool {
				_, err := croom.Join(t.Context(), f.guest(gate, 6).Client, id, nil)
				return code(err) == "ROOM-FULL"
			})
			if r := f.guest(gate, 3).board(id); r.Player() != 3 {
				t.Errorf("the dropped player returned as %d, want 3", r.Player())
			}
			if r := f.guest(gate, 4).board(id); r.Player() != 5 {
				t.Errorf("the player with the reservation is %d, want 5", r.Player())
			}
			if err := b.Request(t.Context(), "Next", Step{1}, nil); err != nil {
				t.Errorf("Next = %v", err)
			}
			f.do(1, id, func(f *Ferry) {
				if got := strings.Join(f.log, "; "); got != "drop 3; load with 4; return 3" {
					t.Errorf("log %q", got)
				}
			})
			for _, g := range []*guest{ann, bob, eve} {
				for len(g.Pushes) > 0 {
					t.Errorf("a client got the push %s", (<-g.Pushes).Route)
				}
			}
		})
	}
}

// sailor sends numbered requests until it is stopped. Each one must be answered in order.
type sailor struct {
	*guest
	room *croom.Room
	sent int
	err  error
}

// sail runs sailors until the returned function is called.
func sail(sailors []*sailor) (stop func()) {
	var ended atomic.Bool
	var wg sync.WaitGroup
	for _, s := range sailors {
		wg.Go(func() {
			for !ended.Load() && s.err == nil {
				s.sent++
				var got Step
				ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
				if s.err = s.room.Request(ctx, "Next", Step{s.sent}, &got); s.err == nil && got.DX != s.sent {
					s.err = fmt.Errorf("the answer to %d is %d", s.sent, got.DX)
				}
				cancel()
				if s.err == nil {
					s.err = s.room.Err()
				}
			}
		})
	}
	return func() {
		ended.Store(true)
		wg.Wait()
	}
}

// A room that moves back and forth loses and repeats no message, and changes no order.
func TestMoveUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	for _, opts := range [][]room.Option{
		{room.Seats(50), room.TickRate(50)},
		{room.Seats(50), room.TickRate(20), room.SendRate(10), room.Schedulers(2)},
	} {
		f := newFleet(t, 2, 2, opts...)
		id := f.create(0).ID
		var sailors []*sailor
		for i := range 12 {
			at := f.gates[i%2]
			if i >= 10 {
				at = f.docks[i%2] // a client of a node that has rooms
			}
			g := f.guest(at, 0)
			sailors = append(sailors, &sailor{guest: g, room: g.board(id)})
		}
		stop := sail(sailors)
		for i := range 6 {
			began := time.Now()
			if err := f.move(id, 1-i%2); err != nil {
				t.Errorf("move %d = %v", i, err)
			}
			t.Logf("move %d took %v", i, time.Since(began).Round(time.Millisecond))
		}
		stop()
		for i, s := range sailors {
			if s.err != nil || s.sent < 6 {
				t.Errorf("client %d: %d requests, then %v", i, s.sent, s.err)
			}
			testkit.Eventually(t, "the client follows", func() bool {
				return get(s.room, "guests", fmt.Sprint(s.room.Player()), "last") == fmt.Sprint(s.sent)
			})
			if s.room.Err() != nil || s.Err() != nil {
				t.Errorf("client %d: %v, %v", i, s.room.Err(), s.Err())
			}
		}
	}
}

// Notifies and inputs that were sent during a move arrive too.
func TestMoveKeepsInputs(t *testing.T) {
	f := newFleet(t, 1, 2, room.TickRate(20), room.Inputs(1000))
	id := f.create(0).ID
	a := f.guest(f.gates[0], 0).board(id)
	moved := make(chan error, 1)
	go func() { moved <- f.move(id, 1) }()
	const inputs = 200
	for i := range inputs {
		if err := a.Send("Steer", &Steer{Input: room.Input{Seq: uint32(i + 1)}, DX: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := testkit.Receive(t, moved, "the end of the move"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "all inputs have run", func() bool { _, ack := a.Tick(); return ack == inputs })
	f.do(1, id, func(f *Ferry) {
		if x := f.State.Guests.Get(1).X; x != 0.1+inputs {
			t.Errorf("X is %v, want %v", x, 0.1+inputs)
		}
	})
}

// After a failed move the room continues where it was, and all messages are answered.
func TestMoveFails(t *testing.T) {
	f := newFleet(t, 1, 2, room.TickRate(50), room.MaxRooms(1))
	id := f.create(0).ID
	g := f.guest(f.gates[0], 0)
	s := &sailor{guest: g, room: g.board(id)}
	other := f.create(1)
	stop := sail([]*sailor{s})
	set := func(save, load bool) {
		f.do(0, id, func(f *Ferry) { f.saveErr, f.loadErr = save, load })
	}
	for _, test := range []struct {
		name, to, want string
		save, load     bool
		free           bool // the other dock has room
	}{
		{name: "no room", to: f.docks[1].ClusterAddr(), want: "ROOM-LIMIT"},
		{name: "any node", want: "ROOM-LIMIT"},
		{name: "no such node", to: "127.0.0.1:1", want: "ROOM-NO-NODE"},
		{name: "a gate", to: f.gates[0].ClusterAddr(), want: "ROOM-NO-NODE"},
		{name: "itself", to: f.docks[0].ClusterAddr(), want: "ROOM-NO-NODE"},
		{name: "Save", save: true, free: true, want: "the ferry cannot be saved"},
		{name: "Load", load: true, free: true, want: "FERRY-LOAD"},
	} {
		if test.free && other.ID != "" {
			f.do(1, other.ID, func(f *Ferry) { f.Close("over") })
			other.ID = ""
		}
		set(test.save, test.load)
		if err := room.Move(t.Context(), id, test.to); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Move = %v, want %s", test.name, err, test.want)
		}
		if !f.has(0, id) || f.has(1, id) {
			t.Errorf("%s: the room is not where it was", test.name)
		}
	}
	set(false, false)
	if err := room.Move(t.Context(), "aaaaaaaa-bbbbbbbbbb", ""); !errors.Is(err, room.ErrNotFound) {
		t.Errorf("Move of no room = %v, want ErrNotFound", err)
	}
	if err := f.move(id, 1); err != nil {
		t.Errorf("the move at last = %v", err)
	}
	stop()
	if s.err != nil || s.room.Err() != nil {
		t.Errorf("the client: %d requests, then %v, %v", s.sent, s.err, s.room.Err())
	}
}

// A node that is lost during a move does not take the room along.
func TestMoveToANodeThatDies(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	f := newFleet(t, 1, 2, room.TickRate(50))
	for range 5 {
		id := f.create(0).ID
		g := f.guest(f.gates[0], 0)
		s := &sailor{guest: g, room: g.board(id)}
		stop := sail([]*sailor{s})
		moved := make(chan error, 1)
		go func() { moved <- f.move(id, 1) }()
		f.docks[1].Kill()
		err := testkit.Receive(t, moved, "the end of the move")
		if err == nil {
			// The move was faster. The room is lost with its node.
			if reason := <-closed(s.room); reason != "node down" {
				t.Errorf("the room ended with %q, want node down", reason)
			}
		} else {
			if !f.has(0, id) {
				t.Error("the room is not where it was")
			}
			var got Step
			if err := s.room.Request(t.Context(), "Quiet", Step{}, &got); code(err) != nano.CodeNotFound {
				t.Errorf("a request to no method = %v, want NANO-404", err)
			}
		}
		stop()
		if err != nil && s.err != nil {
			t.Errorf("the client: %d requests, then %v", s.sent, s.err)
		}
		f.docks[1].Links.Mend()
		testkit.AwaitMembers(t, f.nodes()...)
	}
}

// A room without Save and Load does not move, and a node that drains waits for its end.
func TestRoomThatCannotMove(t *testing.T) {
	r := newRing(t, 1, 2)
	a := r.guest(0, 1).join(r.create(0, "").ID)
	if err := room.Move(t.Context(), a.ID(), ""); !errors.Is(err, room.ErrNotMovable) {
		t.Errorf("Move = %v, want ErrNotMovable", err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { ended <- r.backends[0].Shutdown(ctx) }()
	testkit.Eventually(t, "the backend drains", func() bool {
		_, err := r.on(0).Create(t.Context(), nil)
		return errors.Is(err, room.ErrDraining)
	})
	if err := a.Request(t.Context(), "Finish", Step{}, nil); err != nil {
		t.Errorf("Finish = %v", err)
	}
	if err := testkit.Receive(t, ended, "the end of the backend"); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// A node that drains moves its rooms, also those whose players are all away.
func TestDrainMovesRooms(t *testing.T) {
	f := newFleet(t, 1, 2, room.TickRate(50))
	var sailors []*sailor
	var ids []string
	for i := range 5 {
		id := f.create(0).ID
		ids = append(ids, id)
		g := f.guest(f.gates[0], int64(i+1))
		sailors = append(sailors, &sailor{guest: g, room: g.board(id)})
	}
	away := f.guest(f.gates[0], 9)
	deserted := f.create(0).ID
	ids = append(ids, deserted)
	away.board(deserted)
	_ = away.Close()
	stop := sail(sailors)
	f.docks[0].Stop()
	stop()
	for i, s := range sailors {
		if s.err != nil || s.room.Err() != nil {
			t.Errorf("client %d: %d requests, then %v, %v", i, s.sent, s.err, s.room.Err())
		}
		s.sent++
		if err := s.room.Request(t.Context(), "Next", Step{s.sent}, nil); err != nil {
			t.Errorf("Next = %v", err)
		}
	}
	for _, id := range ids {
		if !f.has(1, id) {
			t.Errorf("the room %s has not moved", id)
		}
	}
	if r := f.guest(f.gates[0], 9).board(deserted); r.Player() != 1 {
		t.Errorf("the player returned as %d, want 1", r.Player())
	}
}
