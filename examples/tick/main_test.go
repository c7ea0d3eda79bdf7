package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
)

const tick = time.Second / tickRate

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a server with rooms for a number of players.
func start(t *testing.T, schedulers, seats int) (*nanotest.Server, *room.Kind[Arena]) {
	kind := arenas(schedulers, seats)
	srv := nanotest.Start(t, options(kind)...)
	return srv, kind.On(srv.Server)
}

func join(t *testing.T, p *nanotest.Player) *croom.Room {
	t.Helper()
	r, err := croom.JoinOrCreate(t.Context(), p.Client, "arena", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// where returns where a player is in the state of a client.
func where(r *croom.Room, id uint32) string {
	synctest.Wait()
	x, ok := r.Get("players", fmt.Sprint(id), "x")
	y, _ := r.Get("players", fmt.Sprint(id), "y")
	if !ok {
		return "away"
	}
	return fmt.Sprint(x, ",", y)
}

// steps sends steps, numbered from first.
func steps(t *testing.T, r *croom.Room, first int, list ...[2]int) {
	t.Helper()
	for i, s := range list {
		if err := r.Send("Move", map[string]int{"seq": first + i, "dx": s[0], "dy": s[1]}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFixedTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, kind := start(t, 1, 8)
		r := join(t, srv.Connect(t))
		time.Sleep(time.Second + tick/2)
		if s := kind.Stats()[0]; s.Ticks != 20 {
			t.Errorf("%d ticks in a second, want 20", s.Ticks)
		}
		if n, _ := r.Get("size"); fmt.Sprint(n) != fmt.Sprint(size) {
			t.Errorf("size = %v, want %d", n, size)
		}
	})
}

func TestStepsAreTakenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := start(t, 2, 8)
		ann, bob := join(t, srv.Connect(t)), join(t, srv.Connect(t))
		if ann.ID() != bob.ID() {
			t.Fatalf("the rooms are %s and %s, want one", ann.ID(), bob.ID())
		}
		var path []string
		bob.OnChange(func() {
			x, _ := bob.Get("players", "1", "x")
			y, _ := bob.Get("players", "1", "y")
			if at := fmt.Sprint(x, ",", y); len(path) == 0 || path[len(path)-1] != at {
				path = append(path, at)
			}
		})
		time.Sleep(tick + tick/2)
		steps(t, ann, 1, [2]int{1, 0}, [2]int{1, 1})
		if got := where(bob, 1); got != "0,0" {
			t.Errorf("Ann is at %s before the tick, want 0,0", got)
		}
		time.Sleep(tick)
		steps(t, ann, 3, [2]int{-1, 0})
		time.Sleep(tick)
		steps(t, ann, 4, [2]int{-9, 9}, [2]int{-1, 0}, [2]int{-1, 0}) // one field per step, and not over the edge
		time.Sleep(tick)
		synctest.Wait()
		if want := []string{"0,0", "2,1", "1,1", "0,2"}; !slices.Equal(path, want) {
			t.Errorf("Bob sees Ann at %v, want %v", path, want)
		}
		if _, ack := ann.Tick(); ack != 6 {
			t.Errorf("the state acknowledges step %d, want 6", ack)
		}
		if err := ann.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tick)
		if got := where(bob, 1); got != "away" {
			t.Errorf("Ann has left but is at %s", got)
		}
	})
}

// A blocked room does not block rooms on other schedulers.
func TestRoomsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, kind := start(t, 2, 1)
		ann, bob := join(t, srv.Connect(t)), join(t, srv.Connect(t))
		if ann.ID() == bob.ID() {
			t.Fatal("two players are in a room for one")
		}
		held := make(chan struct{})
		go func() { _ = kind.Do(t.Context(), bob.ID(), func(*Arena) { <-held }) }()
		synctest.Wait()
		steps(t, ann, 1, [2]int{1, 0})
		steps(t, bob, 1, [2]int{0, 1})
		time.Sleep(10*tick + tick/2)
		if got := where(ann, 1); got != "1,0" {
			t.Errorf("Ann is at %s, want 1,0: her room is not held up", got)
		}
		if got := where(bob, 1); got == "0,1" {
			t.Error("Bob's room has ticked while it was held up")
		}
		close(held)
		time.Sleep(2 * tick)
		if got := where(bob, 1); got != "0,1" {
			t.Errorf("Bob is at %s, want 0,1", got)
		}
		for _, s := range kind.Stats() {
			if (s.Skipped > 0) != (s.ID == bob.ID()) {
				t.Errorf("room %s skipped %d ticks, want some in Bob's room only", s.ID, s.Skipped)
			}
		}
	})
}

func TestAMoveWithoutARoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := start(t, 1, 8)
		p := srv.Connect(t)
		if err := p.Request(t.Context(), "arena.Move", Step{}, nil); !errors.Is(err, &client.Error{Code: "ROOM-NONE"}) {
			t.Errorf("arena.Move without a room = %v, want ROOM-NONE", err)
		}
	})
}

// A client that sends everything at once and closes leaks nothing.
func TestLeavingEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, kind := start(t, 2, 8)
		for range 20 {
			p := srv.Connect(t)
			for _, route := range []string{"room.joinOrCreate", "arena.Move", "arena.Move"} {
				if err := p.Notify(route, map[string]any{"kind": "arena", "dx": 1}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second) // longer than an empty room is kept
		if list := kind.Stats(); len(list) > 0 {
			t.Errorf("rooms are left: %+v", list)
		}
	})
}
