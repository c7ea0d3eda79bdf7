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

// NewSessionGame has its handler Do hand out the session.
func NewSessionGame() (*Game, <-chan *session.Session) {
	sessions := make(chan *session.Session, 1)
	return &Game{OnDo: func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("caught"))
	}}, sessions
}

// SessionOf returns the session of a client.
func SessionOf(t testing.TB, p *Client, sessions <-chan *session.Session) *session.Session {
	t.Helper()
	p.Call(1, "Game.Do", "")
	return Receive(t, sessions, "the session")
}

// Game is what the clients of these tests talk to. What Do and OnInit do is the test's.
type Game struct {
	component.Base
	OnDo func(s *session.Session, data []byte) error
}

// Number is a payload.
type Number struct{ N int }

var ErrSecret = errors.New("the database is at 10.0.0.7")

func (g *Game) Echo(s *session.Session, data []byte) error { return s.Response(data) }

func (g *Game) Do(s *session.Session, data []byte) error { return g.OnDo(s, data) }

func (g *Game) ID(s *session.Session, _ []byte) error { return s.Response(fmt.Append(nil, s.ID())) }

func (g *Game) Double(_ *session.Session, n *Number) (*Number, error) { return &Number{2 * n.N}, nil }

func (g *Game) Fail(*session.Session, []byte) error { return ErrSecret }

func (g *Game) Panic(*session.Session, []byte) error { panic(ErrSecret) }

func (g *Game) Refuse(*session.Session, []byte) error {
	return &nano.Error{Code: "GAME-1", Message: "not your turn", Metadata: map[string]string{"turn": "7"}}
}

// Context answers when its context ends, or at once if that is not the session's own.
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

// Elsewhere is for other nodes: it has no session.
func (g *Game) Elsewhere(_ context.Context, n *Number) (*Number, error) { return n, nil }
