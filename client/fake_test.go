package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const welcomeJSON = `{"code":200,"sys":{"heartbeat":30,"serializer":"json"}}`

// fake is the server's end of a connection, controlled by a test.
type fake struct {
	t    testing.TB
	conn io.ReadWriteCloser
	buf  []byte
	dict *message.Dictionary
}

// acceptHandshake reads the handshake, answers it, reads the ack and returns the handshake's body.
func (f *fake) acceptHandshake(answer string) []byte {
	f.t.Helper()
	body := f.expect(packet.Handshake)
	f.write(packet.Handshake, []byte(answer))
	f.expect(packet.Ack)
	var w welcome
	if err := json.Unmarshal([]byte(answer), &w); err == nil {
		f.dict, _ = message.NewDictionary(w.Sys.Dict)
	}
	return body
}

// next returns the next packet, or the error that ended the connection.
func (f *fake) next() (packet.Type, []byte, error) {
	for {
		t, body, n, _, err := codec.Next(f.buf, codec.DefaultLimit)
		if err != nil {
			return 0, nil, err
		}
		if n > 0 {
			body = append([]byte(nil), body...)
			f.buf = f.buf[n:]
			return t, body, nil
		}
		chunk := make([]byte, 4096)
		n, err = f.conn.Read(chunk)
		f.buf = append(f.buf, chunk[:n]...)
		if err != nil && n == 0 {
			return 0, nil, err
		}
	}
}

// expect returns the body of the next packet, which must be of type t. It skips
// heartbeats unless t is Heartbeat.
func (f *fake) expect(t packet.Type) []byte {
	f.t.Helper()
	for {
		got, body, err := f.next()
		if err != nil {
			f.t.Errorf("the server waits for a packet of type %v, the connection says %v", t, err)
			return nil
		}
		if got == packet.Heartbeat && t != packet.Heartbeat {
			continue
		}
		if got != t {
			f.t.Errorf("the server got a packet of type %v, want %v", got, t)
		}
		return body
	}
}

// receive returns the next message.
func (f *fake) receive() *message.Message {
	f.t.Helper()
	m, err := message.Decode(f.expect(packet.Data), f.dict)
	if err != nil {
		f.t.Errorf("the server got a message that does not decode: %v", err)
		return &message.Message{}
	}
	return m
}

func (f *fake) raw(b []byte) {
	f.t.Helper()
	if _, err := f.conn.Write(b); err != nil {
		f.t.Errorf("the server writes: %v", err)
	}
}

func (f *fake) write(t packet.Type, body []byte) {
	f.t.Helper()
	b, err := codec.Append(nil, t, body)
	if err != nil {
		f.t.Fatal(err)
	}
	f.raw(b)
}

func (f *fake) send(messages ...*message.Message) {
	f.t.Helper()
	f.raw(f.encode(messages...))
}

func (f *fake) encode(messages ...*message.Message) []byte {
	f.t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = codec.AppendMessage(b, m, f.dict); err != nil {
			f.t.Fatal(err)
		}
	}
	return b
}

func (f *fake) respond(id uint64, data string) {
	f.t.Helper()
	f.send(response(id, data))
}

func (f *fake) push(route, data string) {
	f.t.Helper()
	f.send(push(route, data))
}

// untilClosed reads until the client has closed the connection, and returns the messages that came before.
func (f *fake) untilClosed() []*message.Message {
	f.t.Helper()
	var got []*message.Message
	for {
		t, body, err := f.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.t.Errorf("the client closed with %v, want EOF", err)
			}
			f.conn.Close()
			return got
		}
		if t != packet.Data {
			continue
		}
		m, err := message.Decode(body, f.dict)
		if err != nil {
			f.t.Error(err)
			continue
		}
		got = append(got, m)
	}
}

func response(id uint64, data string) *message.Message {
	return &message.Message{Type: message.Response, ID: id, Data: []byte(data)}
}

func push(route, data string) *message.Message {
	return &message.Message{Type: message.Push, Route: route, Data: []byte(data)}
}

// pipe connects a client and a fake server in memory. It must be called in a synctest
// bubble, or with a server that answers. serve runs on a separate goroutine, and the test
// waits for it.
func pipe(t testing.TB, serve func(*fake), opts ...Option) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		serve(&fake{t: t, conn: theirs})
	}()
	c, err := New(context.Background(), ours, opts...)
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	return c
}

// accept serves one TCP connection on the loopback interface, and returns its address.
func accept(t testing.TB, serve func(*fake)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		serve(&fake{t: t, conn: conn})
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// echo answers every request with the request's payload until the client closes.
func echo(f *fake) {
	f.acceptHandshake(welcomeJSON)
	for {
		t, body, err := f.next()
		if err != nil {
			return
		}
		if t != packet.Data {
			continue
		}
		m, err := message.Decode(body, nil)
		if err != nil {
			f.t.Error(err)
			return
		}
		if m.Type == message.Request {
			f.send(&message.Message{Type: message.Response, ID: m.ID, Data: m.Data})
		}
	}
}

// within returns a context with a deadline for a test that runs in real time.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// collect gathers the messages of handlers in order.
type collect chan string

func newCollect() collect { return make(collect, 1000) }

func (c collect) handler(m *Message) { c <- m.Route + " " + string(m.Data) }

func (c collect) want(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-c:
			if got != w {
				t.Fatalf("a handler saw %q, want %q", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no handler saw %q within 10 s", w)
		}
	}
}
