package room_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/room"
)

// NewFerry is a later version of Ferry, with another state.
type NewFerry struct {
	room.Base[struct{ Round, Deck int }]
}

func (f *NewFerry) Save() ([]byte, error) { return nil, nil }
func (f *NewFerry) Load([]byte) error     { return nil }

// A node with another version of the state refuses the room, and the node that drains
// moves it to the next one.
func TestMoveToAnotherVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	f := newFleet(t, 1, 1, room.TickRate(50))
	next := room.Define[NewFerry]("ferry", room.TickRate(50))
	later := testkit.StartNode(t, nil, f.nodes(), next.Option())
	id := f.create(0).ID
	g := f.guest(f.gates[0], 1)
	s := &sailor{guest: g, room: g.board(id)}
	stop := sail([]*sailor{s})
	for _, to := range []string{later.ClusterAddr(), ""} {
		if err := room.Move(t.Context(), id, to); err == nil || !strings.Contains(err.Error(), "ROOM-KIND") {
			t.Errorf("Move to another version = %v, want ROOM-KIND", err)
		}
	}
	f.docks = append(f.docks, testkit.StartNode(t, nil, append(f.nodes(), later), f.kind.Option()))
	// The nodes have equal loads, or the one with the other version has less.
	f.create(1)
	f.docks[0].Stop()
	if !f.has(1, id) {
		t.Error("the room has not moved to the node with the same version")
	}
	stop()
	if s.err != nil || s.room.Err() != nil {
		t.Errorf("the client: %d requests, then %v, %v", s.sent, s.err, s.room.Err())
	}
	f.do(1, id, func(f *Ferry) { f.Close("over") }) // no other node could take it
}

// The code of a private room continues when the node that made the room is gone, and a
// second move as well.
func TestMovedRoomKeepsItsCode(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	f := newFleet(t, 1, 3, room.Private(), room.TickRate(50), room.Empty(time.Minute))
	info := f.create(0)
	for _, to := range []int{1, 2} {
		if err := f.move(info.ID, to); err != nil {
			t.Fatalf("Move = %v", err)
		}
		f.docks[to-1].Stop()
		for i, at := range []*testkit.Node{f.gates[0], f.docks[2]} {
			g := f.guest(f.gates[0], int64(10*to+i))
			if at == f.docks[2] {
				g = &guest{at.Connect(), t}
			}
			r, err := croom.JoinCode(t.Context(), g.Client, strings.ToLower(info.Code), nil)
			if err != nil || r.ID() != info.ID || r.Code() != info.Code {
				t.Errorf("move to dock %d: join by code = %v", to, err)
			}
		}
	}
	var list []room.Info
	g := f.guest(f.gates[0], 99)
	g.ask("room.list", map[string]any{"kind": "ferry"}, &list)
	if b, _ := json.Marshal(list); len(list) != 0 {
		t.Errorf("a private room is listed: %s", b)
	}
}
