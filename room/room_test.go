package room_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/room"
)

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
