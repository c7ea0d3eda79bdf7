package room_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
)

// TestJoinBeforeTheStart checks that a join waits for the start of a room that another
// client creates at the same moment.
func TestJoinBeforeTheStart(t *testing.T) {
	l := newLake(t, room.Schedulers(2), room.Seats(2))
	const clients = 40
	var wg sync.WaitGroup
	var mu sync.Mutex
	var seats []string
	for i := range clients {
		p := l.connect(int64(i + 1))
		wg.Go(func() {
			r, err := croom.JoinOrCreate(t.Context(), p.Client, "pond", JoinOptions{"x"}, nil)
			if err != nil {
				t.Errorf("join = %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seats = append(seats, r.ID())
		})
	}
	wg.Wait()
	slices.Sort(seats)
	for i := 2; i < len(seats); i++ {
		if seats[i] == seats[i-2] {
			t.Fatalf("room %s has more than 2 players", seats[i])
		}
	}
}

// vault is a room that lets in nobody but the player for whom it is made.
type vault struct{ room.Base[struct{}] }

func (v *vault) OnCreate(o *JoinOptions) error {
	v.Lock(true)
	if o.Name == "friends" {
		return v.Reserve(8, 9)
	}
	return nil
}

// TestNewRoomLocked checks that joinOrCreate gives the client a seat in the room that it makes, also if that room is locked
// from its start or reserves the other seats.
func TestNewRoomLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := room.Define[vault]("vault", room.Seats(3))
		l := nanotest.Start(t, kind.Option(), nano.WithSerializer(jsons.NewSerializer()))
		for _, name := range []string{"", "friends"} {
			r, err := croom.JoinOrCreate(t.Context(), l.Connect(t).Client, "vault", JoinOptions{name}, nil)
			if err != nil {
				t.Fatalf("%q: JoinOrCreate = %v, want a seat", name, err)
			}
			if r.Player() != 1 {
				t.Errorf("%q: the player is %d, want 1", name, r.Player())
			}
		}
	})
}

// lock is a room whose OnCreate waits until the channel of its kind ends.
type lock struct{ room.Base[struct{}] }

var locks chan struct{}

func (*lock) OnCreate() { <-locks }

// TestNewRoomUnused checks that a new room ends if the client for which it is made takes a seat in another one meanwhile.
func TestNewRoomUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locks = make(chan struct{})
		kind := room.Define[lock]("lock", room.Schedulers(1), room.Seats(1))
		l := nanotest.Start(t, kind.Option())
		p := l.Connect(t)
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := croom.JoinOrCreate(t.Context(), p.Client, "lock", nil, nil)
				errs <- err
			}()
		}
		synctest.Wait()
		made := len(kind.On(l.Server).Stats())
		close(locks)
		if made != 2 {
			t.Errorf("%d rooms are made, want 2", made)
		}
		if err := errors.Join(<-errs, <-errs); code(err) != room.ErrJoined.Code {
			t.Errorf("the joins end with %v, want one with ErrJoined", err)
		}
		time.Sleep(6 * time.Second) // an empty room stays for 5 s
		if n := len(kind.On(l.Server).Stats()); n != 1 {
			t.Errorf("%d rooms are left, want the one with the player", n)
		}
	})
}
