package nanotest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/client"
)

// Player is a connected client that keeps the pushes it gets until the test asks for them. Request, Notify, On, Close
// and the rest are those of the client; a handler set with On sees its pushes as well. Methods may be called
// concurrently, but those that fail the test (Wait, WaitFor, Kicked) only from the goroutine of the test.
//
// Pushes that a server sends before it answers a request have come when Request returns.
type Player struct {
	*client.Client

	t       testing.TB
	srv     *Server
	network network

	mu      sync.Mutex        // guards the fields below
	pushes  []*client.Message // received pushes that were not taken, in order
	taken   int               // number of taken pushes
	arrived chan struct{}     // closed when the next one comes; nil if no goroutine waits
}

// record is the last inbound hook of the player's client.
func (p *Player) record(m *client.Message) error {
	if m.Type != client.Push {
		return nil
	}
	kept := *m
	kept.Data = bytes.Clone(m.Data) // a handler may write over it
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes = append(p.pushes, &kept)
	if p.arrived != nil {
		close(p.arrived)
		p.arrived = nil
	}
	return nil
}

// take removes the oldest push to route. If there is none, it returns a channel that is closed when another push
// arrives.
func (p *Player) take(route string) (*client.Message, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.pushes {
		if m.Route == route {
			p.pushes = append(p.pushes[:i], p.pushes[i+1:]...)
			p.taken++
			return m, nil
		}
	}
	if p.arrived == nil {
		p.arrived = make(chan struct{})
	}
	return nil, p.arrived
}

// Wait takes the oldest push to route, and waits for it for at most d if it has not come yet. If none comes, or the
// connection ends first, the test fails at once with a list of the other pushes that were not taken.
func (p *Player) Wait(route string, d time.Duration) *client.Message {
	p.t.Helper()
	late := time.NewTimer(d)
	defer late.Stop()
	for {
		m, arrived := p.take(route)
		if m != nil {
			return m
		}
		select {
		case <-arrived:
		case <-late.C:
			p.t.Fatalf("nanotest: no push to %q within %v; %s", route, d, p.list())
		case <-p.Done():
			if m, _ := p.take(route); m != nil {
				return m
			}
			p.t.Fatalf("nanotest: no push to %q, and the connection has ended: %v; %s", route, p.Err(), p.list())
		}
	}
}

// WaitFor is Wait, and decodes the payload into v. A payload that does not decode fails the test at once.
func (p *Player) WaitFor(route string, d time.Duration, v any) {
	p.t.Helper()
	m := p.Wait(route, d)
	if err := m.Decode(v); err != nil {
		p.t.Fatalf("nanotest: the push to %q does not decode into a %T: %v; its payload is %s", route, v, err, show(m.Data))
	}
}

// Pushes takes the pushes to route that have come, the oldest first, without waiting; all of them if route is "".
func (p *Player) Pushes(route string) []*client.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken, left []*client.Message
	for _, m := range p.pushes {
		if route == "" || m.Route == route {
			taken = append(taken, m)
		} else {
			left = append(left, m)
		}
	}
	p.pushes = left
	p.taken += len(taken)
	return taken
}

// Kicked returns the reason of the server's kick, and waits for it for at most d. If there is none, or the
// connection ends otherwise, the test fails at once.
func (p *Player) Kicked(d time.Duration) string {
	p.t.Helper()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-p.Done():
	default:
		select {
		case <-p.Done():
		case <-late.C:
			p.t.Fatalf("nanotest: not kicked within %v; %s", d, p.list())
		}
	}
	var kick *client.KickError
	if !errors.As(p.Err(), &kick) {
		p.t.Fatalf("nanotest: not kicked, but the connection has ended: %v", p.Err())
	}
	return kick.Reason
}

// These constants limit what a failure shows.
const (
	maxListed  = 20  // pushes, the latest
	maxPayload = 200 // characters of a payload
)

// list describes the pushes that were not taken.
func (p *Player) list() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d pushes were taken before, %d came and were not", p.taken, len(p.pushes))
	for _, m := range p.pushes[max(len(p.pushes)-maxListed, 0):] {
		fmt.Fprintf(&b, "\n\t%s %s", m.Route, show(m.Data))
	}
	return b.String()
}

// show returns the beginning of a payload as it is read best.
func show(data []byte) string { return fmt.Sprintf("%#.*q", maxPayload, data) }
