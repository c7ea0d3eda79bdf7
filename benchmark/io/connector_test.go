package io

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/golang/protobuf/proto"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server serves one connection and returns its address. It answers requests with their
// own payload, and requests to "fail" with an error. It answers a notify with a push to
// "pong".
func server(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		var buf []byte
		for {
			kind, body, n, _, err := codec.Next(buf, codec.DefaultLimit)
			if err != nil {
				t.Error(err)
				return
			}
			if n == 0 {
				chunk := make([]byte, 1024)
				n, err := conn.Read(chunk)
				if err != nil {
					return
				}
				buf = append(buf, chunk[:n]...)
				continue
			}
			buf = buf[n:]
			var out []byte
			switch kind {
			case packet.Handshake:
				out, err = codec.Append(nil, packet.Handshake, []byte(`{"code":200,"sys":{"heartbeat":30}}`))
			case packet.Data:
				var in *message.Message
				if in, err = message.Decode(body, nil); err != nil {
					t.Error(err)
					return
				}
				answer := &message.Message{Type: message.Push, Route: "pong", Data: in.Data}
				if in.Type == message.Request {
					answer = &message.Message{Type: message.Response, ID: in.ID, Data: in.Data, Err: in.Route == "fail"}
				}
				out, err = codec.AppendMessage(nil, answer, nil)
			}
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func receive(t *testing.T, c <-chan string) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no callback within 10 s")
		return ""
	}
}

func text(t *testing.T, data any) string {
	var v wrapperspb.StringValue
	if err := proto.Unmarshal(data.([]byte), &v); err != nil {
		t.Error(err)
	}
	return v.GetValue()
}

func TestConnector(t *testing.T) {
	c := NewConnector()
	defer c.Close()
	seen := make(chan string, 10)
	// The callback may block until Start returns, and may send.
	ready := make(chan struct{})
	c.OnConnected(func() {
		ready <- struct{}{}
		if err := c.Notify("ping", wrapperspb.String("first")); err != nil {
			t.Errorf("Notify in OnConnected = %v", err)
		}
		seen <- "connected"
	})
	if err := c.Start(server(t)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	c.On("pong", func(data any) { seen <- "pong " + text(t, data) })
	<-ready
	for _, want := range []string{"connected", "pong first"} {
		if got := receive(t, seen); got != want {
			t.Fatalf("callback %q, want %q", got, want)
		}
	}
	if err := c.Request("fail", wrapperspb.String("a"), func(any) { t.Error("the callback ran for an error response") }); err != nil {
		t.Fatal(err)
	}
	err := c.Request("echo", wrapperspb.String("b"), func(data any) {
		// A callback may send too.
		if err := c.Request("echo", wrapperspb.String("c"), func(data any) { seen <- text(t, data) }); err != nil {
			t.Error(err)
		}
		seen <- text(t, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Request("echo", wrapperspb.String("nobody cares"), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"b", "c"} {
		if got := receive(t, seen); got != want {
			t.Fatalf("callback %q, want %q", got, want)
		}
	}
	c.On("pong", nil)
	if err := c.Notify("ping", wrapperspb.String("unheard")); err != nil {
		t.Fatal(err)
	}
	if err := c.Start("127.0.0.1:1"); !errors.Is(err, ErrStarted) {
		t.Errorf("second Start = %v, want ErrStarted", err)
	}
	c.Close()
	c.Close()
	if err := c.Notify("ping", wrapperspb.String("late")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Notify after Close = %v, want ErrClosed", err)
	}
}

func TestConnectorCloseInACallback(t *testing.T) {
	c := NewConnector()
	closed := make(chan string, 1)
	c.OnConnected(func() {
		c.Close()
		closed <- "closed"
	})
	if err := c.Start(server(t)); err != nil && !errors.Is(err, client.ErrClosed) {
		t.Fatal(err)
	}
	receive(t, closed)
	c.Close()
}

func TestConnectorNotConnected(t *testing.T) {
	c := NewConnector()
	if err := c.Notify("a", wrapperspb.String("b")); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Notify before Start = %v, want ErrNotConnected", err)
	}
	if err := c.Request("a", wrapperspb.String("b"), func(any) {}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Request before Start = %v, want ErrNotConnected", err)
	}
	if err := c.Start("nowhere"); err == nil || errors.Is(err, ErrStarted) {
		t.Errorf("Start(nowhere) = %v, want an error of the address", err)
	}
	if err := c.Start(server(t)); err != nil {
		t.Errorf("Start after one that failed = %v", err)
	}
	c.Close()
	c = NewConnector()
	c.Close()
	if err := c.Start("127.0.0.1:1"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Start after Close = %v, want ErrClosed", err)
	}
}
