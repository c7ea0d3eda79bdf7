package relay

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/link"
)

// maxAsking bounds the clients of this node that wait for the answer of one gate. Guessed tokens that name the gate take
// turns with others, and do not fill the queue of its link.
const maxAsking = 256

// settleTime is how long after Join a node that has not converged does not say that it knows no node of a name.
const settleTime = 5 * time.Second

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

// Carry asks the node of a name to go on with a session over the connection of a client, which has sent the bytes of
// opening so far. It returns the stream to that node once the session goes on, or why it does not. The error is
// carry.ErrUnknownNode if the node is not up. After another error the client may ask again: the node has not answered in
// ask.Left, or this node is joining the cluster.
func (b *Broker) Carry(name carry.Name, ask *carry.Ask, opening []byte) (*carry.Conn, *carry.Refusal, error) {
	pc := b.peerNamed(name)
	switch {
	case pc != nil:
	case !b.node.Converged() && time.Since(b.joined) < settleTime:
		return nil, nil, errSettling
	default:
		return nil, nil, carry.ErrUnknownNode
	}
	began := time.Now()
	late := time.NewTimer(ask.Left)
	defer late.Stop()
	select {
	case pc.asking <- struct{}{}:
		defer func() { <-pc.asking }()
	case <-pc.link.Done():
		return nil, nil, carry.ErrUnknownNode
	case <-late.C:
		return nil, nil, errNoAnswer
	}
	ask.Left -= time.Since(began)
	c, err := pc.open(ask)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(ask.Left))
	_, err = c.Write(opening)
	var why *carry.Refusal
	if err == nil {
		why, err = c.Await()
	} else {
		why, _ = c.Await() // the gate may have refused the stream meanwhile
	}
	switch {
	case why != nil:
		return nil, why, nil
	case err == nil:
		return c, nil, c.SetDeadline(time.Time{})
	}
	_ = c.Close()
	if pc.link.Err() != nil {
		err = carry.ErrUnknownNode
	}
	return nil, nil, err
}

// peerNamed returns the peer with a name; nil if none is up.
func (b *Broker) peerNamed(name carry.Name) *peerConn {
	for _, pc := range *b.peers.Load() {
		if pc.name == name && pc.link.Err() == nil {
			return pc
		}
	}
	return nil
}

// open opens a stream to the peer.
func (pc *peerConn) open(ask *carry.Ask) (*carry.Conn, error) {
	pc.mu.Lock()
	s := &pc.streams
	if s.ended {
		pc.mu.Unlock()
		return nil, carry.ErrUnknownNode
	}
	s.last++
	end := streamEnd{pc, s.last, true}
	c := carry.NewConn(end, nodeAddr(pc.b.address()), ask.Remote)
	if s.opened == nil {
		s.opened = make(map[int64]*carry.Conn)
	}
	s.opened[end.id] = c
	pc.mu.Unlock()
	f := end.frame(kindCarry)
	f.Meta = appendAsk(nil, ask)
	err := pc.link.Send(&f)
	if err != nil {
		pc.forgetStream(end.id, true)
		if errors.Is(err, link.ErrDown) {
			err = carry.ErrUnknownNode
		}
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
