// Package handler finds the methods of a component that serve routes, and calls them.
//
// Package component is its public API for programs. The code that calls a method is in
// this package, because a caller could pass a request of the wrong type.
package handler

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// Handler is a method that serves a route. Package component lists the allowed
// signatures. Its methods may be called concurrently.
type Handler struct {
	Route     string         // "Service.Method"
	SchedName string         // the session's key of the scheduler that runs it; "" for the server's own
	Receiver  reflect.Value  // the component
	Method    reflect.Method // the method; zero for a Func
	Type      reflect.Type   // type of the request: a pointer, or []byte
	IsRawArg  bool           // the request is []byte
	Stats     Stats          // statistics of the calls so far
	Watched   atomic.Bool    // package dispatch waits for a request's answer, or has logged that it is missing

	Labels context.Context // has the route as a profiler label; package dispatch sets it

	sig   signature
	reply reflect.Type // a pointer; nil without sig.reply
	call  call
	nodes NodesFunc // function of a Func; replaces call
}

// newHandler returns the handler for a method. ok is false if the method is not a
// handler.
func newHandler(receiver reflect.Value, m reflect.Method) (h *Handler, ok bool) {
	sig, fault := signatureOf(m.Type)
	if fault != "" {
		return nil, false
	}
	h = &Handler{
		Receiver: receiver,
		Method:   m,
		Type:     m.Type.In(m.Type.NumIn() - 1),
		IsRawArg: sig.raw,
		sig:      sig,
	}
	if sig.reply {
		h.reply = m.Type.Out(0)
	}
	h.call = newCall(receiver, m, sig)
	return h, true
}

// Sessionless reports whether the handler has no session: only other nodes may call it.
func (h *Handler) Sessionless() bool { return !h.sig.session }

// Nodes returns the function that serves the calls of nodes instead of Call, or nil.
func (h *Handler) Nodes() NodesFunc { return h.nodes }

// Context reports whether the handler takes a context.
func (h *Handler) Context() bool { return h.sig.context }

// Reply returns the type of the reply, a pointer. It is nil if the handler returns only
// an error.
func (h *Handler) Reply() reflect.Type { return h.reply }

// Decode makes the argument of a handler without IsRawArg: u decodes the payload into a
// new value of Type. An empty payload decodes to the zero value with every serializer.
func (h *Handler) Decode(u serialize.Unmarshaler, data []byte) (Arg, error) {
	arg, v := h.newArg()
	if len(data) == 0 {
		return arg, nil
	}
	return arg, u.Unmarshal(data, v)
}

// Call calls the method and returns its reply, nil if it has none. ctx is used only if
// Context returns true, and s only if Sessionless returns false. arg must come from
// Decode of this handler, or from Raw if IsRawArg is true.
func (h *Handler) Call(ctx context.Context, s *session.Session, arg Arg) (reply any, err error) {
	return h.call.do(ctx, s, arg)
}
