package nodeauth

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/lonng/nano/cluster/clusterpb"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// half is one end of a stream in memory. When it is closed, the other end returns an
// error.
type half struct{ in, out chan any }

func streams() (dialer, acceptor *half) {
	a, b := make(chan any, 8), make(chan any, 8)
	return &half{a, b}, &half{b, a}
}

func (h *half) SendMsg(m any) error {
	h.out <- proto.Clone(m.(proto.Message))
	return nil
}

func (h *half) RecvMsg(m any) error {
	switch v := (<-h.in).(type) {
	case error:
		return v
	case proto.Message:
		proto.Merge(m.(proto.Message), v)
		return nil
	}
	return io.EOF
}

func (h *half) end(err error) {
	if err != nil {
		h.out <- err
	}
	close(h.out)
}

// meet runs the handshake of both sides of a link.
func meet(dialer, acceptor *Self) (seenByDialer, seenByAcceptor Peer, dialErr, acceptErr error) {
	d, a := streams()
	done := make(chan struct{})
	go func() {
		defer close(done)
		seenByAcceptor, acceptErr = acceptor.Accept(a)
		if acceptErr == nil {
			seenByAcceptor.Hello, acceptErr = ReceiveHello(a)
		}
		if acceptErr == nil {
			acceptErr = SendHello(a, &clusterpb.Hello{Id: 2})
		}
		a.end(acceptErr)
	}()
	seenByDialer, dialErr = dialer.Dial(d, func() (*clusterpb.Hello, error) { return &clusterpb.Hello{Id: 1}, nil })
	d.end(status.Error(codes.Canceled, "gone"))
	<-done
	return
}

func TestGreet(t *testing.T) {
	for name, secret := range map[string]string{"no secret": "", "a secret": "hush"} {
		t.Run(name, func(t *testing.T) {
			one := &Self{Addr: "one:1", Epoch: 11, Secret: []byte(secret)}
			two := &Self{Addr: "two:2", Epoch: 22, Secret: []byte(secret)}
			seenByDialer, seenByAcceptor, dialErr, acceptErr := meet(one, two)
			if dialErr != nil || acceptErr != nil {
				t.Fatalf("Dial: %v, Accept: %v", dialErr, acceptErr)
			}
			if p := seenByDialer; p.Addr != "two:2" || p.Epoch != 22 || p.Hello.GetId() != 2 {
				t.Errorf("the dialer saw %v", p)
			}
			if p := seenByAcceptor; p.Addr != "one:1" || p.Epoch != 11 || p.Hello.GetId() != 1 {
				t.Errorf("the acceptor saw %v", p)
			}
		})
	}
}

func TestSecretMismatch(t *testing.T) {
	for _, c := range []struct{ dialer, acceptor, want string }{
		{"hush", "", "one:1 has a cluster secret, two:2 has none"},
		{"", "hush", "two:2 has a cluster secret, one:1 has none"},
		{"hush", "hash", "the cluster secrets of two:2 and one:1 differ"},
	} {
		_, _, dialErr, acceptErr := meet(
			&Self{Addr: "one:1", Epoch: 1, Secret: []byte(c.dialer)},
			&Self{Addr: "two:2", Epoch: 2, Secret: []byte(c.acceptor)})
		if !errors.Is(dialErr, ErrRefused) || !strings.Contains(dialErr.Error(), c.want) {
			t.Errorf("secrets %q and %q: Dial = %v, want ErrRefused: %s", c.dialer, c.acceptor, dialErr, c.want)
		}
		if acceptErr == nil {
			t.Errorf("secrets %q and %q: Accept let the dialer in", c.dialer, c.acceptor)
		}
	}
}

// TestAcceptWithoutProof checks that a dialer without the secret learns nothing that
// helps to guess it. The acceptor sends its proof after the dialer's.
func TestAcceptWithoutProof(t *testing.T) {
	self := &Self{Addr: "two:2", Epoch: 2, Secret: []byte("hush")}
	dialer := &Self{Addr: "one:1", Epoch: 1}
	for _, c := range []struct {
		name  string
		proof func(theirs *clusterpb.Greeting) []byte
		want  string
	}{
		{"none", func(*clusterpb.Greeting) []byte { return nil }, "two:2 has a cluster secret, one:1 has none"},
		{"a short one", func(*clusterpb.Greeting) []byte { return make([]byte, 1) }, "differ"},
		{"zeros", func(*clusterpb.Greeting) []byte { return make([]byte, 32) }, "differ"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, a := streams()
			done := make(chan error, 1)
			go func() {
				_, err := self.Accept(a)
				done <- err
			}()
			mine, err := dialer.greeting()
			if err != nil {
				t.Fatal(err)
			}
			_ = send(d, mine)
			theirs, err := receive(d)
			if err != nil {
				t.Fatal(err)
			}
			_ = send(d, &clusterpb.Greeting{Proof: c.proof(theirs)})
			err = <-done
			a.end(nil)
			if more, err := receive(d); len(theirs.GetProof()) > 0 || err == nil {
				t.Errorf("the acceptor gave its proof away: %x, %x", theirs.GetProof(), more.GetProof())
			}
			if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Accept = %v, want Unauthenticated: %s", err, c.want)
			}
		})
	}
}

// TestDialWithoutProof checks that a process at a member's address without the secret
// gets no hello, even if it replays the dialer's proof.
func TestDialWithoutProof(t *testing.T) {
	impostor := &Self{Addr: "two:2", Epoch: 2}
	for _, c := range []struct {
		name  string
		proof func(theirs *clusterpb.Greeting) []byte
		want  string
	}{
		{"none", func(*clusterpb.Greeting) []byte { return nil }, "one:1 has a cluster secret, two:2 has none"},
		{"the dialer's own", (*clusterpb.Greeting).GetProof, "differ"},
		{"a short one", func(g *clusterpb.Greeting) []byte { return g.GetProof()[:1] }, "differ"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, a := streams()
			done := make(chan error, 1)
			go func() {
				defer d.end(nil)
				_, err := (&Self{Addr: "one:1", Epoch: 1, Secret: []byte("hush")}).Dial(d, func() (*clusterpb.Hello, error) {
					t.Error("the dialer was asked for its hello")
					return &clusterpb.Hello{}, nil
				})
				done <- err
			}()
			if _, err := receive(a); err != nil {
				t.Fatal(err)
			}
			mine, err := impostor.greeting()
			if err != nil {
				t.Fatal(err)
			}
			_ = send(a, mine)
			theirs, err := receive(a)
			if err != nil {
				t.Fatal(err)
			}
			_ = send(a, &clusterpb.Greeting{Proof: c.proof(theirs)})
			if err := <-done; !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Dial = %v, want ErrRefused: %s", err, c.want)
			}
			if g, err := receive(a); err == nil {
				t.Errorf("the dialer went on with %v", g)
			}
		})
	}
}

// TestProofCoversEverything checks that the input of a proof differs for any two
// greetings.
func TestProofCoversEverything(t *testing.T) {
	self := &Self{Secret: []byte("hush")}
	greeting := func(addr string, epoch uint64, nonce byte) *clusterpb.Greeting {
		return &clusterpb.Greeting{Addr: addr, Epoch: epoch, Nonce: append(make([]byte, nonceSize-1), nonce)}
	}
	seen := make(map[string]string)
	for _, role := range []byte{roleDialer, roleAcceptor} {
		for _, d := range []*clusterpb.Greeting{greeting("a:1", 1, 1), greeting("a:1", 1, 2), greeting("a:1", 2, 1), greeting("a:12", 1, 1)} {
			for _, a := range []*clusterpb.Greeting{greeting("b:1", 1, 1), greeting("b:1", 1, 2), greeting("b:1", 2, 1), greeting("2b:1", 1, 1)} {
				what := string(role) + d.String() + a.String()
				proof := string(self.proof(role, d, a))
				if other, ok := seen[proof]; ok {
					t.Errorf("the same proof for %s and %s", what, other)
				}
				seen[proof] = what
			}
		}
	}
}

func TestMalformedGreeting(t *testing.T) {
	nonce := make([]byte, nonceSize)
	for name, c := range map[string]struct {
		send *clusterpb.Envelope
		want string
	}{
		"data first":  {&clusterpb.Envelope{Data: []byte("x")}, "data before the handshake"},
		"empty":       {&clusterpb.Envelope{}, "data before the handshake"},
		"version":     {&clusterpb.Envelope{Greeting: &clusterpb.Greeting{Version: 9, Addr: "a:1", Nonce: nonce}}, "version 9"},
		"short nonce": {&clusterpb.Envelope{Greeting: &clusterpb.Greeting{Version: 1, Addr: "a:1", Nonce: nonce[1:]}}, "nonce of 31 bytes, want 32"},
		"no address":  {&clusterpb.Envelope{Greeting: &clusterpb.Greeting{Version: 1, Nonce: nonce}}, "address of 0 bytes"},
		"long address": {&clusterpb.Envelope{Greeting: &clusterpb.Greeting{Version: 1, Addr: strings.Repeat("a", 256), Nonce: nonce}},
			"address of 256 bytes, want 1 to 255"},
	} {
		t.Run(name, func(t *testing.T) {
			self := &Self{Addr: "two:2", Epoch: 2}
			d, a := streams()
			_ = d.SendMsg(c.send)
			if _, err := self.Accept(a); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Accept = %v, want FailedPrecondition: %s", err, c.want)
			}
			d, a = streams()
			_ = a.SendMsg(c.send)
			if _, err := self.Dial(d, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Dial = %v, want %s", err, c.want)
			}
		})
	}
}

// TestDialRefused checks that the dialer gets the text of the peer's refusal.
func TestDialRefused(t *testing.T) {
	d, a := streams()
	a.end(status.Error(codes.Unauthenticated, "go away"))
	_, err := (&Self{Addr: "one:1"}).Dial(d, nil)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "go away") {
		t.Errorf("Dial = %v, want ErrRefused: go away", err)
	}
}
