package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// halfOpen is a connection whose client closes its sending side on demand, and reads
// output before and after that.
type halfOpen struct {
	script
	eof   chan struct{} // closed when the client sends no more
	taken chan struct{} // closed when writes succeed
	shut  chan struct{} // closed by Close
}

func (c *halfOpen) Read(b []byte) (int, error) {
	n, err := c.script.Read(b)
	if err == io.EOF {
		<-c.eof
	}
	return n, err
}

func (c *halfOpen) Write(b []byte) (int, error) {
	select {
	case <-c.taken:
		return c.script.Write(b)
	case <-c.shut:
		return 0, net.ErrClosed
	}
}

func (c *halfOpen) Close() error {
	close(c.shut)
	return c.script.Close()
}

// TestWaitCoversTheFarewell checks that Wait waits for a farewell that is being written
// after the client stopped sending, and that nothing is written later.
func TestWaitCoversTheFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		conn := &halfOpen{eof: make(chan struct{}), taken: make(chan struct{}), shut: make(chan struct{})}
		conn.pieces = [][]byte{hello(t)}
		c, _ := h.newConn(conn, conn.RemoteAddr(), false)
		a := c.agent.Load()
		go c.serve(nil, h.HandshakeTimeout)
		synctest.Wait()
		_ = a.Kick("bye")
		close(conn.eof)
		check(t, reason(t, a.session), session.ErrKicked)
		done := make(chan error, 1)
		go func() { done <- h.Wait(t.Context(), t.Context()) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Error("Wait returned", err, "while the farewell was being written")
		default:
		}
		if open, _ := h.Len(); open != 1 {
			t.Errorf("%d connections are open, want 1", open)
		}
		close(conn.taken)
		if err := <-done; err != nil {
			t.Errorf("Wait = %v", err)
		}
		select {
		case <-conn.shut:
		default:
			t.Error("the connection is not closed")
		}
		if want := pack(t, packet.Kick, `{"reason":"bye","code":"kicked"}`); !bytes.HasSuffix(conn.out.Bytes(), want) {
			t.Errorf("written: %q, want a kick at the end", conn.out.Bytes())
		}
	})
}

// TestFarewellIsGivenUp checks that a farewell that the client does not read is abandoned
// after closeTimeout, however much is written.
func TestFarewellIsGivenUp(t *testing.T) {
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, nil)
			p, a := pipe(t, h)
			if full { // a writer waits with a longer deadline
				if err := a.Push("news", make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			start := time.Now()
			_ = a.Kick("bye")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := h.Wait(ctx, ctx); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < closeTimeout || took > closeTimeout+time.Second {
				t.Errorf("a client that does not read was let go after %v, want %v", took, closeTimeout)
			}
			if _, err := p.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("Read = %v, want EOF", err)
			}
		})
	}
}

// TestDeadlineOfABlockedWriteIsTakenBack checks that a blocked write leaves no deadline
// behind.
func TestDeadlineOfABlockedWriteIsTakenBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.stall = time.Second
	p, a := tcp(t, h)
	_ = a.out.conn.socket.(*net.TCPConn).SetWriteBuffer(4 << 10)
	const pushes, size = 15, 64 << 10 // more than the socket buffers
	for range pushes {
		if err := a.Push("news", make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for range pushes {
		if m := p.message(); m.Type != message.Push || len(m.Data) != size {
			t.Fatalf("%v came, want a push of %d bytes", m, size)
		}
	}
	time.Sleep(h.stall + h.stall/4) // longer than a write may block
	p.echo(5, "still here")
}

// TestPushThatNoPacketHolds checks that messages over the limits of the protocol are
// refused instead of truncated.
func TestPushThatNoPacketHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(c *Config) { c.MaxQueued = 64 << 20 })
		p, a := pipe(t, h)
		const head = 1 + 1 + len("news")
		check(t, a.Push("news", make([]byte, packet.MaxLength-head+1)), codec.ErrPacketTooLarge)
		check(t, a.Push(strings.Repeat("r", 256), []byte{}), message.ErrRouteTooLong)
		p.echo(1, "still here")
		if err := a.Push("news", make([]byte, packet.MaxLength-head)); err != nil {
			t.Fatal(err)
		}
		if m := p.message(); len(m.Data) != packet.MaxLength-head {
			t.Errorf("%v came, want the largest push that fits", m)
		}
		route := strings.Repeat("r", 255)
		if err := a.Push(route, []byte{}); err != nil {
			t.Fatal(err)
		}
		if m := p.message(); m.Route != route {
			t.Errorf("route %q came, want %q", m.Route, route)
		}
	})
}

// TestSharedFrame checks that a broadcast shared by many agents and the agents' own
// messages arrive in order and do not mix.
func TestSharedFrame(t *testing.T) {
	h := newHost(t, nil)
	p, a := tcp(t, h)
	q, b := tcp(t, h)
	h.flusher.hold()
	broadcast := func(text string) {
		var s Sender
		for _, to := range []*Agent{a, b} {
			if err := s.Push(to, "news", []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	push := func(to *Agent, text string) {
		if err := to.Push("news", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	broadcast("one")
	push(a, "only a")
	broadcast("two")
	push(b, "only b")
	h.flusher.release()
	broadcast("three")
	for who, want := range map[*peer][]string{p: {"one", "only a", "two", "three"}, q: {"one", "two", "only b", "three"}} {
		for _, text := range want {
			if m := who.message(); string(m.Data) != text {
				t.Errorf("%q came, want %q", m.Data, text)
			}
		}
	}
}

// TestAnswerOnce checks that one of several concurrent answers to a request succeeds, and
// that the others return an error.
func TestAnswerOnce(t *testing.T) {
	h := newHost(t, nil)
	p, a := tcp(t, h)
	for range 20 { // the client reuses the id
		a.Begin(7, nil)
		var answered atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				switch err := a.ResponseMid(7, []byte("mine")); {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, session.ErrSessionOnNotify):
				default:
					t.Errorf("ResponseMid = %v", err)
				}
			})
		}
		wg.Go(func() { a.Fail(7, message.Errorf(message.CodeInternal, "no")) })
		wg.Wait()
		if n := answered.Load(); n > 1 {
			t.Errorf("%d answers got through, want one", n)
		}
		if m := p.message(); m.ID != 7 || m.Err == (answered.Load() == 1) {
			t.Errorf("%v came, %d answers got through", m, answered.Load())
		}
		p.echo(8, "nothing else came")
	}
	a.Begin(9, nil)
	if a.ResponseMid(9, func() {}) == nil {
		t.Error("a reply that does not encode was sent")
	}
	check(t, a.ResponseMid(9, []byte("this does")), nil)
	check(t, a.ResponseMid(9, []byte("again")), session.ErrSessionOnNotify)
	if m := p.message(); string(m.Data) != "this does" {
		t.Errorf("%v came, want the answer", m)
	}
}

func TestOverflow(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, func(c *Config) { c.MaxQueued, c.RefuseAtFull = 1000, refuse })
			p, a := pipe(t, h)
			// A message over the limit is an error of the program and does not close the
			// session.
			check(t, a.Push("news", make([]byte, 1001)), session.ErrBufferExceed)
			p.echo(1, "still here")
			synctest.Wait()
			// Each message has 10 bytes of headers. The first one is being written and
			// still counts.
			for range 10 {
				if err := a.Push("news", make([]byte, 90)); err != nil {
					t.Fatal(err)
				}
			}
			err := a.Push("news", []byte{})
			if got := h.RefusedBy()["send"]; got != 2 {
				t.Errorf("%d messages were counted as refused, want 2", got)
			}
			if !refuse {
				check(t, err, session.ErrSlowClient)
				check(t, reason(t, a.session), session.ErrSlowClient)
				check(t, a.Push("news", []byte{}), session.ErrBrokenPipe)
				return
			}
			check(t, err, session.ErrBufferExceed)
			for range 10 {
				if m := p.message(); len(m.Data) != 90 {
					t.Errorf("%v came, want a push of 90 bytes", m)
				}
			}
			synctest.Wait()
			if err := a.Push("news", []byte{}); err != nil {
				t.Errorf("Push = %v once the client has read", err)
			}
			if m := p.message(); len(m.Data) != 0 {
				t.Errorf("%v came, want an empty push", m)
			}
		})
	}
}

// TestCutDoesNotWait checks that closing a client that does not read is quick, although
// TLS has a close alert to send.
func TestCutDoesNotWait(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // provides a certificate
	web.StartTLS()
	config := web.TLS.Clone()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	web.Close()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		client, conn := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		p, a := accepted(t, h, tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "example.com"}), tls.Server(conn, config))
		synctest.Wait()
		start := time.Now()
		_ = a.shut(session.ErrHeartbeat, farewell{})
		if took := time.Since(start); took > 0 {
			t.Errorf("the connection was cut after %v", took)
		}
		if _, err := p.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
		check(t, reason(t, a.session), session.ErrHeartbeat)
	})
}
