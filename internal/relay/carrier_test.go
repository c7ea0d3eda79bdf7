package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/link"
)

var asks = map[string]*carry.Ask{
	"tcp":     {Token: bytes.Repeat([]byte{7}, 24), Left: time.Second, Remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1).To4(), Port: 5}},
	"ws":      {Token: []byte("t"), Framed: true, Left: time.Microsecond, Remote: textAddr{"pipe", "pipe"}},
	"nothing": {},
}

func sameAsk(a, b *carry.Ask) bool {
	return bytes.Equal(a.Token, b.Token) && a.Framed == b.Framed && a.Left == b.Left &&
		(a.Remote == nil) == (b.Remote == nil) && (a.Remote == nil || a.Remote.String() == b.Remote.String() && a.Remote.Network() == b.Remote.Network())
}

func TestAsk(t *testing.T) {
	for name, want := range asks {
		b := appendAsk(nil, want)
		if got, err := parseAsk(b); err != nil || !sameAsk(got, want) {
			t.Errorf("%s: parseAsk(%x) = %+v, %v", name, b, *got, err)
		}
		for n := range b {
			if _, err := parseAsk(b[:n]); !errors.Is(err, errMalformed) {
				t.Errorf("%s: parseAsk(%x) = %v, want errMalformed", name, b[:n], err)
			}
		}
		if _, err := parseAsk(append(b, 0)); !errors.Is(err, errMalformed) {
			t.Errorf("%s and a byte: %v, want errMalformed", name, err)
		}
	}
}

func FuzzAsk(f *testing.F) {
	for _, a := range asks {
		f.Add(appendAsk(nil, a), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		a, err := parseAsk(b)
		if err != nil {
			return
		}
		if again, err := parseAsk(appendAsk(nil, a)); err != nil || !sameAsk(a, again) {
			t.Fatalf("%+v encoded and parsed: %+v, %v", *a, *again, err)
		}
		if n := int(cut); n < len(b) {
			if part, err := parseAsk(b[:n]); err == nil {
				t.Fatalf("the first %d bytes of %x are %+v, want an error", n, b, *part)
			}
		}
	})
}

// answer holds the results of Carry.
type answer struct {
	conn *carry.Conn
	why  *carry.Refusal
	err  error
}

// ask asks the other node for a session, and returns when its frames have arrived there.
func (s *scene) ask(left time.Duration) (stream int64, answered <-chan answer) {
	s.t.Helper()
	got := make(chan answer, 1)
	go func() {
		var a answer
		a.conn, a.why, a.err = s.Carry((*s.peers.Load())[0].name, &carry.Ask{Token: []byte("token"), Left: left}, []byte("hello"))
		got <- a
	}()
	f := s.next()
	if a, err := parseAsk(f.Meta); f.Kind != kindCarry || f.Flags != 0 || err != nil || string(a.Token) != "token" {
		s.t.Fatalf("the other node got %+v, %v", f, err)
	}
	s.hears(link.Frame{Kind: kindBytes, Session: f.Session, Data: []byte("hello")})
	return f.Session, got
}

func receive[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
	}
	return v
}

func TestCarry(t *testing.T) {
	s := newScene(t, nil)
	id, answered := s.ask(patience)
	s.says(link.Frame{Kind: kindBytes, Flags: flagToCarrier, Session: id, Data: []byte("welcome")})
	a := receive(t, answered, "the answer")
	if a.err != nil || a.why != nil {
		t.Fatalf("Carry = %+v, %v", a.why, a.err)
	}
	if n := s.Stats().Carried; n != 1 {
		t.Errorf("Stats().Carried = %d, want 1", n)
	}
	_, _ = a.conn.Write([]byte("more"))
	s.hears(link.Frame{Kind: kindBytes, Session: id, Data: []byte("more")})
	_ = a.conn.CloseWrite()
	s.hears(link.Frame{Kind: kindEnd, Session: id, ID: endHalf})
	s.says(
		link.Frame{Kind: kindBytes, Flags: flagToCarrier, Session: id, Data: []byte(" back")},
		link.Frame{Kind: kindEnd, Flags: flagToCarrier, Session: id},
		link.Frame{Kind: kindBytes, Flags: flagToCarrier, Session: id, Data: []byte("late")},
		link.Frame{Kind: kindCredit, Flags: flagToCarrier, Session: id, ID: 1},
		link.Frame{Kind: kindEnd, Flags: flagToCarrier, Session: id},
	)
	if b, err := io.ReadAll(a.conn); err != nil || string(b) != "welcome back" {
		t.Errorf("%q, %v came", b, err)
	}
	_ = a.conn.Close()
	s.silent()
	if n := s.Stats().Carried; n != 0 {
		t.Errorf("Stats().Carried = %d after the end, want 0", n)
	}
}

func TestCarryRefused(t *testing.T) {
	s := newScene(t, nil)
	id, answered := s.ask(patience)
	s.says(link.Frame{Kind: kindEnd, Flags: flagToCarrier | flagRefused, Session: id, Route: "ended", Data: []byte(`{"reason":"out"}`)})
	if a := receive(t, answered, "the answer"); a.err != nil || a.why == nil || a.why.Reason != "ended" || string(a.why.Kick) != `{"reason":"out"}` {
		t.Errorf("Carry = %+v", a)
	}
	id, answered = s.ask(patience)
	s.says(link.Frame{Kind: kindEnd, Flags: flagToCarrier, Session: id}) // the node shuts down
	if a := receive(t, answered, "the answer"); a.why != nil || a.err == nil || errors.Is(a.err, carry.ErrUnknownNode) {
		t.Errorf("Carry = %+v, want an error", a)
	}
	// A node of an older version does not answer.
	id, answered = s.ask(10 * time.Millisecond)
	if a := receive(t, answered, "the answer"); a.why != nil || a.err == nil || errors.Is(a.err, carry.ErrUnknownNode) {
		t.Errorf("Carry = %+v, want an error", a)
	}
	s.hears(link.Frame{Kind: kindEnd, Session: id})
	if _, _, err := s.Carry(carry.NameOf("192.0.2.1:1", 1), &carry.Ask{Left: patience}, nil); !errors.Is(err, carry.ErrUnknownNode) {
		t.Errorf("Carry to a node that is not up = %v, want ErrUnknownNode", err)
	}
}

// A node that leaves before it answers is reported as unknown at once.
func TestCarryNodeGone(t *testing.T) {
	s := newScene(t, nil)
	_, answered := s.ask(patience)
	began := time.Now()
	s.far.stop(t)
	if a := receive(t, answered, "the answer"); !errors.Is(a.err, carry.ErrUnknownNode) {
		t.Errorf("Carry = %+v, want ErrUnknownNode", a)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lost) != 0 {
		t.Errorf("%d processes are remembered", len(s.lost))
	}
}

// A node with an interrupted link is asked again over the next link.
func TestCarryLinkInterrupted(t *testing.T) {
	s := newScene(t, nil)
	_, answered := s.ask(patience)
	s.link.Close(link.ErrDown)
	again := s.next()
	if again.Kind != kindCarry {
		t.Fatalf("the other node got %+v, want to be asked again", again)
	}
	s.hears(link.Frame{Kind: kindBytes, Session: again.Session, Data: []byte("hello")})
	s.link = s.far.Link(s.Address())
	s.says(link.Frame{Kind: kindBytes, Flags: flagToCarrier, Session: again.Session, Data: []byte("welcome")})
	a := receive(t, answered, "the answer")
	if a.err != nil || a.conn == nil {
		t.Fatalf("Carry = %+v, %v", a.why, a.err)
	}
	_ = a.conn.Close()
}

// The number of clients that wait for the answer of one node is bounded. The others wait
// for their turn.
func TestCarryTurns(t *testing.T) {
	s := newScene(t, nil)
	name := (*s.peers.Load())[0].name
	var wg sync.WaitGroup
	const clients = maxAsking + 50
	results := make(chan answer, clients)
	for range clients {
		wg.Go(func() {
			var a answer
			a.conn, a.why, a.err = s.Carry(name, &carry.Ask{Left: patience}, nil)
			results <- a
		})
	}
	open := map[int64]bool{}
	for len(open) < maxAsking {
		open[s.next().Session] = true
	}
	s.silent()
	for n := len(open); n > 0; n-- {
		for id := range open {
			s.says(link.Frame{Kind: kindEnd, Flags: flagToCarrier | flagRefused, Session: id, Route: "unknown"})
			delete(open, id)
			break
		}
	}
	for range clients - maxAsking {
		s.says(link.Frame{Kind: kindEnd, Flags: flagToCarrier | flagRefused, Session: s.next().Session, Route: "unknown"})
	}
	wg.Wait()
	close(results)
	for a := range results {
		if a.err != nil || a.why == nil || a.why.Reason != "unknown" {
			t.Fatalf("Carry = %+v", a)
		}
	}
}

// carries makes the node under test accept streams of the other node, and returns them.
func (s *scene) carries(why *carry.Refusal) <-chan *carry.Conn {
	conns := make(chan *carry.Conn, 10)
	s.lobby.mu.Lock()
	defer s.lobby.mu.Unlock()
	s.lobby.carried = func(c *carry.Conn, a *carry.Ask) *carry.Refusal {
		if string(a.Token) != "token" || c.RemoteAddr().String() != "192.0.2.1:5" {
			s.t.Errorf("the gate got %q from %v", a.Token, c.RemoteAddr())
		}
		conns <- c
		return why
	}
	return conns
}

func carryFrame(id int64) link.Frame {
	return link.Frame{Kind: kindCarry, Session: id, Meta: appendAsk(nil, &carry.Ask{Token: []byte("token"), Remote: textAddr{"tcp", "192.0.2.1:5"}})}
}

func TestCarried(t *testing.T) {
	s := newScene(t, nil)
	conns := s.carries(nil)
	s.says(carryFrame(5), link.Frame{Kind: kindBytes, Session: 5, Data: []byte("hello")})
	c := receive(t, conns, "the stream")
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v came", b, err)
	}
	go func() { _, _ = c.Write(make([]byte, flow.StreamSize+1)) }()
	for left := flow.StreamSize; left > 0; {
		f := s.next()
		if f.Kind != kindBytes || f.Flags != flagToCarrier || f.Session != 5 {
			t.Fatalf("the other node got %+v", f)
		}
		left -= len(f.Data)
	}
	s.silent()
	s.says(link.Frame{Kind: kindCredit, Session: 5, ID: 1})
	s.hears(link.Frame{Kind: kindBytes, Flags: flagToCarrier, Session: 5, Data: []byte{0}})
	s.says(link.Frame{Kind: kindEnd, Session: 5, ID: endHalf})
	if _, err := c.Read(b); err != io.EOF {
		t.Errorf("Read = %v, want io.EOF", err)
	}
	_ = c.Close()
	s.hears(link.Frame{Kind: kindEnd, Flags: flagToCarrier, Session: 5})

	s.carries(&carry.Refusal{Reason: "ended", Kick: []byte("{}")})
	s.says(carryFrame(6), link.Frame{Kind: kindBytes, Session: 6, Data: []byte("hello")})
	s.hears(link.Frame{Kind: kindEnd, Flags: flagToCarrier | flagRefused, Session: 6, Route: "ended", Data: []byte("{}")})

	s.says(link.Frame{Kind: kindCarry, Session: 7, Meta: []byte{1}})
	s.hears(link.Frame{Kind: kindEnd, Flags: flagToCarrier, Session: 7})
	s.silent()
}

// The end of a link ends the streams over it, in both roles.
func TestCarriedLinkDown(t *testing.T) {
	s := newScene(t, nil)
	conns := s.carries(nil)
	s.says(carryFrame(5))
	c := receive(t, conns, "the stream")
	id, answered := s.ask(patience)
	s.says(link.Frame{Kind: kindBytes, Flags: flagToCarrier, Session: id, Data: []byte("x")})
	out := receive(t, answered, "the answer").conn
	s.link.Close(link.ErrDown)
	<-c.Ended()
	<-out.Ended()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, link.ErrDown) {
		t.Errorf("Read = %v, want ErrDown", err)
	}
}

// A peer that exceeds the window loses only the stream.
func TestCarriedOverrun(t *testing.T) {
	s := newScene(t, nil)
	conns := s.carries(nil)
	s.says(carryFrame(5), link.Frame{Kind: kindBytes, Session: 5, Data: make([]byte, flow.StreamSize+1)})
	receive(t, conns, "the <-stream").Ended()
	s.hears(link.Frame{Kind: kindEnd, Flags: flagToCarrier, Session: 5})
	s.silent()
}

// A node that is joining the cluster does not report a name as unknown for a while.
func TestCarryWhileJoining(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Node.Seeds = []string{"127.0.0.1:1"} })
	if s.node.Converged() {
		t.Fatal("the node has converged without its seed")
	}
	stranger := carry.NameOf("192.0.2.1:1", 1)
	if _, _, err := s.Carry(stranger, &carry.Ask{Left: patience}, nil); !errors.Is(err, errSettling) {
		t.Errorf("Carry = %v, want errSettling", err)
	}
	s.joined = s.joined.Add(-settleTime)
	if _, _, err := s.Carry(stranger, &carry.Ask{Left: patience}, nil); !errors.Is(err, carry.ErrUnknownNode) {
		t.Errorf("Carry = %v after %v, want ErrUnknownNode", err, settleTime)
	}
}
