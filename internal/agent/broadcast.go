package agent

import (
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/payload"
)

// Sender pushes one message to many agents. It is encoded once for each server, and not
// at all while there is no agent to send it to. The zero value is ready; it is for one
// goroutine and one message.
type Sender struct {
	encoded
	others []encoded // for the hubs of agents before, if there are several
}

// encoded is a message for the agents of one hub.
type encoded struct {
	hub    *Hub
	packet *buffer // the whole packet, if there are no hooks
	data   []byte  // the payload, if hooks see each member's message
}

// Push queues the message for a. It returns errors of encoding, not that a client cannot
// be sent to.
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
	_ = a.queueShared(b.packet)
	return nil
}

// PushShared is Push of s to the agent, for callers that know the agent by an interface.
func (a *Agent) PushShared(s *Sender, route string, v any) error { return s.Push(a, route, v) }

// turn makes the message for h the current one.
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
	return encoded{hub: h, packet: &buffer{b: packet, shared: true}, data: data}, err
}
