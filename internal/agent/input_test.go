package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// player sends a client's bytes to a hub over one connection at a time, and returns the
// outcome.
type player struct {
	t    testing.TB
	h    *Hub
	seen []string
	last *session.Session
}

func newPlayer(t testing.TB) *player {
	p := &player{t: t}
	see := hook(func(_ *session.Session, m *message.Message) error {
		p.seen = append(p.seen, seen(m.Type, m.ID, m.Route, m.Data))
		return nil
	})
	p.h = newHost(t, func(c *Config) {
		see(c)
		c.Closed = func(s *session.Session) { p.last = s }
		c.MaxQueued = 64 << 20
	})
	return p
}

// seen returns a summary of a message.
func seen(typ message.Type, id uint64, route string, data []byte) string {
	return fmt.Sprintf("%v %d %q %d bytes %08x", typ, id, route, len(data), crc32.ChecksumIEEE(data))
}

// outcome holds the messages that arrived and the reason of the connection's end.
type outcome struct {
	messages []string
	reason   error
}

func (o outcome) equal(other outcome) bool {
	return o.reason == other.reason && slices.Equal(o.messages, other.messages)
}

// tcp sends each piece as one read of a TCP socket.
func (p *player) tcp(pieces [][]byte) outcome {
	p.t.Helper()
	conn := &script{pieces: slices.Clone(pieces)}
	p.h.Accept(conn)
	return p.end(conn, false)
}

// webSocket sends each piece as one frame. Reads return n bytes each, or everything if n
// is 0.
func (p *player) webSocket(pieces [][]byte, n int) outcome {
	p.t.Helper()
	var stream []byte
	for _, piece := range pieces {
		stream = append(stream, clientFrame(2, piece)...)
	}
	stream = append(stream, clientFrame(8, []byte{0x03, 0xe8})...)
	if n == 0 {
		n = len(stream)
	}
	return p.frames(stream, n)
}

// frames sends WebSocket frames. Reads return n bytes each.
func (p *player) frames(stream []byte, n int) outcome {
	p.t.Helper()
	return p.read(slices.Collect(slices.Chunk(stream, n)))
}

// read sends each piece as one read of a WebSocket's socket.
func (p *player) read(pieces [][]byte) outcome {
	p.t.Helper()
	conn := &script{pieces: pieces}
	p.upgrade(conn)
	return p.end(conn, true)
}

// upgrade serves conn as a WebSocket.
func (p *player) upgrade(conn net.Conn) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	p.h.ServeWebSocket(&hijackable{conn: conn}, r)
}

// hijackable is a response writer that implements http.Hijacker.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (w *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	none := strings.NewReader("")
	return w.conn, bufio.NewReadWriter(bufio.NewReader(none), bufio.NewWriter(io.Discard)), nil
}

// clientFrame returns a final, masked frame.
func clientFrame(opcode byte, payload []byte) []byte {
	return appendFrame(nil, 0x80|opcode, payload)
}

// appendFrame appends a masked frame with the given first byte (RFC 6455, section 5.2).
func appendFrame(b []byte, first byte, payload []byte) []byte {
	switch n := len(payload); {
	case n <= 125:
		b = append(b, first, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, first, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func (p *player) end(conn *script, ws bool) outcome {
	p.t.Helper()
	p.h.wg.Wait()
	o := outcome{messages: p.seen, reason: p.last.NetworkEntity().(*Agent).control.Reason()}
	p.seen = nil
	if err := session.ReasonOf(o.reason).Err(); err != nil {
		o.reason = err
	}
	p.checkOutput(conn, ws)
	return o
}

// checkOutput checks that the server wrote whole packets, and after an upgrade exactly
// one in each frame. The last packet may be cut off, because the connection may have
// ended. A TCP client that sent an HTTP request may read an answer to it instead.
func (p *player) checkOutput(conn *script, ws bool) {
	p.t.Helper()
	b := conn.out.Bytes()
	if ws {
		_, b, _ = bytes.Cut(b, []byte("\r\n\r\n"))
	} else if bytes.Equal(b, badRequest(wantsTCP)) {
		return
	}
	for len(b) > 0 {
		body := b
		if ws {
			opcode, payload, rest, whole := unframe(p.t, b)
			if !whole {
				return
			}
			if b = rest; opcode != 2 {
				continue
			}
			body = payload
		}
		typ, _, n, _, err := codec.Next(body, packet.MaxLength)
		if err != nil || typ == packet.Ack || ws && n != len(body) {
			p.t.Fatalf("the server wrote % x..., want whole packets: %v", body[:min(len(body), 20)], err)
		}
		if n == 0 {
			return
		}
		if !ws {
			b = b[n:]
		}
	}
}

// cut splits b at two places.
func cut(b []byte, i, j int) [][]byte {
	i, j = i%(len(b)+1), j%(len(b)+1)
	i, j = min(i, j), max(i, j)
	return [][]byte{b[:i], b[i:j], b[j:]}
}

// agree sends a stream whole and split in many ways, over TCP and WebSocket. It checks
// that every outcome is the same.
func (p *player) agree(stream []byte, i, j int) outcome {
	p.t.Helper()
	whole := [][]byte{stream}
	want := p.tcp(whole)
	for _, test := range []struct {
		name string
		got  outcome
	}{
		{"TCP, cut in three", p.tcp(cut(stream, i, j))},
		{"WebSocket, one frame", p.webSocket(whole, 0)},
		{"WebSocket, one frame that comes in pieces", p.webSocket(whole, 50+i%4000)},
		{"WebSocket, three frames", p.webSocket(cut(stream, i, j), 0)},
		{"WebSocket, three frames that come in pieces", p.webSocket(cut(stream, i, j), 50+j%4000)},
	} {
		if !test.got.equal(want) {
			p.t.Fatalf("%s: %q, %v\nTCP, whole: %q, %v", test.name, test.got.messages, test.got.reason, want.messages, want.reason)
		}
	}
	return want
}

func request(t testing.TB, id uint64, body string) []byte {
	return data(t, message.Message{Type: message.Request, ID: id, Route: "Game.Echo", Data: []byte(body)})
}

// bodies are payloads with sizes around the sizes of the read buffers.
var bodies = []int{0, 1, 100, 125, 126, 240, 256, 1000, 2000, 2048, 4090, 8000, 8192, 16000, 16384, 20000, 40000, 65000}

func TestSplitAnywhere(t *testing.T) {
	p := newPlayer(t)
	stream := hello(t)
	want := []string{}
	for i := range 6 {
		body := strings.Repeat("x", 17*i)
		stream = append(stream, request(t, uint64(i)+1, body)...)
		want = append(want, seen(message.Request, uint64(i)+1, "Game.Echo", []byte(body)))
	}
	stream = append(stream, pack(t, packet.Heartbeat, "")...)
	for i := range stream {
		if o := p.tcp([][]byte{stream[:i], stream[i:]}); !slices.Equal(o.messages, want) || o.reason != session.ErrClientClosed {
			t.Fatalf("TCP, cut at %d: %q, %v, want %q", i, o.messages, o.reason, want)
		}
		if o := p.webSocket([][]byte{stream[:i], stream[i:]}, 0); !slices.Equal(o.messages, want) || o.reason != session.ErrClientClosed {
			t.Fatalf("WebSocket, cut at %d: %q, %v, want %q", i, o.messages, o.reason, want)
		}
	}
	for _, n := range []int{1, 2, 3, 5, 7, 64} {
		pieces := slices.Collect(slices.Chunk(stream, n))
		if o := p.tcp(slices.Clone(pieces)); !slices.Equal(o.messages, want) {
			t.Errorf("TCP, %d bytes at a time: %q, want %q", n, o.messages, want)
		}
		if o := p.webSocket(pieces, 0); !slices.Equal(o.messages, want) {
			t.Errorf("WebSocket, frames of %d bytes: %q, want %q", n, o.messages, want)
		}
		if o := p.webSocket([][]byte{stream}, n); !slices.Equal(o.messages, want) {
			t.Errorf("WebSocket, %d bytes at a time: %q, want %q", n, o.messages, want)
		}
	}
}

// TestLargePayloads checks that payloads of every size arrive intact however the stream
// is split. The sizes use pooled buffers and buffers that grow.
func TestLargePayloads(t *testing.T) {
	p := newPlayer(t)
	stream := hello(t)
	for i, n := range bodies {
		body := make([]byte, n)
		for k := range body {
			body[k] = byte(k*7 + i)
		}
		stream = append(stream, request(t, uint64(i)+1, string(body))...)
	}
	for k := 1; k < len(stream); k += 1 + 2*k {
		if o := p.agree(stream, k, len(stream)-k/2); len(o.messages) != len(bodies) {
			t.Fatalf("cut at %d and %d: %d messages came through, want %d", k, len(stream)-k/2, len(o.messages), len(bodies))
		}
	}
}

// TestFragments checks that fragmented frames with control frames in between carry the
// same stream as whole frames.
func TestFragments(t *testing.T) {
	p := newPlayer(t)
	stream := append(hello(t), request(t, 1, strings.Repeat("x", 3000))...)
	stream = append(stream, request(t, 2, "y")...)
	want := p.tcp([][]byte{stream})
	for _, n := range []int{1, 10, 300, 2999} {
		var frames []byte
		for i, piece := range slices.Collect(slices.Chunk(stream, n)) {
			first := byte(0) // opcode of a continuation
			if i == 0 {
				first = 2
			}
			frames = appendFrame(frames, first, piece)
			frames = append(frames, clientFrame(9, []byte("ping"))...)
			frames = append(frames, clientFrame(10, nil)...)
		}
		frames = appendFrame(frames, 0x80, nil)
		frames = append(frames, clientFrame(2, nil)...) // empty frames have no effect
		for _, k := range []int{1, 100, len(frames)} {
			if got := p.frames(frames, k); !got.equal(want) {
				t.Errorf("fragments of %d bytes, %d at a time: %q, %v, want %q, %v", n, k, got.messages, got.reason, want.messages, want.reason)
			}
		}
	}
}

// endless is a connection that returns bytes even after it was closed.
type endless struct{ script }

func (c *endless) Close() error { return nil }

// TestClosedConnectionGathersNothing checks that bytes that arrive after the server
// closed the connection are dropped.
func TestClosedConnectionGathersNothing(t *testing.T) {
	h := newHost(t, nil)
	large := request(t, 1, strings.Repeat("x", 60_000))
	conn := &endless{script{pieces: [][]byte{hello(t), large[:20_000]}}}
	for range 1000 {
		conn.pieces = append(conn.pieces, large)
	}
	c, _ := h.newConn(conn, conn.RemoteAddr(), false)
	a, in := c.agent.Load(), c.in
	largest := 0
	for {
		b, kept, err := c.next()
		if err != nil {
			c.finishReading(err)
			break
		}
		c.consume(b, kept)
		if len(in.remainder) >= 20_000 {
			_ = a.Kick("enough")
		}
		largest = max(largest, cap(in.remainder))
	}
	if !a.session.Closed() || largest > 100_000 {
		t.Errorf("closed: %v; %d bytes were gathered, want no more than a packet", a.session.Closed(), largest)
	}
}

// TestRoomForPayloadsCounts checks that a buffer kept by a small message counts in full
// toward the limit of the mailbox.
func TestRoomForPayloadsCounts(t *testing.T) {
	h := newHost(t, nil)
	gate := make(chan struct{})
	h.Dispatcher.Loop.Invoke(func() { <-gate })
	conn := &script{}
	c, _ := h.newConn(conn, conn.RemoteAddr(), false)
	a := c.agent.Load()
	c.consume(hello(t), 0)
	read := data(t, message.Message{Type: message.Notify, Route: "Game.Note", Data: make([]byte, 100)})
	for len(read) < readSize {
		read = append(read, pack(t, packet.Heartbeat, "")...)
	}
	reads := 0
	for ; a.box.Room() > 0 && reads < 100; reads++ {
		c.consume(bytes.Clone(read), 0)
	}
	if most := a.box.MaxSize()/(readSize/2) + 1; reads > most {
		t.Errorf("%d reads were taken of which each keeps up to %d bytes, want %d at most", reads, readSize, most)
	}
	if n := h.Counts.BytesIn.Load(); n != int64(100*reads) {
		t.Errorf("%d bytes of payload were counted, want %d", n, 100*reads)
	}
	close(gate)
	c.finishReading(io.EOF)
}

// TestGoexitInAHook checks that a connection ends if a hook ends its goroutine, as
// t.FailNow does.
func TestGoexitInAHook(t *testing.T) {
	exit := func() error { runtime.Goexit(); return nil }
	for name, change := range map[string]func(*Config){
		"validator": func(c *Config) { c.Validator = func(*session.Session, []byte) error { return exit() } },
		"data":      func(c *Config) { c.UserData = func(*session.Session, []byte) (any, error) { return nil, exit() } },
		"inbound":   hook(func(*session.Session, *message.Message) error { return exit() }),
	} {
		for _, ws := range []bool{false, true} {
			reasons := make(chan error, 1)
			h := newHost(t, func(c *Config) {
				change(c)
				c.Closed = func(s *session.Session) { reasons <- context.Cause(s.Context()) }
			})
			p := &player{t: t, h: h}
			stream := slices.Concat(hello(t), request(t, 1, "x"), request(t, 2, "y"))
			conn := &script{pieces: [][]byte{stream}}
			if ws {
				conn.pieces = [][]byte{clientFrame(2, stream)}
				p.upgrade(conn)
			} else {
				h.Accept(conn)
			}
			select {
			case err := <-reasons:
				if !errors.Is(err, session.ErrClosed) {
					t.Errorf("%s, WebSocket %v: the session ended with %v, want ErrClosed", name, ws, err)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("%s, WebSocket %v: the session did not end", name, ws)
			}
		}
	}
}

func FuzzServerStream(f *testing.F) {
	add := func(joined bool, pieces ...[]byte) {
		stream := bytes.Join(pieces, nil)
		f.Add(stream, joined, uint16(len(stream)/3), uint16(len(stream)/2))
	}
	note := data(f, message.Message{Type: message.Notify, Route: "Game.Note", Data: []byte("x")})
	add(false, hello(f), request(f, 1, "hello"), note, pack(f, packet.Heartbeat, ""))
	add(true, request(f, 1<<63, strings.Repeat("x", 300)), note, note)
	add(true, note, pack(f, packet.Data, ""))
	add(true, pack(f, packet.Data, "\x00\x01\xff"))
	add(true, pack(f, packet.Data, "\x01\x01\x00\x07"))
	add(true, pack(f, packet.Data, "\x30\x01\x01x"))
	add(true, pack(f, packet.Handshake, "{}"))
	add(false, pack(f, packet.Ack, ""))
	add(false, pack(f, packet.Handshake, "{"))
	add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	add(true, []byte{4, 0xff, 0xff, 0xff})
	add(true, request(f, 1, strings.Repeat("x", 9000)), request(f, 2, strings.Repeat("y", 20000)))
	p := newPlayer(f)
	f.Fuzz(func(t *testing.T, stream []byte, joined bool, i, j uint16) {
		p.t = t
		if joined {
			stream = append(hello(t), stream...)
		}
		p.agree(stream, int(i), int(j))
	})
}

// FuzzFrames reads arbitrary bytes as frames. The outcome must not depend on how the
// reads split them.
func FuzzFrames(f *testing.F) {
	add := func(joined bool, frames ...[]byte) {
		stream := bytes.Join(frames, nil)
		f.Add(stream, joined, uint16(len(stream)/3), uint16(len(stream)/2))
	}
	note := data(f, message.Message{Type: message.Notify, Route: "Game.Note", Data: []byte("x")})
	ping := clientFrame(9, []byte("ping"))
	add(false, clientFrame(2, hello(f)), clientFrame(2, request(f, 1, "hello")))
	add(true, clientFrame(2, note), ping, clientFrame(10, nil), clientFrame(2, nil))
	add(true, appendFrame(nil, 2, note[:5]), ping, appendFrame(nil, 0, nil), appendFrame(nil, 0x80, note[5:]), clientFrame(2, note))
	add(true, clientFrame(2, note), clientFrame(1, []byte("text")), clientFrame(2, note))
	add(true, clientFrame(2, request(f, 1, strings.Repeat("x", 70_000))))
	add(true, clientFrame(2, note), clientFrame(8, []byte{0x03, 0xe8}), clientFrame(2, note))
	add(true, appendFrame(nil, 2, nil), bytes.Repeat(appendFrame(nil, 0, nil), 50), appendFrame(nil, 0x80, note))
	add(true, []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5})
	add(true, []byte{0xc2, 0x81, 0, 0, 0, 0, 1})
	add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	p := newPlayer(f)
	f.Fuzz(func(t *testing.T, stream []byte, joined bool, i, j uint16) {
		p.t = t
		if joined {
			stream = append(clientFrame(2, hello(t)), stream...)
		}
		want := p.read([][]byte{stream})
		for name, pieces := range map[string][][]byte{
			"in three": cut(stream, int(i), int(j)), "in pieces": slices.Collect(slices.Chunk(stream, 1+int(i)%200)),
		} {
			if got := p.read(pieces); !got.equal(want) {
				t.Fatalf("%s: %q, %v\nwhole: %q, %v", name, got.messages, got.reason, want.messages, want.reason)
			}
		}
	})
}

// FuzzHandshake sends a handshake with an arbitrary body, and more bytes after it. The
// server parses the body as JSON or refuses it, however the bytes are split.
func FuzzHandshake(f *testing.F) {
	for _, body := range []string{
		`{"sys":{"type":"js","version":"1.0"},"user":{"token":"x"}}`, "", "null", "[]", "{", `"\ud800"`, "\xff", "{}{}",
		strings.Repeat("[", 300), `{"sys":` + strings.Repeat(" ", 5000) + "1}",
	} {
		f.Add([]byte(body), uint16(3), uint16(len(body)))
	}
	p := newPlayer(f)
	f.Fuzz(func(t *testing.T, body []byte, i, j uint16) {
		p.t = t
		stream := pack(t, packet.Handshake, string(body))
		stream = append(append(stream, pack(t, packet.Ack, "")...), request(t, 1, "hello")...)
		got := p.agree(stream, int(i), int(j))
		valid := len(body) == 0 || json.Valid(body) && len(body) <= p.h.Limits.MaxHandshake
		if (len(got.messages) == 1) != valid {
			t.Errorf("handshake %q: %q, %v; is it JSON: %v", body, got.messages, got.reason, valid)
		}
	})
}
