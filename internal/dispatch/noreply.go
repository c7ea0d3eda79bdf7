package dispatch

import (
	"fmt"
	"reflect"
	"time"

	"github.com/lonng/nano/internal/handler"
)

// answerLimit is how long a request may wait for its answer before its route is logged.
const answerLimit = 30 * time.Second

// noReply is called when a handler has returned neither a reply nor an error to a request. If the
// handler promises a reply and did not defer the answer, the client gets an empty one. Otherwise
// the answer may come later.
func (m *Mailbox) noReply(c *Call) error {
	if c.handler.Reply() == nil {
		m.watch(c)
		return nil
	}
	if m.entity.Deferred() || !m.entity.Waiting(c.id) {
		return nil
	}
	data, err := m.d.emptyReply(c.handler)
	if err != nil {
		return err
	}
	return m.entity.ResponseMid(c.id, data)
}

// emptyReply returns the payload of an empty reply: the encoding of a nil pointer,
// such as JSON null; or of the zero value, if it takes no nil pointers.
func (d *Dispatcher) emptyReply(h *handler.Handler) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler returned nil, and the serializer panicked: %v", p)
		}
	}()
	t := h.Reply()
	if data, err = d.Serializer.Marshal(reflect.Zero(t).Interface()); err != nil {
		data, err = d.Serializer.Marshal(reflect.New(t.Elem()).Interface())
	}
	if data == nil {
		data = []byte{}
	}
	return data, err
}

// watch logs the route if the request has no answer when answerLimit has passed: its handler may
// have forgotten it. One request of a route is watched at a time, and a route is logged once.
func (m *Mailbox) watch(c *Call) {
	h, id, e := c.handler, c.id, m.entity
	if h.Watched.Load() || !e.Waiting(id) || !h.Watched.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(answerLimit, func() {
		if m.s.Closed() || !e.Waiting(id) {
			h.Watched.Store(false)
			return
		}
		m.d.Log.Warn("nano: a request has no answer: its handler returned nil and has not answered since",
			"route", h.Route, "session", m.s.ID(), "uid", m.s.UID(), "after", answerLimit)
	})
}
