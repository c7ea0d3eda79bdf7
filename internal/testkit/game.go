package testkit

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// ErrSecret is an error whose text clients must not receive.
var ErrSecret = errors.New("the database is at 10.0.0.7")

// Game is the component of most scenarios. Its handler Do calls OnDo.
type Game struct {
	component.Base
	OnDo func(s *session.Session, data []byte) error
}

// NewGame returns a game whose handler Do calls f.
func NewGame(f func(s *session.Session, data []byte) error) *Game { return &Game{OnDo: f} }

// NewNamedGame returns a game whose handler Do responds with name.
func NewNamedGame(name string) *Game {
	return NewGame(func(s *session.Session, _ []byte) error { return s.Response([]byte(name)) })
}

// Echo responds with the payload.
func (g *Game) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// Do calls OnDo.
func (g *Game) Do(s *session.Session, data []byte) error { return g.OnDo(s, data) }

// ID responds with the id of the session.
func (g *Game) ID(s *session.Session, _ []byte) error { return s.Response(fmt.Append(nil, s.ID())) }

// Double replies with twice the number.
func (g *Game) Double(_ *session.Session, n *Number) (*Number, error) { return &Number{2 * n.N}, nil }

// Fail returns ErrSecret.
func (g *Game) Fail(*session.Session, []byte) error { return ErrSecret }

// Panic panics with ErrSecret.
func (g *Game) Panic(*session.Session, []byte) error { panic(ErrSecret) }

// Refuse returns an error with the code GAME-1, which the client may see.
func (g *Game) Refuse(*session.Session, []byte) error {
	return &nano.Error{Code: "GAME-1", Message: "not your turn", Metadata: map[string]string{"turn": "7"}}
}

// Context checks the context of a handler. With the payload "close" it also closes the session.
func (g *Game) Context(ctx context.Context, s *session.Session, data []byte) error {
	if ctx != s.Context() || ctx.Err() != nil {
		return s.Response([]byte("want the context of a session that is open"))
	}
	if _, ok := ctx.Deadline(); ok {
		return s.Response([]byte("want no deadline"))
	}
	if string(data) == "close" {
		s.Close()
		if !errors.Is(context.Cause(ctx), session.ErrClosed) {
			panic("the context goes on after the session")
		}
	}
	return s.Response([]byte("ok"))
}

// Elsewhere has no session parameter, so only other nodes may call it.
func (g *Game) Elsewhere(_ context.Context, n *Number) (*Number, error) { return n, nil }

// Number is a JSON payload.
type Number struct{ N int }

// NewSessionGame returns a game whose handler Do sends its session to the channel.
func NewSessionGame() (*Game, <-chan *session.Session) {
	sessions := make(chan *session.Session, 1)
	return &Game{OnDo: func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("caught"))
	}}, sessions
}

// SessionOf calls Game.Do on p and returns the session that the game of NewSessionGame sends.
func SessionOf(t testing.TB, p *Client, sessions <-chan *session.Session) *session.Session {
	t.Helper()
	p.Call(1, "Game.Do", "")
	return Receive(t, sessions, "the session")
}
