package agent

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/carry"
)

// Carrier resumes sessions of other nodes. Its methods may be called concurrently.
type Carrier interface {
	// Name returns the name of this node in tokens.
	Name() carry.Name
	// Carry asks the named node to resume a session over a client's connection. opening
	// holds the bytes that the client has sent so far. Carry returns a stream to that
	// node if the session is resumed, or the reason if not. The error is
	// carry.ErrUnknownNode if the node is not up. After other errors the client may try
	// again.
	Carry(name carry.Name, ask *carry.Ask, opening []byte) (*carry.Conn, *carry.Refusal, error)
}

// nodeName returns the name of this node in tokens. It is zero without a cluster.
func (h *Hub) nodeName() (n carry.Name) {
	if h.Carrier != nil {
		n = h.Carrier.Name()
	}
	return n
}

// opening holds the bytes that a client sends before its handshake is answered. If the
// client resumes a session of another node, that node receives all of them.
type opening struct {
	b     []byte
	large bool        // the bytes exceeded the limit, so the client cannot resume a session of another node
	to    *carry.Conn // the stream to the session's node, or nil
}

// record appends the received bytes, up to most bytes in total.
func (o *opening) record(b []byte, most int) {
	if o.large = o.large || len(o.b)+len(b) > most; o.large {
		o.b = nil
		return
	}
	o.b = append(o.b, b...)
}

// forgetOpening frees the opening after this node has answered the handshake.
func (c *Conn) forgetOpening() {
	if !c.away() {
		c.in.opening = nil
	}
}

// away reports whether the client uses a session of another node.
func (c *Conn) away() bool { return c.flags.has(flagAway) }

// askOther asks the node named in a token to resume the session. If the node does, c is
// away. Otherwise e is the reason why the session cannot be resumed. After an error the
// client may try again.
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
	c.forgetUpgrade()
	c.stopWriting()
	return nil, nil
}

// maxOpening returns the maximum size of an opening in bytes: the largest handshake,
// doubled for its frames, and one read.
func (h *Hub) maxOpening() int { return 2*h.Limits.MaxHandshake + readSize }

// knownReason returns the reason from another node if this node knows it.
func knownReason(reason string) string {
	if slices.Contains(resumeReasons[:], reason) {
		return reason
	}
	return reasonUnknown
}

// stopWriting waits until no write to c is in progress, and prevents further writes.
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

// carry copies bytes between the client and the node of its session until one of them
// ends. It runs on the goroutine of the connection's reader.
func (c *Conn) carry() {
	to, a := c.in.opening.to, c.agent.Load()
	var late atomic.Pointer[time.Timer]
	to.AfterEnd(func() { // the client may not read
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

// carryOut copies the client's bytes to the node.
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

// carryBack copies the node's bytes to the client, and closes the socket when the node
// has ended the stream.
func (c *Conn) carryBack(to *carry.Conn) {
	if _, err := to.WriteTo(c.socket); err == nil {
		if half, _ := halfCloser(c.socket); half != nil {
			_ = half.CloseWrite()
		}
		<-to.Ended() // the client may send until then
	}
	_ = to.Close()
	c.closeSocket()
}
