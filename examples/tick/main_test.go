package main

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func join(t *testing.T, p *nanotest.Player) joinReply {
	t.Helper()
	var reply joinReply
	if err := p.Request(t.Context(), "lobby.join", nil, &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func where(t *testing.T, p *nanotest.Player) whereReply {
	t.Helper()
	var reply whereReply
	if err := p.Request(t.Context(), "arena.where", nil, &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func states(t *testing.T, p *nanotest.Player) []state {
	t.Helper()
	var list []state
	for _, m := range p.Pushes("onState") {
		var s state
		if err := m.Decode(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

func TestFixedTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options(newLobby(1))...)
		ann := srv.Connect(t)
		if got, want := join(t, ann), (joinReply{Room: 0, Size: size}); got != want {
			t.Errorf("lobby.join = %+v, want %+v", got, want)
		}
		time.Sleep(time.Second + tick/2)
		list := states(t, ann)
		for i, s := range list {
			if s.Tick != i+1 {
				t.Errorf("state %d is of tick %d, want %d", i, s.Tick, i+1)
			}
		}
		if len(list) != 20 {
			t.Errorf("%d states in a second, want 20", len(list))
		}
	})
}

// A join and the steps after it are sent at once, and run on two schedulers, in order.
func TestStepsAreTakenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options(newLobby(4))...)
		time.Sleep(tick / 2)
		ann := srv.Connect(t)
		joined := make(chan error, 1)
		if err := ann.RequestFunc(t.Context(), "lobby.join", nil, func(_ *client.Message, err error) { joined <- err }); err != nil {
			t.Fatal(err)
		}
		steps := []step{{1, 0}, {1, 1}, {0, 1}, {-1, 0}, {-1, -1}, {-1, -1}, {1, 1}}
		path := [][2]int{{1, 0}, {2, 1}, {2, 2}, {1, 2}, {0, 1}, {0, 0}, {1, 1}}
		for _, s := range steps {
			if err := ann.Notify("arena.move", s); err != nil {
				t.Fatal(err)
			}
		}
		if got := where(t, ann); got.X != 0 || got.Y != 0 || got.Waiting != len(steps) {
			t.Errorf("arena.where = %+v, want all %d steps waiting", got, len(steps))
		}
		if err := <-joined; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Duration(len(steps)) * tick)
		synctest.Wait()
		var got [][2]int
		for _, s := range states(t, ann) {
			got = append(got, [2]int{s.Players[0].X, s.Players[0].Y})
		}
		if !slices.Equal(got, path) {
			t.Errorf("Ann walks %v, want %v", got, path)
		}
		if got := where(t, ann); got.X != 1 || got.Y != 1 || got.Waiting != 0 {
			t.Errorf("arena.where = %+v, want 1, 1 and no steps waiting", got)
		}
	})
}

func TestRoomsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lobby := newLobby(2)
		srv := nanotest.Start(t, options(lobby)...)
		ann, bob, cem := srv.Connect(t), srv.Connect(t), srv.Connect(t)
		for i, p := range []*nanotest.Player{ann, bob, cem} {
			if got := join(t, p); got.Room != i%2 {
				t.Errorf("player %d is in room %d, want the one where the fewest are", i, got.Room)
			}
		}
		// Bob's room is held up: the others do not wait.
		held := make(chan struct{})
		lobby.rooms[1].sched.Invoke(func() { <-held })
		time.Sleep(10*tick + tick/2)
		if list := states(t, ann); len(list) < 10 || len(list[len(list)-1].Players) != 2 {
			t.Errorf("Ann sees %+v, want ten states or more, with Cem at the end", list)
		}
		if list := states(t, bob); len(list) > 1 {
			t.Errorf("Bob sees %+v while his room is held up", list)
		}
		close(held)

		// Ticks that came too late are skipped.
		time.Sleep(10 * tick)
		if list := states(t, bob); len(list) < 10 || len(list) > 11 || len(list[0].Players) != 1 {
			t.Errorf("Bob sees %+v, want the ten states of ten ticks, and himself alone", list)
		}

		if err := cem.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		states(t, ann)
		ann.WaitFor("onState", time.Second, new(state))
		var last state
		ann.WaitFor("onState", time.Second, &last)
		if len(last.Players) != 1 {
			t.Errorf("Ann sees %+v, want herself alone", last)
		}
		if got := join(t, srv.Connect(t)); got.Room != 0 {
			t.Errorf("after Cem left, the next player is in room %d, want 0", got.Room)
		}
	})
}

func TestWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options(newLobby(1))...)
		ann := srv.Connect(t)
		refused := func(route string, in any, code string) {
			t.Helper()
			if err := ann.Request(t.Context(), route, in, nil); !errors.Is(err, &client.Error{Code: code}) {
				t.Errorf("%s of %v = %v, want %s", route, in, err, code)
			}
		}
		refused("arena.move", step{}, nano.CodeInternal)
		join(t, ann)
		refused("lobby.join", nil, "TICK-JOINED")
		refused("arena.move", step{DX: 2}, nano.CodeBadRequest)
		refused("arena.move", step{DY: -2}, nano.CodeBadRequest)
		for range maxSteps {
			if err := ann.Notify("arena.move", step{DX: -1}); err != nil {
				t.Fatal(err)
			}
		}
		refused("arena.move", step{DX: 1}, nano.CodeLimit)
		if got := where(t, ann); got.X != 0 || got.Waiting != maxSteps {
			t.Errorf("arena.where = %+v, want %d steps waiting", got, maxSteps)
		}
		time.Sleep(maxSteps*tick + tick/2)
		if got := where(t, ann); got.X != 0 || got.Waiting != 0 {
			t.Errorf("arena.where = %+v, want the edge and no steps waiting", got)
		}
	})
}

// A client that sends everything at once and closes leaves nobody behind.
func TestLeavingEarly(t *testing.T) {
	lobby := newLobby(2)
	srv := nanotest.Start(t, options(lobby)...)
	for range 20 {
		p := srv.Connect(t)
		for _, route := range []string{"lobby.join", "arena.move", "arena.move"} {
			if err := p.Notify(route, step{DX: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range lobby.rooms { // their goroutines have ended
		if len(r.players) != 0 || lobby.count[r.number] != 0 || r.group.Count() != 0 {
			t.Errorf("room %d is left with %d players, a count of %d and %d members, want none",
				r.number, len(r.players), lobby.count[r.number], r.group.Count())
		}
	}
}
