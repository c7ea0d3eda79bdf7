package testkit

import (
	"encoding/json"
	"errors"
	"net"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/message"
)

// HandshakeAnswer is the server's part of the handshake.
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

// SendAndDrain sends, and takes whatever comes.
func (p *Client) SendAndDrain(b []byte) {
	p.Go(func() { p.ReadUntilEnd() })
	p.Send(b)
}

// Client is a wire whose faults end the test. It is for the test's own goroutine.
type Client struct {
	*Wire
	T testing.TB
}

// NewClient returns a client that speaks on conn. The test closes it.
func NewClient(t testing.TB, conn net.Conn) *Client { return &Client{Wire: NewWire(conn), T: t} }

func (p *Client) Send(bytes ...[]byte) {
	p.T.Helper()
	for _, b := range bytes {
		if err := p.Wire.Send(b); err != nil {
			p.T.Fatalf("send: %v", err)
		}
	}
}

func (p *Client) Join() {
	p.T.Helper()
	if err := p.Wire.Join(); err != nil {
		p.T.Fatalf("join: %v", err)
	}
}

func (p *Client) Echo(id uint64, body string) {
	p.T.Helper()
	if err := p.Wire.Echo(id, body); err != nil {
		p.T.Fatal(err)
	}
}

// Next reads the next message.
func (p *Client) Next() *message.Message {
	p.T.Helper()
	m, err := p.Message()
	if err != nil {
		p.T.Fatalf("reading a message: %v", err)
	}
	return m
}

// Call returns the payload that a request is answered with.
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

// CallError returns the error that a request is answered with; errors are JSON.
func (p *Client) CallError(id uint64, route, body string) *nano.Error {
	p.T.Helper()
	m, err := p.Wire.Call(id, route, body)
	if err != nil {
		p.T.Fatalf("%s: %v", route, err)
	}
	return p.ErrorOf(m)
}

func (p *Client) ErrorOf(m *message.Message) *nano.Error {
	p.T.Helper()
	e := &nano.Error{}
	if err := json.Unmarshal(m.Data, e); err != nil || !m.Err || e.Code == "" {
		p.T.Fatalf("%v %q came, want an error response", m, m.Data)
	}
	return e
}

// ReadEnd reads until the server has ended the connection, and ends it on this side too.
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

// Go runs f, which ends with the connection at the latest, beside the test.
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
