package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
)

func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			var hello struct {
				Sys  struct{ Type, Version string }
				User struct{ Token string }
			}
			body := f.acceptHandshake(`{"code":200,"sys":{"heartbeat":30},"user":{"motd":"hi"}}`)
			if err := json.Unmarshal(body, &hello); err != nil {
				t.Errorf("the handshake %q is not JSON: %v", body, err)
			}
			if hello.User.Token != "t1" || hello.Sys.Type == "" || hello.Sys.Version == "" {
				t.Errorf("the handshake is %q, want the user's token, a type and a version", body)
			}
			f.untilClosed()
		}, WithUser(map[string]string{"Token": "t1"}))
		if got := string(c.Handshake()); got != `{"motd":"hi"}` {
			t.Errorf("Handshake() = %s, want the user data of the server", got)
		}
	})
}

func TestHandshakeWithoutUserData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			if body := f.acceptHandshake(welcomeJSON); strings.Contains(string(body), "user") {
				t.Errorf("the handshake is %q, want no user data", body)
			}
			f.untilClosed()
		})
		if got := c.Handshake(); got != nil {
			t.Errorf("Handshake() = %s, want nil", got)
		}
	})
}

func TestHandshakeFails(t *testing.T) {
	answer := func(body string) func(*fake) {
		return func(f *fake) {
			f.expect(packet.Handshake)
			f.write(packet.Handshake, []byte(body))
		}
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	refused := func(code int, text string) func(error) bool {
		return func(err error) bool {
			var e *HandshakeError
			return errors.As(err, &e) && e.Code == code && e.Message == text
		}
	}
	for _, test := range []struct {
		name  string
		serve func(*fake)
		opts  []Option
		check func(error) bool
	}{
		{"refused", answer(`{"code":501,"message":"too old"}`), nil, refused(501, "too old")},
		{"refused, with msg", answer(`{"code":500,"msg":"who are you"}`), nil, refused(500, "who are you")},
		{"refused, without a text", answer(`{"code":500}`), nil, refused(500, "")},
		{"not JSON", answer(`<html>`), nil, is(ErrProtocol)},
		{"dictionary that is ambiguous", answer(`{"code":200,"sys":{"dict":{"a":1,"b":1}}}`), nil, is(ErrProtocol)},
		{"dictionary out of range", answer(`{"code":200,"sys":{"dict":{"a":65536}}}`), nil, is(ErrProtocol)},
		{"data first", func(f *fake) { f.expect(packet.Handshake); f.push("a", "b") }, nil, is(ErrProtocol)},
		{"HTTP", func(f *fake) { f.expect(packet.Handshake); f.raw([]byte("HTTP/1.1 400")) }, nil, is(ErrWrongTransport)},
		{"TLS", func(f *fake) { f.expect(packet.Handshake); f.raw([]byte{21, 3, 3, 0, 2, 2, 22}) }, nil, is(ErrWrongTransport)},
		{"kicked", func(f *fake) { f.expect(packet.Handshake); f.write(packet.Kick, []byte(`{"reason":"full"}`)) }, nil,
			func(err error) bool { var e *KickError; return errors.As(err, &e) && e.Reason == "full" }},
		{"closed", func(f *fake) { f.expect(packet.Handshake) }, nil, is(io.EOF)},
		{"closed in the middle", func(f *fake) { f.expect(packet.Handshake); f.raw([]byte{1, 0, 0, 9, '{'}) }, nil, is(io.ErrUnexpectedEOF)},
		{"silence", func(f *fake) { f.untilClosed() }, []Option{WithDialTimeout(time.Second)}, is(context.DeadlineExceeded)},
		{"user data that is no JSON", func(f *fake) { f.untilClosed() }, []Option{WithUser(func() {})}, func(err error) bool { return err != nil }},
		{"user data that cannot be had", func(f *fake) { f.untilClosed() },
			[]Option{WithUserFunc(func(context.Context) (any, error) { return nil, io.ErrNoProgress })}, is(io.ErrNoProgress)},
		{"user data that is too long", func(f *fake) { f.untilClosed() },
			[]Option{WithUser(strings.Repeat("x", packet.MaxLength))}, is(codec.ErrPacketTooLarge)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					defer theirs.Close()
					test.serve(&fake{t: t, conn: theirs})
				}()
				c, err := New(t.Context(), ours, test.opts...)
				if c != nil || !test.check(err) {
					t.Errorf("New = %v, %v", c, err)
				}
				<-ended
				if _, err := ours.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the connection is still open after New has failed: %v", err)
				}
			})
		})
	}
}

func TestHandshakeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe() // the server does not read, so the writer also blocks
		defer theirs.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		if _, err := New(ctx, ours); !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("New = %v after %v, want context.Canceled after 1 s", err, time.Since(start))
		}
	})
}
