package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// player is a client with its view of the game.
type player struct {
	*nanotest.Player
	*room.Room
}

func login(t *testing.T, srv *nanotest.Server, name string) *nanotest.Player {
	t.Helper()
	p := srv.Connect(t)
	if err := p.Request(t.Context(), "login.As", loginRequest{name + "-0123456789abcdef"}, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

func enter(t *testing.T, srv *nanotest.Server, name string) player {
	t.Helper()
	p := login(t, srv, name)
	r, err := room.JoinOrCreate(t.Context(), p.Client, "tictactoe", Hello{name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return player{p, r}
}

func (p player) play(t *testing.T, cell int) {
	t.Helper()
	if err := p.Room.Request(t.Context(), "Play", Move{cell}, nil); err != nil {
		t.Errorf("Play(%d) = %v", cell, err)
	}
}

func want(t *testing.T, r *room.Room, path, want string) {
	t.Helper()
	synctest.Wait()
	if v, _ := r.Get(path); fmt.Sprint(v) != want {
		t.Errorf("%s = %v, want %s", path, v, want)
	}
}

func TestGame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options("")...)
		ann, bob := enter(t, srv, "ann"), enter(t, srv, "bob")
		if ann.ID() != bob.ID() {
			t.Fatalf("rooms %s and %s, want one", ann.ID(), bob.ID())
		}
		watcher, err := room.Spectate(t.Context(), login(t, srv, "eve").Client, ann.ID())
		if err != nil {
			t.Fatal(err)
		}
		ann.play(t, 4)
		var e *client.Error
		if err := ann.Room.Request(t.Context(), "Play", Move{5}, nil); !errors.As(err, &e) || e.Code != "TURN" {
			t.Errorf("a move out of turn = %v, want TURN", err)
		}
		if err := bob.Room.Request(t.Context(), "Play", Move{4}, nil); !errors.As(err, &e) || e.Code != "CELL" {
			t.Errorf("a move on a taken cell = %v, want CELL", err)
		}
		if err := watcher.Request(t.Context(), "Play", Move{0}, nil); err == nil {
			t.Error("a spectator can move")
		}
		bob.play(t, 0)
		want(t, watcher, "cells", "[2 0 0 0 1 0 0 0 0]")

		_ = ann.Player.Close() // Close returns
		synctest.Wait()
		time.Sleep(10 * time.Second)
		want(t, bob.Room, "players", "[map[away:true id:1 name:ann] map[away:false id:2 name:bob]]")
		ann = enter(t, srv, "ann")
		want(t, bob.Room, "players", "[map[away:false id:1 name:ann] map[away:false id:2 name:bob]]")
		want(t, ann.Room, "cells", "[2 0 0 0 1 0 0 0 0]")

		ann.play(t, 3)
		bob.play(t, 1)
		ann.play(t, 5)
		for _, r := range []*room.Room{ann.Room, bob.Room, watcher} {
			want(t, r, "winner", "1")
			want(t, r, "reason", "three in a row")
			if r.Reason() != "three in a row" {
				t.Errorf("the room ended with %q, want three in a row", r.Reason())
			}
		}
		if next := enter(t, srv, "bob"); next.ID() == ann.ID() {
			t.Error("a new game is in the old room")
		}
	})
}

// A spectator may come before the second player.
func TestEarlySpectator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options("")...)
		ann := enter(t, srv, "ann")
		watcher, err := room.Spectate(t.Context(), login(t, srv, "eve").Client, ann.ID())
		if err != nil {
			t.Fatal(err)
		}
		bob := enter(t, srv, "bob")
		for cell, p := range []player{ann, bob, ann, bob, ann, bob, ann} { // the cells 0, 2, 4 and 6 are Ann's
			p.play(t, cell)
		}
		want(t, watcher, "winner", "1")
		want(t, watcher, "reason", "three in a row")
	})
}

func TestTurnTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options("")...)
		ann, bob := enter(t, srv, "ann"), enter(t, srv, "bob")
		time.Sleep(19 * time.Second)
		ann.play(t, 0) // now Bob has 20 s
		time.Sleep(19 * time.Second)
		want(t, bob.Room, "winner", "0")
		time.Sleep(1001 * time.Millisecond)
		want(t, bob.Room, "winner", "1")
		want(t, bob.Room, "reason", "time is up")
	})
}

func TestPlayerWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options("")...)
		ann, bob := enter(t, srv, "ann"), enter(t, srv, "bob")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ann.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		want(t, bob.Room, "winner", "2")
		want(t, bob.Room, "reason", "the other player left")
	})
}

// The game is short, without blank lines and comments of Go.
func TestLength(t *testing.T) {
	for _, part := range []struct {
		files []string
		most  int
	}{
		{[]string{"main.go"}, 150},
		{[]string{"web/index.html", "web/game.js"}, 100},
	} {
		lines := 0
		for _, file := range part.files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(source)) {
				line = strings.TrimRight(line, "\n")
				if n := utf8.RuneCountInString(line); n > 120 {
					t.Errorf("%s: a line of %d characters, want 120 at most: %s", file, n, line)
				}
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
					lines++
				}
			}
		}
		if lines > part.most {
			t.Errorf("%v: %d lines, want %d at most", part.files, lines, part.most)
		}
	}
}
