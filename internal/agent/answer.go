package agent

import (
	"encoding/json"
	"errors"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Begin records which request runs. id is 0 for a notify.
func (a *Agent) Begin(id uint64, route *string) {
	if a.flags.has(flagClosed) { // the previous handler may have closed it
		a.part()
	}
	a.requests.Begin(id)
	if a.hub.Outbound != nil {
		a.route.Store(route)
	}
}

// LastMid returns the id of the running or latest request, or 0 for a notify. A handler
// that calls LastMid answers later.
func (a *Agent) LastMid() uint64 { return a.requests.Take() }

// Deferred reports whether the running handler has called LastMid.
func (a *Agent) Deferred() bool { return a.requests.Taken() }

// Waiting reports whether a request is unanswered.
func (a *Agent) Waiting(id uint64) bool { return a.requests.Waiting(id) }

// Response answers the running or latest request.
func (a *Agent) Response(v any) error { return a.ResponseMid(a.requests.Current(), v) }

// ResponseMid answers the request with the id mid, once. If v is an *Error, the answer is
// an error response.
func (a *Agent) ResponseMid(mid uint64, v any) error { return a.ResponseTo(mid, 0, v) }

// Serial returns the serial number of the running or latest request.
func (a *Agent) Serial() uint64 { return a.requests.Serial() }

// Public converts the error of a deferred answer to the form that the client may see.
func (a *Agent) Public(err error) error { return a.hub.Dispatcher.PublicDeferred(a.session, err) }

// ResponseTo is ResponseMid for the request with the given id and serial number. Serial 0
// matches any.
func (a *Agent) ResponseTo(mid, serial uint64, v any) error {
	if mid == 0 {
		return session.ErrSessionOnNotify
	}
	call := isCall(mid)
	if err := a.sendable(); err != nil && !call && (mid != a.requests.Current() || !a.parts()) {
		return err
	}
	ok, current := a.requests.ClaimSerial(mid, serial)
	if !ok {
		return session.ErrSessionOnNotify
	}
	sent := false
	defer func() {
		if !sent { // also after a panic or runtime.Goexit: the request can still be answered, for example with the error
			a.requests.RestoreSerial(mid, serial)
		}
	}()
	err := a.answer(mid, v, current, call)
	sent = err == nil
	return err
}

// answer sends the answer to a request that the caller has claimed.
func (a *Agent) answer(mid uint64, v any, current, call bool) error {
	if e, ok := v.(*message.Error); ok && e != nil {
		a.sendFailure(mid, e, current, call)
		return nil
	}
	if call {
		if mine, err := a.answerCall(mid, v, nil); mine || err != nil {
			return err
		}
	}
	if data, ok := v.([]byte); ok && a.hub.Outbound == nil {
		return a.queueResponse(mid, data)
	}
	m := message.Message{Type: message.Response, ID: mid, Route: a.routeOf(current)}
	return a.send(&m, v)
}

// routeOf returns the route of a request for the hooks, or "" if it is unknown.
func (a *Agent) routeOf(current bool) string {
	if r := a.route.Load(); r != nil && current {
		return *r
	}
	return ""
}

// Fail answers a request with an error, unless the request was answered.
func (a *Agent) Fail(mid uint64, e *message.Error) {
	if ok, current := a.requests.Claim(mid); ok {
		a.keepClaim(mid, func() { a.sendFailure(mid, e, current, isCall(mid)) })
	}
}

// keepClaim calls send for a request that the caller has claimed, and takes the claim back
// if send ends the goroutine, as a hook may with runtime.Goexit.
func (a *Agent) keepClaim(mid uint64, send func()) {
	returned := false
	defer func() {
		if !returned {
			a.requests.Restore(mid)
		}
	}()
	send()
	returned = true
}

// Refuse answers a request with an error. Begin was not called for the request.
func (a *Agent) Refuse(mid uint64, e *message.Error) { a.sendFailure(mid, e, false, isCall(mid)) }

// sendFailure sends an error to the client, or to the program if the request is a call.
func (a *Agent) sendFailure(mid uint64, e *message.Error, current, call bool) {
	if call {
		if mine, _ := a.answerCall(mid, nil, e); mine {
			return
		}
	}
	a.sendError(mid, a.routeOf(current), e)
}

// sendError sends an error response.
func (a *Agent) sendError(mid uint64, route string, e *message.Error) {
	m := message.Message{Type: message.Response, ID: mid, Route: route, Data: a.hub.encodeError(e), Err: true}
	if err := a.sendData(&m); err != nil && !errors.Is(err, session.ErrBrokenPipe) {
		a.hub.Log.Debug("nano: error response not sent", "session", a.id, "uid", a.session.UID(), "error", err)
	}
}

// encodeError returns e as a payload. The payload is JSON if the serializer fails or
// panics, as one does that accepts only the program's own types.
func (h *Hub) encodeError(e *message.Error) (data []byte) {
	inJSON := func() {
		data, _ = json.Marshal(e) // strings always encode
	}
	defer func() {
		if recover() != nil {
			inJSON()
		}
	}()
	data, err := h.Serializer.Marshal(e)
	if err != nil {
		inJSON()
	}
	return data
}
