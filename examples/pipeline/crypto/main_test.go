package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestBox(t *testing.T, key string) *box {
	t.Helper()
	b, err := newBox([]byte(strings.Repeat(key, keySize)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func connect(t *testing.T, srv *nanotest.Server, b *box, opts ...client.Option) *nanotest.Player {
	t.Helper()
	outbound, inbound := b.client()
	return srv.Connect(t, append(opts, client.WithOutbound(outbound), client.WithInbound(inbound))...)
}

// wire records the bytes of a connection.
type wire struct {
	net.Conn
	mu            sync.Mutex
	written, read bytes.Buffer
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.written.Write(b) // recorded first, because the answer may come before Write returns
	w.mu.Unlock()
	return w.Conn.Write(b)
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.Write(b[:n])
	return n, err
}

// take returns the bytes recorded since the last call. It fails the test if they contain
// plain text.
func (w *wire) take(t *testing.T) (written, read string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	written, read = w.written.String(), w.read.String()
	w.written.Reset()
	w.read.Reset()
	for _, b := range []string{written, read} {
		for _, word := range []string{"Text", "secret", "SECRET", "NANO-404"} {
			if strings.Contains(b, word) {
				t.Errorf("%q passes the wire in clear: %q", word, b)
			}
		}
	}
	return written, read
}

func TestNothingPassesInClear(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	b := newTestBox(t, "k")
	srv := nanotest.Start(t, options(b)...)
	var w *wire
	p := connect(t, srv, b, client.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := srv.Listener.DialContext(ctx, network, addr)
		w = &wire{Conn: conn}
		return w, err
	}))
	w.take(t)
	seen := map[string]bool{}
	for range 5 {
		var got line
		if err := p.Request(t.Context(), "Echo.Say", &line{"secret"}, &got); err != nil || got.Text != "secret" {
			t.Fatalf("Echo.Say = %v, %v", got, err)
		}
		// Each payload ends the message and is as long as nonce, plain text and tag. No
		// two are equal.
		written, read := w.take(t)
		for _, packet := range []string{written, read} {
			payload := packet[len(packet)-12-len(`{"Text":"secret"}`)-16:]
			if seen[payload] {
				t.Errorf("the payload %q passes twice", payload)
			}
			seen[payload] = true
		}
	}
	if err := p.Notify("Echo.Shout", &line{"secret"}); err != nil {
		t.Fatal(err)
	}
	var got line
	if p.WaitFor("onShout", 10*time.Second, &got); got.Text != "SECRET" {
		t.Errorf("onShout says %q, want SECRET", got.Text)
	}
	// Errors are encrypted too.
	if err := p.Request(t.Context(), "Echo.None", nil, nil); !errors.Is(err, &client.Error{Code: nano.CodeNotFound}) {
		t.Errorf("Echo.None = %v, want NANO-404", err)
	}
	w.take(t)
}

func TestManyAtOnce(t *testing.T) {
	b := newTestBox(t, "k")
	srv := nanotest.Start(t, options(b)...)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		p := connect(t, srv, b)
		for i := range 8 {
			wg.Go(func() {
				for j := range 20 {
					text := fmt.Sprint(i, " ", j)
					var got line
					if err := p.Request(t.Context(), "Echo.Say", &line{text}, &got); err != nil || got.Text != text {
						t.Errorf("Echo.Say of %q = %q, %v", text, got.Text, err)
					}
				}
			})
		}
	}
}

func TestOthersAreRefused(t *testing.T) {
	b := newTestBox(t, "k")
	srv := nanotest.Start(t, options(b)...)
	outbound, inbound := b.client()
	badOutbound, badInbound := newTestBox(t, "x").client()
	moved := func(m *client.Message) error { // an encrypted payload of another message
		m.Data = b.seal(m.Data, place(m.Type, m.ID+1, m.Route))
		return nil
	}
	refused := &client.Error{Code: "CRYPTO"}
	for name, test := range map[string]struct {
		opts []client.Option
		want error
	}{
		"the key":              {[]client.Option{client.WithOutbound(outbound), client.WithInbound(inbound)}, nil},
		"sent in clear":        {[]client.Option{client.WithInbound(inbound)}, refused},
		"sent with other key":  {[]client.Option{client.WithOutbound(badOutbound), client.WithInbound(inbound)}, refused},
		"sent to other place":  {[]client.Option{client.WithOutbound(moved), client.WithInbound(inbound)}, refused},
		"cannot read answer":   {[]client.Option{client.WithOutbound(outbound), client.WithInbound(badInbound)}, refused},
		"knows nothing of all": {[]client.Option{client.WithOutbound(badOutbound), client.WithInbound(badInbound)}, refused},
	} {
		err := srv.Connect(t, test.opts...).Request(t.Context(), "Echo.Say", &line{"hello"}, nil)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: Echo.Say = %v, want %v", name, err, test.want)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := newBox(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is taken, want %d only", n, keySize)
		}
	}
}

func TestSay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newTestBox(t, "k")
	srv := nanotest.Start(t, options(b)...)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	if err := say(b, l.Addr().String(), "hello"); err != nil {
		t.Error(err)
	}
	if err := say(newTestBox(t, "x"), l.Addr().String(), "hello"); err == nil {
		t.Error("a client with another key is answered")
	}
	if err := errors.Join(srv.Shutdown(t.Context()), <-served); err != nil {
		t.Error(err)
	}
}
