package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Game is the component of these tests.
type Game struct{ component.Base }

// Echo responds with the payload.
func (g *Game) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// Note handles a notify.
func (g *Game) Note(*session.Session, []byte) error { return nil }

// newHost returns a hub with the defaults of a server and its own scheduler. The end of
// the test closes both.
func newHost(t testing.TB, change func(*Config)) *Hub {
	t.Helper()
	loop := runloop.New(runloop.DefaultConfig())
	log := slog.New(slog.DiscardHandler)
	var ids atomic.Int64
	c := Config{
		Log:              log,
		Serializer:       json.NewSerializer(),
		NewID:            func() int64 { return ids.Add(1) },
		Heartbeat:        30 * time.Second,
		HandshakeTimeout: 10 * time.Second,
		MaxPacket:        codec.DefaultLimit,
		MaxPending:       256,
		MaxQueued:        1 << 20,
		Limits:           Limits{MaxRoute: 255, MaxHandshake: 16 << 10},
		CheckOrigin:      func(*http.Request) bool { return true },
	}
	d := dispatch.Config{Log: log, Serializer: c.Serializer, Loop: loop}
	c.Dispatcher = dispatch.New(d)
	if change != nil {
		change(&c)
	}
	if c.Dispatcher.Inbound != nil { // change sets a hook
		d.Inbound = c.Dispatcher.Inbound
		c.Dispatcher = dispatch.New(d)
	}
	if err := c.Dispatcher.Add(&Game{}, nil); err != nil {
		t.Fatal(err)
	}
	h, err := NewHub(c)
	if err != nil {
		t.Fatal(err)
	}
	config := runloop.DefaultConfig()
	config.Log, config.Begin, config.End = log, h.Begin, h.End
	loop.Configure(config)
	loop.Start()
	h.Start()
	t.Cleanup(func() {
		h.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Wait(ctx, ctx); err != nil {
			t.Errorf("Wait = %v, want every connection and session to end", err)
		}
		loop.Close()
		h.Stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.agents) != 0 || len(h.uids) != 0 {
			t.Errorf("%d agents and %d uids are kept, want none", len(h.agents), len(h.uids))
		}
		if open, ready := h.Len(); open != 0 || ready != 0 {
			t.Errorf("Len = %d, %d, want 0, 0", open, ready)
		}
		h.upgrades.Range(func(any, any) bool {
			t.Error("the request of an upgrade is kept, want none")
			return false
		})
	})
	return h
}

// hook calls f for each incoming message of a hub.
func hook(f pipeline.Func) func(*Config) {
	return func(c *Config) {
		p := pipeline.New()
		p.Inbound().PushBack(f)
		c.Dispatcher.Inbound = p.Inbound()
	}
}

func pack(t testing.TB, typ packet.Type, body string) []byte {
	t.Helper()
	b, err := codec.Append(nil, typ, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func data(t testing.TB, m message.Message) []byte {
	t.Helper()
	b, err := codec.AppendMessage(nil, &m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hello returns the bytes that a client sends before its messages: a handshake and an
// ack.
func hello(t testing.TB) []byte {
	return append(pack(t, packet.Handshake, "{}"), pack(t, packet.Ack, "")...)
}

// script is a connection whose reads return the given pieces and then io.EOF. It records
// what the server writes.
type script struct {
	mu     sync.Mutex
	pieces [][]byte
	out    bytes.Buffer
	closed bool
}

func (c *script) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pieces) > 0 && len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case len(c.pieces) == 0:
		return 0, io.EOF
	}
	n := copy(b, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	return n, nil
}

func (c *script) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	return c.out.Write(b)
}

func (c *script) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// peer is the client's end of a connection to a hub.
type peer struct {
	t testing.TB
	net.Conn
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("Write = %v", err)
	}
}

// packet reads one packet.
func (p *peer) packet() (packet.Type, []byte) {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(10 * time.Second))
	var head [packet.HeadLength]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		p.t.Fatalf("reading a packet: %v", err)
	}
	typ, n := packet.Header(head[:])
	body := make([]byte, n)
	if _, err := io.ReadFull(p, body); err != nil {
		p.t.Fatalf("reading a packet: %v", err)
	}
	return typ, body
}

// message reads one message and skips heartbeats.
func (p *peer) message() *message.Message {
	p.t.Helper()
	for {
		typ, body := p.packet()
		if typ == packet.Heartbeat {
			continue
		}
		if typ != packet.Data {
			p.t.Fatalf("a %v packet came, want data", typ)
		}
		m, err := message.Decode(body, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		return m
	}
}

// enter completes the handshake.
func (p *peer) enter() {
	p.t.Helper()
	p.send(pack(p.t, packet.Handshake, "{}"))
	if typ, body := p.packet(); typ != packet.Handshake || !bytes.HasPrefix(body, []byte(`{"code":200`)) {
		p.t.Fatalf("the handshake was answered by a %v packet %s", typ, body)
	}
	p.send(pack(p.t, packet.Ack, ""))
}

// echo sends a request and checks the answer.
func (p *peer) echo(id uint64, text string) {
	p.t.Helper()
	p.send(data(p.t, message.Message{Type: message.Request, ID: id, Route: "Game.Echo", Data: []byte(text)}))
	if m := p.message(); m.Type != message.Response || m.ID != id || string(m.Data) != text {
		p.t.Fatalf("request %d was answered by %v %q, want %q", id, m, m.Data, text)
	}
}

// tcp connects a client to h over a socket, and also returns the agent.
func tcp(t testing.TB, h *Hub) (*peer, *Agent) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return accepted(t, h, client, conn)
}

// pipe connects a client to h in memory, and also returns the agent.
func pipe(t testing.TB, h *Hub) (*peer, *Agent) {
	t.Helper()
	client, conn := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	return accepted(t, h, client, conn)
}

func accepted(t testing.TB, h *Hub, client, conn net.Conn) (*peer, *Agent) {
	t.Helper()
	h.Accept(conn)
	agents := h.snapshot()
	i := slices.IndexFunc(agents, func(a *Agent) bool { return a.out.conn.socket == conn })
	if i < 0 {
		t.Fatal("the host did not take the connection")
	}
	a := agents[i]
	p := &peer{t, client}
	p.enter()
	p.echo(1<<63, "are you there") // the server has read the ack
	return p, a
}

// reason waits for the close callbacks of a session and returns its close reason.
func reason(t testing.TB, s *session.Session) error {
	t.Helper()
	why := make(chan error, 1)
	s.OnClose(func(_ *session.Session, err error) { why <- err })
	select {
	case err := <-why:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the session did not close")
		return nil
	}
}

func check(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
