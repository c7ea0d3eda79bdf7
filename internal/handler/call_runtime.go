//go:build !nano_portable

package handler

import (
	"context"
	"reflect"
	"unsafe"

	"github.com/lonng/nano/session"
)

// Arg is a decoded request, or a payload. It has two words, because thousands may be
// queued.
type Arg struct {
	typed unsafe.Pointer // the request, or the first byte of the payload
	size  int            // size of the payload
}

// Raw makes the argument of a handler with IsRawArg.
func Raw(data []byte) Arg { return Arg{unsafe.Pointer(unsafe.SliceData(data)), len(data)} }

// raw returns the payload with its capacity limited to its length.
func (a Arg) raw() []byte { return unsafe.Slice((*byte)(a.typed), a.size) }

// newArg makes an argument with a zero request, and returns the request for a serializer to fill.
func (h *Handler) newArg() (Arg, any) {
	v := reflect.New(h.Type.Elem())
	return Arg{typed: v.UnsafePointer()}, v.Interface()
}

// call calls a method without reflection. A call through reflect takes about 200 ns and
// an allocation, by Value.Call or by a method value. This call takes as long as an
// interface method call.
//
// The receiver, a decoded request and a reply are pointers. Go passes every pointer like
// an unsafe.Pointer. So the method's function has the calling convention of one of the
// types below, and its func value may be read as one of them. That is undocumented. The
// code depends on nothing else, such as the layout of reflect's types or the address of
// code.
type call struct {
	receiver unsafe.Pointer
	raw      func(unsafe.Pointer, *session.Session, []byte) error         // the two common signatures
	typed    func(unsafe.Pointer, *session.Session, unsafe.Pointer) error // are called directly,
	other    func(unsafe.Pointer, context.Context, *session.Session, Arg) (any, error)
}

type (
	p   = unsafe.Pointer
	ctx = context.Context
	ses = *session.Session
)

// as reads the func value of a method with its receiver as one of type F.
func as[F any](m reflect.Method) F {
	f := reflect.New(m.Func.Type())
	f.Elem().Set(m.Func)
	return *(*F)(f.UnsafePointer())
}

// do calls the method.
func (c *call) do(ctx context.Context, s *session.Session, a Arg) (reply any, err error) {
	switch {
	case c.raw != nil:
		return nil, c.raw(c.receiver, s, a.raw())
	case c.typed != nil:
		return nil, c.typed(c.receiver, s, a.typed)
	}
	return c.other(c.receiver, ctx, s, a)
}

func newCall(receiver reflect.Value, m reflect.Method, sig signature) call {
	c := call{receiver: receiver.UnsafePointer()}
	if sig.reply {
		c.other = replying(m, sig)
		return c
	}
	switch sig {
	case signature{session: true, raw: true}:
		c.raw = as[func(p, ses, []byte) error](m)
	case signature{session: true}:
		c.typed = as[func(p, ses, p) error](m)
	case signature{context: true, session: true, raw: true}:
		f := as[func(p, ctx, ses, []byte) error](m)
		c.other = func(r p, x ctx, s ses, a Arg) (any, error) { return nil, f(r, x, s, a.raw()) }
	case signature{context: true, session: true}:
		f := as[func(p, ctx, ses, p) error](m)
		c.other = func(r p, x ctx, s ses, a Arg) (any, error) { return nil, f(r, x, s, a.typed) }
	}
	return c
}

// funcCall makes the call of a function.
func funcCall(f Func) call {
	if f.Request == nil {
		return call{other: func(_ p, _ ctx, s ses, a Arg) (any, error) { return f.Call(s, a.raw()) }}
	}
	return call{other: func(_ p, _ ctx, s ses, a Arg) (any, error) {
		return f.Call(s, reflect.NewAt(f.Request, a.typed).Interface())
	}}
}

// replying makes the call of a method that returns a reply.
func replying(m reflect.Method, sig signature) func(p, ctx, ses, Arg) (any, error) {
	elem := m.Type.Out(0).Elem()
	reply := func(v p, err error) (any, error) {
		if v == nil {
			return nil, err
		}
		return reflect.NewAt(elem, v).Interface(), err
	}
	sig.reply = false
	switch sig {
	case signature{session: true, raw: true}:
		f := as[func(p, ses, []byte) (p, error)](m)
		return func(r p, _ ctx, s ses, a Arg) (any, error) { return reply(f(r, s, a.raw())) }
	case signature{session: true}:
		f := as[func(p, ses, p) (p, error)](m)
		return func(r p, _ ctx, s ses, a Arg) (any, error) { return reply(f(r, s, a.typed)) }
	case signature{context: true, session: true, raw: true}:
		f := as[func(p, ctx, ses, []byte) (p, error)](m)
		return func(r p, x ctx, s ses, a Arg) (any, error) { return reply(f(r, x, s, a.raw())) }
	case signature{context: true, session: true}:
		f := as[func(p, ctx, ses, p) (p, error)](m)
		return func(r p, x ctx, s ses, a Arg) (any, error) { return reply(f(r, x, s, a.typed)) }
	case signature{context: true, raw: true}:
		f := as[func(p, ctx, []byte) (p, error)](m)
		return func(r p, x ctx, _ ses, a Arg) (any, error) { return reply(f(r, x, a.raw())) }
	default:
		f := as[func(p, ctx, p) (p, error)](m)
		return func(r p, x ctx, _ ses, a Arg) (any, error) { return reply(f(r, x, a.typed)) }
	}
}
