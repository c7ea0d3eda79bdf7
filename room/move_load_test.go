package room_test

import (
	"errors"
	"io"
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
