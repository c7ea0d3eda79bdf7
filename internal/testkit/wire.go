package testkit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// Wire is a client connection on which the test chooses every byte. One goroutine may
// send while another one receives.
type Wire struct {
	Conn     net.Conn
	Reader   *bufio.Reader
	ws       bool
	Dict     *message.Dictionary // dictionary of compressed routes
	Patience time.Duration
}

// NewWire returns a Wire on conn.
func NewWire(conn net.Conn) *Wire {
	return &Wire{Conn: conn, Reader: bufio.NewReader(conn), Patience: Patience}
}

// KickError is returned by [Wire.Message] for a kick. Its value is the body.
type KickError string

// CloseError is returned by [Wire.Packet] for a close frame. Its value is the code.
type CloseError uint16

func (k KickError) Error() string { return "kicked: " + string(k) }

func (c CloseError) Error() string { return fmt.Sprintf("close frame %d", uint16(c)) }

// Upgrade asks for a WebSocket at path.
func (w *Wire) Upgrade(path string) error {
	if err := w.Raw([]byte(UpgradeRequest(path))); err != nil {
		return err
	}
	_ = w.Conn.SetReadDeadline(time.Now().Add(w.Patience))
	r, err := http.ReadResponse(w.Reader, nil)
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

// RequestUpgrade asks for a WebSocket with more headers, and returns the HTTP status.
func (w *Wire) RequestUpgrade(t testing.TB, headers ...string) int {
	t.Helper()
	head := strings.TrimSuffix(UpgradeRequest("/"), "\r\n") + strings.Join(append(headers, "\r\n"), "\r\n")
	head = strings.ReplaceAll(head, "\r\n\r\n\r\n", "\r\n\r\n")
	if err := w.Raw([]byte(head)); err != nil {
		t.Fatal(err)
	}
	_ = w.Conn.SetReadDeadline(time.Now().Add(w.Patience))
	r, err := http.ReadResponse(w.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	w.ws = r.StatusCode == http.StatusSwitchingProtocols
	return r.StatusCode
}

// ReadStatus reads an HTTP response and returns its status.
func (w *Wire) ReadStatus() (int, error) {
	_ = w.Conn.SetReadDeadline(time.Now().Add(w.Patience))
	r, err := http.ReadResponse(w.Reader, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return r.StatusCode, err
}

// Raw sends bytes without a frame.
func (w *Wire) Raw(b []byte) error {
	_ = w.Conn.SetWriteDeadline(time.Now().Add(w.Patience))
	_, err := w.Conn.Write(b)
	return err
}

// Send sends bytes of the packet stream. On a WebSocket they are one frame.
func (w *Wire) Send(b []byte) error {
	if w.ws {
		b = Frame(0x82, b)
	}
	return w.Raw(b)
}

// ReadFrame reads one WebSocket frame of the server. The frame has to be final and
// unmasked.
func (w *Wire) ReadFrame() (opcode byte, payload []byte, err error) {
	_ = w.Conn.SetReadDeadline(time.Now().Add(w.Patience))
	var head [10]byte
	if _, err := io.ReadFull(w.Reader, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a frame begins with % x, want a final one, not masked", head[:2])
	}
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(w.Reader, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(w.Reader, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(w.Reader, payload)
	return head[0] & 0x0f, payload, err
}

// Packet reads one packet. On a WebSocket each frame has to contain exactly one packet.
func (w *Wire) Packet() (packet.Type, string, error) {
	if w.ws {
		return w.framedPacket()
	}
	_ = w.Conn.SetReadDeadline(time.Now().Add(w.Patience))
	var head [packet.HeadLength]byte
	if _, err := io.ReadFull(w.Reader, head[:]); err != nil {
		return 0, "", err
	}
	typ, n := packet.Header(head[:])
	var body strings.Builder // grows as bytes come: n may be part of an HTTP status
	_, err := io.CopyN(&body, w.Reader, int64(n))
	if errors.Is(err, io.EOF) && body.Len() > 0 {
		err = io.ErrUnexpectedEOF
	}
	return typ, body.String(), err
}

func (w *Wire) framedPacket() (packet.Type, string, error) {
	for {
		opcode, payload, err := w.ReadFrame()
		switch {
		case err != nil:
			return 0, "", err
		case opcode == 8 && len(payload) == 0:
			return 0, "", CloseError(1005) // a close frame without a code
		case opcode == 8 && len(payload) >= 2:
			return 0, "", CloseError(binary.BigEndian.Uint16(payload))
		case opcode == 10:
			continue
		case opcode != 2:
			return 0, "", fmt.Errorf("a frame with opcode %d came", opcode)
		}
		typ, body, n, _, err := codec.Next(payload, packet.MaxLength)
		if err != nil || n != len(payload) {
			return 0, "", fmt.Errorf("a frame of %d bytes holds a packet of %d, want exactly one: %w", len(payload), n, err)
		}
		return typ, string(body), nil
	}
}

// Message reads the next message. It skips heartbeats; a kick is a [KickError].
func (w *Wire) Message() (*message.Message, error) {
	for {
		typ, body, err := w.Packet()
		if err != nil {
			return nil, err
		}
		switch typ {
		case packet.Heartbeat:
			if body != "" {
				return nil, fmt.Errorf("a heartbeat with the body %q", body)
			}
		case packet.Kick:
			return nil, KickError(body)
		case packet.Data:
			return message.Decode([]byte(body), w.Dict)
		default:
			return nil, fmt.Errorf("a %v packet came: %q", typ, body)
		}
	}
}

// Handshake sends a handshake and returns the body of the answer.
func (w *Wire) Handshake(body string) (string, error) {
	if err := w.Send(Pack(packet.Handshake, body)); err != nil {
		return "", err
	}
	typ, answer, err := w.Packet()
	if err == nil && typ != packet.Handshake {
		err = fmt.Errorf("the handshake was answered by a %v packet", typ)
	}
	return answer, err
}

// Join completes the handshake and sends the ack.
func (w *Wire) Join() error {
	answer, err := w.Handshake("{}")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, `{"code":200,`) {
		return fmt.Errorf("the handshake was answered by %s", answer)
	}
	return w.Send(Pack(packet.Ack, ""))
}

// Call sends a request and returns its response, which has to come next.
func (w *Wire) Call(id uint64, route, body string) (*message.Message, error) {
	if err := w.Send(Request(id, route, body)); err != nil {
		return nil, err
	}
	m, err := w.Message()
	if err == nil && (m.Type != message.Response || m.ID != id) {
		err = fmt.Errorf("request %d was answered by %v", id, m)
	}
	return m, err
}

// Echo sends a request to Game.Echo and checks that the response has the same body.
func (w *Wire) Echo(id uint64, body string) error {
	m, err := w.Call(id, "Game.Echo", body)
	if err == nil && (m.Err || string(m.Data) != body) {
		err = fmt.Errorf("echo of %q is %v %q", body, m, m.Data)
	}
	return err
}

// Ending holds everything that a client received until its connection ended.
type Ending struct {
	Messages []*message.Message
	Kick     string // the body of the kick, which is the last packet
	Code     int    // the code of the close frame, after which nothing follows
	Err      error  // the error of the last read
}

// ReadUntilEnd reads until the connection ends.
func (w *Wire) ReadUntilEnd() Ending {
	var e Ending
	for {
		m, err := w.Message()
		var k KickError
		var c CloseError
		over := e.Kick != "" || e.Code != 0
		switch {
		case err == nil && over:
			e.Err = fmt.Errorf("%v came after the end", m)
			return e
		case err == nil:
			e.Messages = append(e.Messages, m)
		case errors.As(err, &k) && !over:
			e.Kick = string(k)
		case errors.As(err, &c) && e.Code == 0:
			e.Code = int(c)
		default:
			e.Err = err
			return e
		}
	}
}

// Abort closes the connection with a TCP reset, so that its port is free at once.
func (w *Wire) Abort() {
	if c, ok := w.Conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = w.Conn.Close()
}
