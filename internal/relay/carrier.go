package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"time"

	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/link"
)

// maxAsking bounds the clients of this node that wait for the answer of one gate. So
// requests with guessed tokens wait for each other, and do not fill the queue of the
// gate's link.
const maxAsking = 256

// settleTime is the time after Join during which a node that has not converged does not
// report a name as unknown.
const settleTime = 5 * time.Second

// returnTime is how long a client waits for the link to the gate of its session if that
// link has just ended.
const returnTime = 2 * time.Second

// errInterrupted is returned while the link to a gate is interrupted.
var errInterrupted = errors.New("cluster: the link to the gate of the session is interrupted")

// errSettling is returned while this node may not know all nodes yet.
var errSettling = errors.New("cluster: this node is joining the cluster")

// errNoAnswer is returned when a gate does not answer in time.
var errNoAnswer = errors.New("cluster: the gate of the session does not answer")

// Name returns the name of this node in tokens. It is zero without a cluster, and before Join.
func (b *Broker) Name() carry.Name {
	if n := b.name.Load(); n != nil {
		return *n
	}
	if b.node == nil {
		return carry.Name{}
	}
	self := b.node.Self()
	n := carry.NameOf(self.Addr, self.Epoch)
	if self.Addr != "" {
		b.name.Store(&n)
	}
	return n
}

// Carry asks the named node to resume a session over a client's connection. opening holds
// the bytes that the client has sent so far. Carry returns a stream to that node if the
// session is resumed, or the reason if not. The error is carry.ErrUnknownNode if the node
// is gone. After another error the client may try again: the node has not answered within
// ask.Left, its link is interrupted, or this node is joining the cluster.
func (b *Broker) Carry(name carry.Name, ask *carry.Ask, opening []byte) (*carry.Conn, *carry.Refusal, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ask.Left)
	defer cancel()
	for {
		pc, err := b.awaitNamed(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		c, why, err := pc.ask(ctx, ask, opening)
		if err == nil || pc.link.Err() == nil {
			return c, why, err
		}
	}
}

// awaitNamed returns the peer with a name. If its link has just ended and it may come up again, awaitNamed waits for
// returnTime at most.
func (b *Broker) awaitNamed(ctx context.Context, name carry.Name) (*peerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, returnTime)
	defer cancel()
	for {
		p, known := b.processNamed(name)
		may, changed := b.node.MayReturn(p.addr, p.epoch)
		if pc := b.peerNamed(name); pc != nil {
			return pc, nil
		}
		switch {
		case may:
		case !known && !b.node.Converged() && time.Since(b.joined) < settleTime:
			return nil, errSettling
		default:
			return nil, carry.ErrUnknownNode
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errInterrupted
		}
	}
}

// peerNamed returns the peer with a name, or nil if it is not up.
func (b *Broker) peerNamed(name carry.Name) *peerConn {
	for _, pc := range *b.peers.Load() {
		if pc.name == name && pc.link.Err() == nil {
			return pc
		}
	}
	return nil
}

// process is a process that this node was linked to.
type process struct {
	addr  string
	epoch uint64
}

// processNamed returns the process with a name if this node is linked to it, or was
// linked to it until the link was lost.
func (b *Broker) processNamed(name carry.Name) (p process, known bool) {
	for _, pc := range *b.peers.Load() {
		if pc.name == name {
			return process{pc.link.Addr, pc.link.Epoch}, true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, known = b.lost[name]
	return p, known
}

// lostProcess records that the link to a peer has ended, and removes the processes that
// cannot return.
func (b *Broker) lostProcess(pc *peerConn) {
	b.mu.Lock()
	b.lost[pc.name] = process{pc.link.Addr, pc.link.Epoch}
	all := maps.Clone(b.lost)
	b.mu.Unlock()
	maps.DeleteFunc(all, func(_ carry.Name, p process) bool {
		may, _ := b.node.MayReturn(p.addr, p.epoch)
		return may
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range all {
		delete(b.lost, name)
	}
}

// ask is Carry for a peer.
func (pc *peerConn) ask(ctx context.Context, ask *carry.Ask, opening []byte) (*carry.Conn, *carry.Refusal, error) {
	select {
	case pc.asking <- struct{}{}:
		defer func() { <-pc.asking }()
	case <-pc.link.Done():
		return nil, nil, link.ErrDown
	case <-ctx.Done():
		return nil, nil, errNoAnswer
	}
	deadline, _ := ctx.Deadline()
	ask.Left = time.Until(deadline)
	c, err := pc.open(ask)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(deadline)
	if _, err = c.Write(opening); err != nil && pc.link.Err() != nil {
		return nil, nil, err
	}
	why, err := c.Await() // also if the gate has refused the stream before everything was written
	switch {
	case why != nil:
		return nil, why, nil
	case err == nil:
		return c, nil, c.SetDeadline(time.Time{})
	}
	_ = c.Close()
	return nil, nil, err
}

// open opens a stream to the peer.
func (pc *peerConn) open(ask *carry.Ask) (*carry.Conn, error) {
	pc.mu.Lock()
	s := &pc.streams
	if s.ended {
		pc.mu.Unlock()
		return nil, link.ErrDown
	}
	s.last++
	end := streamEnd{pc, s.last, true}
	c := carry.NewConn(end, nodeAddr(pc.b.Address()), ask.Remote)
	if s.opened == nil {
		s.opened = make(map[int64]*carry.Conn)
	}
	s.opened[end.id] = c
	pc.mu.Unlock()
	f := end.frame(kindCarry)
	f.Meta = appendAsk(nil, ask)
	if err := pc.link.Send(&f); err != nil {
		pc.forgetStream(end.id, true)
		return nil, err
	}
	return c, nil
}

func appendAsk(dst []byte, a *carry.Ask) []byte {
	dst = appendString(dst, string(a.Token))
	framed := uint64(0)
	if a.Framed {
		framed = 1
	}
	dst = binary.AppendUvarint(dst, framed)
	dst = binary.AppendUvarint(dst, uint64(max(a.Left.Microseconds(), 0)))
	var network, address string
	if a.Remote != nil {
		network, address = a.Remote.Network(), a.Remote.String()
	}
	return appendString(appendString(dst, network), address)
}

func parseAsk(b []byte) (*carry.Ask, error) {
	r := reader{b: b}
	a := &carry.Ask{Token: []byte(r.string())}
	framed, left := r.uvarint(), r.uvarint()
	from := introduction{network: r.string(), address: r.string()}
	if len(r.b) > 0 || framed > 1 {
		r.fault = true
	}
	a.Framed = framed == 1
	a.Left = time.Duration(min(left, uint64(time.Hour/time.Microsecond))) * time.Microsecond
	if from.network != "" {
		a.Remote = from.addr()
	}
	return a, r.err("ask")
}
