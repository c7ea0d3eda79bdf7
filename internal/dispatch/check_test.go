package dispatch_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// nearly has one handler, and methods whose signatures are almost those of handlers.
type nearly struct{ component.Base }

func (*nearly) Good(*session.Session, *value) error            { return nil }
func (*nearly) ByValue(*session.Session, value) error          { return nil }
func (*nearly) NoError(*session.Session, *value)               {}
func (*nearly) Bytes(*session.Session, []byte) ([]byte, error) { return nil, nil }
func (*nearly) Helper(int) int                                 { return 0 }

func TestCheckWarnsOfMethodsThatAreNearlyHandlers(t *testing.T) {
	inBed(t, nil, with("nearly", &nearly{}), func(b *bed) {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
		b.logged("nano: method is not a handler", 3)
		b.logged(`method=nearly.ByValue signature="func(*session.Session, dispatch_test.value) error" reason="its request is a value: want *dispatch_test.value`, 1)
		b.logged("method=nearly.NoError", 1)
		b.logged("method=nearly.Bytes", 1)
		b.logged("level=WARN", 3)
		b.logged("nano: route", 0)
	})
}

func TestCheckLogsTheRoutesInDebugMode(t *testing.T) {
	debug := func(c *dispatch.Config) { c.Debug = true }
	inBed(t, debug, on(with("desk", &desk{}), "table"), func(b *bed) {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
		b.logged(`msg="nano: route"`, 4)
		b.logged(`route=desk.Raw request=[]uint8 scheduler=table`, 1)
		b.logged(`route=desk.Typed request=*dispatch_test.value reply=*dispatch_test.value`, 1)
		b.logged(`route=desk.Node request=*dispatch_test.value reply=*dispatch_test.value scheduler=table nodes_only=true`, 1)
		if log := b.log.String(); strings.Index(log, "desk.Ctx") > strings.Index(log, "desk.Typed") {
			t.Errorf("routes are not sorted: %s", log)
		}
	})
}

// plain has handlers with plain structs. The serializer of the test supports only
// protobuf messages.
type plain struct{ component.Base }

func (*plain) Request(*session.Session, *value) error                         { return nil }
func (*plain) Reply(context.Context, *wrapperspb.StringValue) (*value, error) { return nil, nil }

// protoDesk has handlers with protobuf messages.
type protoDesk struct{ component.Base }

func (*protoDesk) Message(*session.Session, *wrapperspb.StringValue) error { return nil }
func (*protoDesk) Raw(*session.Session, []byte) error                      { return nil }

func TestCheckOfTypesThatTheSerializerCannotTake(t *testing.T) {
	configure := func(c *dispatch.Config) { c.Serializer = protobuf.NewSerializer() }
	const fault = "nano: handler cannot be called"
	inBed(t, configure, with("plain", &plain{}), func(b *bed) {
		err := b.Check()
		for _, text := range []string{"no handler can be called", "plain.Request: the request *dispatch_test.value", "plain.Reply: the reply *dispatch_test.value", "want"} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("Check() = %v, want %q in it", err, text)
			}
		}
		b.logged(fault, 2)
	})
	inBed(t, configure, with("plain", &plain{}, "proto", &protoDesk{}), func(b *bed) {
		if err := b.Check(); err != nil {
			t.Errorf("Check() = %v, want nil: two handlers can be called", err)
		}
		b.logged(fault, 2)
		b.logged("level=ERROR", 2)
		b.logged("route=plain.Request", 1)
	})
	inBed(t, configure, nil, func(b *bed) {
		if err := b.Check(); err != nil {
			t.Errorf("Check() of a server without components = %v, want nil", err)
		}
	})
}
