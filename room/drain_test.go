package room

import (
	"context"
	"testing"
	"time"

	"github.com/lonng/nano/internal/testkit"
)

// barge is a room whose move can be held up.
type barge struct{ Base[struct{ N int }] }

// lock holds up the barge of a test.
type lock struct{ loading, load, blocked, release chan struct{} }

var barges lock

func (b *barge) Save() ([]byte, error) { return nil, nil }

func (b *barge) Load([]byte) error {
	close(barges.loading)
	<-barges.load
	return nil
}

// Block waits for the end of the test.
func (b *barge) Block(*Player, *struct{}) {
	close(barges.blocked)
	<-barges.release
}

// A drain ends with its context, although the other node does not answer.
func TestDrainEndsInTime(t *testing.T) {
	barges = lock{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	k := Define[barge]("barge", Schedulers(1), Empty(time.Minute))
	first := testkit.StartNode(t, nil, nil, k.Option())
	testkit.StartNode(t, nil, []*testkit.Node{first}, k.Option())
	t.Cleanup(func() { close(barges.release) }) // before the nodes stop
	info, err := k.On(first.Server).Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := first.Connect()
	if err := p.Request(t.Context(), "room.join", map[string]any{"id": info.ID}, nil); err != nil {
		t.Fatal(err)
	}
	n, _ := nodes.Load(first.Server)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drained := make(chan time.Time, 1)
	go func() {
		n.(*node).drain(ctx)
		drained <- time.Now()
	}()
	testkit.Receive(t, barges.loading, "the call of Load")
	if err := p.Notify("barge.Block", struct{}{}); err != nil {
		t.Fatal(err)
	}
	// After this answer, the message above waits for the room.
	if err := p.Request(t.Context(), "room.list", map[string]any{"kind": "barge"}, nil); err != nil {
		t.Fatal(err)
	}
	close(barges.load)
	testkit.Receive(t, barges.blocked, "the message at the other node") // the commit has no answer
	cancel()
	ended := time.Now()
	if late := testkit.Receive(t, drained, "the end of the drain").Sub(ended); late > 2*closeTime {
		t.Errorf("the drain ended %v after its context, want %v at most", late, closeTime)
	}
}

// A node that drains does not wait for tickets after its context has ended.
func TestHandOverEndsInTime(t *testing.T) {
	l := newLobby(&node{})
	l.entries.tickets["a"] = &Ticket{shared: &sharedTicket{busy: true}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	l.handOver(ctx)
	if took := time.Since(began); took > handOverTime/2 {
		t.Errorf("handOver took %v after the end of its context", took)
	}
}
