package testkit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
)

// Player is a Go client that records its pushes. Its errors end the test.
type Player struct {
	*client.Client
	t      testing.TB
	Pushes chan *client.Message
}

// AwaitAnswer sends Room.Who until the reply is want, and returns the time since then.
// Before that only CodeUnavailable is accepted.
func (p *Player) AwaitAnswer(want string, since time.Time) time.Duration {
	p.t.Helper()
	Eventually(p.t, want+" answers", func() bool {
		who, err := p.Ask("Room.Who", "")
		if err != nil && !HasCode(err, nano.CodeUnavailable) || err == nil && who != want {
			p.t.Fatalf("Room.Who = %q, %v, want %s", who, err, want)
		}
		return err == nil
	})
	return time.Since(since)
}

// Ask sends a request with a raw payload and returns the raw reply.
func (p *Player) Ask(route, data string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var reply []byte
	err := p.Request(ctx, route, []byte(data), &reply)
	return string(reply), err
}

// Expect sends a request and checks its reply.
func (p *Player) Expect(route, data, want string) {
	p.t.Helper()
	got, err := p.Ask(route, data)
	if err != nil || got != want {
		p.t.Fatalf("%s %q = %.100q, %v, want %.100q", route, data, got, err, want)
	}
}

// ExpectError sends a request and checks that it fails with code.
func (p *Player) ExpectError(route, data, code string) {
	p.t.Helper()
	got, err := p.Ask(route, data)
	if !HasCode(err, code) {
		p.t.Fatalf("%s %q = %q, %v, want %s", route, data, got, err, code)
	}
}

// Send sends a notify.
func (p *Player) Send(route, data string) {
	p.t.Helper()
	if err := p.Notify(route, []byte(data)); err != nil {
		p.t.Fatal(err)
	}
}

// ExpectPush checks the next push.
func (p *Player) ExpectPush(route, want string) {
	p.t.Helper()
	m := Receive(p.t, p.Pushes, "push "+route)
	if m.Route != route || string(m.Data) != want {
		p.t.Fatalf("push %s %.100q came, want %s %.100q", m.Route, m.Data, route, want)
	}
}

// HasCode reports whether err is a *nano.Error with this code.
func HasCode(err error, code string) bool {
	var e *nano.Error
	return errors.As(err, &e) && e.Code == code
}
