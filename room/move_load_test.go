package room_test

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/room"
)

// A room that closes in Load stays where it was. The copy ends nothing of the room: not
// its code, not what other nodes know of it, and not its recording.
func TestMoveClosedByLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	var opened atomic.Int32
	f := newFleet(t, 1, 3, room.Private(), room.TickRate(50), room.Empty(time.Minute),
		room.Record(func(room.Info) (io.WriteCloser, error) {
			opened.Add(1)
			return nil, nil
		}))
	info := f.create(0)
	g := f.guest(f.gates[0], 1)
	s := &sailor{guest: g, room: g.board(info.ID)}
	testkit.Eventually(t, "the recording begins", func() bool { return opened.Load() == 1 })
	if err := f.move(info.ID, 1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the recording goes on", func() bool { return opened.Load() == 2 })
	stop := sail([]*sailor{s})
	f.do(1, info.ID, func(f *Ferry) { f.closing = true })
	for range 3 {
		if err := f.move(info.ID, 2); !errors.Is(err, room.ErrNotFound) {
			t.Errorf("Move = %v, want ErrNotFound", err)
		}
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("the room has %d recordings, want 2", n)
	}
	// The gate knows from its id that the room was at the first dock.
	for uid := range int64(20) {
		if _, err := croom.Join(t.Context(), f.guest(f.gates[0], uid+2).Client, info.ID, nil); err != nil && code(err) != "ROOM-FULL" {
			t.Fatalf("join %d by id = %v", uid, err)
		}
	}
	if _, err := croom.JoinCode(t.Context(), f.guest(f.gates[0], 30).Client, info.Code, nil); err != nil && code(err) != "ROOM-FULL" {
		t.Errorf("join by code = %v", err)
	}
	stop()
	if s.err != nil || s.room.Err() != nil {
		t.Errorf("the client: %d requests, then %v, %v", s.sent, s.err, s.room.Err())
	}
	f.do(1, info.ID, func(f *Ferry) { // it stays open
		if len(f.log) != 1 {
			t.Errorf("the log is %q", f.log)
		}
		f.Close("the test ends") // a node that stops would try to move it for 20 s
	})
}

// Requests about the room that arrive during a move are answered as if there were none.
func TestRequestsDuringAMove(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	f := newFleet(t, 2, 2, room.Private(), room.Seats(30), room.TickRate(20))
	info := f.create(0)
	first := f.guest(f.gates[0], 100)
	r := first.board(info.ID)
	for round := range 4 {
		var wg sync.WaitGroup
		moved := make(chan error, 1)
		go func() { moved <- f.move(info.ID, 1-round%2) }()
		for i := range 6 {
			g := f.guest(f.gates[i%2], int64(6*round+i+1))
			wg.Go(func() {
				var r *croom.Room
				var err error
				switch i % 3 {
				case 0:
					r, err = croom.Join(t.Context(), g.Client, info.ID, nil)
				case 1:
					r, err = croom.JoinCode(t.Context(), g.Client, info.Code, nil)
				default:
					r, err = croom.Spectate(t.Context(), g.Client, info.ID)
				}
				if err != nil {
					t.Errorf("round %d: join %d = %v", round, i, err)
					return
				}
				if err := r.Leave(t.Context()); err != nil {
					t.Errorf("leave = %v", err)
				}
			})
		}
		if err := testkit.Receive(t, moved, "the end of the move"); err != nil {
			t.Errorf("round %d: Move = %v", round, err)
		}
		wg.Wait()
		f.do(1-round%2, info.ID, func(f *Ferry) {
			if n := len(f.Players()); n != 1 {
				t.Errorf("round %d: %d players, want 1", round, n)
			}
		})
	}
	f.docks[0].Kill() // the room is at dock 0 after an even number of moves
	if reason := <-closed(r); reason != "node down" {
		t.Errorf("the room ended with %q, want node down", reason)
	}
}
