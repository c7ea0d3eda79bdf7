package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Ferry is a room that can move. It checks the order of its messages.
type Ferry struct {
	room.Base[struct {
		Bells  int
		Guests state.Map[room.PlayerID, FerryGuest]
	}]
	moves int // not part of the state
}

type FerryGuest struct {
	Last int
	Left bool
}

type FerryStep struct {
	N     int `json:"n"`
	Moves int `json:"moves"`
}

var ferries = room.Define[Ferry]("ferry", room.Seats(100), room.TickRate(20))

func (f *Ferry) Save() ([]byte, error) { return json.Marshal(f.moves + 1) }
func (f *Ferry) Load(data []byte) error {
	f.ring()
	return json.Unmarshal(data, &f.moves)
}

func (f *Ferry) ring() { f.After(100*time.Millisecond, func() { f.State.Bells++; f.ring() }) }

func (f *Ferry) OnCreate()             { f.ring() }
func (f *Ferry) OnJoin(p *room.Player) { f.State.Guests.Put(p.ID, &FerryGuest{}) }

// OnDrop and OnLeave mark a player that is lost.
func (f *Ferry) OnDrop(p *room.Player)  { f.State.Guests.Get(p.ID).Left = true }
func (f *Ferry) OnLeave(p *room.Player) { f.State.Guests.Get(p.ID).Left = true }

// Next accepts the numbers 1, 2 and so on from each player.
func (f *Ferry) Next(p *room.Player, m *FerryStep) (*FerryStep, error) {
	g := f.State.Guests.Get(p.ID)
	if m.N != g.Last+1 {
		return nil, nano.Errorf("FERRY-ORDER", "%d after %d", m.N, g.Last)
	}
	g.Last = m.N
	return &FerryStep{m.N, f.moves}, nil
}

// sailor is a player that sends numbered requests.
type sailor struct {
	*testkit.Player
	room  *croom.Room
	sent  int
	moves int
	err   error
}

// sail sends requests until ended is set or one fails.
func (s *sailor) sail(ended *atomic.Bool) {
	for !ended.Load() && s.err == nil {
		s.sent++
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		var got FerryStep
		if s.err = s.room.Request(ctx, "Next", FerryStep{N: s.sent}, &got); s.err == nil && got.N != s.sent {
			s.err = fmt.Errorf("the answer to %d is %d", s.sent, got.N)
		}
		s.moves = got.Moves
		cancel()
	}
}

// check fails the test if the player was lost or has another state than the room.
func (s *sailor) check(t *testing.T) {
	t.Helper()
	if s.err != nil || s.Err() != nil || s.room.Err() != nil {
		t.Errorf("a player failed after %d requests: %v, %v, %v", s.sent, s.err, s.Err(), s.room.Err())
		return
	}
	me := fmt.Sprint(s.room.Player())
	testkit.Eventually(t, "the player has the last state", func() bool {
		last, _ := s.room.Get("guests", me, "last")
		return fmt.Sprint(last) == fmt.Sprint(s.sent)
	})
	if left, _ := s.room.Get("guests", me, "left"); left != false {
		t.Errorf("a player was dropped: %v", left)
	}
	select {
	case <-s.room.Closed():
		t.Errorf("a room has ended: %s", s.room.Reason())
	default:
	}
}

// board makes rooms and lets players join them, at each of the gates.
func board(t *testing.T, rooms, each int, gates ...func() *testkit.Player) (ids []string, players []*sailor) {
	t.Helper()
	for range rooms {
		var info room.Info
		first := gates[0]()
		testkit.Eventually(t, "a backend makes a room", func() bool {
			return first.Request(t.Context(), "room.create", map[string]any{"kind": "ferry"}, &info) == nil
		})
		ids = append(ids, info.ID)
		for _, connect := range gates {
			for range each {
				s := &sailor{Player: connect()}
				var err error
				if s.room, err = croom.Join(t.Context(), s.Client, info.ID, nil); err != nil {
					t.Fatal(err)
				}
				players = append(players, s)
			}
		}
	}
	return ids, players
}

// TestRollingRestart restarts both backends of a cluster, one after the other, while
// players play. No player and no message is lost, and the state continues.
func TestRollingRestart(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	g := startProcessGate(t)
	spec := func(name string) nodeSpec {
		return nodeSpec{Name: name, Listen: "127.0.0.1:0", Seeds: g.ClusterAddr(), Rooms: true}
	}
	a, b := spawn(t, spec("a")), spawn(t, spec("b"))
	gate := spawn(t, nodeSpec{Name: "gate", Listen: "127.0.0.1:0", Players: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	for _, p := range []*nodeCmd{a, b, gate} {
		g.sees(p, true)
	}
	ids, players := board(t, 6, 4, func() *testkit.Player { return g.Connect() }, gate.connect)

	var ended atomic.Bool
	var wg sync.WaitGroup
	for _, s := range players {
		wg.Go(func() { s.sail(&ended) })
	}
	for _, p := range []*nodeCmd{a, b} {
		began := time.Now()
		p.stop()
		inTime(t, "a backend with players shuts down", time.Since(began), 10*time.Second)
		g.sees(p, false)
		g.sees(spawn(t, p.spec), true)
	}
	ended.Store(true)
	wg.Wait()
	requests := 0
	for _, s := range players {
		s.check(t)
		requests += s.sent
		if s.moves == 0 {
			t.Error("a room has not moved")
		}
	}
	t.Logf("%d requests of %d players", requests, len(players))

	// Both old processes are gone. A new gate joins by the old ids.
	fresh := spawn(t, nodeSpec{Name: "fresh", Listen: "127.0.0.1:0", Players: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	for _, id := range ids {
		p := fresh.connect()
		testkit.Eventually(t, "a new gate joins a moved room", func() bool {
			r, err := croom.Join(t.Context(), p.Client, id, nil)
			return err == nil && r.ID() == id
		})
	}
}

// TestBackendIsKilled kills a backend with rooms. Their members get room.closed, and
// their sessions and the other rooms go on.
func TestBackendIsKilled(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	g := startProcessGate(t)
	a := spawn(t, nodeSpec{Name: "a", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr(), Rooms: true})
	gate := spawn(t, nodeSpec{Name: "gate", Listen: "127.0.0.1:0", Players: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	g.sees(a, true)
	g.sees(gate, true)
	connect := func() *testkit.Player { return g.Connect() }
	ids, lost := board(t, 2, 3, connect, gate.connect)
	watcher := connect()
	watched, err := croom.Spectate(t.Context(), watcher.Client, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	// The other backend comes later, so its rooms are new ones.
	b := spawn(t, nodeSpec{Name: "b", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr(), Rooms: true})
	g.sees(b, true)
	_, kept := board(t, 1, 2, connect, gate.connect)

	killed := time.Now()
	a.kill()
	lost = append(lost, &sailor{Player: watcher, room: watched})
	for _, s := range lost {
		testkit.Receive(t, s.room.Closed(), "room.closed")
		if s.room.Reason() != "node down" {
			t.Errorf("the room ended with %q, want node down", s.room.Reason())
		}
	}
	inTime(t, "the players know", time.Since(killed), 3*time.Second)
	for _, s := range lost {
		if s.Err() != nil {
			t.Errorf("a session has ended: %v", s.Err())
		}
		if _, err := croom.Join(t.Context(), s.Client, s.room.ID(), nil); !testkit.HasCode(err, "ROOM-404") {
			t.Errorf("a join of the lost room = %v, want ROOM-404", err)
		}
		if _, err := croom.JoinOrCreate(t.Context(), s.Client, "ferry", nil, nil); err != nil {
			t.Errorf("a session cannot join another room: %v", err)
		}
	}
	for _, s := range kept {
		s.sent++
		s.err = s.room.Request(t.Context(), "Next", FerryStep{N: s.sent}, nil)
		s.check(t)
	}
}

// TestMoveAtAnotherNode moves a room of a process to this one, and kills the process.
func TestMoveAtAnotherNode(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	g := startProcessGate(t)
	a := spawn(t, nodeSpec{Name: "a", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr(), Rooms: true})
	g.sees(a, true)
	ids, players := board(t, 1, 3, func() *testkit.Player { return g.Connect() })
	here := testkit.StartNode(t, nil, []*testkit.Node{g.Node}, ferries.Option())
	testkit.Eventually(t, "the node knows the process", func() bool {
		for _, m := range here.Members() {
			if m.Addr == a.addr() && m.Up {
				return true
			}
		}
		return false
	})
	if err := room.Move(t.Context(), ids[0], "127.0.0.1:1"); !errors.Is(err, room.ErrNoNode) {
		t.Errorf("Move to no node = %v, want ErrNoNode", err)
	}
	testkit.Eventually(t, "the room moves", func() bool {
		return room.Move(t.Context(), ids[0], here.ClusterAddr()) == nil
	})
	a.kill()
	for _, s := range players {
		s.sent++
		s.err = s.room.Request(t.Context(), "Next", FerryStep{N: s.sent}, nil)
		s.check(t)
	}
	if stats := ferries.On(here.Server).Stats(); len(stats) != 1 || stats[0].ID != ids[0] || stats[0].Players != len(players) {
		t.Errorf("this node has the rooms %+v", stats)
	}
}
