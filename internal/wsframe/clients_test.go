package wsframe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/lonng/nano/internal/wsframe"
)

// serveEcho starts a server that upgrades with gorilla's library and echoes with echo,
// until the client closes. It returns the URL.
func serveEcho(t *testing.T) string {
	t.Helper()
	done := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { done <- struct{}{} }()
		ws, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("Upgrade = %v", err)
			return
		}
		conn := ws.NetConn()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		e := echo{config: wsframe.Config{FromClient: true, Text: true}}
		b := make([]byte, 1000)
		for !e.closed {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if _, err := conn.Write(e.add(b[:n])); err != nil {
				return
			}
		}
	}))
	t.Cleanup(func() {
		<-done
		s.Close()
	})
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// payloads use every encoding of the length.
func payloads() []string {
	var all []string
	for _, size := range []int{0, 1, 125, 126, 5000, 65535, 65536, 200000} {
		all = append(all, strings.Repeat("0123456789abcdef\u4f60", size/19+1)[:size-size%19])
	}
	return all
}

func TestGorillaClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dialer := gorilla.Dialer{WriteBufferSize: 300} // gorilla fragments larger messages
	ws, _, err := dialer.DialContext(ctx, serveEcho(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	pong := make(chan string, 1)
	ws.SetPongHandler(func(data string) error { pong <- data; return nil })
	if err := ws.WriteControl(gorilla.PingMessage, []byte("ping"), time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []int{gorilla.TextMessage, gorilla.BinaryMessage} {
		for _, want := range payloads() {
			w, err := ws.NextWriter(kind)
			if err != nil {
				t.Fatal(err)
			}
			for rest := []byte(want); len(rest) > 0; {
				n := min(len(rest), 777)
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			gotKind, got, err := ws.ReadMessage()
			if err != nil || gotKind != kind || string(got) != want {
				t.Fatalf("echo of %d bytes of kind %d = %d bytes of kind %d, %v", len(want), kind, len(got), gotKind, err)
			}
		}
	}
	if got := <-pong; got != "ping" {
		t.Errorf("the pong carries %q, want ping", got)
	}
	if err := ws.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(4321, "bye")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !gorilla.IsCloseError(err, 4321) {
		t.Errorf("after a close frame ReadMessage = %v, want code 4321", err)
	}
}

func TestGorillaClientRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws, _, err := gorilla.DefaultDialer.DialContext(ctx, serveEcho(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(gorilla.TextMessage, []byte("\xff")); err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	var closed *gorilla.CloseError
	if _, _, err := ws.ReadMessage(); !errors.As(err, &closed) || closed.Code != 1007 || closed.Text != "text that is not UTF-8" {
		t.Errorf("after text that is not UTF-8 ReadMessage = %v, want code 1007 and why", err)
	}
}

func TestCoderClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws, _, err := coder.Dial(ctx, serveEcho(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }() // the server may have closed the connection
	ws.SetReadLimit(-1)
	for _, kind := range []coder.MessageType{coder.MessageText, coder.MessageBinary} {
		for _, want := range payloads() {
			sent := make(chan error, 1)
			go func() { // the client reads the echo while it writes
				w, err := ws.Writer(ctx, kind)
				for rest := []byte(want); err == nil && len(rest) > 0; {
					n := min(len(rest), 7777)
					_, err = w.Write(rest[:n])
					rest = rest[n:]
				}
				if err == nil {
					err = w.Close()
				}
				sent <- err
			}()
			gotKind, got, err := ws.Read(ctx)
			if err != nil || gotKind != kind || !bytes.Equal(got, []byte(want)) {
				t.Fatalf("echo of %d bytes of %v = %d bytes of %v, %v", len(want), kind, len(got), gotKind, err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
	pinged := make(chan error, 1)
	go func() { pinged <- ws.Ping(ctx) }()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _, _ = ws.Read(ctx) // reads the pong and the close frame
	}()
	if err := <-pinged; err != nil {
		t.Errorf("Ping = %v", err)
	}
	if err := ws.Close(4321, "bye"); err != nil {
		t.Errorf("Close = %v", err)
	}
	<-read
}

func TestCoderClientRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws, _, err := coder.Dial(ctx, serveEcho(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }() // the server may have closed the connection
	if err := ws.Write(ctx, coder.MessageText, []byte("\xff")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(ctx); coder.CloseStatus(err) != 1007 || !strings.Contains(fmt.Sprint(err), "not UTF-8") {
		t.Errorf("after text that is not UTF-8 Read = %v, want code 1007 and why", err)
	}
}
