package agent

import (
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/payload"
)

// Sender pushes one message to many agents. It encodes the message once for each server,
// and only if there is an agent to send it to. The zero value is ready to use, by one
// goroutine and for one message.
type Sender struct {
	encoded
	others []encoded // messages for the hubs of earlier agents, if there are several hubs
	pushed int       // agents so far
}

// encoded is a message for the agents of one hub.
type encoded struct {
	hub    *Hub
	packet *buffer // the whole packet, if there are no hooks
	data   []byte  // the payload, if hooks process the message of each receiver
}

// Push queues the message for a. It returns encoding errors, and no error if the client
// cannot be reached.
func (b *Sender) Push(a *Agent, route string, v any) error {
	if a.hub != b.hub {
		if err := b.turn(a.hub, route, v); err != nil {
			return err
		}
	}
	if a.sendable() != nil {
		return nil
	}
	if b.hub.Outbound != nil {
		_ = a.sendData(&message.Message{Type: message.Push, Route: route, Data: b.data})
		return nil
	}
	b.pushed++
	_ = a.queueShared(b.packet, b.pushed > fewMembers)
	return nil
}

// PushShared calls s.Push for the agent. It serves callers that know the agent by an
// interface.
func (a *Agent) PushShared(s *Sender, route string, v any) error { return s.Push(a, route, v) }

// turn makes the message for h the current message.
func (b *Sender) turn(h *Hub, route string, v any) error {
	for i := range b.others {
		if b.others[i].hub == h {
			b.encoded, b.others[i] = b.others[i], b.encoded
			return nil
		}
	}
	e, err := encode(h, route, v)
	if err != nil {
		return err
	}
	if b.hub != nil {
		b.others = append(b.others, b.encoded)
	}
	b.encoded = e
	return nil
}

func encode(h *Hub, route string, v any) (e encoded, err error) {
	data, err := payload.Encode(h.Serializer, v)
	if err != nil {
		return e, err
	}
	m := message.Message{Type: message.Push, Route: route, Data: data}
	packet, err := codec.AppendMessage(make([]byte, 0, 8+len(route)+len(data)), &m, h.Dictionary)
	return encoded{hub: h, packet: &buffer{b: packet, shared: true, packets: 1}, data: data}, err
}

const (
	// fewMembers is the number of agents for which copying is cheaper than joining.
	fewMembers = 4
	// maxJoined is the maximum size in bytes of joined packets.
	maxJoined = 4 << 10
)

// joined is a shared buffer with the packets of another one and the next packet. A group
// usually sends the same packets to all members, so that they share one buffer for several
// broadcasts.
type joined struct {
	next *buffer // the packet that was added
	both buffer
}

// join returns a shared buffer with the packets of b and then that of next. It returns nil
// if they take too much together, or if b was joined with another packet.
func (b *buffer) join(next *buffer) *buffer {
	j := b.joined.Load()
	if j == nil && len(b.b)+len(next.b) <= maxJoined && b.claimed.CompareAndSwap(false, true) {
		j = &joined{next: next}
		j.both.shared, j.both.packets = true, b.packets+next.packets
		j.both.b = append(b.b, next.b...) // no other goroutine appends to this array
		b.joined.Store(j)
	}
	if j == nil || j.next != next {
		return nil
	}
	return &j.both
}
