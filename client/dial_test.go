package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/lonng/nano/internal/packet"
)

func TestDialTCP(t *testing.T) {
	for _, scheme := range []string{"", "tcp://"} {
		got := make(chan int, 1)
		addr := accept(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			m := f.receive()
			f.respond(m.ID, string(m.Data))
			got <- len(f.untilClosed())
		})
		c, err := Dial(within(t), scheme+addr)
		if err != nil {
			t.Fatal(err)
		}
		exercise(t, c, got)
	}
}

// exercise makes a request, sends many notifies, closes the client, and checks that all
// of them arrived.
func exercise(t *testing.T, c *Client, got <-chan int) {
	t.Helper()
	var text string
	if err := c.Request(within(t), "Echo.Echo", "hello", &text); err != nil || text != "hello" {
		t.Errorf("Request = %q, %v, want hello", text, err)
	}
	const n = 2000
	for range n {
		if err := c.Notify("Log.Line", strings.Repeat("x", 500)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	select {
	case arrived := <-got:
		if arrived != n {
			t.Errorf("%d notifies arrived of %d sent before Close", arrived, n)
		}
	case <-within(t).Done():
		t.Error("the server did not see the end")
	}
}

// certified returns TLS configurations for a server on the loopback interface and for its
// clients.
func certified(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

func TestDialTLS(t *testing.T) {
	server, config := certified(t)
	got := make(chan int, 1)
	serve := func(f *fake) {
		conn := tls.Server(f.conn.(net.Conn), server)
		if err := conn.Handshake(); err != nil {
			return
		}
		f.conn = conn
		f.acceptHandshake(welcomeJSON)
		m := f.receive()
		f.respond(m.ID, string(m.Data))
		got <- len(f.untilClosed())
	}
	c, err := Dial(within(t), "tls://"+accept(t, serve), WithTLSConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	exercise(t, c, got)
	if config.ServerName != "" {
		t.Error("Dial changed the configuration that it was given")
	}

	var unknown *tls.CertificateVerificationError
	if _, err := Dial(within(t), "tls://"+accept(t, serve)); !errors.As(err, &unknown) {
		t.Errorf("Dial without the server's root = %v, want a CertificateVerificationError", err)
	}
	if _, err := Dial(within(t), "tls://"+accept(t, func(*fake) {})); err == nil {
		t.Error("Dial of a server without TLS = nil, want an error")
	}
}

// socketServer serves one WebSocket with serve under /nano.
func socketServer(t *testing.T, secure *tls.Config, serve func(*fake, *websocket.Conn, *http.Request)) string {
	t.Helper()
	ended := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/nano", func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		serve(&fake{t: t, conn: &socketStream{Conn: conn}}, conn, r)
	})
	s := httptest.NewUnstartedServer(mux)
	scheme := "ws://"
	if secure != nil {
		scheme, s.TLS = "wss://", secure
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		<-ended
		s.Close()
	})
	return scheme + s.Listener.Addr().String() + "/nano"
}

// socketStream makes a WebSocket of gorilla's library a stream of bytes.
type socketStream struct {
	*websocket.Conn
	message io.Reader
}

func (s *socketStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			_, message, err := s.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				return 0, io.EOF
			}
			if err != nil {
				return 0, err
			}
			s.message = message
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socketStream) Write(p []byte) (int, error) {
	return len(p), s.WriteMessage(websocket.BinaryMessage, p)
}

func TestDialWebSocket(t *testing.T) {
	server, config := certified(t)
	for _, secure := range []*tls.Config{nil, server} {
		got := make(chan int, 1)
		addr := socketServer(t, secure, func(f *fake, _ *websocket.Conn, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer 7" {
				t.Errorf("the request's header is %v, want the one that was given", r.Header)
			}
			f.acceptHandshake(welcomeJSON)
			m := f.receive()
			f.respond(m.ID, string(m.Data))
			got <- len(f.untilClosed())
		})
		c, err := Dial(within(t), addr, WithTLSConfig(config), WithHeader(http.Header{"Authorization": {"Bearer 7"}}))
		if err != nil {
			t.Fatal(err)
		}
		exercise(t, c, got)
	}
}

func TestWebSocketFrames(t *testing.T) {
	seen := newCollect()
	addr := socketServer(t, nil, func(f *fake, conn *websocket.Conn, _ *http.Request) {
		f.acceptHandshake(welcomeJSON)
		both := f.encode(push("a", "1"), push("b", "2"))
		f.raw(both)     // two packets in a frame
		f.raw(both[:7]) // a packet over two frames
		f.raw([]byte{}) // an empty frame
		f.raw(both[7:]) // the rest of the packet and another packet
		f.write(packet.Kick, []byte(`{"reason":"done"}`))
		_, _, _ = f.next() // until the client has closed
	})
	c, err := Dial(within(t), addr, WithFallback(seen.handler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen.want(t, "a 1", "b 2", "a 1", "b 2")
	<-c.Done()
	if _, ok := errors.AsType[*KickError](c.Err()); !ok {
		t.Errorf("Err() = %v, want the kick", c.Err())
	}
}

func TestWebSocketEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*websocket.Conn)
		want error
	}{
		{"text frame", func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, []byte("{}")) }, ErrProtocol},
		{"close frame", func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
		}, io.EOF},
		{"no close frame", func(c *websocket.Conn) { c.NetConn().Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := socketServer(t, nil, func(f *fake, conn *websocket.Conn, _ *http.Request) {
				f.acceptHandshake(welcomeJSON)
				test.end(conn)
				_, _, _ = conn.NextReader() // until the client has closed
			})
			c, err := Dial(within(t), addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			<-c.Done()
			if !errors.Is(c.Err(), test.want) {
				t.Errorf("Err() = %v, want %v", c.Err(), test.want)
			}
		})
	}
}

func TestWebSocketRefused(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := Dial(within(t), "ws"+strings.TrimPrefix(s.URL, "http")+"/nano")
	if !errors.Is(err, websocket.ErrBadHandshake) || !strings.Contains(err.Error(), "404") {
		t.Errorf("Dial of a path that is not there = %v, want ErrBadHandshake and 404", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, addr := range []string{"", "localhost", "tcp://localhost", "tcp://localhost:1/path", "tls://localhost", "http://localhost:80", "ws://", "ws:///nano", "://", "tcp://[::1"} {
		_, err := Dial(t.Context(), addr, WithDialer(func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("Dial(%q) dials", addr)
			return nil, io.EOF
		}))
		if err == nil || !strings.HasPrefix(err.Error(), "client: ") {
			t.Errorf("Dial(%q) = %v, want an error of the client", addr, err)
		}
	}
	for addr, want := range map[string]string{
		"localhost:1":        "localhost:1",
		"[::1]:1":            "[::1]:1",
		"tcp://1.2.3.4:5":    "1.2.3.4:5",
		"tls://game:443":     "game:443",
		"ws://game/nano":     "game:80",
		"ws://game:81/nano":  "game:81",
		"wss://game/nano?a=": "game:443",
	} {
		var got string
		_, err := Dial(t.Context(), addr, WithDialer(func(_ context.Context, _, addr string) (net.Conn, error) {
			got = addr
			return nil, io.ErrNoProgress
		}))
		if got != want || !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("Dial(%q) dials %q and returns %v, want %q and the dialer's error", addr, got, err, want)
		}
	}
}

func TestDialCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	addr := accept(t, func(f *fake) { _, _, _ = f.next() })
	for _, scheme := range []string{"tcp://", "tls://", "ws://", "wss://"} {
		if _, err := Dial(ctx, scheme+addr); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial(%s) with a context that has ended = %v, want context.Canceled", scheme, err)
		}
	}
}
