package room_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/room"
)

// Skiff is a room whose link breaks while its move is committed.
type Skiff struct {
	room.Base[struct{ Turns int }]
}

// strait holds up Load until the message Break waits, which cuts the links.
var strait struct {
	loading, load chan struct{}
	cut           func()
}

func (r *Skiff) Save() ([]byte, error) { return json.Marshal(r.State.Turns) }

func (r *Skiff) Load([]byte) error {
	if strait.loading != nil {
		close(strait.loading)
		<-strait.load
	}
	return nil
}

func (r *Skiff) Break(*room.Player, *Step) { strait.cut() }

func (r *Skiff) Turn(*room.Player, *Step) (*Step, error) {
	r.State.Turns++
	return &Step{r.State.Turns}, nil
}

// skiffs is a gate and docks. The first dock has a skiff, whose move to the second one has
// a commit without an answer.
type skiffs struct {
	t     *testing.T
	kind  *room.Kind[Skiff]
	gate  *testkit.Node
	docks []*testkit.Node
	guest *guest
	room  *croom.Room
}

func newSkiffs(t *testing.T, docks int) *skiffs {
	r := &skiffs{t: t, kind: room.Define[Skiff]("skiff", room.TickRate(50), room.Schedulers(1))}
	r.gate = testkit.StartNode(t, testkit.Services{"login": &Login{}}, nil)
	all := []*testkit.Node{r.gate}
	for range docks {
		r.docks = append(r.docks, testkit.StartNode(t, nil, all, r.kind.Option()))
		all = append(all, r.docks[len(r.docks)-1])
	}
	info, err := r.on(0).Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.guest = &guest{r.gate.Connect(), t}
	r.guest.ask("login.As", 1, nil)
	r.room = r.guest.board(info.ID)
	r.turn(1)
	return r
}

func (r *skiffs) on(dock int) *room.Kind[Skiff] { return r.kind.On(r.docks[dock].Server) }

func (r *skiffs) at(dock int) bool {
	for range r.on(dock).List(room.Filter{}) {
		return true
	}
	return false
}

// turn makes a turn, which must be the nth.
func (r *skiffs) turn(n int) {
	r.t.Helper()
	var got Step
	if err := r.room.Request(r.t.Context(), "Turn", Step{}, &got); err != nil || got.DX != n {
		r.t.Errorf("turn %d = %v, %v", n, got.DX, err)
	}
}

// move moves the skiff to the second dock. cut runs there in the commit.
func (r *skiffs) move(cut func()) error {
	r.t.Helper()
	strait.loading, strait.load, strait.cut = make(chan struct{}), make(chan struct{}), sync.OnceFunc(cut)
	defer func() { strait.loading = nil }()
	moved := make(chan error, 1)
	go func() {
		moved <- room.MoveFrom(r.t.Context(), r.docks[0].Server, r.room.ID(), r.docks[1].ClusterAddr())
	}()
	testkit.Receive(r.t, strait.loading, "the call of Load")
	if err := r.room.Send("Break", Step{}); err != nil {
		r.t.Fatal(err)
	}
	// When this is answered, the message before waits for the room.
	r.guest.ask("room.list", map[string]any{"kind": "skiff"}, nil)
	close(strait.load)
	return testkit.Receive(r.t, moved, "the end of the move")
}

// If the link between the nodes breaks during the commit, the node that had the room asks
// through the gate, and only the other node runs it.
func TestMoveWhoseLinkBreaks(t *testing.T) {
	r := newSkiffs(t, 2)
	if err := r.move(func() {
		r.docks[0].Links.Part(r.docks[1].ClusterAddr())
		r.docks[1].Links.Part(r.docks[0].ClusterAddr())
	}); err != nil {
		t.Errorf("Move = %v", err)
	}
	if r.at(0) || !r.at(1) {
		t.Errorf("the room is at the old node: %v, at the new node: %v", r.at(0), r.at(1))
	}
	r.turn(2)
	testkit.Eventually(t, "the client follows", func() bool { return get(r.room, "turns") == "2" })
}

// If no gate reaches the other node, the room continues where it was. The other node drops
// its copy when it can be reached again.
func TestMoveToANodeThatIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newSkiffs(t, 3)
	err := r.move(r.docks[1].Links.Cut)
	if err == nil || !strings.Contains(err.Error(), "ROOM-IN-DOUBT") {
		t.Errorf("Move = %v, want ROOM-IN-DOUBT", err)
	}
	if !r.at(0) || !r.at(1) {
		t.Errorf("the room is at the old node: %v, and a copy at the new node: %v", r.at(0), r.at(1))
	}
	r.room = r.guest.board(r.room.ID()) // the gate has said that the node is down
	if r.room.Player() != 1 {
		t.Errorf("the player returned as %d, want 1", r.room.Player())
	}
	r.turn(2)
	if err := room.MoveFrom(t.Context(), r.docks[0].Server, r.room.ID(), r.docks[2].ClusterAddr()); !errors.Is(err, room.ErrMoving) {
		t.Errorf("Move to a third node while there may be a copy = %v, want ErrMoving", err)
	}
	r.docks[1].Links.Mend()
	testkit.Eventually(t, "the copy is dropped", func() bool { return !r.at(1) })
	r.turn(3)
	testkit.Eventually(t, "the client follows", func() bool { return get(r.room, "turns") == "3" })
	if !r.at(0) || r.room.Err() != nil {
		t.Errorf("the room is at the old node: %v, and its client has the error %v", r.at(0), r.room.Err())
	}
	// It can move now.
	testkit.AwaitMembers(t, append(r.docks, r.gate)...)
	if err := room.Move(t.Context(), r.room.ID(), r.docks[1].ClusterAddr()); err != nil {
		t.Errorf("the next Move = %v", err)
	}
	r.turn(4)
}

// If the room moves on to a third node before the other one can be reached, the third
// node makes it drop its copy.
func TestCopyOfARoomThatMovesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newSkiffs(t, 3)
	if err := r.move(r.docks[1].Links.Cut); err == nil || !strings.Contains(err.Error(), "ROOM-IN-DOUBT") {
		t.Errorf("Move = %v, want ROOM-IN-DOUBT", err)
	}
	r.room = r.guest.board(r.room.ID()) // the gate has said that the node is down
	r.turn(2)
	if err := room.EndDoubt(t.Context(), r.docks[0].Server, r.room.ID()); err != nil {
		t.Fatal(err)
	}
	if err := room.MoveFrom(t.Context(), r.docks[0].Server, r.room.ID(), r.docks[2].ClusterAddr()); err != nil {
		t.Fatalf("Move to a third node = %v", err)
	}
	r.turn(3)
	if r.at(0) || !r.at(1) || !r.at(2) {
		t.Errorf("the room is at the docks %v, %v, %v, want a copy at the second and the room at the third", r.at(0), r.at(1), r.at(2))
	}
	r.docks[1].Links.Mend()
	testkit.Eventually(t, "the copy is dropped", func() bool { return !r.at(1) })
	r.turn(4)
	testkit.Eventually(t, "the client follows", func() bool { return get(r.room, "turns") == "4" })
	if !r.at(2) || r.room.Err() != nil {
		t.Errorf("the room is at the third dock: %v, and its client has the error %v", r.at(2), r.room.Err())
	}
	testkit.AwaitMembers(t, append(r.docks, r.gate)...)
	if err := room.MoveFrom(t.Context(), r.docks[2].Server, r.room.ID(), r.docks[1].ClusterAddr()); err != nil {
		t.Errorf("the next Move = %v", err)
	}
	r.turn(5)
}

// If a room that has moved back leaves a copy at the node that made it, it is found by its id when the copy is dropped.
func TestCopyWhereTheRoomWasMade(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newSkiffs(t, 2)
	if err := room.MoveFrom(t.Context(), r.docks[0].Server, r.room.ID(), r.docks[1].ClusterAddr()); err != nil {
		t.Fatal(err)
	}
	r.turn(2)
	slices.Reverse(r.docks)
	if err := r.move(r.docks[1].Links.Cut); err == nil || !strings.Contains(err.Error(), "ROOM-IN-DOUBT") {
		t.Errorf("Move = %v, want ROOM-IN-DOUBT", err)
	}
	r.docks[1].Links.Mend()
	testkit.Eventually(t, "the copy is dropped", func() bool { return !r.at(1) })
	testkit.AwaitMembers(t, append(r.docks, r.gate)...)
	for uid := range int64(8) { // the gate sends some of them to the node that had the copy
		g := &guest{r.gate.Connect(), t}
		g.ask("login.As", uid+2, nil)
		g.board(r.room.ID())
	}
	r.room = r.guest.board(r.room.ID())
	r.turn(3)
}
