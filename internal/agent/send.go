package agent

import (
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

func (a *Agent) sendable() error {
	switch bits := a.flags.bits.Load(); {
	case bits&flagClosed != 0:
		return session.ErrBrokenPipe
	case bits&flagOpen == 0:
		return session.ErrNotReady
	}
	return nil
}

// Push sends a message that is not an answer.
func (a *Agent) Push(route string, v any) error {
	if err := a.sendable(); err != nil {
		return err
	}
	return a.send(&message.Message{Type: message.Push, Route: route}, v)
}

// send encodes v and queues the message m with it as its payload.
func (a *Agent) send(m *message.Message, v any) error {
	p, err := payload.EncodeTemporary(a.hub.Serializer, v)
	if err != nil {
		return err
	}
	defer p.Free()
	m.Data = p.Data
	return a.sendData(m)
}

// sendData queues a message, after the outbound hooks.
func (a *Agent) sendData(m *message.Message) error {
	if a.hub.Outbound == nil {
		return a.queueMessage(m)
	}
	hooked := &pipeline.Message{Type: m.Type, ID: m.ID, Route: m.Route, Data: append([]byte{}, m.Data...), Err: m.Err}
	if err := a.hub.Dispatcher.Hooks(a.hub.Outbound, a.session, hooked); err != nil {
		return err
	}
	hooked.Type, hooked.ID, hooked.Err = m.Type, m.ID, m.Err
	return a.queueMessage(hooked)
}

// queueMessage queues the packet of a message.
func (a *Agent) queueMessage(m *message.Message) error {
	return a.queue(func(b []byte) ([]byte, error) { return codec.AppendMessage(b, m, a.hub.Dictionary) })
}

// queueResponse queues a response that no hook has to see.
func (a *Agent) queueResponse(mid uint64, data []byte) error {
	return a.queue(func(b []byte) ([]byte, error) { return codec.AppendResponse(b, mid, data) })
}
