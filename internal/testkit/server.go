package testkit

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/serialize/json"
)

// DialPatient is a client of a fake-time test: whatever comes is worth waiting for.
func (s *Server) DialPatient() *Client {
	p := s.Dial()
	p.Patience = time.Hour
	return p
}

// CheckRefuses connects a client that is told that there is no room, where it can be told.
func (s *Server) CheckRefuses() {
	s.T.Helper()
	conn, err := s.DialConn()
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	w := NewWire(conn)
	switch s.Transport {
	case "tcp":
		typ, body, err := w.Packet()
		if err != nil || typ != packet.Handshake || body != `{"code":500,"message":"too many connections"}` {
			s.T.Errorf("a %v packet %q, %v came, want a refused handshake", typ, body, err)
		}
	case "ws":
		// The server may not wait for the request.
		_ = w.Raw([]byte(UpgradeRequest("/")))
		_ = conn.SetReadDeadline(time.Now().Add(Patience))
		r, err := http.ReadResponse(w.Reader, nil)
		if err != nil || r.StatusCode != http.StatusServiceUnavailable {
			s.T.Errorf("%v, %v came, want 503", r, err)
			return
		}
		_ = r.Body.Close()
	}
	_ = conn.SetReadDeadline(time.Now().Add(Patience))
	var n net.Error
	if b, err := io.ReadAll(w.Reader); errors.As(err, &n) && n.Timeout() {
		s.T.Errorf("after %q the connection stays open", b)
	}
}

// DialSending is a client of a server that sends something before all else.
func (s *Server) DialSending(before []byte) *Client {
	s.T.Helper()
	p := s.Dial()
	if err := p.Raw(before); err != nil {
		s.T.Fatal(err)
	}
	return p
}

// DialBelowTLS returns how to connect to a server of TLS clients without TLS.
func DialBelowTLS(t testing.TB, at *Server) func() (net.Conn, error) {
	t.Helper()
	c, err := at.DialConn()
	if err != nil {
		t.Fatal(err)
	}
	addr := c.RemoteAddr()
	_ = c.Close()
	return func() (net.Conn, error) { return net.Dial(addr.Network(), addr.String()) }
}

// Transports are the ways a client may come: raw sockets, WebSocket on one, and what the server reads and writes through
// net.Conn.
var Transports = []string{"tcp", "ws", "pipe", "wspipe", "tls", "wss", "unix"}

// Sockets are the two that matter where the way makes no difference.
var Sockets = []string{"tcp", "ws"}

// Server is a server that clients of one kind come to.
type Server struct {
	T testing.TB
	*nano.Server
	Transport string
	Path      string
	DialConn  func() (net.Conn, error)
}

var Quiet = nano.WithSlog(slog.New(slog.DiscardHandler))

// NewServer makes a server that logs nothing and speaks JSON.
func NewServer(c component.Component, opts ...nano.Option) *nano.Server {
	components := &component.Components{}
	components.Register(c)
	return nano.New(append([]nano.Option{
		Quiet,
		nano.WithComponents(components),
		nano.WithSerializer(json.NewSerializer()),
	}, opts...)...)
}

// Start starts a server of one kind, which the end of the test shuts down.
func Start(t testing.TB, kind string, c component.Component, opts ...nano.Option) *Server {
	t.Helper()
	if strings.HasPrefix(kind, "tls") || strings.HasPrefix(kind, "wss") {
		opts = append(opts, nano.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{Certificate()}}))
	}
	s := NewServer(c, opts...)
	ShutdownAtEnd(t, s)
	return Serve(t, s, kind)
}

func ShutdownAtEnd(t testing.TB, s *nano.Server) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if st := s.Stats(); st.Connections != 0 || st.Sessions != 0 {
			t.Errorf("%d connections and %d sessions are left after Shutdown", st.Connections, st.Sessions)
		}
	})
}

// Serve serves clients of one kind. Serve has to return nil when the test ends, after the shutdown.
func Serve(t testing.TB, s *nano.Server, kind string) *Server {
	t.Helper()
	at := &Server{T: t, Server: s, Transport: kind, Path: "/"}
	var l net.Listener
	var err error
	switch kind {
	case "pipe", "wspipe":
		m := NewPipeListener()
		l, at.DialConn = m, m.Dial
	case "unix":
		l, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	default:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr()
	if at.DialConn == nil {
		at.DialConn = func() (net.Conn, error) { return net.Dial(addr.Network(), addr.String()) }
	}
	if plain := at.DialConn; kind == "tls" || kind == "wss" {
		at.DialConn = func() (net.Conn, error) {
			c, err := plain()
			if err != nil {
				return nil, err
			}
			return tls.Client(c, &tls.Config{RootCAs: Roots(), ServerName: "localhost"}), nil
		}
	}
	accept := s.Serve
	if at.IsWebSocket() {
		accept = s.ServeWebSocket
	}
	served := make(chan error, 1)
	go func() { served <- accept(l) }()
	t.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return at
}

func (s *Server) IsWebSocket() bool { return strings.HasPrefix(s.Transport, "ws") }

// Wire connects a client that has yet to shake hands.
func (s *Server) Wire() (*Wire, error) {
	conn, err := s.DialConn()
	if err != nil {
		return nil, err
	}
	w := NewWire(conn)
	if s.IsWebSocket() {
		if err := w.Upgrade(s.Path); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return w, nil
}

// Dial is wire for the test's own goroutine.
func (s *Server) Dial() *Client {
	s.T.Helper()
	w, err := s.Wire()
	if err != nil {
		s.T.Fatalf("dial: %v", err)
	}
	s.T.Cleanup(w.Abort)
	return &Client{w, s.T}
}

// Join connects a client that has shaken hands.
func (s *Server) Join() *Client {
	s.T.Helper()
	p := s.Dial()
	p.Join()
	return p
}
