package session

import (
	"errors"
	"sync/atomic"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/sessionctl"
)

// Responder answers one request later than its handler returns. [Session.Defer] makes it.
// Its methods may be called from any goroutine, and the first answer counts.
//
// A client waits for its answer until its own timeout, so answer each request, also after
// a failure.
type Responder struct {
	session *Session
	mid     uint64 // the request; 0 for a notify
	serial  uint64 // distinguishes requests with the same id, if the entity supports it
	taken   atomic.Bool
}

// Defer takes over the answer to the request whose handler runs. The handler then returns
// no result, and the program calls [Responder.Reply] or [Responder.Fail] when it has the
// answer. Call Defer in the handler: afterwards, another request may run.
//
//	func (b *Bank) Balance(s *session.Session, req *Query) error {
//		r := s.Defer()
//		go func() {
//			balance, err := b.load(req.Account) // slow
//			if err != nil {
//				r.Fail(err)
//				return
//			}
//			r.Reply(balance)
//		}()
//		return nil
//	}
//
// If the handler panics or returns an error after Defer, that error is the answer, and
// later answers return [ErrSessionOnNotify].
func (s *Session) Defer() *Responder {
	r := &Responder{session: s, mid: s.entity.LastMid()}
	if d, ok := s.entity.(sessionctl.Deferrer); ok {
		r.serial = d.Serial()
	}
	return r
}

// Reply answers the request with v, as [Session.Response] does. It returns
// [ErrSessionOnNotify] if the message was a notify or the request has an answer, and
// otherwise the errors of [Session.Push]. After an error of the serializer or of a hook
// the request has no answer yet: call Fail.
func (r *Responder) Reply(v any) error {
	if r.mid == 0 || r.taken.Swap(true) {
		return ErrSessionOnNotify
	}
	err := r.send(v)
	if err != nil {
		r.taken.Store(false)
	}
	return err
}

// Fail answers the request with an error, as if the handler had returned it: an *Error of
// package nano reaches the client as it is. Of any other error, or nil, the client gets
// NANO-500 only, and the server logs it. Fail returns the same errors as Reply.
func (r *Responder) Fail(err error) error {
	if r.mid == 0 || r.taken.Load() {
		return ErrSessionOnNotify // err is not logged
	}
	return r.Reply(r.public(err))
}

// send answers the request.
func (r *Responder) send(v any) error {
	if d, ok := r.session.entity.(sessionctl.Deferrer); ok {
		return d.ResponseTo(r.mid, r.serial, v)
	}
	return r.session.entity.ResponseMid(r.mid, v)
}

// public returns err as the client may see it.
func (r *Responder) public(err error) error {
	if err == nil {
		err = errors.New("session: Fail was called with a nil error")
	}
	if d, ok := r.session.entity.(sessionctl.Deferrer); ok {
		return d.Public(err)
	}
	var e *message.Error
	if errors.As(err, &e) && e != nil {
		return e
	}
	return message.Errorf(message.CodeInternal, "internal error")
}
