package nano_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// wire is a client that decides about every byte. It is for one goroutine that sends and one that receives.
type wire struct {
	conn     net.Conn
	br       *bufio.Reader
	ws       bool
	dict     *message.Dictionary // of the routes that the server compresses
	patience time.Duration
}

func newWire(conn net.Conn) *wire {
	return &wire{conn: conn, br: bufio.NewReader(conn), patience: patience}
}

// What a read finds instead of a packet.
type (
	kicked string // the body of a kick
	closed uint16 // the code of a close frame
)

func (k kicked) Error() string { return "kicked: " + string(k) }
func (c closed) Error() string { return fmt.Sprintf("close frame %d", uint16(c)) }

// upgradeRequest asks for a WebSocket at a path.
func upgradeRequest(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
}

// upgrade turns the connection into a WebSocket one.
func (w *wire) upgrade(path string) error {
	if err := w.raw([]byte(upgradeRequest(path))); err != nil {
		return err
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	r, err := http.ReadResponse(w.br, nil)
	if err != nil {
		return err
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-Websocket-Extensions") != "" {
		return fmt.Errorf("upgrade: %s, extensions %q", r.Status, r.Header.Get("Sec-Websocket-Extensions"))
	}
	w.ws = true
	return nil
}

// ask asks for an upgrade with headers, and returns the status.
func (w *wire) ask(t testing.TB, headers ...string) int {
	t.Helper()
	head := strings.TrimSuffix(upgradeRequest("/"), "\r\n") + strings.Join(append(headers, "\r\n"), "\r\n")
	head = strings.ReplaceAll(head, "\r\n\r\n\r\n", "\r\n\r\n")
	if err := w.raw([]byte(head)); err != nil {
		t.Fatal(err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	r, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	w.ws = r.StatusCode == http.StatusSwitchingProtocols
	return r.StatusCode
}

// raw sends bytes as they are.
func (w *wire) raw(b []byte) error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.patience))
	_, err := w.conn.Write(b)
	return err
}

// send sends bytes of the stream of packets, in one frame where there are frames.
func (w *wire) send(b []byte) error {
	if w.ws {
		b = frame(0x82, b)
	}
	return w.raw(b)
}

// frame is a frame of a client, masked: RFC 6455 section 5.2.
func frame(first byte, payload []byte) []byte {
	var b []byte
	switch n := len(payload); {
	case n <= 125:
		b = append(b, first, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, first, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// readFrame reads one frame of the server: a whole one, not masked.
func (w *wire) readFrame() (opcode byte, payload []byte, err error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	var head [10]byte
	if _, err := io.ReadFull(w.br, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a frame begins with % x, want a final one, not masked", head[:2])
	}
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(w.br, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(w.br, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(w.br, payload)
	return head[0] & 0x0f, payload, err
}

// packet reads one packet. A frame holds exactly one.
func (w *wire) packet() (packet.Type, string, error) {
	if w.ws {
		return w.framedPacket()
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	var head [packet.HeadLength]byte
	if _, err := io.ReadFull(w.br, head[:]); err != nil {
		return 0, "", err
	}
	typ, n := packet.Header(head[:])
	body := make([]byte, n)
	_, err := io.ReadFull(w.br, body)
	return typ, string(body), err
}

func (w *wire) framedPacket() (packet.Type, string, error) {
	for {
		opcode, payload, err := w.readFrame()
		switch {
		case err != nil:
			return 0, "", err
		case opcode == 8 && len(payload) == 0:
			return 0, "", closed(1005) // no code
		case opcode == 8 && len(payload) >= 2:
			return 0, "", closed(binary.BigEndian.Uint16(payload))
		case opcode == 10:
			continue
		case opcode != 2:
			return 0, "", fmt.Errorf("a frame with opcode %d came", opcode)
		}
		typ, body, n, _, err := codec.Next(payload, packet.MaxLength)
		if err != nil || n != len(payload) {
			return 0, "", fmt.Errorf("a frame of %d bytes holds a packet of %d, want exactly one: %v", len(payload), n, err)
		}
		return typ, string(body), nil
	}
}

// message reads the next message. Heartbeats are passed over; a kick is an error.
func (w *wire) message() (*message.Message, error) {
	for {
		typ, body, err := w.packet()
		if err != nil {
			return nil, err
		}
		switch typ {
		case packet.Heartbeat:
			if body != "" {
				return nil, fmt.Errorf("a heartbeat with the body %q", body)
			}
		case packet.Kick:
			return nil, kicked(body)
		case packet.Data:
			return message.Decode([]byte(body), w.dict)
		default:
			return nil, fmt.Errorf("a %v packet came: %q", typ, body)
		}
	}
}

// shake sends a handshake and returns the server's answer.
func (w *wire) shake(body string) (string, error) {
	if err := w.send(pack(packet.Handshake, body)); err != nil {
		return "", err
	}
	typ, answer, err := w.packet()
	if err == nil && typ != packet.Handshake {
		err = fmt.Errorf("the handshake was answered by a %v packet", typ)
	}
	return answer, err
}

// join does all that has to come before messages.
func (w *wire) join() error {
	answer, err := w.shake("{}")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, `{"code":200,`) {
		return fmt.Errorf("the handshake was answered by %s", answer)
	}
	return w.send(pack(packet.Ack, ""))
}

// call sends a request and reads its answer, which has to come next.
func (w *wire) call(id uint64, route, body string) (*message.Message, error) {
	if err := w.send(request(id, route, body)); err != nil {
		return nil, err
	}
	m, err := w.message()
	if err == nil && (m.Type != message.Response || m.ID != id) {
		err = fmt.Errorf("request %d was answered by %v", id, m)
	}
	return m, err
}

// echo has a message answered by Game.Echo.
func (w *wire) echo(id uint64, body string) error {
	m, err := w.call(id, "Game.Echo", body)
	if err == nil && (m.Err || string(m.Data) != body) {
		err = fmt.Errorf("echo of %q is %v %q", body, m, m.Data)
	}
	return err
}

// ending is what came until the connection ended, and how it did.
type ending struct {
	messages []*message.Message
	kick     string // the body of a kick, the last packet
	code     int    // of a close frame, behind which nothing comes
	err      error  // of the read that found the end
}

// rest reads until the connection ends.
func (w *wire) rest() ending {
	var e ending
	for {
		m, err := w.message()
		var k kicked
		var c closed
		over := e.kick != "" || e.code != 0
		switch {
		case err == nil && over:
			e.err = fmt.Errorf("%v came after the end", m)
			return e
		case err == nil:
			e.messages = append(e.messages, m)
		case errors.As(err, &k) && !over:
			e.kick = string(k)
		case errors.As(err, &c) && e.code == 0:
			e.code = int(c)
		default:
			e.err = err
			return e
		}
	}
}

// abort ends the connection without a farewell, and without leaving a port in use for a while.
func (w *wire) abort() {
	if c, ok := w.conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = w.conn.Close()
}

func pack(typ packet.Type, body string) []byte {
	b, err := codec.Append(nil, typ, []byte(body))
	if err != nil {
		panic(err)
	}
	return b
}

func data(m message.Message, body string) []byte {
	m.Data = []byte(body)
	b, err := codec.AppendMessage(nil, &m, nil)
	if err != nil {
		panic(err)
	}
	return b
}

func request(id uint64, route, body string) []byte {
	return data(message.Message{Type: message.Request, ID: id, Route: route}, body)
}

func notify(route, body string) []byte {
	return data(message.Message{Type: message.Notify, Route: route}, body)
}

// peer is a wire whose faults end the test. It is for the test's own goroutine.
type peer struct {
	*wire
	t testing.TB
}

func (p *peer) send(bytes ...[]byte) {
	p.t.Helper()
	for _, b := range bytes {
		if err := p.wire.send(b); err != nil {
			p.t.Fatalf("send: %v", err)
		}
	}
}

func (p *peer) join() {
	p.t.Helper()
	if err := p.wire.join(); err != nil {
		p.t.Fatalf("join: %v", err)
	}
}

func (p *peer) echo(id uint64, body string) {
	p.t.Helper()
	if err := p.wire.echo(id, body); err != nil {
		p.t.Fatal(err)
	}
}

// next reads the next message.
func (p *peer) next() *message.Message {
	p.t.Helper()
	m, err := p.message()
	if err != nil {
		p.t.Fatalf("reading a message: %v", err)
	}
	return m
}

// call returns the payload that a request is answered with.
func (p *peer) call(id uint64, route, body string) string {
	p.t.Helper()
	m, err := p.wire.call(id, route, body)
	if err != nil {
		p.t.Fatalf("%s: %v", route, err)
	}
	if m.Err {
		p.t.Fatalf("%s was answered with the error %s", route, m.Data)
	}
	return string(m.Data)
}

// fails returns the error that a request is answered with; errors are JSON.
func (p *peer) fails(id uint64, route, body string) *nano.Error {
	p.t.Helper()
	m, err := p.wire.call(id, route, body)
	if err != nil {
		p.t.Fatalf("%s: %v", route, err)
	}
	return p.failure(m)
}

func (p *peer) failure(m *message.Message) *nano.Error {
	p.t.Helper()
	e := &nano.Error{}
	if err := json.Unmarshal(m.Data, e); err != nil || !m.Err || e.Code == "" {
		p.t.Fatalf("%v %q came, want an error response", m, m.Data)
	}
	return e
}

// ends reads until the server has ended the connection, and ends it on this side too.
func (p *peer) ends() ending {
	p.t.Helper()
	e := p.rest()
	_ = p.conn.Close()
	var n net.Error
	if errors.As(e.err, &n) && n.Timeout() {
		p.t.Fatalf("the connection is open after %v", p.patience)
	}
	return e
}

// goes runs f, which ends with the connection at the latest, beside the test.
func (p *peer) goes(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	p.t.Cleanup(func() {
		p.abort()
		<-done
	})
}
