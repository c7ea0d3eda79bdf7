package agent

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano/session"
)

// TestJoin checks that joined packets come in order, that the bytes of a buffer never
// change, and that a buffer is joined with one packet only.
func TestJoin(t *testing.T) {
	packets := make([]*buffer, 6)
	for i := range packets {
		packets[i] = &buffer{b: []byte(strings.Repeat(fmt.Sprint(i), 10+i)), shared: true}
	}
	one := packets[0]
	two := one.join(packets[1])
	three := two.join(packets[2])
	if got := one.join(packets[1]); got != two {
		t.Errorf("join again = %p, want the same buffer, %p", got, two)
	}
	if one.join(packets[3]) != nil || two.join(packets[3]) != nil {
		t.Error("a buffer was joined with two packets")
	}
	four := three.join(packets[4])
	for i, b := range []*buffer{one, two, three, four} {
		want := ""
		for _, p := range []int{0, 1, 2, 4}[:i+1] {
			want += strings.Repeat(fmt.Sprint(p), 10+p)
		}
		if string(b.b) != want || !b.shared {
			t.Errorf("buffer %d holds %s, want %s", i+1, b.b, want)
		}
	}
	if b := (&buffer{b: make([]byte, maxJoined), shared: true}); b.join(packets[5]) != nil {
		t.Errorf("more than %d bytes were joined", maxJoined)
	}
}

// TestJoinConcurrently joins one buffer with several packets at once.
func TestJoinConcurrently(t *testing.T) {
	for range 200 {
		base := &buffer{b: make([]byte, 8, 64), shared: true}
		var wg sync.WaitGroup
		results := make([]*buffer, 4)
		for i := range results {
			wg.Go(func() {
				results[i] = base.join(&buffer{b: []byte{byte(i + 1)}, shared: true})
			})
		}
		wg.Wait()
		joined := 0
		for i, b := range results {
			if b == nil {
				continue
			}
			if joined++; len(b.b) != 9 || b.b[8] != byte(i+1) {
				t.Fatalf("buffer %d holds %v", i, b.b)
			}
		}
		if joined != 1 {
			t.Fatalf("%d packets were joined, want 1", joined)
		}
	}
}

// TestBroadcastsInOneWrite broadcasts to overlapping groups of agents in one batch, with
// pushes to single agents in between. Each client gets what is for it, in order.
func TestBroadcastsInOneWrite(t *testing.T) {
	const members = 12
	h := newHost(t, nil)
	peers, agents := make([]*peer, members), make([]*Agent, members)
	for i := range peers {
		peers[i], agents[i] = tcp(t, h)
	}
	want := make([][]string, members)
	push := func(i int, text string) {
		want[i] = append(want[i], text)
		if err := agents[i].Push("news", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	broadcast := func(from, to int, text string) {
		var s Sender
		for i := from; i < to; i++ {
			want[i] = append(want[i], text)
			if err := s.Push(agents[i], "news", []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Begin()
	broadcast(0, members, "all 1")
	broadcast(0, members, "all 2")
	push(10, "one")
	broadcast(0, 8, "the first")
	broadcast(3, members, "the last")
	push(7, "another")
	broadcast(0, members, "all 3")
	broadcast(0, members, strings.Repeat("large ", maxJoined))
	broadcast(0, members, "all 4")
	h.End()
	for i, p := range peers {
		for _, text := range want[i] {
			if m := p.message(); string(m.Data) != text {
				t.Fatalf("client %d got %.40q, want %.40q", i, m.Data, text)
			}
		}
	}
	_ = agents[0].Close()
	check(t, reason(t, agents[0].session), session.ErrClosed)
}
