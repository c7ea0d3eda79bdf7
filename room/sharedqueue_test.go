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
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/session"
)

// desk is a component that enters players into a shared queue at its node.
type desk struct {
	component.Base
	kinds   []*room.Kind[Pond]
	queues  []*room.Queue
	tickets chan *room.Ticket
}

type Wish struct {
	Kind int     `json:"kind"`
	Rank float64 `json:"rank"`
}

func (d *desk) Find(s *session.Session, w *Wish) error {
	t, err := d.kinds[w.Kind].Enter(d.queues[w.Kind], room.Party{Players: []*session.Session{s}, Rank: w.Rank})
	if err != nil {
		return err
	}
	d.tickets <- t
	return s.Response(map[string]string{"ticket": t.ID()})
}

// bureau is a cluster with a gate and docks that share a queue of each of their kinds.
type bureau struct {
	t     *testing.T
	kinds []*room.Kind[Pond]
	gates []*testkit.Node
	docks []*testkit.Node
	desks []*desk
}

func newBureau(t *testing.T, docks, kinds int, q room.Queue) *bureau {
	b := &bureau{t: t}
	var queues []*room.Queue
	for i := range kinds {
		q := q
		q.Name = "ranked"
		queues = append(queues, &q)
		b.kinds = append(b.kinds, room.Define[Pond](fmt.Sprint("pond", i), room.Queues(&q), room.Empty(time.Minute)))
	}
	for range 2 {
		b.gates = append(b.gates, testkit.StartNode(t, testkit.Services{"login": &Login{}}, b.gates))
	}
	for i := range docks {
		d := &desk{queues: queues, tickets: make(chan *room.Ticket, 100)}
		var opts []nano.Option
		for _, k := range b.kinds {
			opts = append(opts, k.Option())
		}
		n := testkit.StartNode(t, testkit.Services{fmt.Sprint("desk", i): d}, append(slices.Clone(b.gates), b.docks...), opts...)
		for _, k := range b.kinds {
			d.kinds = append(d.kinds, k.On(n.Server))
		}
		b.docks, b.desks = append(b.docks, n), append(b.desks, d)
	}
	return b
}

func (b *bureau) guest(uid int64, opts ...client.Option) *guest {
	b.t.Helper()
	g := &guest{b.gates[uid%2].Connect(opts...), b.t}
	g.ask("login.As", uid, nil)
	return g
}

// find enters a player at a desk.
func (g *guest) find(desk int, w Wish) error {
	return g.try(fmt.Sprintf("desk%d.Find", desk), w, nil)
}

// push waits for a push of a route and decodes it.
func (g *guest) push(route string, v any) {
	g.t.Helper()
	for {
		m := testkit.Receive(g.t, g.Pushes, route)
		if m.Route == "room.unmatched" {
			g.t.Errorf("room.unmatched %s", m.Data)
		}
		if m.Route != route {
			continue
		}
		if err := json.Unmarshal(m.Data, v); err != nil {
			g.t.Fatal(err)
		}
		return
	}
}

// Players who enter at different nodes are matched with each other, are asked wherever
// their requests arrive, and get rooms on all nodes.
func TestSharedQueue(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	const docks, players = 3, 12
	b := newBureau(t, docks, 1, room.Queue{Ready: 10 * time.Second})
	var wg sync.WaitGroup
	var mu sync.Mutex
	rooms := map[string][]uint32{}
	for i := range players {
		g := b.guest(int64(i + 1))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			r, err := croom.Match(ctx, g.Client, func(context.Context) error { return g.find(i%docks, Wish{}) }, croom.Matching{Options: JoinOptions{"x"}})
			if err != nil {
				t.Errorf("player %d: Match = %v", i+1, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			rooms[r.ID()] = append(rooms[r.ID()], r.Player())
		})
	}
	wg.Wait()
	if len(rooms) != players/2 {
		t.Errorf("%d players are in %d rooms: %v", players, len(rooms), rooms)
	}
	for i, d := range b.desks {
		teams := map[int]int{}
		for _, s := range d.kinds[0].Stats() {
			if err := d.kinds[0].Do(t.Context(), s.ID, func(p *Pond) {
				for _, pl := range p.Players() {
					teams[pl.Team]++
				}
			}); err != nil {
				t.Error(err)
			}
		}
		if len(teams) != 2 || teams[1] != teams[2] || teams[1] == 0 {
			t.Errorf("players of dock %d by team: %v, want rooms with two teams", i, teams)
		}
		for range players / docks {
			ticket := testkit.Receive(t, d.tickets, "a ticket")
			testkit.Receive(t, ticket.Done(), "the end of the ticket")
			if id, err := ticket.Room(); err != nil || len(rooms[id]) != 2 {
				t.Errorf("the ticket has the room %q, %v", id, err)
			}
			if ticket.Cancel() {
				t.Error("Cancel succeeds although the ticket has a room")
			}
		}
	}
}

// A ticket of a shared queue can be canceled at any node, and a user has one ticket.
func TestSharedQueueCancel(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	b := newBureau(t, 3, 1, room.Queue{})
	for round, cancel := range []func(*guest, *room.Ticket){
		func(g *guest, _ *room.Ticket) { g.ask("room.cancel", nil, nil) },
		func(_ *guest, t *room.Ticket) { t.Cancel() },
		func(g *guest, _ *room.Ticket) { _ = g.Close() },
	} {
		g := b.guest(int64(round + 1))
		if err := g.find(0, Wish{}); err != nil {
			t.Fatal(err)
		}
		first := testkit.Receive(t, b.desks[0].tickets, "the ticket")
		// The user enters a second time, at another node. If that node has the first ticket,
		// it refuses at once. Otherwise one of the tickets ends.
		left := first
		if err := g.find(1, Wish{}); err == nil {
			second := testkit.Receive(t, b.desks[1].tickets, "the second ticket")
			select {
			case <-first.Done():
				left, second = second, first
			case <-second.Done():
			case <-time.After(testkit.Patience):
				t.Fatal("both tickets of a user are in the queue")
			}
			if _, err := second.Room(); !errors.Is(err, room.ErrQueued) {
				t.Errorf("round %d: the other ticket ended with %v, want ErrQueued", round, err)
			}
		} else if code(err) != "ROOM-QUEUED" {
			t.Fatal(err)
		}
		if left == first {
			if err := g.find(0, Wish{}); code(err) != "ROOM-QUEUED" {
				t.Errorf("round %d: Enter at the same node = %v, want ROOM-QUEUED", round, err)
			}
		}
		cancel(g, left)
		testkit.Receive(t, left.Done(), "the end of the ticket")
		want := room.ErrCanceled
		if round == 2 {
			want = room.ErrPartner
		}
		if _, err := left.Room(); !errors.Is(err, want) {
			t.Errorf("round %d: the ticket ended with %v, want %v", round, err, want)
		}
	}
}

// Tickets wait on if the node that owns their queue shuts down or dies, and when nodes
// come.
func TestSharedQueueOutlivesItsOwner(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	const kinds = 4 // their owners differ
	b := newBureau(t, 3, kinds, room.Queue{})
	var early []*guest
	for k := range kinds {
		g := b.guest(int64(k + 1))
		if err := g.find(2, Wish{Kind: k}); err != nil {
			t.Fatal(err)
		}
		early = append(early, g)
	}
	b.docks[0].Stop()
	b.docks[1].Kill()
	for k := range kinds {
		g := b.guest(int64(100 + k))
		testkit.Eventually(t, "the last dock is up", func() bool { return g.find(2, Wish{Kind: k}) == nil })
		var a, c found
		early[k].push("room.found", &a)
		g.push("room.found", &c)
		if a.ID == "" || a.ID != c.ID || a.Team == c.Team {
			t.Errorf("kind %d: %+v and %+v, want one room and two teams", k, a, c)
		}
		if _, err := croom.Join(t.Context(), g.Client, c.ID, JoinOptions{"x"}); err != nil {
			t.Errorf("kind %d: join = %v", k, err)
		}
	}
	for len(b.desks[2].tickets) > 0 {
		ticket := <-b.desks[2].tickets
		testkit.Receive(t, ticket.Done(), "the end of the ticket")
		if _, err := ticket.Room(); err != nil {
			t.Errorf("the ticket ended with %v", err)
		}
	}
}

func TestQueuesOptionIsChecked(t *testing.T) {
	for _, queues := range [][]*room.Queue{
		{{}}, {nil}, {{Name: "a"}, {Name: "a"}}, {{Name: "a", PerTeam: 1000}},
	} {
		if room.Define[Pond]("pond", room.Queues(queues...)).Err() == nil {
			t.Errorf("Define with the queues %v has no error", queues)
		}
	}
}

// A ticket of a shared queue outlives a lost connection of its player.
func TestSharedQueueAndResume(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	b := newBureau(t, 2, 1, room.Queue{Ready: 20 * time.Second})
	gate := testkit.StartNode(t, testkit.Services{"login": &Login{}}, append(slices.Clone(b.gates), b.docks...), nano.WithResume(nano.Resume{Window: window}))
	listener := nanotest.Listen()
	served := make(chan error, 1)
	go func() { served <- gate.Serve(listener) }()
	t.Cleanup(func() { _, _ = listener.Close(), <-served })
	ann := newMobile(t, listener, func() {}, 1)
	ann.request("desk0.Find", Wish{})
	ticket := testkit.Receive(t, b.desks[0].tickets, "the ticket")
	ann.lose()
	ann.connect(true)
	bob := b.guest(2)
	if err := bob.find(1, Wish{}); err != nil {
		t.Fatal(err)
	}
	var c check
	bob.push("room.ready", &c)
	ann.lose() // during the ready check
	bob.ask("room.accept", map[string]any{"match": c.Match}, nil)
	ann.connect(true)
	testkit.Eventually(t, "ann is asked", func() bool {
		ann.mu.Lock()
		defer ann.mu.Unlock()
		return slices.ContainsFunc(ann.pushes, func(p string) bool { return strings.HasPrefix(p, "room.ready") })
	})
	ann.request("room.accept", map[string]any{"match": c.Match})
	var f found
	bob.push("room.found", &f)
	testkit.Receive(t, ticket.Done(), "the end of the ticket")
	if id, err := ticket.Room(); err != nil || id != f.ID {
		t.Errorf("the ticket has the room %q, %v, want %s", id, err, f.ID)
	}
}
