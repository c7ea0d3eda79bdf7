package protocol_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
)

// TestWrongTransport checks that a client with the wrong transport gets an error if
// possible and is counted, and that the log names the cause.
func TestWrongTransport(t *testing.T) {
	const handshake, refused = "\x01\x00\x00\x02{}", "\x01\x00\x00"
	for _, c := range []struct{ name, transport, first, answer, log string }{
		{"HTTP on a TCP port", "tcp", "GET / HTTP/1.1\r\nHost: nano\r\n\r\n", "HTTP/1.1 400", "an HTTP or WebSocket client on a port for TCP clients"},
		{"WebSocket on a TCP port", "tcp", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client on a port for TCP clients"},
		{"WebSocket on a TCP port behind a wrapper", "pipe", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client"},
		{"TLS on a plain port", "tcp", "\x16\x03\x01\x00\x05hello", "", "a TLS client on a port without TLS"},
		{"HTTP on a TCP port, in pieces", "tcp", "G|ET / HTTP/1.1\r\nHost: nano\r\n\r\n", "HTTP/1.1 400", "an HTTP or WebSocket client on a port for TCP clients"},
		{"WebSocket in TLS on a TCP port", "tls", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client on a port for TCP clients"},
		{"WebSocket without TLS on a TLS port", "below tls", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client without TLS"},
		{"TCP without TLS on a TLS port", "below tls", handshake, refused, "a TCP client without TLS on a port with TLS"},
		{"TCP on a WebSocket port", "ws", handshake, refused, "a TCP client on a port for WebSocket clients"},
		{"TCP on a WebSocket port, in pieces", "ws", "\x01|\x00\x00|\x02{}", refused, "a TCP client on a port for WebSocket clients"},
		{"TCP on a WebSocket port behind a wrapper", "wspipe", handshake, refused, "a TCP client on a port for WebSocket clients"},
		{"TCP in TLS on a WebSocket port", "wss", handshake, refused, "a TCP client on a port for WebSocket clients"},
		{"TCP without TLS on a WebSocket port", "below wss", handshake, refused, "a TCP client without TLS on a port with TLS"},
		{"WebSocket without TLS on a WebSocket port", "below wss", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client without TLS"},
		{"TLS on a WebSocket port", "ws", "\x16\x03\x01\x00\x05hello", "", "a TLS client on a port without TLS"},
		{"a request without an upgrade", "ws", "GET / HTTP/1.1\r\nHost: nano\r\nConnection: close\r\n\r\n", "HTTP/1.1 400", "an HTTP request without an upgrade"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := testkit.NewLogCapture()
			transport, below := strings.CutPrefix(c.transport, "below ")
			at := testkit.Start(t, transport, testkit.NewGame(nil), log.Option(), nano.WithHandshakeTimeout(testkit.Patience))
			dial := at.DialConn
			if below {
				dial = testkit.DialBelowTLS(t, at)
			}
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
			start := time.Now()
			go func() {
				for i, piece := range strings.Split(c.first, "|") {
					if i > 0 {
						time.Sleep(20 * time.Millisecond) // lets the server read each piece separately
					}
					_, _ = io.WriteString(conn, piece)
				}
			}()
			b, _ := io.ReadAll(conn)
			if d := time.Since(start); d > testkit.Patience/2 {
				t.Errorf("the connection was closed after %v", d)
			}
			if !strings.HasPrefix(string(b), c.answer) || c.answer == "" && len(b) > 0 {
				t.Errorf("the server answered %q, want %q", b, c.answer)
			}
			if n := at.Stats().Refused["transport"]; n != 1 {
				t.Errorf("%d were counted, want 1", n)
			}
			if !strings.Contains(log.All(), c.log) {
				t.Errorf("the log is %s, want %s", log.All(), c.log)
			}
		})
	}
}

// TestWrongScheme checks that Dial with the wrong scheme fails at once with a clear
// error, and that the server logs it.
func TestWrongScheme(t *testing.T) {
	for _, kind := range []string{"tcp", "tls", "ws", "wss"} {
		for _, scheme := range []string{"tcp", "tls", "ws", "wss"} {
			if scheme == kind {
				continue
			}
			t.Run(scheme+" to "+kind, func(t *testing.T) {
				at := testkit.Start(t, kind, testkit.NewGame(nil))
				dial := at.DialConn
				if kind == "tls" || kind == "wss" {
					dial = testkit.DialBelowTLS(t, at)
				}
				ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
				defer cancel()
				start := time.Now()
				_, err := client.Dial(ctx, scheme+"://localhost:1", client.WithTLSConfig(&tls.Config{RootCAs: testkit.Roots()}),
					client.WithDialer(func(context.Context, string, string) (net.Conn, error) { return dial() }))
				if d := time.Since(start); err == nil || d > testkit.Patience/2 || !strings.Contains(err.Error(), kind+"://") ||
					!errors.Is(err, client.ErrWrongTransport) && !strings.Contains(err.Error(), "HTTP status 400") {
					t.Errorf("Dial = %v after %v, want an error that names %s://", err, d, kind)
				}
				testkit.Eventually(t, "the client is counted", func() bool { return at.Stats().Refused["transport"] > 0 })
			})
		}
	}
}

// TestPacketOverTheLimitHasItsCode checks that a packet over the limit closes a WebSocket
// with code 1009.
func TestPacketOverTheLimitHasItsCode(t *testing.T) {
	at := testkit.Start(t, "ws", testkit.NewGame(nil), nano.WithMaxPacketSize(100))
	p := at.Join()
	p.Send(testkit.Pack(packet.Data, strings.Repeat("x", 101)))
	if e := p.ReadEnd(); e.Code != 1009 {
		t.Errorf("the close code is %d, want 1009", e.Code)
	}
}

// hiding hides the Hijacker of a ResponseWriter, as some middleware does.
type hiding struct{ http.ResponseWriter }

// TestUpgradeWithoutHijacker checks that an upgrade is counted and logged if the
// connection cannot be hijacked.
func TestUpgradeWithoutHijacker(t *testing.T) {
	log := testkit.NewLogCapture()
	s := testkit.NewServer(testkit.NewGame(nil), log.Option())
	testkit.ShutdownAtEnd(t, s)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, h := range []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="} {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.WebSocketHandler().ServeHTTP(hiding{w}, r)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("the status is %d, want 500", w.Code)
	}
	if n := s.Stats().Refused["handshake"]; n != 1 {
		t.Errorf("%d handshakes were counted as refused, want 1", n)
	}
	if !strings.Contains(log.All(), "ERROR") || !strings.Contains(log.All(), "needs Hijack or Unwrap") {
		t.Errorf("the log is %s", log.All())
	}
}
