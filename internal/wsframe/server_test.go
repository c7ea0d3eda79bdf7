package wsframe_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/lonng/nano"
)

// TestAutobahnServer runs the cases against a server of this library. The server accepts
// only binary messages and does not echo.
func TestAutobahnServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := nano.New(nano.WithSlog(slog.New(slog.DiscardHandler)))
	served := make(chan error, 1)
	go func() { served <- s.ServeWebSocket(l) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("ServeWebSocket = %v", err)
		}
	}()
	for _, c := range autobahnCases() {
		t.Run(c.id, func(t *testing.T) {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: nano\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			from := bufio.NewReader(conn)
			response, err := http.ReadResponse(from, nil)
			if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("the upgrade = %v, %v", response, err)
			}
			defer response.Body.Close()
			wrote := make(chan struct{})
			go func() {
				defer close(wrote)
				for _, b := range c.writes() {
					if _, err := conn.Write(b); err != nil {
						return // the server has closed the connection
					}
				}
			}()
			var r replies
			for b := make([]byte, 4096); !r.closed; {
				n, err := from.Read(b)
				if err == nil {
					err = r.add(b[:n])
				}
				if err != nil {
					t.Errorf("the connection ends with %v", err)
					break
				}
			}
			conn.Close()
			<-wrote
			if !slices.Equal(r.got, c.wantBinary()) {
				t.Errorf("the answers are %.200q, want %.200q", r.got, c.wantBinary())
			}
		})
	}
}
