package client

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
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

var errForged = errors.New("forged")

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
