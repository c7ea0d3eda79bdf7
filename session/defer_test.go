package session_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// foreign is a network entity of a program. It has only the methods of
// session.NetworkEntity.
type foreign struct {
	mid  uint64
	mu   sync.Mutex
	sent map[uint64][]any // mu guards it
	fail error            // the error that ResponseMid returns
}

func (f *foreign) Push(string, any) error { return nil }
func (f *foreign) RPC(string, any) error  { return nil }
func (f *foreign) LastMid() uint64        { return f.mid }
func (f *foreign) Response(v any) error   { return f.ResponseMid(f.mid, v) }
func (f *foreign) Close() error           { return nil }
func (f *foreign) RemoteAddr() net.Addr   { return mock.NetAddr{} }
func (f *foreign) ResponseMid(mid uint64, v any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.sent[mid] = append(f.sent[mid], v)
	return nil
}

func TestDeferOverForeignEntity(t *testing.T) {
	f := &foreign{mid: 1, sent: map[uint64][]any{}}
	s := session.New(f)
	first := s.Defer()
	f.mid = 2
	second := s.Defer()
	f.mid = 3
	third := s.Defer()
	if err := second.Reply("two"); err != nil {
		t.Errorf("Reply = %v, want nil", err)
	}
	if err := first.Fail(nano.Errorf("GAME-1", "no")); err != nil {
		t.Errorf("Fail = %v, want nil", err)
	}
	if err := third.Fail(fmt.Errorf("secret")); err != nil {
		t.Errorf("Fail = %v, want nil", err)
	}
	for i, r := range []*session.Responder{first, second, third} {
		if err := r.Reply("again"); err != session.ErrSessionOnNotify {
			t.Errorf("request %d: a second Reply = %v, want ErrSessionOnNotify", i+1, err)
		}
		if err := r.Fail(errors.New("again")); err != session.ErrSessionOnNotify {
			t.Errorf("request %d: Fail after an answer = %v, want ErrSessionOnNotify", i+1, err)
		}
	}
	if got := fmt.Sprint(f.sent[1], f.sent[2]); got != "[GAME-1: no] [two]" {
		t.Errorf("sent %s, want one answer each", got)
	}
	if e, ok := f.sent[3][0].(*nano.Error); !ok || e.Code != nano.CodeInternal || strings.Contains(e.Message, "secret") {
		t.Errorf("sent %v for an error that is not for the client, want NANO-500 without its text", f.sent[3])
	}
}

func TestDeferOfNotify(t *testing.T) {
	f := &foreign{sent: map[uint64][]any{}}
	r := session.New(f).Defer()
	if err := r.Reply("x"); err != session.ErrSessionOnNotify {
		t.Errorf("Reply to a notify = %v, want ErrSessionOnNotify", err)
	}
	if err := r.Fail(errors.New("x")); err != session.ErrSessionOnNotify {
		t.Errorf("Fail of a notify = %v, want ErrSessionOnNotify", err)
	}
	if len(f.sent) != 0 {
		t.Errorf("sent %v, want nothing", f.sent)
	}
}

func TestDeferAfterSendingFailed(t *testing.T) {
	f := &foreign{mid: 1, sent: map[uint64][]any{}, fail: errors.New("does not encode")}
	r := session.New(f).Defer()
	if err := r.Reply("x"); err != f.fail {
		t.Errorf("Reply = %v, want the error of the entity", err)
	}
	f.fail = nil
	if err := r.Fail(nil); err != nil {
		t.Errorf("Fail after a Reply that failed = %v, want nil", err)
	}
	if len(f.sent[1]) != 1 {
		t.Errorf("sent %v, want one answer", f.sent)
	}
}

func TestDeferOnceConcurrently(t *testing.T) {
	f := &foreign{mid: 1, sent: map[uint64][]any{}}
	r := session.New(f).Defer()
	var answered atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var err error
			if i%2 == 0 {
				err = r.Reply(i)
			} else {
				err = r.Fail(nil)
			}
			if err == nil {
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	if n := answered.Load(); n != 1 || len(f.sent[1]) != 1 {
		t.Errorf("%d answers returned nil, %d were sent, want 1", n, len(f.sent[1]))
	}
}

func TestDeferOverMock(t *testing.T) {
	e := mock.NewNetworkEntity()
	r := session.New(e).Defer()
	if err := r.Reply("later"); err != nil {
		t.Errorf("Reply = %v, want nil", err)
	}
	if err := r.Reply("again"); err != session.ErrSessionOnNotify {
		t.Errorf("a second Reply = %v, want ErrSessionOnNotify", err)
	}
	if got := e.FindResponseByMID(1); got != "later" {
		t.Errorf("FindResponseByMID(1) = %v, want the reply", got)
	}
}

// Desk defers its answers and passes the responders to the test.
type Desk struct {
	component.Base
	taken    chan *session.Responder
	sessions chan *session.Session
}

func (d *Desk) Take(s *session.Session, _ []byte) error {
	d.taken <- s.Defer()
	d.sessions <- s
	return nil
}

func (d *Desk) Panic(s *session.Session, _ []byte) error { d.taken <- s.Defer(); panic("after Defer") }
func (d *Desk) Fail(s *session.Session, _ []byte) error {
	d.taken <- s.Defer()
	return nano.Errorf("GAME-2", "after Defer")
}
func (d *Desk) Answer(s *session.Session, _ []byte) error {
	d.taken <- s.Defer()
	return s.Response([]byte(`"now"`))
}
func (d *Desk) Later(s *session.Session, _ *struct{}) (*string, error) {
	d.taken <- s.Defer()
	return nil, nil
}
func (d *Desk) Next(s *session.Session, _ []byte) error { return s.Response([]byte(`"next"`)) }

// desk starts a server with a Desk and connects a player.
func desk(t *testing.T) (*nanotest.Player, *Desk) {
	t.Helper()
	d := &Desk{taken: make(chan *session.Responder, 16), sessions: make(chan *session.Session, 16)}
	c := &component.Components{}
	c.Register(d)
	srv := nanotest.Start(t, nano.WithComponents(c), nano.WithSerializer(json.NewSerializer()))
	return srv.Connect(t), d
}

// request sends a request and returns the channel of its result.
func request(t *testing.T, p *nanotest.Player, route string) <-chan error {
	got := make(chan error, 1)
	go func() {
		var out string
		err := p.Request(t.Context(), route, struct{}{}, &out)
		if err == nil {
			err = errors.New("reply " + out)
		}
		got <- err
	}()
	return got
}

func TestDeferOverAgent(t *testing.T) {
	p, d := desk(t)
	one := request(t, p, "Desk.Take")
	first := <-d.taken
	two := request(t, p, "Desk.Take")
	second := <-d.taken
	if err := <-request(t, p, "Desk.Next"); err.Error() != "reply next" {
		t.Errorf("a request after the deferred ones = %v, want its reply", err)
	}
	if err := second.Reply("second"); err != nil {
		t.Errorf("Reply = %v, want nil", err)
	}
	if err := <-two; err.Error() != "reply second" {
		t.Errorf("the second request = %v, want its reply", err)
	}
	if err := first.Fail(nano.Errorf("GAME-1", "first")); err != nil {
		t.Errorf("Fail = %v, want nil", err)
	}
	if err := <-one; !errors.Is(err, &client.Error{Code: "GAME-1"}) {
		t.Errorf("the first request = %v, want GAME-1", err)
	}
	for _, r := range []*session.Responder{first, second} {
		if err := r.Reply("again"); err != session.ErrSessionOnNotify {
			t.Errorf("a second Reply = %v, want ErrSessionOnNotify", err)
		}
	}
	if err := p.Notify("Desk.Take", struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := (<-d.taken).Reply("x"); err != session.ErrSessionOnNotify {
		t.Errorf("Reply to a notify = %v, want ErrSessionOnNotify", err)
	}
}

// TestDeferByHandlerWithReply checks that a handler with a reply type may return nil
// after Defer, and that the request is not answered then.
func TestDeferByHandlerWithReply(t *testing.T) {
	p, d := desk(t)
	got := request(t, p, "Desk.Later")
	r := <-d.taken
	if err := <-request(t, p, "Desk.Next"); err.Error() != "reply next" {
		t.Errorf("the next request = %v, want its reply", err)
	}
	if err := r.Reply("later"); err != nil {
		t.Errorf("Reply = %v, want nil", err)
	}
	if err := <-got; err.Error() != "reply later" {
		t.Errorf("the request = %v, want the deferred reply", err)
	}
}

// TestDeferAfterHandlerAnswered checks that the handler's own answer or error is final,
// and that the responder fails before and after the next message runs.
func TestDeferAfterHandlerAnswered(t *testing.T) {
	for route, want := range map[string]string{
		"Desk.Panic": "NANO-500", "Desk.Fail": "GAME-2", "Desk.Answer": "reply now",
	} {
		p, d := desk(t)
		for _, next := range []bool{false, true} {
			got := <-request(t, p, route)
			if !strings.Contains(got.Error(), want) {
				t.Errorf("%s = %v, want %s", route, got, want)
			}
			r := <-d.taken
			if next {
				if got := <-request(t, p, "Desk.Next"); strings.HasPrefix(got.Error(), "NANO-") {
					t.Errorf("Desk.Next = %v, want a reply", got)
				}
			}
			if err := r.Reply("late"); err != session.ErrSessionOnNotify {
				t.Errorf("%s: Reply afterwards = %v, want ErrSessionOnNotify", route, err)
			}
			if err := r.Fail(errors.New("late")); err != session.ErrSessionOnNotify {
				t.Errorf("%s: Fail afterwards = %v, want ErrSessionOnNotify", route, err)
			}
		}
	}
}

func TestDeferOfClosedSession(t *testing.T) {
	p, d := desk(t)
	gone := request(t, p, "Desk.Take")
	r := <-d.taken
	s := <-d.sessions
	if err := <-request(t, p, "Desk.Next"); err.Error() != "reply next" { // the handler before has returned, else it could still reply
		t.Fatal(err)
	}
	s.Close()
	<-s.Context().Done()
	if err := r.Reply("late"); err != session.ErrBrokenPipe {
		t.Errorf("Reply of a closed session = %v, want ErrBrokenPipe", err)
	}
	if got := <-gone; strings.HasPrefix(got.Error(), "reply") {
		t.Errorf("the request of a closed session got a %v", got)
	}
}

// TestDeferIsBoundToItsRequest checks that a responder does not answer a later request
// with the same id.
func TestDeferIsBoundToItsRequest(t *testing.T) {
	d := &Desk{taken: make(chan *session.Responder, 16), sessions: make(chan *session.Session, 16)}
	c := &component.Components{}
	c.Register(d)
	srv := nanotest.Start(t, nano.WithComponents(c), nano.WithSerializer(json.NewSerializer()))
	conn, err := srv.Listener.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(conn)
	send := func(typ packet.Type, body []byte) {
		t.Helper()
		b, err := codec.Append(nil, typ, body)
		if err == nil {
			_, err = conn.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	receive := func() []byte {
		t.Helper()
		var head [packet.HeadLength]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, int(head[1])<<16|int(head[2])<<8|int(head[3]))
		if _, err := io.ReadFull(in, body); err != nil {
			t.Fatal(err)
		}
		return body
	}
	request := func(route string) {
		t.Helper()
		m := message.Message{Type: message.Request, ID: 5, Route: route, Data: []byte("{}")}
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		send(packet.Data, b)
	}
	send(packet.Handshake, []byte("{}"))
	receive()
	send(packet.Ack, nil)

	request("Desk.Fail")
	first := <-d.taken
	if got := receive(); !bytes.Contains(got, []byte("GAME-2")) {
		t.Fatalf("received %q, want the error of the handler", got)
	}
	request("Desk.Take")
	second := <-d.taken
	if err := first.Reply("first"); err != session.ErrSessionOnNotify {
		t.Errorf("Reply of the request that failed = %v, want ErrSessionOnNotify", err)
	}
	if err := second.Reply("second"); err != nil {
		t.Errorf("Reply of the request that uses its id again = %v, want nil", err)
	}
	if got := receive(); !bytes.Contains(got, []byte("second")) {
		t.Errorf("received %q, want the reply of the second request", got)
	}
}
