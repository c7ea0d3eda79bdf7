package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/session"
)

// ring is a cluster with ponds on its backends. Clients connect to gates, which have no
// ponds.
type ring struct {
	t        *testing.T
	kind     *room.Kind[Pond]
	gates    []*testkit.Node
	backends []*testkit.Node
}

func newRing(t *testing.T, gates, backends int, opts ...room.Option) *ring {
	r := &ring{t: t, kind: room.Define[Pond]("pond", opts...)}
	var all []*testkit.Node
	for range gates {
		n := testkit.StartNode(t, testkit.Services{"login": &Login{}}, all)
		all = append(all, n)
		r.gates = append(r.gates, n)
	}
	for range backends {
		n := testkit.StartNode(t, nil, all, r.kind.Option())
		all = append(all, n)
		r.backends = append(r.backends, n)
	}
	return r
}

// on returns the ponds of a backend.
func (r *ring) on(i int) *room.Kind[Pond] { return r.kind.On(r.backends[i].Server) }

// at returns the index of the backend that has a pond.
func (r *ring) at(id string) int {
	r.t.Helper()
	for i := range r.backends {
		if slices.ContainsFunc(r.on(i).Stats(), func(s room.Stats) bool { return s.ID == id }) {
			return i
		}
	}
	r.t.Fatalf("no backend has the room %s", id)
	return -1
}

// create makes a pond on a backend.
func (r *ring) create(i int, mode string) room.Info {
	r.t.Helper()
	info, err := r.on(i).Create(r.t.Context(), &PondOptions{Mode: mode})
	if err != nil {
		r.t.Fatal(err)
	}
	return info
}

// guest is a client at a gate.
type guest struct {
	*testkit.Player
	t *testing.T
}

// guest connects the user uid, or a client without a user for 0.
func (r *ring) guest(gate int, uid int64, opts ...client.Option) *guest {
	r.t.Helper()
	g := &guest{r.gates[gate].Connect(opts...), r.t}
	if uid != 0 {
		g.ask("login.As", uid, nil)
	}
	return g
}

// ask sends a request that must succeed.
func (g *guest) ask(route string, v, reply any) {
	g.t.Helper()
	if err := g.try(route, v, reply); err != nil {
		g.t.Fatalf("%s = %v", route, err)
	}
}

func (g *guest) try(route string, v, reply any) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), testkit.Patience)
	defer cancel()
	return g.Request(ctx, route, v, reply)
}

func (g *guest) joinOrCreate(f croom.Filter) *croom.Room {
	g.t.Helper()
	r, err := croom.JoinOrCreate(g.t.Context(), g.Client, "pond", JoinOptions{"x"}, f)
	if err != nil {
		g.t.Fatalf("joinOrCreate = %v", err)
	}
	return r
}

func (g *guest) join(id string) *croom.Room {
	g.t.Helper()
	r, err := croom.Join(g.t.Context(), g.Client, id, JoinOptions{"x"})
	if err != nil {
		g.t.Fatalf("join %s = %v", id, err)
	}
	return r
}

// sees waits until a room has the wanted state.
func (r *ring) sees(of *croom.Room, want string) {
	r.t.Helper()
	testkit.Eventually(r.t, "the state is "+want, func() bool { return text(of) == want })
}

// Any gate joins, lists and spectates the rooms of any backend.
func TestAnyGateReachesAnyRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 2, 2)
	ids := []string{r.create(0, "duel").ID, r.create(1, "race").ID}
	for gate := range r.gates {
		g := r.guest(gate, 0)
		var list []room.Info
		g.ask("room.list", map[string]any{"kind": "pond"}, &list)
		if len(list) != 2 {
			t.Errorf("gate %d lists %d rooms, want 2", gate, len(list))
		}
		g.ask("room.list", map[string]any{"kind": "pond", "filter": map[string]any{"equal": map[string]any{"mode": "race"}}}, &list)
		if len(list) != 1 || list[0].ID != ids[1] {
			t.Errorf("gate %d lists %v, want the race", gate, list)
		}
		if err := g.try("room.list", map[string]any{"kind": "lava"}, nil); code(err) != "ROOM-404" {
			t.Errorf("a list of no kind = %v, want ROOM-404", err)
		}
		for i, id := range ids {
			uid := int64(10*gate + i + 1)
			p := r.guest(gate, uid)
			seat := p.join(id)
			watcher := r.guest(1-gate, 0)
			view, err := croom.Spectate(t.Context(), watcher.Client, id)
			if err != nil {
				t.Fatal(err)
			}
			var got Step
			if err := seat.Request(t.Context(), "Jump", Step{7}, &got); err != nil || got.DX != 7 {
				t.Errorf("Jump = %v, %v, want 7", got, err)
			}
			want := strings.Replace(text(view), `"x":0`, `"x":7`, 1)
			r.sees(view, want)
			if err := view.Request(t.Context(), "Jump", Step{1}, nil); code(err) != "ROOM-SPECTATOR" {
				t.Errorf("a message of a spectator = %v, want ROOM-SPECTATOR", err)
			}
			if _, err := croom.Join(t.Context(), p.Client, ids[1-i], nil); code(err) != "ROOM-JOINED" {
				t.Errorf("a join of a second room = %v, want ROOM-JOINED", err)
			}
			if err := seat.Leave(t.Context()); err != nil {
				t.Error(err)
			}
			other := p.join(ids[1-i]) // on the other backend
			if err := other.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
				t.Errorf("Jump in another room = %v", err)
			}
			if err := other.Leave(t.Context()); err != nil {
				t.Error(err)
			}
		}
		for _, id := range []string{"", "x", "aaaaaaaa-bbbbbbbbbb", strings.Split(ids[0], "-")[0] + "-bbbbbbbbbb"} {
			if _, err := croom.Join(t.Context(), g.Client, id, nil); code(err) != "ROOM-404" {
				t.Errorf("join of %q = %v, want ROOM-404", id, err)
			}
		}
	}
}

// joinOrCreate finds the rooms of all backends, and a new room is made on the least loaded one.
func TestPlacement(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 2, 3, room.Seats(2))
	for range 3 {
		r.create(0, "")
	}
	r.create(1, "")
	var info room.Info
	g := r.guest(0, 0)
	for range 3 {
		g.ask("room.create", map[string]any{"kind": "pond", "options": PondOptions{}}, &info)
	}
	loads := []int{len(r.on(0).Stats()), len(r.on(1).Stats()), len(r.on(2).Stats())}
	if fmt.Sprint(loads) != "[3 2 2]" {
		t.Errorf("rooms of the backends = %v, want [3 2 2]", loads)
	}
	if err := g.try("room.create", map[string]any{"kind": "pond", "options": PondOptions{Fail: true}}, nil); code(err) != "POND-DRY" {
		t.Errorf("room.create that fails = %v, want POND-DRY", err)
	}
	placed, err := r.on(0).Place(t.Context(), nil, 7, 8)
	if err != nil || r.at(placed.ID) == 0 {
		t.Errorf("Place = %v, %v, want a room on backend 1 or 2", placed, err)
	}
	if _, err := r.on(0).Place(t.Context(), nil, 7, 8, 9); !errors.Is(err, room.ErrFull) {
		t.Errorf("Place of 3 users in a room with 2 seats = %v, want ErrFull", err)
	}
	if _, err := croom.Join(t.Context(), r.guest(0, 1).Client, placed.ID, nil); code(err) != "ROOM-FULL" {
		t.Errorf("join of reserved seats = %v, want ROOM-FULL", err)
	}
	r.guest(0, 7).join(placed.ID)
	r.guest(1, 8).join(placed.ID)
	// Two players are matched at any gates.
	a := r.guest(0, 21).joinOrCreate(croom.Filter{"mode": "duel"})
	b := r.guest(1, 22).joinOrCreate(croom.Filter{"mode": "duel"})
	c := r.guest(1, 23).joinOrCreate(croom.Filter{"mode": "duel"})
	if a.ID() != b.ID() || c.ID() == a.ID() {
		t.Errorf("rooms %s, %s, %s, want the first two to be one", a.ID(), b.ID(), c.ID())
	}
}

// Rooms that are created at the same time are spread over the nodes.
func TestRoomsMadeAtOnceAreSpread(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 2, 3, room.Seats(2))
	const each = 15
	var wg sync.WaitGroup
	for i := range 2 * each {
		g := r.guest(i%2, int64(i+1))
		wg.Go(func() {
			if i < each {
				if err := g.try("room.create", map[string]any{"kind": "pond"}, nil); err != nil {
					t.Errorf("room.create = %v", err)
				}
			} else if _, err := croom.JoinOrCreate(t.Context(), g.Client, "pond", nil, croom.Filter{"mode": "duel"}); err != nil {
				t.Errorf("joinOrCreate = %v", err)
			}
		})
	}
	wg.Wait()
	duels := 0
	for i := range r.backends {
		stats := r.on(i).Stats()
		if len(stats) < 4 {
			t.Errorf("backend %d has %d rooms, want an even part", i, len(stats))
		}
		for _, s := range stats {
			if s.Label["mode"] == "duel" {
				duels++
			}
		}
	}
	if duels > each*2/3 {
		t.Errorf("%d players are in %d rooms with 2 seats", each, duels)
	}
}

// A node whose load is higher than in its offer creates no room, but offers an existing
// one.
func TestLoadedNodeMakesNoRoom(t *testing.T) {
	r := newRing(t, 1, 1)
	name, _, _ := strings.Cut(r.create(0, "").ID, "-") // its load is 1
	place := func(request string) (room.Info, string) {
		var reply []byte
		var info room.Info
		err := r.gates[0].Call(t.Context(), "room@"+name+".place", []byte(request), &reply)
		if err == nil {
			err = json.Unmarshal(reply, &info)
		}
		return info, code(err)
	}
	for _, test := range []struct{ request, want string }{
		{`{"kind":"pond","most":1}`, "<nil>"},
		{`{"kind":"pond","most":2,"session":5}`, "<nil>"}, // a room and a seat
		{`{"kind":"pond","most":3}`, "ROOM-LOADED"},
		{`{"kind":"pond","most":3,"reuse":true}`, "<nil>"},
		{`{"kind":"pond","most":3,"reuse":true,"filter":{"equal":{"mode":"duel"}}}`, "ROOM-LOADED"},
		{`{"kind":"pond"}`, "<nil>"},
		{`{"kind":"lava"}`, "ROOM-404"},
		{`{`, "NANO-400"},
	} {
		if _, got := place(test.request); got != test.want {
			t.Errorf("place(%s) = %s, want %s", test.request, got, test.want)
		}
	}
	// Clients cannot call the methods that a node serves for other nodes.
	for _, route := range []string{"offer", "place", "claim", "find"} {
		if err := r.guest(0, 0).try("room@"+name+"."+route, []byte(`{}`), nil); code(err) != nano.CodeNotFound {
			t.Errorf("%s for a client = %v, want NANO-404", route, err)
		}
	}
}

// A user who reconnects at another gate gets the seat back. A second login takes over the
// seat.
func TestReturnAtAnotherGate(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 2, 2, room.Seats(2))
	first := r.guest(0, 1)
	a := first.joinOrCreate(nil)
	at := r.at(a.ID())
	// The other backend has a lower load, and a seat for any player.
	r.create(1-at, "")
	_ = first.Close()
	r.wantLog(a.ID(), "join 1 x; drop 1")
	second := r.guest(1, 1)
	b := second.joinOrCreate(nil)
	if b.ID() != a.ID() || b.Player() != 1 {
		t.Errorf("the user came back as player %d of %s, want 1 of %s", b.Player(), b.ID(), a.ID())
	}
	r.wantLog(a.ID(), "join 1 x; drop 1; return 1")
	third := r.guest(0, 1)
	if c := third.joinOrCreate(nil); c.ID() != a.ID() || c.Player() != 1 {
		t.Errorf("the second login has player %d of %s, want 1 of %s", c.Player(), c.ID(), a.ID())
	}
	r.wantLog(a.ID(), "join 1 x; drop 1; return 1; drop 1; return 1")
	if reason := <-closed(b); reason != "taken over" {
		t.Errorf("the first login got the reason %q, want taken over", reason)
	}
	if err := second.try("pond.Jump", Step{1}, nil); code(err) != "ROOM-NONE" {
		t.Errorf("a message of the first login = %v, want ROOM-NONE", err)
	}
	// The gate dies, and its clients reconnect at the other one.
	r.gates[0].Kill()
	r.wantLog(a.ID(), "join 1 x; drop 1; return 1; drop 1; return 1; drop 1")
	if d := r.guest(1, 1).joinOrCreate(nil); d.ID() != a.ID() || d.Player() != 1 {
		t.Errorf("after the end of the gate the user has player %d of %s, want 1 of %s", d.Player(), d.ID(), a.ID())
	}
	r.wantLog(a.ID(), "join 1 x; drop 1; return 1; drop 1; return 1; drop 1; return 1")
}

// wantLog waits until the log of a pond has the wanted text.
func (r *ring) wantLog(id, want string) {
	r.t.Helper()
	var log string
	testkit.Eventually(r.t, "the log is "+want, func() bool {
		if err := r.on(r.at(id)).Do(r.t.Context(), id, func(p *Pond) { log = strings.Join(p.log, "; ") }); err != nil {
			r.t.Fatal(err)
		}
		return log == want
	})
}

// closed returns a channel with the reason of the room's end.
func closed(r *croom.Room) <-chan string {
	c := make(chan string, 1)
	go func() {
		select {
		case <-r.Closed():
			c <- r.Reason()
		case <-time.After(testkit.Patience):
			c <- "it is not closed"
		}
	}()
	return c
}

// A node that drains accepts no new rooms or players. Its rooms continue.
func TestDrainingNodeTakesNoRooms(t *testing.T) {
	r := newRing(t, 1, 2, room.Seats(10))
	a := r.guest(0, 1).join(r.create(0, "").ID)
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { ended <- r.backends[0].Shutdown(ctx) }()
	testkit.Eventually(t, "the backend drains", func() bool {
		_, err := r.on(0).Create(t.Context(), nil)
		return errors.Is(err, room.ErrDraining)
	})
	for i := range 4 {
		if b := r.guest(0, int64(i+2)).joinOrCreate(nil); r.at(b.ID()) != 1 {
			t.Error("a room of the node that drains took a new player")
		}
		var info room.Info
		r.guest(0, 0).ask("room.create", map[string]any{"kind": "pond"}, &info)
		if r.at(info.ID) != 1 {
			t.Error("the node that drains took a new room")
		}
	}
	if err := a.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
		t.Errorf("a message to a room of the node that drains = %v", err)
	}
	if err := a.Request(t.Context(), "Finish", Step{}, nil); err != nil {
		t.Errorf("Finish = %v", err)
	}
	if reason := <-closed(a); reason != "over" {
		t.Errorf("the room ended with %q, want over", reason)
	}
	if err := testkit.Receive(t, ended, "the end of the backend"); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// The rooms of a node that dies end. The players get the reason, and their sessions
// continue.
func TestNodeDies(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 2, 2)
	dead := r.create(0, "")
	players := []*guest{r.guest(0, 1), r.guest(1, 2), r.guest(1, 0)}
	rooms := []*croom.Room{players[0].join(dead.ID), players[1].join(dead.ID)}
	w, err := croom.Spectate(t.Context(), players[2].Client, dead.ID)
	if err != nil {
		t.Fatal(err)
	}
	rooms = append(rooms, w)
	gone := r.guest(0, 3)
	left := gone.join(dead.ID)
	if err := left.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	far := r.guest(0, 4).join(r.create(1, "").ID)
	r.backends[0].Kill()
	for i, of := range rooms {
		if reason := <-closed(of); reason != "node down" {
			t.Errorf("member %d: the room ended with %q, want node down", i, reason)
		}
		if err := players[i].Err(); err != nil {
			t.Errorf("the session of member %d has ended: %v", i, err)
		}
		if _, err := croom.Join(t.Context(), players[i].Client, dead.ID, nil); code(err) != "ROOM-404" {
			t.Errorf("a join of the dead room = %v, want ROOM-404", err)
		}
		if again := players[i].joinOrCreate(nil); r.at(again.ID()) != 1 {
			t.Error("a new room is on the dead node")
		}
	}
	if err := far.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
		t.Errorf("Jump in a room of the other node = %v", err)
	}
	for len(gone.Pushes) > 0 {
		if m := <-gone.Pushes; m.Route == "room.closed" {
			t.Errorf("a client that had left the room got %s", m.Data)
		}
	}
}

// Programs join rooms of other nodes as clients do.
func TestKindInACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 1, 2)
	dock := &dock{kind: r.kind}
	n := testkit.StartNode(t, testkit.Services{"dock": dock}, append(slices.Clone(r.gates), r.backends...), r.kind.Option())
	dock.kind = r.kind.On(n.Server)
	g := r.guest(0, 1)
	id := r.create(1, "").ID
	var j room.Joined
	g.ask("dock.Enter", map[string]any{"id": id}, &j)
	if j.ID != id || j.Player != 1 || len(j.Schema) == 0 {
		t.Errorf("Join = %+v, want player 1 of %s", j, id)
	}
	g.ask("pond.Jump", Step{1}, nil)
	if err := g.try("dock.Enter", map[string]any{"id": r.create(0, "").ID}, nil); code(err) != "ROOM-JOINED" {
		t.Errorf("Join of a second room = %v, want ROOM-JOINED", err)
	}
	g.ask("room.leave", nil, nil)
	if err := g.try("dock.Enter", map[string]any{"name": "thief"}, nil); code(err) != "POND-THIEF" {
		t.Errorf("JoinOrCreate of a thief = %v, want POND-THIEF", err)
	}
	g.ask("dock.Enter", map[string]any{"name": "ann"}, &j)
	g.ask("pond.Jump", Step{1}, nil)
}

// dock lets clients join through a handler of the program.
type dock struct {
	component.Base
	kind *room.Kind[Pond]
}

type Ticket struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Enter joins the room with the id of the ticket, or any room.
func (d *dock) Enter(s *session.Session, m *Ticket) error {
	r := s.Defer()
	go func() {
		var j *room.Joined
		var err error
		if opts := (&JoinOptions{m.Name}); m.ID != "" {
			j, err = d.kind.Join(s.Context(), s, m.ID, opts)
		} else {
			j, err = d.kind.JoinOrCreate(s.Context(), s, room.Filter{}, nil, opts)
		}
		if err != nil {
			_ = r.Fail(err)
			return
		}
		_ = r.Reply(j)
	}()
	return nil
}
