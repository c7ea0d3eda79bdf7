package agent

import (
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
)

// Sender pushes one message to many agents. It is encoded once for each server, and not at all while there is
// nobody to send it to. The zero value is ready; it is for one goroutine and one message.
type Sender struct {
	host  *Host
	frame []byte // the whole packet, where no hook is to see it
	data  []byte // the payload, where hooks see each member's message
}

// Push queues the message to a. An error is one of encoding; a client that cannot be sent to is not.
func (b *Sender) Push(a *Agent, route string, v any) error {
	if a.host != b.host {
		if err := b.encode(a.host, route, v); err != nil {
			return err
		}
	}
	if a.sendable() != nil {
		return nil
	}
	if b.host.Outbound != nil {
		_ = a.sendData(&message.Message{Type: message.Push, Route: route, Data: b.data})
		return nil
	}
	_ = a.queueFrame(b.frame, true)
	return nil
}

func (b *Sender) encode(h *Host, route string, v any) (err error) {
	data, ok := v.([]byte)
	if !ok {
		if data, err = h.Serializer.Marshal(v); err != nil {
			return err
		}
	}
	b.data = data
	m := message.Message{Type: message.Push, Route: route, Data: data}
	if b.frame, err = codec.AppendMessage(make([]byte, 0, 8+len(route)+len(data)), &m, h.Dictionary); err != nil {
		return err
	}
	b.host = h
	return nil
}
