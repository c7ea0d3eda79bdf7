package protocol_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
)

// A client with the wrong transport is told so if it can be, is counted, and the log says what is wrong.
func TestWrongTransport(t *testing.T) {
	for _, c := range []struct{ name, transport, first, answer, log string }{
		{"HTTP on a TCP port", "tcp", "GET / HTTP/1.1\r\nHost: nano\r\n\r\n", "HTTP/1.1 400", "an HTTP or WebSocket client on a port for TCP clients"},
		{"WebSocket on a TCP port", "tcp", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client on a port for TCP clients"},
		{"WebSocket on a TCP port behind a wrapper", "pipe", testkit.UpgradeRequest("/"), "HTTP/1.1 400", "an HTTP or WebSocket client"},
		{"TLS on a plain port", "tcp", "\x16\x03\x01\x00\x05hello", "", "a TLS client on a port without TLS"},
		{"a request without an upgrade", "ws", "GET / HTTP/1.1\r\nHost: nano\r\nConnection: close\r\n\r\n", "HTTP/1.1 400", "an HTTP request without an upgrade"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := testkit.NewLogCapture()
			at := testkit.Start(t, c.transport, testkit.NewGame(nil), log.Option())
			conn, err := at.DialConn()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
			go func() { _, _ = io.WriteString(conn, c.first) }()
			b, _ := io.ReadAll(conn)
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

// A packet over the limit ends a WebSocket with the code for that.
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

// An upgrade that cannot take over the connection is counted and logged.
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
