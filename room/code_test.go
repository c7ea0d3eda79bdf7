package room_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
)

// secret makes a private pond and returns its id and code.
func (l *lake) secret(p *nanotest.Player) room.Info {
	l.t.Helper()
	var info room.Info
	if err := p.Request(l.t.Context(), "room.create", map[string]any{"kind": "pond"}, &info); err != nil {
		l.t.Fatal(err)
	}
	return info
}

func byCode(code string) map[string]any {
	return map[string]any{"code": code, "options": JoinOptions{"x"}}
}

func TestPrivateRoomHasACode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Private(), room.Seats(2), room.Empty(time.Second))
		info := l.secret(l.connect(1))
		if len(info.Code) != 6 || strings.Trim(info.Code, "23456789ABCDEFGHJKLMNPQRSTUVWXYZ") != "" {
			t.Errorf("code %q, want 6 characters without 0, O, 1 and I", info.Code)
		}
		var j room.Joined
		if err := l.connect(2).Request(t.Context(), "room.join", byCode(info.Code), &j); err != nil || j.ID != info.ID || j.Code != info.Code {
			t.Errorf("join by code = %+v, %v, want %s", j, err, info.ID)
		}
		if r, err := croom.JoinCode(t.Context(), l.connect(3).Client, " "+strings.ToLower(info.Code), nil); err != nil || r.ID() != info.ID || r.Code() != info.Code {
			t.Errorf("join by a code in small letters = %v, want %s", err, info.ID)
		}
		if err := l.connect(4).Request(t.Context(), "room.join", byCode(info.Code), &j); code(err) != "ROOM-FULL" {
			t.Errorf("join of a full room by code = %v, want ROOM-FULL", err)
		}
		if err := l.connect(4).Request(t.Context(), "room.spectate", byCode(info.Code), &j); err != nil || !j.Spectator {
			t.Errorf("spectate by code = %+v, %v", j, err)
		}
		if err := l.Kind.Do(t.Context(), info.ID, func(p *Pond) {
			if p.Code() != info.Code {
				t.Errorf("Code = %q, want %q", p.Code(), info.Code)
			}
			p.Base.Close("over")
		}); err != nil {
			t.Fatal(err)
		}
		if err := l.connect(5).Request(t.Context(), "room.join", byCode(info.Code), nil); code(err) != "ROOM-404" {
			t.Errorf("join of a closed room by code = %v, want ROOM-404", err)
		}
	})
}

func TestPublicRoomHasNoCode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		if info := l.secret(l.connect(1)); info.Code != "" {
			t.Errorf("a public room has the code %q", info.Code)
		}
		for _, c := range []string{"", "ABC", "ABCDE0", "ABCDEFG"} {
			if err := l.connect(0).Request(t.Context(), "room.join", byCode(c), nil); code(err) != "ROOM-404" {
				t.Errorf("join by the code %q = %v, want ROOM-404", c, err)
			}
		}
	})
}

// wrong returns a code that no room has.
func wrong(right string, i int) string {
	const letters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	c := right[:4] + string(letters[i/32%32]) + string(letters[i%32])
	if c == right {
		return "222222"
	}
	return c
}

func TestGuessesAreLimited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Private())
		owner := l.connect(1)
		info := l.secret(owner)
		p := l.connect(2)
		guess := func(p *nanotest.Player, i int) string {
			return code(p.Request(t.Context(), "room.join", byCode(wrong(info.Code, i)), nil))
		}
		// A correct code does not count toward the limit.
		for range 20 {
			if err := p.Request(t.Context(), "room.join", byCode(info.Code), nil); err != nil {
				t.Fatalf("join by code = %v", err)
			}
			if err := p.Request(t.Context(), "room.leave", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []string{"ROOM-404", "ROOM-404", "ROOM-404", "ROOM-404", "ROOM-404", "ROOM-RATE", "ROOM-RATE"} {
			if got := guess(p, i); got != want {
				t.Errorf("guess %d = %s, want %s", i, got, want)
			}
		}
		if err := p.Request(t.Context(), "room.join", byCode(info.Code), nil); code(err) != "ROOM-RATE" {
			t.Errorf("the right code after too many guesses = %v, want ROOM-RATE", err)
		}
		time.Sleep(6 * time.Second)
		if got := guess(p, 1); got != "ROOM-404" {
			t.Errorf("a guess 6 s later = %s, want ROOM-404", got)
		}
		if got := guess(p, 1); got != "ROOM-RATE" {
			t.Errorf("two guesses 6 s later = %s, want ROOM-RATE", got)
		}
		// All clients of an address share a limit.
		time.Sleep(10 * time.Minute)
		for i := range 40 {
			want := "ROOM-404"
			if i >= 30 {
				want = "ROOM-RATE"
			}
			if got := guess(l.connect(0), i); got != want {
				t.Errorf("guess %d of the address = %s, want %s", i, got, want)
			}
		}
	})
}

func TestMakingRoomsIsLimited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		p := l.connect(1)
		create := func() string {
			return code(p.Request(t.Context(), "room.create", map[string]any{"kind": "pond"}, nil))
		}
		for i := range 22 {
			want := "<nil>"
			if i >= 20 {
				want = "ROOM-RATE"
			}
			if got := create(); got != want {
				t.Errorf("room %d = %s, want %s", i, got, want)
			}
		}
		ask := map[string]any{"kind": "pond", "filter": map[string]any{"equal": map[string]any{"mode": "new"}}}
		if err := p.Request(t.Context(), "room.joinOrCreate", ask, nil); code(err) != "ROOM-RATE" {
			t.Errorf("joinOrCreate that makes a room = %v, want ROOM-RATE", err)
		}
		if err := p.Request(t.Context(), "room.joinOrCreate", map[string]any{"kind": "pond"}, nil); err != nil {
			t.Errorf("joinOrCreate that finds a room = %v", err)
		}
		time.Sleep(time.Second)
		if got := create(); got != "<nil>" {
			t.Errorf("a room 1 s later = %s", got)
		}
		p = l.connect(2)
		if got := create(); got != "<nil>" {
			t.Errorf("a room of another session = %s", got)
		}
		// With a burst of 0, only the program makes rooms.
		l = ponds(t, room.CreateRate(0, time.Second))
		p = l.connect(1)
		if got := create(); got != "ROOM-RATE" {
			t.Errorf("room.create with a burst of 0 = %s, want ROOM-RATE", got)
		}
		if _, err := l.Create(t.Context(), nil); err != nil {
			t.Errorf("Create with a burst of 0 = %v", err)
		}
		if err := p.Request(t.Context(), "room.joinOrCreate", map[string]any{"kind": "pond"}, nil); err != nil {
			t.Errorf("joinOrCreate of the program's room = %v", err)
		}
	})
}

// Every gate knows the code of a room, even after nodes have joined and left.
func TestCodesInACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRing(t, 2, 3, room.Private(), room.Empty(time.Minute))
	seen := map[string]string{}
	rooms := make([]room.Info, 12)
	for i := range rooms {
		r.guest(i%2, 0).ask("room.create", map[string]any{"kind": "pond"}, &rooms[i])
		if id := seen[rooms[i].Code]; id != "" || len(rooms[i].Code) != 6 {
			t.Errorf("code %q of %s, which %q has too", rooms[i].Code, rooms[i].ID, id)
		}
		seen[rooms[i].Code] = rooms[i].ID
	}
	reached := func(when string, gone int) {
		t.Helper()
		for i, info := range rooms {
			if at := r.at(info.ID); at == gone {
				continue
			}
			g := r.guest(i%2, 0)
			var j room.Joined
			testkit.Eventually(t, fmt.Sprintf("%s, the code of room %d is known", when, i), func() bool {
				err := g.try("room.join", byCode(info.Code), &j)
				down := gone >= 0 && code(err) == "NANO-503" // the gate has not noticed it yet
				if err != nil && code(err) != "ROOM-404" && code(err) != "ROOM-RATE" && !down {
					t.Fatalf("%s: join by code = %v", when, err)
				}
				return err == nil
			})
			if j.ID != info.ID {
				t.Errorf("%s: the code of %s leads to %s", when, info.ID, j.ID)
			}
			g.ask("room.leave", nil, nil)
		}
	}
	reached("at first", -1)
	two := r.guest(0, 0)
	two.ask("room.join", byCode(rooms[0].Code), nil)
	for _, info := range rooms[1:] {
		if err := two.try("room.join", byCode(info.Code), nil); code(err) != "ROOM-JOINED" {
			t.Errorf("join of a second room by code = %v, want ROOM-JOINED", err)
		}
	}
	first := append(r.gates[:2:2], r.backends...)
	r.backends = append(r.backends, testkit.StartNode(t, nil, first, r.kind.Option()))
	reached("after a node has come", -1)
	r.backends[1].Kill()
	reached("after a node has died", 1)
	testkit.AwaitMembers(t, append(r.gates[:2:2], r.backends[0], r.backends[2], r.backends[3])...)
	g := r.guest(0, 0)
	for i := range 6 {
		want := "ROOM-404"
		if i == 5 {
			want = "ROOM-RATE"
		}
		if err := g.try("room.join", byCode(wrong(rooms[0].Code, 7*i)), nil); code(err) != want {
			t.Errorf("guess %d = %v, want %s", i, err, want)
		}
	}
}
