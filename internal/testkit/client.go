package testkit

import (
	"encoding/json"
	"errors"
	"net"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/message"
)

// HandshakeAnswer is the answer of the server to a handshake.
type HandshakeAnswer struct {
	Code int
	Sys  *struct {
		Heartbeat  int
		ServerTime int64
		Dict       map[string]uint16
		Serializer string
	}
	User    json.RawMessage
	Message string
}

// Client is a [Wire] whose errors end the test. Only the goroutine of the test may use
// it.
type Client struct {
	*Wire
	T testing.TB
}

// NewClient returns a client that uses conn. The test closes conn.
func NewClient(t testing.TB, conn net.Conn) *Client { return &Client{Wire: NewWire(conn), T: t} }

// Handshake sends a handshake with the JSON body and returns the parsed answer.
func (p *Client) Handshake(body string) HandshakeAnswer {
	p.T.Helper()
	text, err := p.Wire.Handshake(body)
	if err != nil {
		p.T.Fatalf("handshake: %v", err)
	}
	var a HandshakeAnswer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		p.T.Fatalf("handshake: %s: %v", text, err)
	}
	return a
}

// SendAndDrain sends b while another goroutine reads and drops everything until the
// connection ends.
func (p *Client) SendAndDrain(b []byte) {
	p.Go(func() { p.ReadUntilEnd() })
	p.Send(b)
}

// Send sends bytes of the packet stream. Each argument is one write.
func (p *Client) Send(bytes ...[]byte) {
	p.T.Helper()
	for _, b := range bytes {
		if err := p.Wire.Send(b); err != nil {
			p.T.Fatalf("send: %v", err)
		}
	}
}

// Join completes the handshake and sends the ack.
func (p *Client) Join() {
	p.T.Helper()
	if err := p.Wire.Join(); err != nil {
		p.T.Fatalf("join: %v", err)
	}
}

// Echo sends a request to Game.Echo and checks that the response has the same body.
func (p *Client) Echo(id uint64, body string) {
	p.T.Helper()
	if err := p.Wire.Echo(id, body); err != nil {
		p.T.Fatal(err)
	}
}

// Next returns the next message.
func (p *Client) Next() *message.Message {
	p.T.Helper()
	m, err := p.Message()
	if err != nil {
		p.T.Fatalf("reading a message: %v", err)
	}
	return m
}

// Call sends a request and returns the payload of its response, which has to come next.
func (p *Client) Call(id uint64, route, body string) string {
	p.T.Helper()
	m, err := p.Wire.Call(id, route, body)
	if err != nil {
		p.T.Fatalf("%s: %v", route, err)
	}
	if m.Err {
		p.T.Fatalf("%s was answered with the error %s", route, m.Data)
	}
	return string(m.Data)
}

// CallError sends a request and returns the error of its error response.
func (p *Client) CallError(id uint64, route, body string) *nano.Error {
	p.T.Helper()
	m, err := p.Wire.Call(id, route, body)
	if err != nil {
		p.T.Fatalf("%s: %v", route, err)
	}
	return p.ErrorOf(m)
}

// ErrorOf decodes m, which has to be a JSON error response.
func (p *Client) ErrorOf(m *message.Message) *nano.Error {
	p.T.Helper()
	e := &nano.Error{}
	if err := json.Unmarshal(m.Data, e); err != nil || !m.Err || e.Code == "" {
		p.T.Fatalf("%v %q came, want an error response", m, m.Data)
	}
	return e
}

// ReadEnd reads until the server has closed the connection, then closes this side.
func (p *Client) ReadEnd() Ending {
	p.T.Helper()
	e := p.Wire.ReadUntilEnd()
	_ = p.Conn.Close()
	var n net.Error
	if errors.As(e.Err, &n) && n.Timeout() {
		p.T.Fatalf("the connection is open after %v", p.Patience)
	}
	return e
}

// Go runs f on a goroutine. f has to return when the connection ends. The end of the test
// closes the connection.
func (p *Client) Go(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	p.T.Cleanup(func() {
		p.Abort()
		<-done
	})
}
