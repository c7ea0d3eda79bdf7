package handler

import (
	"context"
	"fmt"
	"reflect"

	"github.com/lonng/nano/session"
)

// signature records which of the allowed parameters and results a method has.
type signature struct {
	context, session, raw, reply bool
}

var (
	typeContext = reflect.TypeFor[context.Context]()
	typeSession = reflect.TypeFor[*session.Session]()
	typeBytes   = reflect.TypeFor[[]byte]()
	typeError   = reflect.TypeFor[error]()
)

// signatureOf analyzes the type of a method with its receiver. fault is the reason why
// the method is not a handler, or "" if it is one.
func signatureOf(t reflect.Type) (sig signature, fault string) {
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
	switch {
	case request == nil || request == typeSession:
		return sig, "it has no request: want *Request or []byte as the last parameter"
	case !sig.session && !sig.context:
		return sig, "it has neither a *session.Session nor a context.Context as the first parameter"
	case at+1 != t.NumIn():
		return sig, "it has parameters after the request: want the request last"
	case t.IsVariadic():
		return sig, fmt.Sprintf("its request is variadic: want *Request or []byte, not ...%v", request.Elem())
	case request == typeBytes:
		sig.raw = true
	case request.Kind() == reflect.Struct:
		return sig, fmt.Sprintf("its request is a value: want *%v, not %v", request, request)
	case request.Kind() != reflect.Pointer:
		return sig, fmt.Sprintf("its request is a %v: want a pointer or []byte", request)
	}
	switch n := t.NumOut(); {
	case n == 0:
		return sig, "it returns nothing: want error, or (*Reply, error)"
	case t.Out(n-1) != typeError:
		return sig, fmt.Sprintf("its last result is %v: want error, or (*Reply, error)", t.Out(n-1))
	case n == 1 && !sig.session:
		return sig, "it has no session and no reply: want (*Reply, error), because nobody could answer later"
	case n == 1:
		return sig, ""
	case n > 2:
		return sig, fmt.Sprintf("it has %d results: want error, or (*Reply, error)", n)
	case t.Out(0) == typeBytes:
		return sig, "its reply is []byte: want a pointer; to send bytes return error and call Session.Response"
	case t.Out(0).Kind() != reflect.Pointer:
		return sig, fmt.Sprintf("its reply is %v: want a pointer", t.Out(0))
	}
	sig.reply = true
	return sig, ""
}

// nearlyHandler reports whether a method that is not a handler was probably meant as one.
// It has a session or a context and another parameter. Exported methods such as
// Close(context.Context) or Leave(*session.Session) are for the program's own use.
func nearlyHandler(t reflect.Type) bool {
	if t.NumIn() < 3 {
		return false
	}
	for in := range t.Ins() {
		if in == typeContext || in == typeSession {
			return true
		}
	}
	return false
}
