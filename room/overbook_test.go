package room_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/room"
)

// hallSeats is how many players a Hall has.
const hallSeats = 5

// overbooked counts states that must never occur in a Hall.
var overbooked struct {
	seats, twice atomic.Int64
	joins        atomic.Int64
	returns      atomic.Int64
}

// Hall checks its seats at each change.
type Hall struct {
	room.Base[struct{ Players int }]
	users map[int64]room.PlayerID
}

func (h *Hall) OnJoin(p *room.Player) {
	overbooked.joins.Add(1)
	if h.users == nil {
		h.users = map[int64]room.PlayerID{}
	}
	if p.UID != 0 {
		if _, has := h.users[p.UID]; has {
			overbooked.twice.Add(1)
		}
		h.users[p.UID] = p.ID
	}
	h.check()
}

func (h *Hall) OnReturn(*room.Player) {
	overbooked.returns.Add(1)
	h.check()
}

func (h *Hall) OnLeave(p *room.Player) { delete(h.users, p.UID) }

func (h *Hall) check() {
	h.State.Players = len(h.Base.Players())
	if h.State.Players > hallSeats {
		overbooked.seats.Add(1)
	}
}

func (h *Hall) Wave(*room.Player, *Step) {}

// Seats are never overbooked when many clients use several gates with rooms on several
// nodes.
func TestSeatsOfAClusterAreNeverOverbooked(t *testing.T) {
	const visits, budget = 3, 30 * time.Second
	clients, wait := 1000, 2000 // milliseconds before a visit, at most
	if testing.Short() {
		clients, wait = 100, 300
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	kind := room.Define[Hall]("hall", room.Seats(hallSeats), room.Hold(200*time.Millisecond), room.Empty(200*time.Millisecond),
		room.Reserve(time.Second), room.Schedulers(2))
	var gates, backends []*testkit.Node
	for range 2 {
		gates = append(gates, testkit.StartNode(t, testkit.Services{"login": &Login{}}, gates))
	}
	for i := range 3 {
		// Clients of the last backend connect to a node that has rooms itself.
		services := testkit.Services{}
		if i == 2 {
			services["login"] = &Login{}
		}
		backends = append(backends, testkit.StartNode(t, services, append(gates[:2:2], backends...), kind.Option()))
	}
	gates = append(gates, backends[2])

	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	var seats, busy atomic.Int64 // seats given to clients, and attempts that no node could serve
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			uid := int64(1 + rng.IntN(clients*2/3)) // some users log in twice
			for range visits {
				pause(ctx, time.Duration(rng.IntN(wait))*time.Millisecond)
				switch err := visit(ctx, gates[rng.IntN(len(gates))], uid, rng, &seats); {
				case err == nil || ctx.Err() != nil:
				case slices.Contains([]string{nano.CodeUnavailable, nano.CodeDeadline}, code(err)), errors.Is(err, errDial):
					busy.Add(1) // a busy machine may lose a link for a moment
				default:
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	watched, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			for _, b := range backends {
				for _, s := range kind.On(b.Server).Stats() {
					if s.Players > hallSeats {
						t.Errorf("room %s: %d of %d seats are taken", s.ID, s.Players, hallSeats)
					}
				}
			}
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	wg.Wait()
	close(done)
	<-watched
	if n := overbooked.seats.Load(); n > 0 {
		t.Errorf("%d times a room had more than %d players", n, hallSeats)
	}
	if n := overbooked.twice.Load(); n > 0 {
		t.Errorf("%d times a user had two seats in a room", n)
	}
	t.Logf("%d clients took %d seats: %d joins, %d returns; %d attempts found no node", clients, seats.Load(),
		overbooked.joins.Load(), overbooked.returns.Load(), busy.Load())
	if seats.Load() < int64(clients)/4 {
		t.Errorf("%d clients took %d seats, want more", clients, seats.Load())
	}
	// All clients are gone, so all seats come back and all rooms end.
	testkit.Eventually(t, "no room is left", func() bool {
		for _, b := range backends {
			if len(kind.On(b.Server).Stats()) > 0 {
				return false
			}
		}
		return true
	})
}

var errDial = errors.New("the client did not connect")

// visit is one connection of a user: it joins, plays, and leaves or drops.
func visit(ctx context.Context, gate *testkit.Node, uid int64, rng *rand.Rand, seats *atomic.Int64) error {
	c, err := client.Dial(ctx, gate.Players)
	if err != nil {
		return fmt.Errorf("%w: %w", errDial, err)
	}
	defer c.Close()
	if err := c.Request(ctx, "login.As", uid, nil); err != nil {
		return err
	}
	for range 1 + rng.IntN(3) {
		r, err := croom.JoinOrCreate(ctx, c, "hall", nil, nil)
		if err != nil {
			switch code(err) {
			case "ROOM-FULL", "ROOM-404", "ROOM-RATE", "ROOM-BUSY":
				continue
			}
			return fmt.Errorf("joinOrCreate = %w", err)
		}
		seats.Add(1)
		if err := r.Request(ctx, "Wave", Step{}, nil); err != nil && code(err) != "ROOM-NONE" { // another login may have the seat
			return fmt.Errorf("Wave = %w", err)
		}
		pause(ctx, time.Duration(rng.IntN(300))*time.Millisecond)
		if rng.IntN(2) == 0 {
			return nil // a drop: the user returns with the next connection, or too late
		}
		if err := r.Leave(ctx); err != nil {
			return fmt.Errorf("leave = %w", err)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// A session that joins several rooms at once gets at most one seat in the whole cluster.
func TestSessionHasOneSeatInACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 1, 3, room.Schedulers(2), room.Empty(time.Minute))
	// Some clients connect to a node that has rooms.
	r.gates = append(r.gates, r.backends[2])
	var ids []string
	for i := range r.backends {
		ids = append(ids, r.create(i, "").ID)
	}
	taken := func() (n int) {
		for i := range r.backends {
			for _, s := range r.on(i).Stats() {
				n += s.Players
			}
		}
		return n
	}
	seated := 0
	for i := range 20 {
		g := r.guest(i%2, 0)
		var wg sync.WaitGroup
		var joined atomic.Int64
		for _, id := range append(ids, "", ids[i%3], "") {
			route, ask := "room.join", map[string]any{"kind": "pond", "id": id}
			if id == "" {
				route = "room.joinOrCreate"
			}
			wg.Go(func() {
				switch err := g.try(route, ask, nil); code(err) {
				case "<nil>":
					joined.Add(1)
				case "ROOM-JOINED", "ROOM-BUSY":
				default:
					t.Errorf("%s = %v", route, err)
				}
			})
		}
		wg.Wait()
		n := taken()
		if n > 1 || int64(n) != joined.Load() {
			t.Fatalf("round %d: %d joins took %d seats, want one", i, joined.Load(), n)
		}
		seated += n
		g.ask("room.leave", nil, nil)
		if n := taken(); n != 0 {
			t.Fatalf("round %d: %d seats are taken after the leave, want none", i, n)
		}
	}
	if seated < 15 { // two joins at two nodes may refuse each other
		t.Errorf("%d of 20 clients have got a seat, want 15 or more", seated)
	}
}
