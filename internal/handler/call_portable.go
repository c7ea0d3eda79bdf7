//go:build nano_portable

package handler

import (
	"context"
	"reflect"

	"github.com/lonng/nano/session"
)

// Arg is a decoded request, or a payload.
type Arg struct {
	request any // a pointer, or []byte
}

// Raw makes the argument of a handler with IsRawArg.
func Raw(data []byte) Arg { return Arg{data[:len(data):len(data)]} }

// newArg makes an argument with a zero request, and returns the request for a serializer to fill.
func (h *Handler) newArg() (Arg, any) {
	v := reflect.New(h.Type.Elem()).Interface()
	return Arg{v}, v
}

// call calls a method by reflection.
type call struct {
	function, receiver reflect.Value
	sig                signature
	fn                 func(s *session.Session, request any) (any, error) // function of a Func
}

// funcCall makes the call of a function.
func funcCall(f Func) call { return call{fn: f.Call} }

func newCall(receiver reflect.Value, m reflect.Method, sig signature) call {
	return call{function: m.Func, receiver: receiver, sig: sig}
}

// do calls the method.
func (c *call) do(ctx context.Context, s *session.Session, a Arg) (reply any, err error) {
	if c.fn != nil {
		return c.fn(s, a.request)
	}
	in := make([]reflect.Value, 0, 4)
	in = append(in, c.receiver)
	if c.sig.context {
		in = append(in, reflect.ValueOf(ctx))
	}
	if c.sig.session {
		in = append(in, reflect.ValueOf(s))
	}
	out := c.function.Call(append(in, reflect.ValueOf(a.request)))
	err, _ = out[len(out)-1].Interface().(error)
	if c.sig.reply && !out[0].IsNil() {
		reply = out[0].Interface()
	}
	return reply, err
}
