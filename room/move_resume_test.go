package room_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/state"
)

// A player whose session is suspended moves too, and returns on the new node. It does not
// matter whether the connection is lost and resumed before, during or after the move.
func TestMoveWithSuspendedPlayers(t *testing.T) {
	f := newFleet(t, 0, 2, room.TickRate(50), room.Hold(time.Minute))
	gate := f.gate(nano.WithResume(nano.Resume{Window: window}))
	listener := nanotest.Listen()
	served := make(chan error, 1)
	go func() { served <- gate.Serve(listener) }()
	t.Cleanup(func() { _, _ = listener.Close(), <-served })
	id := f.create(0).ID
	ann := newMobile(t, listener, func() {}, 1)
	var j room.Joined
	if err := json.Unmarshal(ann.request("room.join", map[string]any{"id": id}), &j); err != nil {
		t.Fatal(err)
	}
	d, err := state.NewDecoder(string(j.Schema))
	if err != nil {
		t.Fatal(err)
	}
	ann.mu.Lock()
	ann.decoder = d
	ann.mu.Unlock()
	at := 0
	move := func() <-chan error {
		at = 1 - at
		moved := make(chan error, 1)
		go func() { moved <- f.move(id, at) }()
		return moved
	}
	wait := func(moved <-chan error) {
		t.Helper()
		if err := testkit.Receive(t, moved, "the end of the move"); err != nil {
			t.Errorf("Move = %v", err)
		}
	}
	logged := func(want string) {
		t.Helper()
		testkit.Eventually(t, "the log has "+want, func() bool {
			var last string // drop or return
			f.do(at, id, func(f *Ferry) {
				for _, line := range f.log {
					if !strings.HasPrefix(line, "load") {
						last = line
					}
				}
			})
			return last == want
		})
	}
	for i, step := range []func(){
		func() { ann.lose(); wait(move()); logged("drop 1"); ann.connect(true) },
		func() { ann.lose(); m := move(); ann.connect(true); wait(m) },
		func() { m := move(); ann.lose(); ann.connect(true); wait(m) },
		func() { m := move(); ann.lose(); wait(m); ann.connect(true) },
		func() { wait(move()); ann.lose(); logged("drop 1"); ann.connect(true); logged("return 1") },
	} {
		step()
		ann.request("ferry.Next", Step{i + 1})
		testkit.Eventually(t, "the client has the state", func() bool {
			ann.mu.Lock()
			defer ann.mu.Unlock()
			last, _ := d.Get("guests", "1", "last")
			return last == float64(i+1) || last == int64(i+1) || last == i+1
		})
		f.do(at, id, func(f *Ferry) {
			if p := f.Player(1); p == nil || p.Dropped() {
				t.Errorf("step %d: the player is away: %s", i, strings.Join(f.log, "; "))
			}
		})
	}
	ann.mu.Lock()
	defer ann.mu.Unlock()
	for _, note := range ann.pushes {
		if note != "snapshot" && note != "patch" && note != "empty" {
			t.Errorf("the client got the push %s", note)
		}
	}
}

// Raft is a room without ticks that can move.
type Raft struct {
	room.Base[struct{ N, Timers int }]
}

func (r *Raft) Save() ([]byte, error) { return nil, nil }
func (r *Raft) Load([]byte) error     { r.After(time.Millisecond, func() { r.State.Timers++ }); return nil }
func (r *Raft) Add(_ *room.Player, m *Step) *Step {
	r.State.N += m.DX
	return &Step{r.State.N}
}

// A room without ticks moves as well. Its state and the timers of Load reach the client.
func TestMoveWithoutTicks(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	kind := room.Define[Raft]("raft", room.Empty(time.Second))
	gate := testkit.StartNode(t, nil, nil)
	a := testkit.StartNode(t, nil, []*testkit.Node{gate}, kind.Option())
	b := testkit.StartNode(t, nil, []*testkit.Node{gate, a}, kind.Option())
	info, err := kind.On(a.Server).Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{gate.Connect(), t}
	r := g.board(info.ID)
	g.ask("raft.Add", Step{2}, nil)
	// The least loaded node is the other one.
	for i, at := range []*testkit.Node{b, a, b} {
		if err := room.Move(t.Context(), info.ID, ""); err != nil {
			t.Fatalf("Move = %v", err)
		}
		if n := len(kind.On(at.Server).Stats()); n != 1 {
			t.Errorf("move %d: the node has %d rooms", i, n)
		}
		testkit.Eventually(t, "the timer of Load has run", func() bool { return get(r, "timers") == string(rune('1'+i)) })
	}
	var got Step
	if err := r.Request(t.Context(), "Add", Step{3}, &got); err != nil || got.DX != 5 {
		t.Errorf("Add = %v, %v, want 5", got, err)
	}
	testkit.Eventually(t, "the state is sent", func() bool { return get(r, "n") == "5" })
	if err := r.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the empty room ends", func() bool { return len(kind.On(b.Server).Stats()) == 0 })
	if err := room.Move(t.Context(), info.ID, ""); !errors.Is(err, room.ErrNotFound) {
		t.Errorf("Move of a room that has ended = %v, want ErrNotFound", err)
	}
}
