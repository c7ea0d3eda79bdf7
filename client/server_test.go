package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/pipenet"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Game is the server's component in these tests.
type Game struct {
	component.Base
	said chan string
}

type Line struct{ Text string }

func (g *Game) Echo(_ *session.Session, l *Line) (*Line, error) { return l, nil }

func (g *Game) Raw(s *session.Session, data []byte) error { return s.Response(data) }

func (g *Game) Say(s *session.Session, l *Line) error {
	if g.said != nil {
		g.said <- l.Text
	}
	return s.Push("onSay", l)
}

func (g *Game) Fail(*session.Session, []byte) error {
	return &nano.Error{Code: "GAME-7", Message: "no luck", Metadata: map[string]string{"die": "1"}}
}

func (g *Game) Break(*session.Session, []byte) error { return errors.New("secret") }

func (g *Game) Kick(s *session.Session, _ []byte) error {
	if err := s.Push("onSay", &Line{"bye"}); err != nil {
		return err
	}
	return s.Kick("enough")
}

// Words is a component with protobuf messages.
type Words struct{ component.Base }

func (w *Words) Upper(_ *session.Session, v *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(strings.ToUpper(v.Value)), nil
}

// serve runs a server on l until the test ends, and returns it.
func serve(t testing.TB, l net.Listener, ws bool, c component.Component, opts ...nano.Option) *nano.Server {
	t.Helper()
	components := &component.Components{}
	components.Register(c)
	opts = append([]nano.Option{
		nano.WithComponents(components),
		nano.WithSerializer(jsonserializer.NewSerializer()),
		nano.WithSlog(slog.New(slog.DiscardHandler)),
		nano.WithWebSocket("/nano"),
	}, opts...)
	s := nano.New(opts...)
	served := make(chan error, 1)
	go func() {
		if ws {
			served <- s.ServeWebSocket(l)
		} else {
			served <- s.Serve(l)
		}
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return s
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestServer(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	secure := nano.WithTLSConfig(&tls.Config{Certificates: web.TLS.Certificates})

	for _, test := range []struct {
		scheme, path string
		opts         []nano.Option
	}{
		{"tcp://", "", nil},
		{"tcp://", "", []nano.Option{nano.WithDictionary(map[string]uint16{"Game.Echo": 1, "Game.Say": 0xffff, "onSay": 2})}},
		{"tls://", "", []nano.Option{secure}},
		{"ws://", "/nano", nil},
		{"wss://", "/nano", []nano.Option{secure}},
	} {
		t.Run(fmt.Sprint(test.scheme, len(test.opts)), func(t *testing.T) {
			l := loopback(t)
			serve(t, l, strings.HasPrefix(test.scheme, "ws"), &Game{}, test.opts...)
			said := make(chan string, 1000)
			ended := make(chan error, 1)
			c, err := client.Dial(deadline(t), test.scheme+l.Addr().String()+test.path,
				client.WithTLSConfig(&tls.Config{RootCAs: roots}),
				client.WithHandler("onSay", func(m *client.Message) {
					var l Line
					if err := m.Decode(&l); err != nil {
						t.Error(err)
					}
					said <- l.Text
				}),
				client.WithOnDisconnect(func(err error) { ended <- err }))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx := deadline(t)
			var line Line
			if err := c.Request(ctx, "Game.Echo", &Line{"hello"}, &line); err != nil || line.Text != "hello" {
				t.Errorf("Game.Echo = %v, %v", line, err)
			}
			var raw []byte
			big := []byte(strings.Repeat("x", 60_000))
			if err := c.Request(ctx, "Game.Raw", big, &raw); err != nil || string(raw) != string(big) {
				t.Errorf("Game.Raw = %d bytes, %v, want the %d that were sent", len(raw), err, len(big))
			}
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					var got Line
					if err := c.Request(ctx, "Game.Echo", &Line{fmt.Sprint(i)}, &got); err != nil || got.Text != fmt.Sprint(i) {
						t.Errorf("Game.Echo of %d = %v, %v", i, got, err)
					}
				})
			}
			wg.Wait()
			for i := range 500 {
				if err := c.Notify("Game.Say", &Line{fmt.Sprint(i)}); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 500 {
				select {
				case got := <-said:
					if got != fmt.Sprint(i) {
						t.Fatalf("push %d said %s", i, got)
					}
				case <-ctx.Done():
					t.Fatalf("push %d did not come", i)
				}
			}
			for route, want := range map[string]*client.Error{
				"Game.Fail":  {Code: "GAME-7", Message: "no luck"},
				"Game.Break": {Code: client.CodeInternal},
				"Game.None":  {Code: client.CodeNotFound},
			} {
				if err := c.Request(ctx, route, nil, nil); !errors.Is(err, want) {
					t.Errorf("%s = %v, want %v", route, err, want)
				}
			}
			var answer *client.Error
			if err := c.Request(ctx, "Game.Fail", nil, nil); !errors.As(err, &answer) || answer.Metadata["die"] != "1" {
				t.Errorf("Game.Fail = %v, want its metadata", err)
			}
			if err := c.Request(ctx, "Game.Echo", []byte("{"), nil); !errors.Is(err, &client.Error{Code: client.CodeBadRequest}) {
				t.Errorf("Game.Echo of half a payload = %v, want NANO-400", err)
			}
			if err := c.Notify("Game.Kick", nil); err != nil {
				t.Fatal(err)
			}
			var kick *client.KickError
			if err := <-ended; !errors.As(err, &kick) || kick.Reason != "enough" {
				t.Errorf("the connection ended with %v, want the kick", err)
			}
			if got := <-said; got != "bye" {
				t.Errorf("the push before the kick said %q", got)
			}
		})
	}
}

func TestServerOfProtobuf(t *testing.T) {
	l := loopback(t)
	components := &component.Components{}
	components.Register(&Words{})
	s := nano.New(nano.WithComponents(components), nano.WithSlog(slog.New(slog.DiscardHandler)))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := errors.Join(s.Shutdown(deadline(t)), <-served); err != nil {
			t.Error(err)
		}
	}()
	c, err := client.Dial(deadline(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got wrapperspb.StringValue
	if err := c.Request(deadline(t), "Words.Upper", wrapperspb.String("quiet"), &got); err != nil || got.Value != "QUIET" {
		t.Errorf("Words.Upper = %q, %v", got.Value, err)
	}
	if err := c.Request(deadline(t), "Words.None", nil, nil); !errors.Is(err, &client.Error{Code: client.CodeNotFound}) {
		t.Errorf("Words.None = %v, want NANO-404", err)
	}
}

func TestServerHandshake(t *testing.T) {
	l := loopback(t)
	serve(t, l, false, &Game{},
		nano.WithHandshakeValidator(func(_ *session.Session, data []byte) error {
			var hello struct{ User struct{ Token string } }
			if err := json.Unmarshal(data, &hello); err != nil {
				return err
			}
			if hello.User.Token != "good" {
				return errors.New("bad token")
			}
			return nil
		}),
		nano.WithHandshakeData(func(*session.Session, []byte) (any, error) { return map[string]int{"level": 3}, nil }))
	c, err := client.Dial(deadline(t), l.Addr().String(), client.WithUser(map[string]string{"token": "good"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := string(c.Handshake()); got != `{"level":3}` {
		t.Errorf("Handshake() = %s", got)
	}
	var refusal *client.HandshakeError
	if _, err := client.Dial(deadline(t), l.Addr().String()); !errors.As(err, &refusal) || refusal.Code != 500 || refusal.Message != "bad token" {
		t.Errorf("Dial without a token = %v, want a refusal with code 500", err)
	}
}

func TestNothingIsLostWhenTheClientCloses(t *testing.T) {
	for _, scheme := range []string{"tcp://", "ws://"} {
		l := loopback(t)
		g := &Game{said: make(chan string, 10_000)}
		serve(t, l, scheme == "ws://", g)
		path := ""
		if scheme == "ws://" {
			path = "/nano"
		}
		c, err := client.Dial(deadline(t), scheme+l.Addr().String()+path)
		if err != nil {
			t.Fatal(err)
		}
		const n = 2000
		for i := range n {
			if err := c.Notify("Game.Say", &Line{fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for i := range n {
			select {
			case got := <-g.said:
				if got != fmt.Sprint(i) {
					t.Fatalf("%s: message %d is %s", scheme, i, got)
				}
			case <-deadline(t).Done():
				t.Fatalf("%s: message %d of %d was lost", scheme, i, n)
			}
		}
	}
}

func TestServerRestarts(t *testing.T) {
	first := loopback(t)
	addr := first.Addr().String()
	var mu sync.Mutex
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		mu.Lock()
		at := addr
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, at)
	}
	s := serve(t, first, false, &Game{})
	again := make(chan error, 1)
	c, err := client.Dial(deadline(t), "game:3250", client.WithDialer(dial),
		client.WithReconnect(client.Reconnect{Min: time.Millisecond, Max: 10 * time.Millisecond}),
		client.WithOnReconnect(func(c *client.Client) {
			again <- c.Request(context.Background(), "Game.Echo", &Line{"again"}, nil)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Request(deadline(t), "Game.Echo", &Line{"once"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(deadline(t)); err != nil {
		t.Fatal(err)
	}
	second := loopback(t)
	mu.Lock()
	addr = second.Addr().String()
	mu.Unlock()
	serve(t, second, false, &Game{})
	select {
	case err := <-again:
		if err != nil {
			t.Errorf("Request after the restart = %v", err)
		}
	case <-c.Done():
		t.Fatalf("the client has ended with %v", c.Err())
	case <-deadline(t).Done():
		t.Fatal("the client did not come back")
	}
}

func TestIdleForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := pipenet.New()
		s := serve(t, m, false, &Game{}, nano.WithHeartbeatInterval(30*time.Second))
		c, err := client.Dial(t.Context(), "memory:1", client.WithDialer(m.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(24 * time.Hour)
		if err := c.Request(t.Context(), "Game.Echo", &Line{"still here"}, nil); err != nil {
			t.Errorf("Request after an idle day = %v", err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-c.Done()
		var kick *client.KickError
		if !errors.As(c.Err(), &kick) || kick.Reason != client.KickShutdown {
			t.Errorf("Err() = %v, want the kick of a server that shuts down", c.Err())
		}
	})
}
