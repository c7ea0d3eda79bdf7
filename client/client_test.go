package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
)

type point struct{ X, Y int }

func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, echo)
		var got point
		if err := c.Request(t.Context(), "Map.Move", point{3, 4}, &got); err != nil || got != (point{3, 4}) {
			t.Errorf("Request = %v, %v, want {3 4}", got, err)
		}
		if err := c.Request(t.Context(), "Map.Move", point{}, nil); err != nil {
			t.Errorf("Request with no interest in the answer = %v", err)
		}
		var bad chan int
		err := c.Request(t.Context(), "Map.Move", bad, nil)
		var unsupported *json.UnsupportedTypeError
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "Map.Move") {
			t.Errorf("Request of a channel = %v, want an UnsupportedTypeError that names the route", err)
		}
		var number int
		if err := c.Request(t.Context(), "Map.Move", "text", &number); err == nil {
			t.Error("Request into a value that the answer does not fit = nil, want an error")
		}
	})
}

func TestRawPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, echo)
		in := []byte{0, 1, 0xff}
		for _, payload := range []any{in, &in} {
			var out []byte
			if err := c.Request(t.Context(), "Map.Move", payload, &out); err != nil || !slices.Equal(out, in) {
				t.Errorf("Request of %T = %x, %v, want %x", payload, out, err, in)
			}
		}
	})
}

// A nil payload is the zero request with every serializer.
func TestNilPayload(t *testing.T) {
	for _, test := range []struct {
		speaks string
		opts   []Option
		want   string
	}{
		{"json", nil, "{}"},
		{"protobuf", nil, ""},
		{"", nil, ""},
		{"other", nil, ""},
		{"json", []Option{WithSerializer(protobuf.NewSerializer())}, ""},
		{"other", []Option{WithSerializer(jsonserializer.NewSerializer())}, "{}"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := pipe(t, func(f *fake) {
				f.acceptHandshake(`{"code":200,"sys":{"serializer":"` + test.speaks + `"}}`)
				m := f.receive()
				f.respond(m.ID, string(m.Data))
				if m := f.receive(); string(m.Data) != test.want {
					t.Errorf("with %q Notify of nil sends %q, want %q", test.speaks, m.Data, test.want)
				}
			}, test.opts...)
			out := []byte("before")
			if err := c.Request(t.Context(), "Map.Move", nil, &out); err != nil || string(out) != test.want {
				t.Errorf("with %q Request of nil sends %q, %v, want %q", test.speaks, out, err, test.want)
			}
			if err := c.Notify("Map.Move", nil); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
	}
}

func TestNotifyAndPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			m := f.receive()
			if m.Type != message.Notify || m.Route != "Chat.Say" || string(m.Data) != `"hi"` {
				t.Errorf("the server got %v with %q, want the notify", m, m.Data)
			}
			f.push("onSay", `"hi"`)
			f.untilClosed()
		})
		said := make(chan string, 1)
		c.On("onSay", func(m *Message) {
			if m.Type != Push || m.Client() != c {
				t.Errorf("a handler got a %v of client %p, want a push of %p", m.Type, m.Client(), c)
			}
			var text string
			if err := m.Decode(&text); err != nil {
				t.Error(err)
			}
			var raw []byte
			if err := m.Decode(&raw); err != nil || string(raw) != `"hi"` {
				t.Errorf("Decode into *[]byte = %q, %v", raw, err)
			}
			said <- text
		})
		if err := c.Notify("Chat.Say", "hi"); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != "hi" {
			t.Errorf("the push said %q, want %q", got, "hi")
		}
	})
}

func TestHandlersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		next := make(chan string)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.push("early", "1") // sent before New has returned
			for route := range next {
				f.push(route, "2")
			}
			f.untilClosed()
		}, WithHandler("early", seen.handler), WithFallback(func(m *Message) { seen <- "fallback " + m.Route }))
		seen.want(t, "early 1")
		c.On("late", seen.handler)
		next <- "late"
		seen.want(t, "late 2")
		c.On("late", nil)
		next <- "late"
		seen.want(t, "fallback late")
		close(next)
	})
}

func TestDictionary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answer = `{"code":200,"sys":{"heartbeat":30,"serializer":"json","dict":{"Map.Move":1,"onMove":515}}}`
		seen := newCollect()
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(answer)
			if body := f.expect(packet.Data); string(body) != "\x01\x01\x00\x01{}" {
				t.Errorf("request in the dictionary = %x, want it compressed to code 1", body)
			}
			if body := f.expect(packet.Data); string(body) != "\x02\x05Other{}" {
				t.Errorf("notify that is not in the dictionary = %x, want its route spelled out", body)
			}
			f.write(packet.Data, []byte("\x07\x02\x03near")) // code 515
			f.push("onOther", "far")
			f.respond(1, "{}")
			f.untilClosed()
		}, WithFallback(seen.handler))
		done := make(chan error, 1)
		go func() { done <- c.Request(t.Context(), "Map.Move", struct{}{}, nil) }()
		synctest.Wait()
		if err := c.Notify("Other", struct{}{}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		seen.want(t, "onMove near", "onOther far")
	})
}

type upper struct{}

func (upper) Marshal(v any) ([]byte, error) { return []byte(strings.ToUpper(v.(string))), nil }
func (upper) Unmarshal(b []byte, v any) error {
	s, ok := v.(*string)
	if !ok {
		return errors.New("expected a *string")
	}
	*s = strings.ToLower(string(b))
	return nil
}

func TestSerializer(t *testing.T) {
	text := func(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }
	for _, test := range []struct {
		name, speaks string
		opts         []Option
		in           any
		wire         string
		err          error
	}{
		{"json", `"json"`, nil, "Ada", `"Ada"`, nil},
		{"protobuf", `"protobuf"`, nil, text("Ada"), "\n\x03Ada", nil},
		{"not named", `""`, nil, text("Ada"), "\n\x03Ada", nil},
		{"not a message", `"protobuf"`, nil, "Ada", "", protobuf.ErrWrongValueType},
		{"another, raw", `"msgpack"`, nil, []byte("Ada"), "Ada", nil},
		{"another", `"msgpack"`, nil, "Ada", "", ErrNoSerializer},
		{"option", `"protobuf"`, []Option{WithSerializer(jsonserializer.NewSerializer())}, "Ada", `"Ada"`, nil},
		{"option of one's own", `"msgpack"`, []Option{WithSerializer(upper{})}, "Ada", "ADA", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"heartbeat":30,"serializer":` + test.speaks + `}}`)
					if test.err == nil {
						if m := f.receive(); string(m.Data) != test.wire {
							t.Errorf("on the wire: %q, want %q", m.Data, test.wire)
						}
						f.respond(1, test.wire)
					}
					f.untilClosed()
				}, test.opts...)
				var raw []byte
				out := any(&raw)
				if _, ok := test.in.(*wrapperspb.StringValue); ok {
					out = new(wrapperspb.StringValue)
				}
				err := c.Request(t.Context(), "Name.Set", test.in, out)
				if !errors.Is(err, test.err) {
					t.Fatalf("Request = %v, want %v", err, test.err)
				}
				if v, ok := out.(*wrapperspb.StringValue); ok && err == nil && v.Value != "Ada" {
					t.Errorf("the answer decoded to %q, want Ada", v.Value)
				}
			})
		})
	}
}

func TestDecodeWithoutSerializer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(`{"code":200,"sys":{"serializer":"msgpack"}}`)
			f.receive()
			f.respond(1, "x")
			f.untilClosed()
		})
		var out string
		if err := c.Request(t.Context(), "Name.Get", nil, &out); !errors.Is(err, ErrNoSerializer) || !strings.Contains(err.Error(), "msgpack") {
			t.Errorf("Request = %v, want ErrNoSerializer that names msgpack", err)
		}
	})
}

func TestErrorResponse(t *testing.T) {
	full := &Error{Code: "GAME-1", Message: "no gold", Metadata: map[string]string{"need": "3"}}
	asProtobuf, err := full.MarshalProtobuf()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, speaks, body string
		want               *Error
	}{
		{"json", "json", `{"code":"GAME-1","msg":"no gold","metadata":{"need":"3"}}`, full},
		{"protobuf", "protobuf", string(asProtobuf), full},
		{"json from a server of protobuf", "protobuf", `{"code":"GAME-1","msg":"no gold","metadata":{"need":"3"}}`, full},
		{"protobuf from a server of json", "json", string(asProtobuf), full},
		{"json from a server of another codec", "msgpack", `{"code":"GAME-1","msg":"no gold","metadata":{"need":"3"}}`, full},
		{"text", "json", "it broke", &Error{Code: CodeInternal, Message: "it broke"}},
		{"nothing", "protobuf", "", &Error{Code: CodeInternal}},
		{"json without a code", "json", `{"oops":1}`, &Error{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"serializer":"` + test.speaks + `"}}`)
					f.receive()
					f.send(&message.Message{Type: message.Response, ID: 1, Err: true, Data: []byte(test.body)})
					f.untilClosed()
				})
				out := []byte("untouched")
				err := c.Request(t.Context(), "Shop.Buy", nil, &out)
				got := &Error{}
				ok := errors.As(err, &got)
				if !ok || !reflect.DeepEqual(got, test.want) {
					t.Errorf("Request = %#v, want %#v", err, test.want)
				}
				if !errors.Is(err, &Error{Code: test.want.Code}) {
					t.Errorf("errors.Is(%v, code %s) = false", err, test.want.Code)
				}
				if string(out) != "untouched" {
					t.Errorf("an error response was decoded into out: %q", out)
				}
			})
		})
	}
}

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

func TestKick(t *testing.T) {
	for _, test := range []struct {
		body, reason, code string
		shutdown           bool
	}{
		{`{"reason":"replaced"}`, "replaced", "", false},
		{`{"reason":"replaced","code":"replaced"}`, "replaced", "replaced", false},
		{`{"reason":"back in a minute","code":"shutdown"}`, "back in a minute", "shutdown", true},
		{`{"reason":"server shutdown"}`, "server shutdown", "", true},
		{`{"reason":"server shutdown","code":"kicked"}`, "server shutdown", "kicked", false},
		{`{"reason":"server shutdown","code":7}`, "server shutdown", "", true},
		{`{"reason":[],"code":"shutdown"}`, "", "shutdown", true},
		{`"late"`, "late", "", false},
		{`"server shutdown"`, "server shutdown", "", true},
		{`{}`, "", "", false},
		{"go away", "go away", "", false},
		{strings.Repeat("x", 5000), strings.Repeat("x", maxReason), "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			seen := newCollect()
			c := pipe(t, func(f *fake) {
				f.acceptHandshake(welcomeJSON)
				f.receive()
				f.push("last", "words")
				f.write(packet.Kick, []byte(test.body))
				f.untilClosed()
			}, WithFallback(seen.handler), WithOnDisconnect(func(err error) { seen <- "disconnected" }))
			if c.Err() != nil {
				t.Errorf("Err() = %v while connected", c.Err())
			}
			err := c.Request(t.Context(), "Game.Play", nil, nil)
			var kick *KickError
			if !errors.Is(err, ErrDisconnected) || !errors.As(err, &kick) || kick.Reason != test.reason {
				t.Errorf("Request when kicked = %v, want ErrDisconnected with the kick", err)
			}
			<-c.Done()
			if !errors.As(c.Err(), &kick) || kick.Reason != test.reason {
				t.Errorf("Err() = %v, want a kick with reason %q", c.Err(), test.reason)
			}
			if kick.Code != test.code || kick.Shutdown() != test.shutdown {
				t.Errorf("the kick %s has code %q and Shutdown() = %v, want %q and %v", test.body, kick.Code, kick.Shutdown(), test.code, test.shutdown)
			}
			if again := unlessRefused(kick); again != test.shutdown {
				t.Errorf("the client connects again after %s: %v, want %v", test.body, again, test.shutdown)
			}
			seen.want(t, "last words", "disconnected")
			err = c.Notify("Game.Play", nil)
			if !errors.Is(err, ErrClosed) || !errors.As(err, &kick) {
				t.Errorf("Notify when kicked = %v, want ErrClosed with the kick", err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("Close of a client that has ended = %v", err)
			}
			if !errors.As(c.Err(), &kick) {
				t.Errorf("Err() after Close = %v, want still the kick", c.Err())
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	for name, wire := range map[string]string{
		"packet type 0":          "\x00",
		"packet type 6":          "\x06\x00\x00\x00",
		"ack":                    "\x02\x00\x00\x00",
		"second handshake":       "\x01\x00\x00\x02{}",
		"empty message":          "\x04\x00\x00\x00",
		"message type 4":         "\x04\x00\x00\x01\x08",
		"request":                "\x04\x00\x00\x03\x00\x01\x00",
		"notify":                 "\x04\x00\x00\x02\x02\x00",
		"response with id 0":     "\x04\x00\x00\x02\x04\x00",
		"response with a route":  "\x04\x00\x00\x02\x05\x01",
		"id that does not end":   "\x04\x00\x00\x03\x04\xff\xff",
		"route that is cut":      "\x04\x00\x00\x03\x06\x05a",
		"route code that is cut": "\x04\x00\x00\x02\x07\x01",
		"packet over the limit":  "\x04\x00\x04\x01",
		"compressed push":        "\x04\x00\x00\x04\x16\x01ag",
		"compressed response":    "\x04\x00\x00\x02\x14\x01",
		"unknown route code":     "\x04\x00\x00\x03\x07\x02\x04",
		"route that is no UTF-8": "\x04\x00\x00\x04\x06\x02\xc3\x28",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(welcomeJSON)
					f.raw([]byte(wire))
					f.untilClosed()
				}, WithPacketLimit(1024))
				<-c.Done()
				if !errors.Is(c.Err(), ErrProtocol) {
					t.Errorf("Err() = %v, want ErrProtocol", c.Err())
				}
			})
		})
	}
}

func TestSplitAndJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		big := strings.Repeat("x", 200_000)
		pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			for _, b := range f.encode(push("a", "1"), push("b", "")) {
				f.raw([]byte{b})
			}
			all := f.encode(push("c", big), push("d", "2"), push("e", "3"))
			f.raw(all[:len(all)-1])
			f.raw(all[len(all)-1:])
			f.raw(f.encode(push("f", "4")))
			f.untilClosed()
		}, WithFallback(seen.handler))
		seen.want(t, "a 1", "b ", "c "+big, "d 2", "e 3", "f 4")
	})
}

func TestRequestTimeout(t *testing.T) {
	for _, test := range []struct {
		name string
		opts []Option
		ctx  time.Duration
		want time.Duration
	}{
		{"by default", nil, 0, 10 * time.Second},
		{"option", []Option{WithRequestTimeout(3 * time.Second)}, 0, 3 * time.Second},
		{"none, but a context", []Option{WithRequestTimeout(0)}, time.Minute, time.Minute},
		{"context over option", []Option{WithRequestTimeout(3 * time.Second)}, time.Minute, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"serializer":"json"}}`) // no heartbeats
					f.receive()
					if m := f.receive(); m.ID != 2 {
						t.Errorf("the second request has id %d, want 2", m.ID)
					}
					f.respond(1, "1") // too late, and not an answer to the second request
					f.respond(2, "2")
					f.untilClosed()
				}, test.opts...)
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if test.ctx > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.ctx)
				}
				defer cancel()
				start := time.Now()
				err := c.Request(ctx, "Slow.Wait", nil, nil)
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Slow.Wait") || time.Since(start) != test.want {
					t.Errorf("Request = %v after %v, want DeadlineExceeded after %v", err, time.Since(start), test.want)
				}
				var got int
				if err := c.Request(t.Context(), "Slow.Wait", nil, &got); err != nil || got != 2 {
					t.Errorf("the next Request = %d, %v, want 2", got, err)
				}
			})
		})
	}
}

func TestRequestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) { f.acceptHandshake(welcomeJSON); f.untilClosed() })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.Request(ctx, "Slow.Wait", nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Request = %v, want context.Canceled", err)
		}
		if err := c.Request(ctx, "Slow.Wait", nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Request with a context that has ended = %v, want context.Canceled", err)
		}
	})
}

func TestManyRequestsAnsweredOutOfOrder(t *testing.T) {
	const n = 200
	c := pipe(t, func(f *fake) {
		f.acceptHandshake(welcomeJSON)
		var requests []*message.Message
		for range n {
			requests = append(requests, f.receive())
		}
		slices.Reverse(requests)
		for _, m := range requests {
			f.send(&message.Message{Type: message.Response, ID: m.ID, Data: m.Data})
		}
		f.untilClosed()
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var got int
			if err := c.Request(within(t), "Echo.Echo", i, &got); err != nil || got != i {
				t.Errorf("Request(%d) = %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestConcurrentUse(t *testing.T) {
	c := pipe(t, echo)
	ctx := within(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				var got int
				if err := c.Request(ctx, "Echo.Echo", i<<16|j, &got); err != nil || got != i<<16|j {
					t.Errorf("Request = %d, %v, want %d", got, err, i<<16|j)
					return
				}
				if err := c.Notify("Echo.Echo", j); err != nil {
					t.Error(err)
					return
				}
				c.On(fmt.Sprint(j%3), func(*Message) {})
			}
		})
	}
	wg.Wait()
}

func TestRequestFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.receive()
			f.receive()
			f.receive()
			f.push("a", "1")
			f.respond(2, "2")
			f.push("b", "3")
			f.send(&message.Message{Type: message.Response, ID: 1, Err: true, Data: []byte(`{"code":"NANO-404","msg":"no"}`)})
			f.receive()
		}, WithFallback(seen.handler), WithRequestTimeout(time.Second))
		report := func(m *Message, err error) {
			if err != nil {
				seen <- "error " + err.Error()
				return
			}
			seen.handler(m)
		}
		for _, route := range []string{"first", "second", "third"} {
			if err := c.RequestFunc(t.Context(), route, nil, report); err != nil {
				t.Fatal(err)
			}
		}
		seen.want(t, "a 1", "second 2", "b 3", "error NANO-404: no")
		start := time.Now()
		seen.want(t, "error client: request third: context deadline exceeded")
		if d := time.Since(start); d != time.Second {
			t.Errorf("the third failed after %v, want 1 s", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.RequestFunc(ctx, "cancelled", nil, report); !errors.Is(err, context.Canceled) {
			t.Errorf("RequestFunc with a context that has ended = %v, want context.Canceled", err)
		}
		if err := c.RequestFunc(t.Context(), "fourth", nil, report); err != nil {
			t.Fatal(err)
		}
		seen.want(t, "error client: request fourth: client: disconnected: client: connection lost: EOF")
		<-c.Done()
		if err := c.RequestFunc(t.Context(), "fifth", nil, report); !errors.Is(err, ErrClosed) || !errors.Is(err, io.EOF) {
			t.Errorf("RequestFunc at the end = %v, want ErrClosed with EOF", err)
		}
		synctest.Wait()
		if len(seen) > 0 {
			t.Errorf("a function ran twice, or although RequestFunc had failed: %q", <-seen)
		}
	})
}

func TestHandlersRunOneAtATimeAndMayRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		var running atomic.Int32
		seen := make(chan int, n)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			var all []byte
			for i := range n {
				all = append(all, f.encode(push("tick", fmt.Sprint(i)))...)
			}
			f.raw(all)
			for range n {
				f.send(response(f.receive().ID, "7"))
			}
			f.untilClosed()
		}, WithHandler("tick", func(m *Message) {
			if running.Add(1) != 1 {
				t.Error("two handlers run at once")
			}
			var i, got int
			if err := m.Decode(&i); err != nil {
				t.Error(err)
			}
			if err := m.Client().Request(context.Background(), "Tick.Ack", nil, &got); err != nil || got != 7 {
				t.Errorf("Request in a handler = %d, %v", got, err)
			}
			running.Add(-1)
			seen <- i
		}))
		for want := range n {
			if got := <-seen; got != want {
				t.Fatalf("push %d was handled, want %d", got, want)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan int, 1)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			got <- len(f.untilClosed())
		}, WithOnDisconnect(func(error) { t.Error("Close ran OnDisconnect") }))
		pending := make(chan error, 1)
		go func() { pending <- c.Request(t.Context(), "Slow.Wait", nil, nil) }()
		synctest.Wait()
		for range 50 {
			if err := c.Notify("Log.Line", "x"); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := c.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		}
		wg.Wait()
		if n := <-got; n != 51 {
			t.Errorf("%d messages were sent before the connection closed, want 51", n)
		}
		if err := <-pending; !errors.Is(err, ErrClosed) {
			t.Errorf("Request that waits while Close is called = %v, want ErrClosed", err)
		}
		select {
		case <-c.Done():
		default:
			t.Error("Done is open after Close")
		}
		if c.Err() != ErrClosed {
			t.Errorf("Err() = %v, want ErrClosed", c.Err())
		}
		if err := c.Notify("Log.Line", "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("Notify after Close = %v, want ErrClosed", err)
		}
		if err := c.Request(t.Context(), "Log.Line", "x", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Request after Close = %v, want ErrClosed", err)
		}
	})
}

// wrapped is a connection with the methods of net.Conn, as a program may have one.
type wrapped struct{ net.Conn }

// visible exposes the wrapped connection.
type visible struct{ wrapped }

func (v visible) NetConn() net.Conn { return v.Conn }

// Without CloseWrite the client reads on for a while, unless the connection is a pipe.
func TestCloseWithoutCloseWrite(t *testing.T) {
	for _, test := range []struct {
		name string
		wrap func(net.Conn) net.Conn
		idle time.Duration
		want time.Duration
	}{
		{"pipe", func(c net.Conn) net.Conn { return c }, 0, 0},
		{"visible pipe", func(c net.Conn) net.Conn { return visible{wrapped{c}} }, 0, 0},
		{"wrapped", func(c net.Conn) net.Conn { return addressless{wrapped{c}} }, 0, linger},
		{"wrapped, after half of the time", func(c net.Conn) net.Conn { return addressless{wrapped{c}} }, linger / 2, linger / 2},
		{"wrapped, and quiet", func(c net.Conn) net.Conn { return addressless{wrapped{c}} }, time.Minute, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ended := make(chan int, 1)
				go func() {
					defer theirs.Close()
					f := &fake{t: t, conn: theirs}
					f.acceptHandshake(`{"code":200,"sys":{}}`)
					ended <- len(f.untilClosed())
				}()
				c, err := New(t.Context(), test.wrap(ours))
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Notify("a", nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(test.idle)
				start := time.Now()
				if err := c.Close(); err != nil || time.Since(start) != test.want {
					t.Errorf("Close = %v after %v, want nil after %v", err, time.Since(start), test.want)
				}
				if n := <-ended; n != 1 {
					t.Errorf("%d messages arrived, want 1", n)
				}
			})
		})
	}
}

// addressless hides that the connection is a pipe.
type addressless struct{ wrapped }

func (addressless) LocalAddr() net.Addr { return &net.TCPAddr{} }

func TestCloseWithAServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			time.Sleep(time.Minute)
		})
		synctest.Wait() // the server has read the ack, and reads no further
		if err := c.Notify("Log.Line", "x"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := c.Close(); err == nil || time.Since(start) != linger {
			t.Errorf("Close = %v after %v, want an error after %v", err, time.Since(start), linger)
		}
	})
}

func TestCloseInAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan error, 1)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.raw(f.encode(push("over", ""), push("over", "")))
			f.untilClosed()
		}, WithHandler("over", func(m *Message) { closed <- m.Client().Close() }))
		if err := <-closed; err != nil {
			t.Errorf("Close in a handler = %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if len(closed) > 0 {
			t.Error("a handler started after Close")
		}
	})
}

func TestCloseWaitsForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Bool
		started := make(chan struct{})
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.push("a", "")
			f.untilClosed()
		}, WithHandler("a", func(m *Message) {
			close(started)
			<-m.Client().Done() // it is closed while a handler runs
			time.Sleep(time.Second)
			left.Store(true)
		}))
		<-started
		if err := c.Close(); err != nil || !left.Load() {
			t.Errorf("Close = %v while the handler still runs", err)
		}
	})
}

func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.raw(f.encode(push("a", ""), push("a", "")))
			f.untilClosed()
		}, WithHandler("a", func(*Message) { runtime.Goexit() }))
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestSendBufferFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			<-read
			f.untilClosed()
		}, WithSendBuffer(1000), WithRequestTimeout(time.Second), WithHeartbeat(-1))
		payload := make([]byte, 600)
		synctest.Wait() // the server has read the ack, and reads no further
		// The writer holds one message, and two fill the buffer.
		for i := range 3 {
			if err := c.Notify("Log.Line", payload); err != nil {
				t.Fatalf("Notify %d = %v", i, err)
			}
			synctest.Wait()
		}
		start := time.Now()
		if err := c.Notify("Log.Line", payload); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Notify with a full buffer = %v after %v, want DeadlineExceeded after 1 s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		if err := c.NotifyContext(ctx, "Log.Line", payload); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("NotifyContext with a full buffer = %v after %v, want DeadlineExceeded after 3 s", err, time.Since(start))
		}
		if err := c.Request(ctx, "Log.Line", payload, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Request with a full buffer = %v, want DeadlineExceeded", err)
		}
		time.AfterFunc(time.Second/2, func() { close(read) })
		if err := c.Notify("Log.Line", payload); err != nil {
			t.Errorf("Notify while room comes = %v", err)
		}
	})
}

func TestSendBufferFullAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			time.Sleep(time.Minute)
		}, WithSendBuffer(1), WithHeartbeat(-1))
		result := make(chan error, 1)
		go func() {
			for {
				if err := c.Notify("Log.Line", "x"); err != nil {
					result <- err
					return
				}
			}
		}()
		synctest.Wait()
		c.Close()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("Notify that waits for room while Close is called = %v, want ErrClosed", err)
		}
	})
}

func TestMessageThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, echo)
		long := strings.Repeat("r", 256)
		if err := c.Notify(long, nil); !errors.Is(err, message.ErrRouteTooLong) {
			t.Errorf("Notify with a route of 256 bytes = %v, want ErrRouteTooLong", err)
		}
		if err := c.Request(t.Context(), "Big.Big", make([]byte, packet.MaxLength), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Request of 16 MiB = %v, want ErrTooLarge", err)
		}
		if err := c.Request(t.Context(), "Echo.Echo", 1, nil); err != nil {
			t.Errorf("Request afterwards = %v", err)
		}
	})
}

// The server announces its largest packet body, which includes header and route.
func TestMaxPacket(t *testing.T) {
	for _, test := range []struct {
		maxPacket string
		size      int // size of the payload of a notify to a route of 1 byte; the header has 3 bytes
		want      error
	}{
		{`100`, 97, nil},
		{`100`, 98, ErrTooLarge},
		{`1e2`, 98, ErrTooLarge},
		{`0`, 60_000, nil},
		{`-1`, 60_000, nil},
		{`null`, 60_000, nil},
		{`1e300`, 60_000, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := make(chan []*message.Message, 1)
			c := pipe(t, func(f *fake) {
				f.acceptHandshake(`{"code":200,"sys":{"serializer":"json","maxPacket":` + test.maxPacket + `}}`)
				got <- f.untilClosed()
			})
			err := c.Notify("r", make([]byte, test.size))
			if !errors.Is(err, test.want) {
				t.Errorf("with maxPacket %s Notify of %d bytes = %v, want %v", test.maxPacket, test.size, err, test.want)
			}
			if test.want != nil {
				if err := c.Request(t.Context(), "r", make([]byte, test.size), nil); !errors.Is(err, test.want) {
					t.Errorf("with maxPacket %s Request of %d bytes = %v, want %v", test.maxPacket, test.size, err, test.want)
				}
			}
			if err := c.Notify("r", nil); err != nil {
				t.Errorf("Notify afterwards = %v", err)
			}
			c.Close()
			messages := <-got
			if last := messages[len(messages)-1]; string(last.Data) != "{}" || test.want != nil && len(messages) != 1 {
				t.Errorf("%d messages arrived, the last is %.20q, want what was accepted", len(messages), last.Data)
			}
		})
	}
}

func TestSlowHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started, release := make(chan struct{}, 10), make(chan struct{})
		seen := newCollect()
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.push("a", "0")
			<-started
			// Three messages are queued. There is room after two, and none after three.
			for i := range 4 {
				f.push("a", fmt.Sprint(i+1, strings.Repeat("x", 1000)))
			}
			f.untilClosed()
		}, WithPushBuffer(3000), WithFallback(func(m *Message) {
			started <- struct{}{}
			<-release
			seen <- string(m.Data[:1])
		}), WithOnDisconnect(func(err error) { seen <- err.Error() }))
		<-c.Done()
		if !errors.Is(c.Err(), ErrSlowHandlers) {
			t.Errorf("Err() = %v, want ErrSlowHandlers", c.Err())
		}
		close(release)
		seen.want(t, "0", "1", "2", "3", ErrSlowHandlers.Error())
	})
}

func TestKickIsNotLostToAFailedWrite(t *testing.T) {
	addr := accept(t, func(f *fake) {
		f.acceptHandshake(welcomeJSON)
		f.receive()
		f.write(packet.Kick, []byte(`{"reason":"too loud"}`))
	})
	c, err := Dial(within(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err = nil; err == nil; { // until the connection is gone
		err = c.Notify("Chat.Say", "hello")
	}
	<-c.Done()
	var kick *KickError
	if !errors.As(c.Err(), &kick) || kick.Reason != "too loud" {
		t.Errorf("Err() = %v, want the kick", c.Err())
	}
}

func TestHooks(t *testing.T) {
	mask := func(m *Message) error {
		for i := range m.Data {
			m.Data[i] ^= 0x55
		}
		return nil
	}
	suffix := func(m *Message) error {
		m.Data = append(m.Data, '!')
		return nil
	}
	unsuffix := func(m *Message) error {
		if n := len(m.Data); n == 0 || m.Data[n-1] != '!' {
			return errForged
		}
		m.Data = m.Data[:len(m.Data)-1]
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		var types []string
		note := func(m *Message) error {
			types = append(types, fmt.Sprintf("%v %d %s %t", m.Type, m.ID, m.Route, m.Err))
			return nil
		}
		next := make(chan []*message.Message)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			if m := f.receive(); string(m.Data) != "\x3d\x3c!" {
				t.Errorf("on the wire: %q, want it masked, then marked", m.Data)
			}
			for answers := range next {
				f.send(answers...)
			}
			f.untilClosed()
		}, WithOutbound(mask, suffix), WithInbound(unsuffix), WithInbound(mask, note), WithFallback(seen.handler))
		in, out := []byte("hi"), []byte(nil)
		result := make(chan error, 1)
		go func() { result <- c.Request(t.Context(), "Secret.Tell", in, &out) }()
		synctest.Wait()
		next <- []*message.Message{push("a", "\x3d\x3c!"), push("forged", "x"), response(1, "\x3d\x3c!")}
		if err := <-result; err != nil || string(out) != "hi" {
			t.Errorf("Request = %q, %v, want hi", out, err)
		}
		if string(in) != "hi" {
			t.Errorf("a hook wrote over the caller's slice: %q", in)
		}
		seen.want(t, "a hi")

		go func() { result <- c.Request(t.Context(), "Secret.Tell", in, nil) }()
		synctest.Wait()
		next <- []*message.Message{response(2, "forged")}
		if err := <-result; !errors.Is(err, errForged) {
			t.Errorf("Request with an answer that a hook refuses = %v, want what the hook said", err)
		}

		masked := &message.Message{Data: []byte(`{"code":"NANO-404","msg":"no"}`)}
		for i := range masked.Data {
			masked.Data[i] ^= 0x55
		}
		go func() { result <- c.Request(t.Context(), "Secret.Tell", in, nil) }()
		synctest.Wait()
		next <- []*message.Message{{Type: message.Response, ID: 3, Err: true, Data: append(masked.Data, '!')}}
		if err := <-result; !errors.Is(err, &Error{Code: CodeNotFound}) {
			t.Errorf("Request with an error response = %v, want NANO-404", err)
		}
		close(next)
		synctest.Wait()
		want := []string{"push 0 a false", "response 1 Secret.Tell false", "response 3 Secret.Tell true"}
		if !slices.Equal(types, want) {
			t.Errorf("inbound hooks saw %q, want %q", types, want)
		}
	})
}

var errForged = errors.New("forged")

func TestOutboundHookThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			if got := f.untilClosed(); len(got) > 0 {
				t.Errorf("the server got %v, want nothing", got)
			}
		}, WithOutbound(func(*Message) error { return errForged }))
		if err := c.Notify("a", "b"); !errors.Is(err, errForged) {
			t.Errorf("Notify = %v, want what the hook said", err)
		}
		if err := c.Request(t.Context(), "a", "b", nil); !errors.Is(err, errForged) {
			t.Errorf("Request = %v, want what the hook said", err)
		}
	})
}

func TestLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.push("nobody.listens", "")
			f.respond(99, "")
			f.untilClosed()
		}, WithLogger(slog.New(handler)), WithLogger(nil))
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			`level=INFO msg="client: connected" again=false`,
			`level=DEBUG msg="client: push dropped: no handler" route=nobody.listens`,
			`level=DEBUG msg="client: response dropped: no request waits for it" request=99`,
			`level=INFO msg="client: disconnected" error="client: closed"`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log is\n%swant a line %s", log.String(), want)
			}
		}
	})
}
