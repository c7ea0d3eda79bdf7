package room_test

import (
	"slices"
	"sync"
	"testing"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/room"
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
