//go:build !nano_portable

package agent

import (
	"strings"
	"testing"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// A connection that was quiet for a while goes on reading with a new goroutine, and loses nothing by it.
func TestQuietReaderRenewsItsStack(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	p, a := tcp(t, h)
	c := a.out.conn
	if c.raw == nil {
		t.Skip("no raw sockets here")
	}
	for id := range uint64(3) {
		b := request(t, id+1, strings.Repeat("x", 1000))
		if id > 0 { // not to wait for the next heartbeat, which looks again
			c.settle()
		}
		eventually(t, func() bool { return c.flags.has(flagParked) })
		p.send(b)
		if m := p.message(); m.ID != id+1 || len(m.Data) != 1000 {
			t.Fatalf("%v came, want the answer to request %d", m, id+1)
		}
	}
	// It may be closed at that moment.
	c.settle()
	_ = a.Kick("bye")
	if typ, body := p.packet(); typ != packet.Kick || string(body) != `{"reason":"bye","code":"kicked"}` {
		t.Errorf("%v %s came, want a kick", typ, body)
	}
	check(t, reason(t, a.session), session.ErrKicked)
}
