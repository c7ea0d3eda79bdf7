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

// send encodes v and queues the message m with that payload.
func (a *Agent) send(m *message.Message, v any) error {
	p, err := payload.EncodeTemporary(a.hub.Serializer, v)
	if err != nil {
		return err
	}
	defer p.Free()
	m.Data = p.Data
	return a.sendData(m)
}

// sendData runs the outbound hooks and queues the message.
func (a *Agent) sendData(m *message.Message) error {
	m, err := a.hooked(m)
	if err != nil {
		return err
	}
	return a.queueMessage(m)
}

// hooked returns m after the outbound hooks.
func (a *Agent) hooked(m *message.Message) (*message.Message, error) {
	if a.hub.Outbound == nil {
		return m, nil
	}
	hooked := &pipeline.Message{Type: m.Type, ID: m.ID, Route: m.Route, Data: append([]byte{}, m.Data...), Err: m.Err}
	if err := a.hub.Dispatcher.Hooks(a.hub.Outbound, a.session, hooked); err != nil {
		return nil, err
	}
	hooked.Type, hooked.ID, hooked.Err = m.Type, m.ID, m.Err
	return hooked, nil
}

// PushReplaceable sends a push with an encoded payload that a later push replaces, such
// as the state of a room. If the client has to resume to receive it, an empty push of the
// route is sent instead. See nano.WithResume.
func (a *Agent) PushReplaceable(route string, data []byte) error {
	if err := a.sendable(); err != nil {
		return err
	}
	m := &message.Message{Type: message.Push, Route: route, Data: data}
	m, err := a.hooked(m)
	if err != nil {
		return err
	}
	o := &a.out
	return a.queue(func(b []byte) ([]byte, error) {
		at := len(b)
		b, err := codec.AppendMessage(b, m, a.hub.Dictionary)
		if err == nil && o.resume != nil && o.fits(at, len(b), a.hub.MaxQueued) {
			s := o.activate()
			s.fleeting = append(s.fleeting, span{at, len(b)})
		}
		return b, err
	})
}

// Queued returns the number of unwritten bytes for the client, including those that a
// suspended session keeps.
func (a *Agent) Queued() int {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.waiting() + o.replay()
	if o.suspended() {
		n += o.activate().history.bytes
	}
	return n
}

// queueMessage queues the packet of a message.
func (a *Agent) queueMessage(m *message.Message) error {
	encode := func(b []byte) ([]byte, error) { return codec.AppendMessage(b, m, a.hub.Dictionary) }
	if m.Type == message.Response {
		return a.queueAnswer(m.Err, encode)
	}
	return a.queue(encode)
}

// queueResponse queues a response that needs no hook.
func (a *Agent) queueResponse(mid uint64, data []byte) error {
	return a.queueAnswer(false, func(b []byte) ([]byte, error) { return codec.AppendResponse(b, mid, data) })
}
