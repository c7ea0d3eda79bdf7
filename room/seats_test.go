package room_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestReserve(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(2), room.Reserve(10*time.Second))
		_, a := l.join(1, "ann")
		if err := l.Kind.Reserve(a.ID(), 7, 8); !errors.Is(err, room.ErrFull) {
			t.Errorf("Reserve of 2 seats where 1 is free = %v, want ErrFull", err)
		}
		if err := l.Kind.Reserve(a.ID(), 7, 7); err != nil {
			t.Errorf("Reserve = %v", err)
		}
		if err := a.Request(t.Context(), "LockIt", Step{1}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := l.rejoin(l.connect(2), a.ID(), "bob"); code(err) != "ROOM-LOCKED" {
			t.Errorf("join without a reservation = %v, want ROOM-LOCKED", err)
		}
		if _, err := l.rejoin(l.connect(7), a.ID(), "gus"); err != nil {
			t.Errorf("join with a reservation = %v", err)
		}
		if n := l.infos()[0].Players; n != 2 {
			t.Errorf("%d seats taken, want 2", n)
		}
		if err := l.Kind.Reserve(a.ID(), 0); !errors.Is(err, session.ErrIllegalUID) {
			t.Errorf("Reserve for no user = %v, want ErrIllegalUID", err)
		}
		info, err := l.Create(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Kind.Reserve(info.ID, 9); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if _, err := l.rejoin(l.connect(9), info.ID, "hal"); err != nil {
			t.Errorf("join after the reservation, in a room that is not empty for long yet = %v", err)
		}
	})
}

// A user with a seat in the room needs no reservation, until OnLeave runs.
func TestReserveForAPlayerOfTheRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(2), room.Hold(time.Minute))
		ann, a := l.join(1, "ann")
		for range 2 {
			if err := l.Kind.Reserve(a.ID(), 1, 2); err != nil {
				t.Errorf("Reserve for a player and another user = %v", err)
			}
			if n := l.infos()[0].Players; n != 2 {
				t.Errorf("%d seats taken, want 2", n)
			}
			ann.Close()
			synctest.Wait()
		}
		if _, err := l.rejoin(l.connect(1), a.ID(), "ann"); err != nil {
			t.Errorf("the return to the held seat = %v", err)
		}
		if _, err := l.rejoin(l.connect(2), a.ID(), "bob"); err != nil {
			t.Errorf("join with a reservation = %v", err)
		}
	})
}

// Perch is a room whose hooks reserve seats.
type Perch struct{ room.Base[struct{}] }

func (p *Perch) OnCreate() error { return p.Reserve(1, 2) }

func (p *Perch) OnLeave(pl *room.Player) { _ = p.Reserve(pl.UID) }

func TestReserveInHooks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		kind := room.Define[Perch]("perch", room.Seats(3))
		twig := room.Define[Perch]("twig", room.Seats(2))
		cs := &component.Components{}
		cs.Register(&Login{}, component.WithName("login"))
		l := &lake{Server: nanotest.Start(t, kind.Option(), twig.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer())), t: t}
		ann := l.connect(1)
		perch, err := croom.JoinOrCreate(t.Context(), ann.Client, "perch", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantTaken := func(want int) {
			t.Helper()
			for i := range kind.On(l.Server.Server).List(room.Filter{}) {
				if i.Players != want {
					t.Errorf("%d seats taken, want %d", i.Players, want)
				}
			}
		}
		wantTaken(2) // that of the player, who made the room, and a reserved one
		if _, err := croom.JoinOrCreate(t.Context(), l.connect(2).Client, "twig", nil, nil); err != nil {
			t.Errorf("a room with a seat for each of two players, one of whom makes it: %v", err)
		}
		if err := perch.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantTaken(2) // both reserved
		if _, err := croom.Join(t.Context(), l.connect(3).Client, perch.ID(), nil); err != nil {
			t.Errorf("join of the free seat = %v", err)
		}
		if _, err := croom.Join(t.Context(), l.connect(4).Client, perch.ID(), nil); code(err) != "ROOM-FULL" {
			t.Errorf("join without a free seat = %v, want ROOM-FULL", err)
		}
		if _, err := croom.Join(t.Context(), ann.Client, perch.ID(), nil); err != nil {
			t.Errorf("join with the reservation of OnLeave = %v", err)
		}
		wantTaken(3)
	})
}

// A player who must leave another room first keeps the reserved seat, and a room that gets
// no player ends.
func TestReservationOfASeatedPlayer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(1), room.Reserve(10*time.Second))
		ann, first := l.join(7, "ann")
		info, err := l.Place(t.Context(), nil, 7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.rejoin(ann, info.ID, "ann"); code(err) != "ROOM-JOINED" {
			t.Errorf("join with a seat in another room = %v, want ROOM-JOINED", err)
		}
		if _, err := l.rejoin(l.connect(8), info.ID, "bob"); code(err) != "ROOM-FULL" {
			t.Errorf("join of the reserved seat = %v, want ROOM-FULL", err)
		}
		if err := first.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Second)
		if rooms := l.infos(); len(rooms) != 0 {
			t.Errorf("%d rooms are left, want none: both are empty", len(rooms))
		}
	})
}

func TestSpectators(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Seats(1), room.Spectators(1))
		_, a := l.join(1, "ann")
		w := l.connect(2)
		s, err := croom.Spectate(t.Context(), w.Client, a.ID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := croom.Spectate(t.Context(), l.connect(3).Client, a.ID()); code(err) != "ROOM-FULL" {
			t.Errorf("a second spectator = %v, want ROOM-FULL", err)
		}
		if err := a.Request(t.Context(), "Jump", Step{5}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := text(s), `{"frogs":{"1":{"hand":[],"name":"ann","x":5}},"round":0}`; got != want {
			t.Errorf("the spectator sees %s, want %s", got, want)
		}
		if err := s.Request(t.Context(), "Jump", Step{5}, nil); code(err) != "ROOM-SPECTATOR" {
			t.Errorf("a message of a spectator = %v, want ROOM-SPECTATOR", err)
		}
		_ = w.Close()
		synctest.Wait()
		if _, err := croom.Spectate(t.Context(), l.connect(3).Client, a.ID()); err != nil {
			t.Errorf("a spectator in place of one who is gone = %v", err)
		}
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if len(l.infos()) != 0 {
			t.Error("a spectator keeps the room open")
		}
	})
}
