package client

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
)

// fakeAttempt is a pending connection attempt of the client.
type fakeAttempt struct {
	accepted chan net.Conn
	refused  chan struct{}
}

// fakePeer is the server's end of a connection in a case.
type fakePeer struct {
	r      *conformance
	conn   net.Conn
	shaken bool    // the handshake was received; r.mu guards it and the following fields
	end    fakeEnd // how the client closed
	gone   bool    // the server has closed, or the client's end was recorded
}

// dial waits until the case accepts or refuses the connection attempt.
func (r *conformance) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a := &fakeAttempt{accepted: make(chan net.Conn), refused: make(chan struct{})}
	r.mu.Lock()
	r.dials++
	r.attempt = a
	r.mu.Unlock()
	select {
	case conn := <-a.accepted:
		return conn, nil
	case <-a.refused:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closes = append(r.closes, fakeEnd{})
		return nil, ctx.Err()
	}
}

// serve runs a step of the server.
func (r *conformance) serve(s conformanceStep) error {
	r.mu.Lock()
	a, p := r.attempt, r.peer
	r.mu.Unlock()
	switch s.Server {
	case "accept":
		ours, theirs := net.Pipe()
		p = &fakePeer{r: r, conn: theirs}
		r.mu.Lock()
		r.peer = p
		r.mu.Unlock()
		r.clients.Go(p.run)
		a.accepted <- ours
	case "refuse":
		close(a.refused)
	case "send":
		for _, h := range s.Hex {
			b := unhex(h)
			if r.framed {
				b = wsframe.AppendFrame(nil, wsframe.Binary, b)
			}
			if _, err := p.conn.Write(b); err != nil && len(b) > 0 {
				return nil // the client has closed meanwhile; the case checks whether it had to
			}
		}
	case "text":
		_, err := p.conn.Write(wsframe.AppendFrame(nil, wsframe.Text, []byte(s.Text)))
		return err
	case "close":
		p.depart()
		if r.framed && s.Code != 1005 && s.Code != 1006 {
			_, _ = p.conn.Write(wsframe.AppendClose(nil, uint16(s.Code), "")) // the client may close at once
			return nil
		}
		_ = p.conn.Close()
	case "cut":
		p.depart()
		_ = p.conn.Close()
	default:
		return errors.New("unknown step of the server")
	}
	return nil
}

// depart records that the server ends the connection.
func (p *fakePeer) depart() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.gone = true
}

// closed records that the client has ended the connection.
func (p *fakePeer) closed() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if !p.gone {
		p.r.closes = append(p.r.closes, p.end)
	}
	p.gone = true
	_ = p.conn.Close()
}

// run reads the client's data.
func (p *fakePeer) run() {
	defer p.closed()
	var in io.Reader = p.conn
	if p.r.framed {
		b := bufio.NewReader(p.conn)
		if err := upgrade(b, p.conn); err != nil {
			return
		}
		in = b
	}
	frames := &wsframe.Decoder{}
	var stream []byte
	for chunk := make([]byte, 4096); ; {
		n, err := in.Read(chunk)
		if err != nil {
			return
		}
		if p.r.framed {
			payload, code, ended := unmask(frames, chunk[:n])
			stream = append(stream, payload...)
			if ended {
				p.packets(stream)
				p.r.mu.Lock()
				p.end.code = code
				p.end.leaves = p.end.leaves || code == wsframe.CodeNormal || code == wsframe.CodeGoingAway
				p.r.mu.Unlock()
				return
			}
		} else {
			stream = append(stream, chunk[:n]...)
		}
		stream = p.packets(stream)
	}
}

// packets removes the whole packets from b, and returns the rest.
func (p *fakePeer) packets(b []byte) []byte {
	for {
		t, body, n, _, err := codec.Next(b, packet.MaxLength)
		if err != nil || n == 0 {
			return b
		}
		p.r.packet(p, t, body)
		b = b[n:]
	}
}

// unmask decodes the client's frames in b, and returns their payload. ended reports a
// close frame. Its code is 0 if it has none.
func unmask(d *wsframe.Decoder, b []byte) (payload []byte, code int, ended bool) {
	for len(b) > 0 {
		f, n, err := d.Next(&wsframe.Config{FromClient: true}, b)
		if err != nil {
			return payload, 0, true
		}
		switch f.Op {
		case wsframe.Binary:
			payload = append(payload, f.Payload...)
		case wsframe.Close:
			if code = int(f.Code()); code == wsframe.CodeNoStatus {
				code = 0
			}
			return payload, code, true
		}
		b = b[n:]
	}
	return payload, 0, false
}

// upgrade answers a WebSocket upgrade request.
func upgrade(in *bufio.Reader, out io.Writer) error {
	request, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	sum := sha1.Sum(slices.Concat([]byte(request.Header.Get("Sec-WebSocket-Key")), []byte("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
	_, err = fmt.Fprintf(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	return err
}
