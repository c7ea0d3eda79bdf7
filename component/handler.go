package component

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// Handler is a method that serves a route. Its signature is one of
//
//	func(s *session.Session, req *Request) error
//	func(s *session.Session, data []byte) error
//	func(s *session.Session, req *Request) (*Reply, error)
//	func(ctx context.Context, req *Request) (*Reply, error)
//
// with req a pointer to what the serializer decodes, or the payload itself as []byte. The first three may take a leading
// context.Context: the session's own. The last has no session; other nodes of a cluster may call it, clients may
// not. A reply that is returned is the response.
type Handler struct {
	Receiver  reflect.Value  // the component
	Method    reflect.Method // the method
	Type      reflect.Type   // of the request: a pointer, or []byte
	IsRawArg  bool           // the request is []byte
	Route     string         // "Service.Method"
	SchedName string         // see WithSchedulerName

	Stats Stats // of the calls so far

	sig  signature
	call call
}

// Stats counts the calls of a handler. Its methods may be called concurrently.
type Stats struct {
	count, sum, max atomic.Int64
	quick           atomic.Bool
}

// Add counts n calls that took sum together and maximum at the most.
func (s *Stats) Add(n int64, sum, maximum time.Duration) {
	s.count.Add(n)
	s.sum.Add(int64(sum))
	for {
		old := s.max.Load()
		if int64(maximum) <= old || s.max.CompareAndSwap(old, int64(maximum)) {
			return
		}
	}
}

// SetQuick notes whether the calls that were timed last took so little that it is not worth timing each.
func (s *Stats) SetQuick(quick bool) {
	if s.quick.Load() != quick { // reading it is cheaper
		s.quick.Store(quick)
	}
}

// Quick returns what SetQuick noted last; false before.
func (s *Stats) Quick() bool { return s.quick.Load() }

// Load returns the number of calls, the time they took together, and the longest.
func (s *Stats) Load() (n int64, sum, maximum time.Duration) {
	return s.count.Load(), time.Duration(s.sum.Load()), time.Duration(s.max.Load())
}

// signature is which of the allowed parameters and results a method has.
type signature struct {
	context, session, raw, reply bool
}

var (
	typeContext = reflect.TypeFor[context.Context]()
	typeSession = reflect.TypeFor[*session.Session]()
	typeBytes   = reflect.TypeFor[[]byte]()
	typeError   = reflect.TypeFor[error]()
)

// signatureOf reads the type of a method with its receiver.
func signatureOf(t reflect.Type) (sig signature, ok bool) {
	at := 1
	next := func() reflect.Type {
		if at < t.NumIn() {
			return t.In(at)
		}
		return nil
	}
	if next() == typeContext {
		sig.context = true
		at++
	}
	if next() == typeSession && at+1 < t.NumIn() {
		sig.session = true
		at++
	}
	request := next()
	if request == nil || at+1 != t.NumIn() || t.IsVariadic() || !sig.session && !sig.context {
		return sig, false
	}
	switch {
	case request == typeBytes:
		sig.raw = true
	case request.Kind() != reflect.Pointer || request == typeSession:
		return sig, false
	}
	switch {
	case t.NumOut() == 1 && t.Out(0) == typeError:
		return sig, sig.session // without one, nobody could answer later
	case t.NumOut() == 2 && t.Out(0).Kind() == reflect.Pointer && t.Out(1) == typeError:
		sig.reply = true
		return sig, true
	}
	return sig, false
}

// newHandler returns nil for a method that is no handler.
func newHandler(receiver reflect.Value, m reflect.Method) *Handler {
	sig, ok := signatureOf(m.Type)
	if !ok {
		return nil
	}
	h := &Handler{
		Receiver: receiver,
		Method:   m,
		Type:     m.Type.In(m.Type.NumIn() - 1),
		IsRawArg: sig.raw,
		sig:      sig,
	}
	h.call = newCall(receiver, m, sig)
	return h
}

// Sessionless reports whether the handler has no session: only other nodes may call it.
func (h *Handler) Sessionless() bool { return !h.sig.session }

// Arg is a decoded request, or a payload. It is two words, since thousands wait at a time.
type Arg struct {
	typed unsafe.Pointer // what Type points to, or the first byte of the payload
	size  int            // of the payload
}

// Raw makes the argument of a handler with IsRawArg.
func Raw(data []byte) Arg { return Arg{unsafe.Pointer(unsafe.SliceData(data)), len(data)} }

// raw returns the payload, with nothing behind it.
func (a Arg) raw() []byte { return unsafe.Slice((*byte)(a.typed), a.size) }

// Decode makes the argument of a handler without IsRawArg: u decodes the payload into a new value of Type.
func (h *Handler) Decode(u serialize.Unmarshaler, data []byte) (Arg, error) {
	v := reflect.New(h.Type.Elem())
	return Arg{typed: v.UnsafePointer()}, u.Unmarshal(data, v.Interface())
}

// Call calls the method and returns its reply, nil where it has none. ctx is used only where Context says so.
func (h *Handler) Call(ctx context.Context, s *session.Session, a Arg) (reply any, err error) {
	c := &h.call
	switch {
	case c.raw != nil:
		return nil, c.raw(c.receiver, s, a.raw())
	case c.typed != nil:
		return nil, c.typed(c.receiver, s, a.typed)
	}
	return c.other(c.receiver, ctx, s, a)
}

// Context reports whether the handler takes a context.
func (h *Handler) Context() bool { return h.sig.context }
