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
	"github.com/lonng/nano/internal/pipenet"
	"github.com/lonng/nano/serialize/json"
)

// Transports are the transports that [Start] and [Serve] accept. The server uses the raw
// socket for "tcp" and "ws", and net.Conn for the others.
var Transports = []string{"tcp", "ws", "pipe", "wspipe", "tls", "wss", "unix"}

// Sockets are the transports for tests that do not depend on the transport.
var Sockets = []string{"tcp", "ws"}

// Quiet is the server option that discards the log.
var Quiet = nano.WithSlog(slog.New(slog.DiscardHandler))

// Server is a server under test, with the transport of its clients.
type Server struct {
	T testing.TB
	*nano.Server
	Transport string
	Path      string
	DialConn  func() (net.Conn, error)
}

// Start starts a server with the component c. The end of the test shuts it down.
func Start(t testing.TB, kind string, c component.Component, opts ...nano.Option) *Server {
	t.Helper()
	if strings.HasPrefix(kind, "tls") || strings.HasPrefix(kind, "wss") {
		opts = append(opts, nano.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{Certificate()}}))
	}
	s := NewServer(c, opts...)
	ShutdownAtEnd(t, s)
	return Serve(t, s, kind)
}

// Serve serves clients of one transport until the end of the test.
func Serve(t testing.TB, s *nano.Server, kind string) *Server {
	t.Helper()
	at := &Server{T: t, Server: s, Transport: kind, Path: "/"}
	var l net.Listener
	var err error
	switch kind {
	case "pipe", "wspipe":
		m := pipenet.New()
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
	at.serve(l)
	return at
}

// ServeOn is [Serve] for a listener on a TCP port. kind is "tcp" or "ws".
func ServeOn(t testing.TB, s *nano.Server, kind string, l net.Listener) *Server {
	at := &Server{T: t, Server: s, Transport: kind, Path: "/"}
	at.DialConn = func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	at.serve(l)
	return at
}

// serve serves l until the end of the test.
func (s *Server) serve(l net.Listener) {
	accept := s.Server.Serve
	if s.IsWebSocket() {
		accept = s.ServeWebSocket
	}
	served := make(chan error, 1)
	go func() { served <- accept(l) }()
	s.T.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		if err := <-served; err != nil {
			s.T.Errorf("Serve = %v", err)
		}
	})
}

// DialPatient is Dial for tests in fake time. Each read waits up to an hour.
func (s *Server) DialPatient() *Client {
	p := s.Dial()
	p.Patience = time.Hour
	return p
}

// CheckRefuses checks that the server refuses a connection because of the connection
// limit.
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
		if err != nil || typ != packet.Handshake || body != `{"code":500,"message":"too many connections","sys":{"heartbeat":30}}` {
			s.T.Errorf("a %v packet %q, %v came, want a refused handshake", typ, body, err)
		}
	case "ws":
		// The server answers before the request is complete.
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

// DialSending is Dial that sends before as the first bytes.
func (s *Server) DialSending(before []byte) *Client {
	s.T.Helper()
	p := s.Dial()
	if err := p.Raw(before); err != nil {
		s.T.Fatal(err)
	}
	return p
}

// IsWebSocket reports whether clients speak WebSocket.
func (s *Server) IsWebSocket() bool { return strings.HasPrefix(s.Transport, "ws") }

// Wire connects a client. A WebSocket is upgraded. The client has not sent a handshake.
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

// Dial is Wire for the goroutine of the test.
func (s *Server) Dial() *Client {
	s.T.Helper()
	w, err := s.Wire()
	if err != nil {
		s.T.Fatalf("dial: %v", err)
	}
	s.T.Cleanup(w.Abort)
	return &Client{w, s.T}
}

// Join connects a client that has completed its handshake.
func (s *Server) Join() *Client {
	s.T.Helper()
	p := s.Dial()
	p.Join()
	return p
}

// DialBelowTLS returns a function that connects to a TLS server without TLS.
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

// NewServer returns a server with the component c. It logs nothing and speaks JSON.
func NewServer(c component.Component, opts ...nano.Option) *nano.Server {
	components := &component.Components{}
	components.Register(c)
	return nano.New(append([]nano.Option{
		Quiet,
		nano.WithComponents(components),
		nano.WithSerializer(json.NewSerializer()),
	}, opts...)...)
}

// ShutdownAtEnd shuts s down at the end of the test, and checks that goroutines and files
// are released.
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
