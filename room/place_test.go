package room

import (
	"testing"
	"time"

	"github.com/lonng/nano/internal/testkit"
)

// dam is a room whose OnCreate waits until the channel gates ends.
type dam struct{ Base[struct{}] }

var dams struct{ entered, gates chan struct{} }

func (d *dam) OnCreate() {
	dams.entered <- struct{}{}
	<-dams.gates
}

// The session for which a room is made has a seat in it, although the room is offered to others before it has started.
func TestNewRoomKeepsTheSeatOfItsPlayer(t *testing.T) {
	dams.entered, dams.gates = make(chan struct{}, 8), make(chan struct{})
	k := Define[dam]("dam", Schedulers(1), Seats(2), Empty(time.Minute), Reserve(time.Minute))
	server := testkit.StartNode(t, nil, nil, k.Option())
	v, _ := nodes.Load(server.Server)
	n := v.(*node)

	type result struct {
		room string
		err  error
	}
	results := make([]chan result, 3)
	for i := range results {
		results[i] = make(chan result, 1)
		n.place(&placement{Kind: "dam", Session: int64(i + 1), Reuse: true}, func(info Info, err error) {
			results[i] <- result{info.ID, err}
		})
		if i == 0 {
			testkit.Receive(t, dams.entered, "the call of OnCreate")
		}
	}
	limits := func(room *core) (list []time.Time) {
		room.mu.Lock()
		defer room.mu.Unlock()
		for _, t := range room.reserved {
			list = append(list, t.until)
		}
		return list
	}
	forever := 0 // the seats of the sessions for which rooms are made
	for _, room := range n.cores(nil) {
		for _, until := range limits(room) {
			if until.IsZero() {
				forever++
			}
		}
	}
	if forever != 2 {
		t.Errorf("%d seats are reserved without a limit before the start, want 2", forever)
	}
	close(dams.gates)
	var rooms []string
	for i := range results {
		got := testkit.Receive(t, results[i], "the room of a session")
		if got.err != nil {
			t.Fatalf("session %d got the error %v, want a room", i+1, got.err)
		}
		rooms = append(rooms, got.room)
	}
	for _, until := range limits(n.room(rooms[0])) {
		if left := time.Until(until); left < time.Second || left > time.Minute {
			t.Errorf("a seat is reserved for %v after the start, want a minute", left)
		}
	}
	if rooms[0] != rooms[1] || rooms[1] == rooms[2] {
		t.Errorf("the rooms of three sessions are %v, want two sessions in the first one", rooms)
	}
}
