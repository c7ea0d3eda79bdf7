package dispatch_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// quiet has handlers that return a nil reply.
type quiet struct {
	component.Base
	before func(s *session.Session)
}

func (q *quiet) Request(s *session.Session, _ *value) (*value, error) {
	if q.before != nil {
		q.before(s)
	}
	return nil, nil
}

func (q *quiet) Proto(*session.Session, []byte) (*wrapperspb.StringValue, error) { return nil, nil }

func (q *quiet) Node(context.Context, *value) (*value, error) { return nil, nil }

// TestNoReply checks that a handler with a reply type that returns nil responds with an
// empty payload.
func TestNoReply(t *testing.T) {
	inBed(t, nil, with("quiet", &quiet{}), func(b *bed) {
		b.do(request(1, "quiet.Request", "{}"), request(2, "quiet.Proto", ""), notify("quiet.Request", "{}"))
		b.responded(1, []byte("null"))
		b.responded(2, []byte("null"))
		b.counted(0, 0, 0)
		b.logged("nano", 0)
	})
	inBed(t, func(c *dispatch.Config) { c.Serializer = protobuf.NewSerializer() }, with("quiet", &quiet{}), func(b *bed) {
		b.do(request(1, "quiet.Proto", ""))
		b.responded(1, []byte{})
		if got := b.entity.responses[1]; got == nil {
			t.Error("the client was not answered, want an empty message")
		}
		b.do(request(2, "quiet.Request", "")) // the serializer does not support it, not even an empty value
		b.failed(2, "NANO-500")
		b.logged("nano: handler failed", 1)
	})
}

// TestNoReplyOfADeferredAnswer checks that no empty reply is sent if the handler has
// responded or deferred its answer.
func TestNoReplyOfADeferredAnswer(t *testing.T) {
	for name, before := range map[string]func(*session.Session){
		"Defer":    func(s *session.Session) { s.Defer() },
		"Response": func(s *session.Session) { _ = s.Response("first") },
	} {
		inBed(t, nil, with("quiet", &quiet{before: before}), func(b *bed) {
			b.do(request(1, "quiet.Request", "{}"))
			want := any(nil)
			if name == "Response" {
				want = "first"
			}
			b.responded(1, want)
			b.failed(1, "")
			b.logged("nano", 0)
			b.do(request(2, "quiet.Proto", "")) // Defer of the previous message has no effect
			b.responded(2, []byte("null"))
		})
	}
}

func TestNoReplyWithoutASession(t *testing.T) {
	inBed(t, nil, with("quiet", &quiet{}), func(b *bed) {
		var got any
		var fault error
		task, err := b.Sessionless(t.Context(), "quiet.Node", nil, dispatch.Clones, func(reply any, err error) { got, fault = reply, err })
		if err != nil {
			t.Fatal(err)
		}
		b.loop.Invoke(task)
		b.do()
		if data, ok := got.([]byte); !ok || string(data) != "null" || fault != nil {
			t.Errorf("reply = %v, %v, want null", got, fault)
		}
	})
}

// TestRequestsWithoutAnAnswer checks that a handler that returns no error and never
// responds is logged, once for each route.
func TestRequestsWithoutAnAnswer(t *testing.T) {
	const text = "nano: a request has no answer"
	inBed(t, nil, with("desk", &desk{raw: func(*session.Session, []byte) error { return nil }}), func(b *bed) {
		b.do(request(1, "desk.Raw", ""), notify("desk.Raw", ""))
		time.Sleep(29 * time.Second)
		b.logged(text, 0)
		if err := b.entity.ResponseMid(1, "late"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		b.logged(text, 0)
		for id := range uint64(5) {
			b.do(request(10+id, "desk.Raw", ""))
		}
		time.Sleep(31 * time.Second)
		b.logged(text, 1)
		b.logged("route=desk.Raw", 1)
		b.do(request(20, "desk.Raw", ""))
		time.Sleep(time.Minute)
		b.logged(text, 1)
	})
	inBed(t, nil, with("desk", &desk{raw: func(s *session.Session, _ []byte) error { return s.Response("at once") }}), func(b *bed) {
		b.do(request(1, "desk.Raw", ""))
		time.Sleep(time.Minute)
		b.logged(text, 0)
	})
	inBed(t, nil, with("desk", &desk{raw: func(*session.Session, []byte) error { return nil }}), func(b *bed) {
		b.do(request(1, "desk.Raw", ""))
		b.entity.control.End(session.ErrClientClosed)
		time.Sleep(time.Minute)
		b.logged(text, 0) // no client waits
	})
}
