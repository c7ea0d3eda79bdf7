package component

import (
	"context"
	"reflect"
	"unsafe"

	"github.com/lonng/nano/session"
)

// call is a method made callable without reflection. A call through reflect costs some 200 ns and an allocation, be
// it Value.Call or a method value that reflect made; this one costs as much as a call of an interface's method.
//
// The receiver is a pointer, and so are a decoded request and a reply. A pointer is passed like an unsafe.Pointer,
// so the method's function has the same calling convention as one of the types below, and its func value may be
// read as one of them. Nothing else is assumed: no layout of reflect's, no address of code.
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
