package protocol_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// listenOn starts a server on its own port and returns the address.
func listenOn(t *testing.T, kind string, game *testkit.Game, opts ...nano.Option) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	components := &component.Components{}
	components.Register(game)
	s := nano.New(append(opts, nano.WithComponents(components), nano.WithSlog(slog.New(slog.DiscardHandler)))...)
	testkit.ServeOn(t, s, kind, l)
	return l.Addr().String()
}

// TestUpgradeRequest checks that the validator can read the cookies, headers and query of
// the upgrade request, and that later code cannot.
func TestUpgradeRequest(t *testing.T) {
	t.Parallel()
	type seen struct{ cookie, authorization, room string }
	got := make(chan seen, 1)
	game := &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
		if s.UpgradeRequest() != nil {
			return s.Response([]byte("kept"))
		}
		return s.Response([]byte("gone"))
	}}
	at := listenOn(t, "ws", game, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
		r := s.UpgradeRequest()
		if r == nil {
			got <- seen{}
			return nil
		}
		c, err := r.Cookie("session")
		if err != nil {
			return err
		}
		got <- seen{c.Value, r.Header.Get("Authorization"), r.URL.Query().Get("room")}
		return nil
	}))
	c, err := client.Dial(t.Context(), "ws://"+at+"/?room=7", client.WithHeader(http.Header{
		"Cookie": {"session=ann"}, "Authorization": {"Bearer secret"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, want := <-got, (seen{"ann", "Bearer secret", "7"}); s != want {
		t.Errorf("the validator saw %+v, want %+v", s, want)
	}
	var answer []byte
	if err := c.Request(t.Context(), "Game.Do", []byte("x"), &answer); err != nil || string(answer) != "gone" {
		t.Errorf("after the handshake the request is %q, %v, want gone", answer, err)
	}
}

// TestUpgradeRequestOverTLS checks that the upgrade request of a TLS client has the TLS
// connection state.
func TestUpgradeRequestOverTLS(t *testing.T) {
	states := make(chan *tls.ConnectionState, 1)
	at := testkit.Start(t, "wss", testkit.NewGame(nil), nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
		states <- s.UpgradeRequest().TLS
		return nil
	}))
	at.Join().Echo(1, "here")
	if state := <-states; state == nil || !state.HandshakeComplete || state.ServerName != "localhost" {
		t.Errorf("the request has the TLS state %+v, want one of localhost", state)
	}
}

func TestUpgradeRequestOverTCP(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	at := listenOn(t, "tcp", &testkit.Game{}, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
		got <- s.UpgradeRequest()
		return nil
	}))
	c, err := client.Dial(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r := <-got; r != nil {
		t.Errorf("over TCP there is the request %v, want nil", r)
	}
}

func TestSubprotocols(t *testing.T) {
	t.Parallel()
	at := listenOn(t, "ws", &testkit.Game{}, nano.WithSubprotocols("game.v2", "game.v1"))
	for _, test := range []struct {
		asks []string
		want string
	}{
		{nil, ""},
		{[]string{"game.v1"}, "game.v1"},
		{[]string{"other", "game.v2", "game.v1"}, "game.v2"},
		{[]string{"other"}, ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		d := websocket.Dialer{Subprotocols: test.asks, NetDialContext: (&net.Dialer{}).DialContext}
		conn, _, err := d.DialContext(ctx, "ws://"+at+"/", nil)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.Subprotocol(); got != test.want {
			t.Errorf("asked for %q, the server selected %q, want %q", test.asks, got, test.want)
		}
		_ = conn.Close()
	}
	if err := nano.New(nano.WithSubprotocols("not a token")).Start(); err == nil {
		t.Error("a subprotocol with blanks was accepted")
	}
}
