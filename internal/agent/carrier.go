package agent

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/carry"
)

// Carrier reaches the sessions of other nodes. Its methods may be called concurrently.
type Carrier interface {
	// Name returns the name of this node in tokens.
	Name() carry.Name
	// Carry asks the node of a name to go on with a session over the connection of a client,
	// which has sent the bytes of opening so far. It returns a stream to that node once the
	// session goes on, or why it does not. The error is carry.ErrUnknownNode if the node is
	// not up; after another error the client may ask again.
	Carry(name carry.Name, ask *carry.Ask, opening []byte) (*carry.Conn, *carry.Refusal, error)
}

// nodeName returns the name of this node in tokens; zero without a cluster.
func (h *Hub) nodeName() (n carry.Name) {
	if h.Carrier != nil {
		n = h.Carrier.Name()
	}
	return n
}

// opening is what a client has sent until its handshake was answered. If it goes on with
// a session of another node, that node gets all of it.
type opening struct {
	b     []byte
	large bool        // it was more than is kept: the client cannot go on there
	to    *carry.Conn // the stream to the session's node; nil while there is none
}

// record keeps bytes as they came, most bytes in all.
func (o *opening) record(b []byte, most int) {
	if o.large = o.large || len(o.b)+len(b) > most; o.large {
		o.b = nil
		return
	}
	o.b = append(o.b, b...)
}

// forgetOpening frees the opening when the handshake was answered by this node.
func (c *Conn) forgetOpening() {
	if !c.away() {
		c.in.opening = nil
	}
}

// away reports whether the client goes on with a session of another node.
func (c *Conn) away() bool { return c.flags.has(flagAway) }

// askOther asks the node that a token names to go on with the session. If it does, c
// is away. Otherwise e is why the session does not go on; after an error the client may
// ask again.
func (c *Conn) askOther(k token) (e *ended, err error) {
	h := c.hub
	o := c.in.opening
	if o.large {
		return &ended{reason: reasonUnknown}, nil
	}
	ask := &carry.Ask{
		Token: k[:], Framed: c.flags.has(flagFramed), Remote: c.remote,
		Left: c.timer.at - time.Duration(h.wheel.now()),
	}
	to, why, err := h.Carrier.Carry(k.name(), ask, o.b)
	switch {
	case errors.Is(err, carry.ErrUnknownNode):
		return &ended{reason: reasonUnknown}, nil
	case err != nil:
		return nil, err
	case why != nil:
		return &ended{reason: knownReason(why.Reason), kick: why.Kick}, nil
	}
	o.b, o.to = nil, to
	c.flags.set(flagAway)
	h.wheel.remove(c)
	if c.flags.has(flagFramed) {
		h.upgrades.Delete(c.agent.Load())
	}
	c.stopWriting()
	return nil, nil
}

// maxOpening is how much of an opening is kept, in bytes: the largest handshake in frames
// of twice its size, and one read more.
func (h *Hub) maxOpening() int { return 2*h.Limits.MaxHandshake + readSize }

// knownReason returns a reason of another node if this node knows it.
func knownReason(reason string) string {
	if slices.Contains(resumeReasons[:], reason) {
		return reason
	}
	return reasonUnknown
}

// stopWriting returns when nothing is being written over c, and sees that nothing will be.
func (c *Conn) stopWriting() {
	o := &c.agent.Load().out
	for {
		o.mu.Lock()
		if !o.writing || c.dead {
			c.kill()
			o.mu.Unlock()
			return
		}
		done := make(chan struct{})
		c.done = done
		o.mu.Unlock()
		<-done
	}
}

// carry copies bytes between the client and the node of its session until either ends. It
// is the goroutine of the connection's reader.
func (c *Conn) carry() {
	to, a := c.in.opening.to, c.agent.Load()
	var late atomic.Pointer[time.Timer]
	to.AfterEnd(func() { // the client may take nothing
		late.Store(time.AfterFunc(closeTimeout, c.closeSocket))
	})
	written := make(chan struct{})
	c.hub.wg.Go(func() {
		defer close(written)
		c.carryBack(to)
	})
	err := c.carryOut(to)
	<-written
	if t := late.Load(); t != nil {
		t.Stop()
	}
	c.releaseBuffer()
	if !a.flags.set(flagClosed) {
		a.forget()
	}
	c.finishReading(err)
	c.freeReader()
}

// carryOut sends what the client sends.
func (c *Conn) carryOut(to *carry.Conn) error {
	for {
		b, _, err := c.next()
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite() // the node ends the stream
			return err
		}
		if err == nil {
			_, err = to.Write(b)
		}
		if err != nil {
			_ = to.Close()
			return err
		}
	}
}

// carryBack writes to the client what the node sends, and closes the socket when the node
// has ended the stream.
func (c *Conn) carryBack(to *carry.Conn) {
	if _, err := to.WriteTo(c.socket); err == nil {
		if half, _ := halfCloser(c.socket); half != nil {
			_ = half.CloseWrite()
		}
		<-to.Ended() // until then the client may send
	}
	_ = to.Close()
	c.closeSocket()
}
