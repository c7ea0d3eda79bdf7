//go:build linux && !nano_portable

package agent

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// socketPair returns both ends of a TCP connection.
func socketPair(t testing.TB) (client *net.TCPConn, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client = conn.(*net.TCPConn)
	_ = client.SetLinger(0) // no port is left in TIME_WAIT
	t.Cleanup(func() { _ = client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// webSocket connects a WebSocket client to h over a real socket, and returns the agent too.
func webSocket(t *testing.T, h *Hub) (*peer, *Agent) {
	t.Helper()
	client, server := socketPair(t)
	before := h.snapshot()
	(&player{t: t, h: h}).upgrade(server)
	var a *Agent
	for _, other := range h.snapshot() {
		if other.out.conn.socket == server {
			a = other
		}
	}
	if a == nil {
		t.Fatalf("no agent beside %d others", len(before))
	}
	var answer []byte
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
		var b [1]byte
		if _, err := client.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		answer = append(answer, b[0])
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("the upgrade was answered by %s", answer)
	}
	p := &peer{t, &unframed{Conn: client, t: t}}
	p.enter()
	p.echo(1<<63, "are you there")
	return p, a
}

// transports are ways to connect to a host over a socket that can be parked.
var transports = map[string]func(*testing.T, *Hub) (*peer, *Agent){
	"tcp": func(t *testing.T, h *Hub) (*peer, *Agent) { return tcp(t, h) },
	"ws":  webSocket,
}

func overEach(t *testing.T, change func(*Config), f func(*testing.T, *Hub, *peer, *Agent)) {
	for name, connect := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, change)
			p, a := connect(t, h)
			f(t, h, p, a)
		})
	}
}

// parkNow has the connection of a parked without waiting for a second.
func parkNow(t testing.TB, a *Agent) *Conn {
	t.Helper()
	a.out.mu.Lock()
	c := a.out.conn
	a.out.mu.Unlock()
	c.settle()
	eventually(t, func() bool { return c.flags.has(flagParked) })
	return c
}

// TestIdleConnectionsAreParked checks that idle connections are parked after a second and
// take no goroutine, and that each one is answered when it wakes and is parked again.
func TestIdleConnectionsAreParked(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	h := newHost(t, nil)
	const n = 40
	before := runtime.NumGoroutine()
	peers, agents := make([]*peer, n), make([]*Agent, n)
	for i := range peers {
		connect := transports["tcp"]
		if i%2 == 1 {
			connect = webSocket
		}
		peers[i], agents[i] = connect(t, h)
	}
	for round := range uint64(2) {
		eventually(t, func() bool {
			for _, a := range agents {
				if !a.out.conn.flags.has(flagParked) {
					return false
				}
			}
			return true
		})
		eventually(t, func() bool { return runtime.NumGoroutine() <= before+5 })
		for i, p := range peers {
			p.echo(round+1, fmt.Sprint("client ", i))
		}
	}
}

// TestPollerTakesHeartbeats checks that the poller handles whole heartbeats and starts a
// reader for anything else.
func TestPollerTakesHeartbeats(t *testing.T) {
	overEach(t, nil, func(t *testing.T, h *Hub, p *peer, a *Agent) {
		c := parkNow(t, a)
		heartbeat := pack(t, packet.Heartbeat, "")
		for n := range int64(20) {
			c.seen.Store(-1)
			before := h.Counts.Control.Load()
			p.send(heartbeat)
			eventually(t, func() bool { return h.Counts.Control.Load() == before+1 && c.flags.has(flagParked) })
			if c.flags.has(flagActive) || c.seen.Load() < 0 {
				t.Fatalf("heartbeat %d: a reader was started: %v, seen = %d", n, c.flags.has(flagActive), c.seen.Load())
			}
		}
		p.send(append(pack(t, packet.Heartbeat, "a body"), heartbeat...)) // more than one, and one with a body
		eventually(t, func() bool { return h.Counts.Control.Load() >= 22 && c.flags.has(flagParked) })
		if c.flags.has(flagActive) {
			t.Error("a reader was started for two heartbeats")
		}
		p.send(append(pack(t, packet.Heartbeat, ""), request(t, 1, "behind a heartbeat")...))
		if m := p.message(); string(m.Data) != "behind a heartbeat" {
			t.Errorf("%q came", m.Data)
		}
	})
}

// TestParkedBetweenPieces checks packets that come in pieces while the connection is
// parked as often as possible.
func TestParkedBetweenPieces(t *testing.T) {
	for name, connect := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, nil)
			p, a := connect(t, h)
			raw := p.Conn
			if u, ok := raw.(*unframed); ok {
				raw = u.Conn
			}
			wire := func(b []byte) []byte {
				if name == "ws" {
					return clientFrame(byte(wsframe.Binary), b)
				}
				return b
			}
			stream := append(wire(pack(t, packet.Heartbeat, "")), wire(request(t, 1, "in pieces"))...)
			if name == "ws" {
				stream = append(stream, clientFrame(byte(wsframe.Pong), []byte("unasked"))...)
				stream = append(stream, appendFrame(nil, byte(wsframe.Binary), pack(t, packet.Heartbeat, ""))...)
				stream = append(stream, appendFrame(nil, 0x80, request(t, 2, "a fragment"))...)
			} else {
				stream = append(stream, request(t, 2, "a fragment")...)
			}
			for i := range stream {
				a.out.conn.settle()
				if _, err := raw.Write(stream[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
			for id, want := range []string{"in pieces", "a fragment"} {
				if m := p.message(); m.ID != uint64(id+1) || string(m.Data) != want {
					t.Fatalf("%v %q came, want %q", m, m.Data, want)
				}
			}
			parkNow(t, a)
			p.echo(3, "and goes on")
		})
	}
}

// TestParkedConnectionEnds checks that a parked connection ends for each reason. The host
// checks that nothing of it is left.
func TestParkedConnectionEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*peer, *Agent)
		want error
	}{
		"the client closes": {func(p *peer, _ *Agent) { _ = p.Close() }, session.ErrClientClosed},
		"the client is cut": {func(p *peer, _ *Agent) {
			_ = p.Conn.(*net.TCPConn).SetLinger(0)
			_ = p.Close()
		}, session.ErrClientClosed},
		"the client closes its side":     {func(p *peer, _ *Agent) { _ = p.Conn.(*net.TCPConn).CloseWrite() }, session.ErrClientClosed},
		"the client breaks the protocol": {func(p *peer, _ *Agent) { p.send([]byte{9, 9, 9, 9}) }, session.ErrProtocol},
		"the client sends a handshake":   {func(p *peer, _ *Agent) { p.send(pack(p.t, packet.Handshake, "{}")) }, session.ErrProtocol},
		"the program closes":             {func(_ *peer, a *Agent) { _ = a.Close() }, session.ErrClosed},
		"the program kicks":              {func(_ *peer, a *Agent) { _ = a.Kick("bye") }, session.ErrKicked},
		"the socket is closed":           {func(_ *peer, a *Agent) { a.cut() }, session.ErrClientClosed},
		"the client is silent":           {func(_ *peer, a *Agent) { _ = a.shut(session.ErrHeartbeat, farewell{}) }, session.ErrHeartbeat},
		"the server drains":              {func(_ *peer, a *Agent) { a.hub.Drain() }, session.ErrShutdown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, nil)
			p, a := tcp(t, h)
			parkNow(t, a)
			test.end(p, a)
			check(t, reason(t, a.session), test.want)
			eventually(t, func() bool { open, _ := h.Len(); return open == 0 }) // also if the client says nothing more
		})
	}
}

// TestSilenceOfParkedConnection checks that the server closes a parked connection whose
// client is silent for too long.
func TestSilenceOfParkedConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	h := newHost(t, func(c *Config) { c.Heartbeat = 50 * time.Millisecond })
	_, a := tcp(t, h)
	parkNow(t, a)
	check(t, reason(t, a.session), session.ErrHeartbeat)
}

// TestCloseAgainstPark closes connections while they are parked and while they wake.
func TestCloseAgainstPark(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for i := range 150 {
		p, a := tcp(t, h)
		c := a.out.conn
		if i%2 == 0 {
			parkNow(t, a)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if i%2 == 0 {
				_, _ = p.Write(pack(t, packet.Heartbeat, ""))
			} else {
				c.settle()
			}
		})
		wg.Go(a.cut)
		wg.Wait()
		check(t, reason(t, a.session), session.ErrClientClosed)
	}
	eventually(t, func() bool { open, _ := h.Len(); return open == 0 })
}

// TestFloodOfHeartbeats checks that a client wakes while others send heartbeats without
// pause.
func TestFloodOfHeartbeats(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		flood, a := tcp(t, h)
		parkNow(t, a)
		wg.Go(func() {
			heartbeat := pack(t, packet.Heartbeat, "")
			for ctx.Err() == nil {
				if _, err := flood.Write(heartbeat); err != nil {
					return
				}
			}
		})
	}
	p, a := tcp(t, h)
	for id := range uint64(20) {
		parkNow(t, a)
		p.echo(id+1, "wakes")
	}
	stop()
	wg.Wait()
}

// TestRatesOfParkedConnection checks that a client that exceeds its rates is kicked while
// the poller reads from it.
func TestRatesOfParkedConnection(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *Config) { c.Limits.MessageRate, c.Limits.MessageBurst, c.Limits.MaxAbuse = 1, 5, 3 })
	p, a := tcp(t, h)
	parkNow(t, a)
	go func() {
		for range 20 {
			if _, err := p.Write(pack(t, packet.Heartbeat, "")); err != nil {
				return
			}
		}
	}()
	check(t, reason(t, a.session), session.ErrLimit)
}

// loneNode is the Carrier of a cluster with one node.
type loneNode struct{}

func (loneNode) Name() carry.Name { return carry.Name{1} }

func (loneNode) Carry(carry.Name, *carry.Ask, []byte) (*carry.Conn, *carry.Refusal, error) {
	return nil, nil, carry.ErrUnknownNode
}

// TestResumeOfParkedConnection checks that the poller handles acknowledgments, and that a
// new connection resumes the session of a parked one. The server is a node of a cluster,
// which keeps the first bytes of each connection until the handshake is answered.
func TestResumeOfParkedConnection(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *Config) {
		c.Resume = Resume{Window: time.Minute, Buffer: 1 << 20, MaxMemory: 1 << 20}
		c.Carrier = loneNode{}
	})
	client, server := socketPair(t)
	h.Accept(server)
	p := &peer{t, client}
	p.send(pack(t, packet.Handshake, `{"sys":{"resume":{}}}`))
	_, body := p.packet()
	token := body[bytes.Index(body, []byte(`"token":"`))+len(`"token":"`):]
	token = token[:bytes.IndexByte(token, '"')]
	p.send(pack(t, packet.Ack, ""))
	p.echo(1, "one")
	a := h.snapshot()[0]
	c := parkNow(t, a)
	p.send(pack(t, packet.Heartbeat, "\x01"))
	eventually(t, func() bool { return acked(a) == 1 })
	if c.flags.has(flagActive) {
		t.Error("a reader was started for an acknowledgment")
	}
	eventually(t, func() bool { return c.flags.has(flagParked) })
	if err := a.Push("news", []byte("first")); err != nil {
		t.Fatal(err)
	}
	_ = p.message()
	other, server := socketPair(t)
	h.Accept(server)
	q := &peer{t, other}
	q.send(pack(t, packet.Handshake, fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":1}}}`, token)))
	if _, body := q.packet(); !strings.Contains(string(body), `"resumed":true`) {
		t.Fatalf("the handshake was answered by %s", body)
	}
	q.send(pack(t, packet.Ack, ""))
	if m := q.message(); string(m.Data) != "first" {
		t.Errorf("%q came over the new connection, want the push", m.Data)
	}
	parkNow(t, a)
	q.echo(2, "two")
	q.send(pack(t, packet.Heartbeat, "\x63")) // more than was sent
	check(t, reason(t, a.session), session.ErrProtocol)
}

// TestAcknowledgmentsDoNotKeepAReader checks that a connection is parked although its
// client acknowledges several times a second.
func TestAcknowledgmentsDoNotKeepAReader(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *Config) { c.Resume = Resume{Window: time.Minute, Buffer: 1 << 20, MaxMemory: 1 << 20} })
	client, server := socketPair(t)
	h.Accept(server)
	p := &peer{t, client}
	p.send(pack(t, packet.Handshake, `{"sys":{"resume":{}}}`))
	p.packet()
	p.send(pack(t, packet.Ack, ""))
	p.echo(1, "one")
	a := h.snapshot()[0]
	c := a.out.conn
	for n := uint64(2); !c.flags.has(flagParked); n++ {
		if n > 100 {
			t.Fatal("the connection was not parked within 10 s")
		}
		if err := a.Push("news", []byte("x")); err != nil {
			t.Fatal(err)
		}
		p.message()
		p.send(pack(t, packet.Heartbeat, string([]byte{byte(n)})))
		eventually(t, func() bool { return acked(a) == n })
		time.Sleep(100 * time.Millisecond)
	}
}

// acked returns how many packets a client with resume has acknowledged.
func acked(a *Agent) uint64 {
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	if s := a.out.resume.active; s != nil {
		return s.history.acked
	}
	return a.out.resume.acked
}

// TestQuietReaderRenewsItsStack checks that without a poller an idle connection continues
// to read on a new goroutine and loses no bytes.
func TestQuietReaderRenewsItsStack(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.parking.stop()
	p, a := tcp(t, h)
	c := a.out.conn
	for id := range uint64(3) {
		b := request(t, id+1, strings.Repeat("x", 1000))
		p.send(b[:500])
		c.settle()
		eventually(t, func() bool { return !c.flags.has(flagActive) })
		p.send(b[500:])
		if m := p.message(); m.ID != id+1 || len(m.Data) != 1000 {
			t.Fatalf("%v came, want the answer to request %d", m, id+1)
		}
	}
	if c.flags.has(flagParked) {
		t.Error("the connection is parked without a poller")
	}
	// The connection may close at that moment.
	c.settle()
	_ = a.Kick("bye")
	if typ, body := p.packet(); typ != packet.Kick || string(body) != `{"reason":"bye","code":"kicked"}` {
		t.Errorf("%v %s came, want a kick", typ, body)
	}
	check(t, reason(t, a.session), session.ErrKicked)
}

// TestWheelHasten checks that hasten moves a connection to an earlier time and never to a
// later one.
func TestWheelHasten(t *testing.T) {
	h := newHost(t, nil)
	for _, test := range []struct{ at, d, want time.Duration }{
		{20 * time.Second, time.Second, time.Second},
		{time.Second, 20 * time.Second, time.Second},
		{10 * time.Second, 10 * time.Second, 10 * time.Second},
	} {
		var w wheel
		w.init(time.Minute)
		c := &Conn{hub: h}
		w.add(c, test.at)
		w.hasten(c, test.d)
		ticks := (int64(c.timer.slot) - w.at%wheelSlots + wheelSlots) % wheelSlots
		if got := time.Duration(ticks) * w.tick; got < test.want || got > test.want+2*w.tick {
			t.Errorf("after %v, hastened to %v: called after %v", test.at, test.d, got)
		}
		w.remove(c)
		w.hasten(c, test.d)
		if c.timer.linked {
			t.Error("a connection that was removed is in the wheel again")
		}
	}
}

// FuzzParking lets clients connect, send whole packets and parts of them, fall quiet and leave in any order, while the
// server closes some. Each request of a client that stays is answered, and nothing is left at the end.
func FuzzParking(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 0, 9, 1, 2, 3, 1, 4, 12, 5, 6})
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 120)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, steps []byte) { fuzzParking(t, steps) })
}

func fuzzParking(t *testing.T, steps []byte) {
	h := newHost(t, func(c *Config) { c.Heartbeat = 200 * time.Millisecond })
	type member struct {
		p    *peer
		a    *Agent
		id   uint64
		rest []byte // of a packet of which a part was sent
	}
	var all []*member
	say := func(m *member, b []byte) {
		_ = m.p.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = m.p.Write(b) // the server may have closed
	}
	for _, step := range steps[:min(len(steps), 150)] {
		if step&7 == 0 || len(all) == 0 {
			if len(all) < 8 {
				m := &member{}
				if step&8 == 0 {
					m.p, m.a = webSocket(t, h)
				} else {
					client, server := socketPair(t)
					m.p, m.a = accepted(t, h, client, server)
				}
				all = append(all, m)
			}
			continue
		}
		i := int(step>>3) % len(all)
		m := all[i]
		if step&7 != 3 && m.rest != nil { // nothing goes into the middle of a packet
			say(m, m.rest)
			m.rest = nil
		}
		switch step & 7 {
		case 1, 2:
			m.a.out.conn.settle()
		case 3:
			if m.rest == nil {
				m.id++
				m.rest = request(t, m.id, "in two pieces")
				n := int(step>>3) % len(m.rest)
				say(m, m.rest[:n])
				m.rest = m.rest[n:]
			}
		case 4:
			say(m, pack(t, packet.Heartbeat, ""))
		case 5:
			m.id++
			say(m, request(t, m.id, "whole"))
		case 6:
			_ = m.p.Close()
			all = append(all[:i], all[i+1:]...)
		case 7:
			if step&8 == 0 {
				m.a.cut()
			} else {
				_ = m.a.Kick("bye")
			}
			_ = m.p.Close()
			all = append(all[:i], all[i+1:]...)
		}
	}
	for _, m := range all {
		if m.rest != nil {
			say(m, m.rest)
		}
		for id := uint64(1); id <= m.id; id++ {
			if got := m.p.message(); got.ID != id {
				t.Fatalf("the answer to request %d came, want %d", got.ID, id)
			}
		}
		_ = m.p.Close()
	}
}
