package payload

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/typepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

const program = `
package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/typepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var OnTime = nano.PushRoute[timestamppb.Timestamp]("onTime")

type Box struct{ component.Base }

func (*Box) Struct(_ *session.Session, m *structpb.Struct) (*structpb.Struct, error)               { return m, nil }
func (*Box) Type(_ *session.Session, m *typepb.Type) (*typepb.Type, error)                          { return m, nil }
func (*Box) Bytes(_ *session.Session, m *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error)    { return m, nil }
func (*Box) Number(_ *session.Session, m *wrapperspb.UInt64Value) (*wrapperspb.UInt64Value, error) { return m, nil }
func (*Box) Raw(_ *session.Session, m []byte) error                                                { return nil }

func main() {
	cs := &component.Components{}
	cs.Register(&Box{})
	_ = nano.Listen(":0", nano.WithComponents(cs), nano.WithSerializer(protobuf.NewSerializer()))
}
`

// TestProtobuf checks that messages that pass through text equal the encoding of the
// protobuf library.
func TestProtobuf(t *testing.T) {
	dir := programtest.Write(t, map[string]string{"main.go": program})
	c, err := contract.Load(t.Context(), dir, ".")
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(c, c.Serializer)
	if err != nil {
		t.Fatal(err)
	}
	object, err := structpb.NewStruct(map[string]any{"list": []any{1.5, "x", true, nil}, "inner": map[string]any{"y": -2.0}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		route string
		proto.Message
	}{
		{"Box.Struct", object},
		{"Box.Type", &typepb.Type{
			Name: "T", Oneofs: []string{"a", "b"}, Syntax: typepb.Syntax_SYNTAX_EDITIONS, SourceContext: nil,
			Fields: []*typepb.Field{{Kind: typepb.Field_TYPE_BOOL, Number: -3, Packed: true, JsonName: "n"}},
		}},
		{"Box.Bytes", wrapperspb.Bytes([]byte{0, 255})},
		{"Box.Number", wrapperspb.UInt64(1 << 63)},
	} {
		payload, err := proto.Marshal(m.Message)
		if err != nil {
			t.Fatal(err)
		}
		text := k.Reply(m.route, payload)
		if strings.HasPrefix(text, HexPrefix) {
			t.Errorf("Reply(%s) = %s, want JSON", m.route, text)
		}
		b, err := k.Encode(m.route, text)
		if err != nil {
			t.Errorf("Encode(%s, %s) = %v", m.route, text, err)
			continue
		}
		got := m.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(b, got); err != nil || !proto.Equal(got, m.Message) {
			t.Errorf("%s becomes %s and then %v (%v)", m.route, text, got, err)
		}
	}
	now, err := proto.Marshal(&timestamppb.Timestamp{Seconds: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Push("onTime", now), `{"seconds":"7","nanos":0}`; got != want {
		t.Errorf("Push(onTime) = %s, want %s", got, want)
	}
	if b, err := k.Encode("Box.Raw", "as it is"); err != nil || string(b) != "as it is" {
		t.Errorf("Encode(Box.Raw) = %q, %v", b, err)
	}
	for _, c := range []struct{ route, text, want string }{
		{"Box.Number", `{"value": true}`, "invalid value"},
		{"Box.Number", `{"other": 1}`, "other"},
		{"Box.None", "{}", "no contract describes Box.None"},
	} {
		if _, err := k.Encode(c.route, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Encode(%s, %s) = %v, want %q in it", c.route, c.text, err, c.want)
		}
	}
	if got := k.Reply("Box.Number", []byte{0xff}); got != "hex:ff" {
		t.Errorf("a payload that is malformed is %s, want hex:ff", got)
	}
}

func TestWithoutContract(t *testing.T) {
	if _, err := New(nil, "xml"); err == nil || !strings.Contains(err.Error(), `no serializer "xml"`) {
		t.Errorf("New(xml) = %v", err)
	}
	k, err := New(nil, Hex)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := k.Encode("a", "0a ff"); err != nil || string(b) != "\n\xff" {
		t.Errorf("Encode = %q, %v", b, err)
	}
	if got := k.Reply("a", []byte("{}")); got != "hex:7b7d" {
		t.Errorf("Reply = %s, want hex:7b7d", got)
	}
}

func TestContains(t *testing.T) {
	for _, c := range []struct{ got, want, err string }{
		{`{"a":1,"b":[{"c":"x","d":2}]}`, `{"b":[{"d":2}]}`, ""},
		{`{"a":1}`, `{}`, ""},
		{`[1,2]`, `[1,2]`, ""},
		{`null`, `null`, ""},
		{`{"a":1}`, `{"a":2}`, "a is 1, want 2"},
		{`{"a":[{"b":1}]}`, `{"a":[{"b":"1"}]}`, `a[0].b is 1, want "1"`},
		{`{"a":1}`, `{"b":1}`, "b is missing"},
		{`[1,2]`, `[1]`, "got [1,2], want [1]"},
		{`3`, `{}`, "got 3, want {}"},
		{`hex:00`, `{}`, "hex:00 is not JSON"},
		{`{}`, `{`, "what is expected is not JSON"},
	} {
		err := Contains(c.got, c.want)
		if (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Contains(%s, %s) = %v, want %q", c.got, c.want, err, c.err)
		}
	}
}
