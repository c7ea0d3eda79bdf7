package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"

	legacy "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/proto"
)

// reference is Error as a generated protobuf message has it. The protobuf library reads
// and writes it.
type reference struct {
	Code     string            `protobuf:"bytes,1,opt,name=code,proto3"`
	Msg      string            `protobuf:"bytes,2,opt,name=msg,proto3"`
	Metadata map[string]string `protobuf:"bytes,3,rep,name=metadata,proto3" protobuf_key:"bytes,1,opt,name=key,proto3" protobuf_val:"bytes,2,opt,name=value,proto3"`
}

func (r *reference) Reset()         { *r = reference{} }
func (r *reference) String() string { return fmt.Sprintf("%q %q %q", r.Code, r.Msg, r.Metadata) }
func (*reference) ProtoMessage()    {}

func same(e *Error, r *reference) bool {
	return e.Code == r.Code && e.Message == r.Msg && maps.Equal(e.Metadata, r.Metadata)
}

var errorForms = map[string]struct {
	e    *Error
	json string
}{
	"empty":    {&Error{}, `{"code":"","msg":""}`},
	"code":     {&Error{Code: CodeNotFound}, `{"code":"NANO-404","msg":""}`},
	"text":     {Errorf(CodeLimit, "%d of %d", 3, 2), `{"code":"NANO-429","msg":"3 of 2"}`},
	"own code": {Errorf("房间-1", "é"), `{"code":"房间-1","msg":"é"}`},
	"metadata": {
		&Error{Code: "X", Message: "y", Metadata: map[string]string{"b": "2", "a": "", "": "1"}},
		`{"code":"X","msg":"y","metadata":{"":"1","a":"","b":"2"}}`,
	},
	"long": {Errorf(CodeInternal, "%s", strings.Repeat("x", 300)), `{"code":"NANO-500","msg":"` + strings.Repeat("x", 300) + `"}`},
}

func TestErrorJSON(t *testing.T) {
	for name, test := range errorForms {
		b, err := json.Marshal(test.e)
		if err != nil || string(b) != test.json {
			t.Errorf("%s: Marshal = %s, %v, want %s", name, b, err, test.json)
		}
		var back Error
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, test.e) {
			t.Errorf("%s: Unmarshal(%s) = %+v, %v, want %+v", name, b, back, err, test.e)
		}
	}
}

func TestErrorProtobuf(t *testing.T) {
	for name, test := range errorForms {
		b, err := test.e.MarshalProtobuf()
		if err != nil {
			t.Errorf("%s: MarshalProtobuf: %v", name, err)
		}
		if again, _ := test.e.MarshalProtobuf(); !bytes.Equal(b, again) {
			t.Errorf("%s: MarshalProtobuf = %x, then %x, want the same", name, b, again)
		}
		var r reference
		if err := proto.Unmarshal(b, legacy.MessageV2(&r)); err != nil || !same(test.e, &r) {
			t.Errorf("%s: the protobuf library reads %x as %v, %v, want %+v", name, b, &r, err, test.e)
		}
		back := Error{Code: "old", Message: "old", Metadata: map[string]string{"old": "old"}}
		if err := back.UnmarshalProtobuf(b); err != nil || !reflect.DeepEqual(&back, test.e) {
			t.Errorf("%s: UnmarshalProtobuf(%x) = %+v, %v, want %+v", name, b, back, err, test.e)
		}

		b, err = proto.Marshal(legacy.MessageV2(&reference{test.e.Code, test.e.Message, test.e.Metadata}))
		if err != nil {
			t.Fatal(err)
		}
		back = Error{}
		if err := back.UnmarshalProtobuf(b); err != nil || !reflect.DeepEqual(&back, test.e) {
			t.Errorf("%s: UnmarshalProtobuf(%x) = %+v, %v, want %+v", name, b, back, err, test.e)
		}
	}
}

func TestErrorProtobufWire(t *testing.T) {
	e := &Error{Code: "C", Message: "m", Metadata: map[string]string{"k": "v", "j": ""}}
	want := []byte("\x0a\x01C\x12\x01m\x1a\x03\x0a\x01j\x1a\x06\x0a\x01k\x12\x01v")
	if got, err := e.MarshalProtobuf(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("MarshalProtobuf(%+v) = %q, %v, want %q", e, got, err, want)
	}
	// The data has unknown fields of every wire type, a known field of a wrong wire type,
	// and a repeated field.
	noisy := []byte("\x20\x07" + "\x0a\x01A" + "\x29\x01\x02\x03\x04\x05\x06\x07\x08" + "\x35\x01\x02\x03\x04" + "\x3a\x02zz" +
		"\x43\x0a\x01x\x44" + "\x10\x07" + "\x0a\x01C" + "\x12\x01m" + "\x1a\x05\x20\x01\x0a\x01j" + "\x1a\x06\x12\x01v\x0a\x01k")
	got := &Error{}
	if err := got.UnmarshalProtobuf(noisy); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("UnmarshalProtobuf(%q) = %+v, %v, want %+v", noisy, got, err, e)
	}
	clear(noisy)
	if !reflect.DeepEqual(got, e) {
		t.Errorf("the error became %+v when its bytes were overwritten, want %+v", got, e)
	}
}

func TestErrorProtobufMalformed(t *testing.T) {
	for name, b := range map[string]string{
		"tag cut short":          "\x80",
		"length missing":         "\x0a",
		"text cut short":         "\x0a\x05abcd",
		"length over 64 bits":    "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"huge length":            "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"field 0":                "\x02\x00",
		"wire type 6":            "\x0e",
		"end of no group":        "\x0c",
		"group without an end":   "\x43\x0a\x01x",
		"unknown, cut short":     "\x29\x01\x02",
		"map entry, tag":         "\x1a\x01\x80",
		"map entry, text cut":    "\x1a\x03\x0a\x05a",
		"map entry, unknown cut": "\x1a\x02\x29\x01",
	} {
		if err := new(Error).UnmarshalProtobuf([]byte(b)); err == nil {
			t.Errorf("%s: UnmarshalProtobuf(%x) = nil, want an error", name, b)
		}
	}
}

// A handler may put bytes of a peer into the text of an error. The peer has to be able to
// decode the error.
func TestErrorTextIsUTF8(t *testing.T) {
	e := &Error{Code: "\xff", Message: "a\xc3b", Metadata: map[string]string{"\xfe": "\x80x"}}
	want := &Error{Code: "\uFFFD", Message: "a\uFFFDb", Metadata: map[string]string{"\uFFFD": "\uFFFDx"}}
	b, err := e.MarshalProtobuf()
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := proto.Unmarshal(b, legacy.MessageV2(&r)); err != nil || !same(want, &r) {
		t.Errorf("the protobuf library reads %x as %v, %v, want %+v", b, &r, err, want)
	}
	var got Error
	in := []byte("\x0a\x01\xff\x12\x03a\xc3b\x1a\x07\x0a\x01\xfe\x12\x02\x80x")
	if err := got.UnmarshalProtobuf(in); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("UnmarshalProtobuf(%x) = %+v, %v, want %+v", in, got, err, want)
	}
}

func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("joining: %w", Errorf(CodeNotFound, "room %d", 7))
	tests := []struct {
		target error
		want   bool
	}{
		{&Error{Code: CodeNotFound}, true},
		{&Error{Code: CodeNotFound, Message: "room 7"}, true},
		{&Error{Code: CodeNotFound, Message: "room 8"}, false},
		{&Error{Code: CodeInternal}, false},
		{(*Error)(nil), false},
		{io.EOF, false},
	}
	for _, test := range tests {
		if got := errors.Is(err, test.target); got != test.want {
			t.Errorf("errors.Is(%v, %#v) = %v, want %v", err, test.target, got, test.want)
		}
	}
	var e *Error
	if !errors.As(err, &e) || e.Error() != "NANO-404: room 7" {
		t.Errorf("errors.As gives %v, want NANO-404: room 7", e)
	}
}

// FuzzErrorProtobuf compares the decoder with the protobuf library. Only for text that is
// not UTF-8 may they differ.
func FuzzErrorProtobuf(f *testing.F) {
	for _, test := range errorForms {
		b, err := test.e.MarshalProtobuf()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x43\x0a\x01x\x44\x10\x07"))
	f.Add([]byte("\x1a\x03\x0a\x05a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		input := bytes.Clone(b)
		var e Error
		err := e.UnmarshalProtobuf(b)
		if !bytes.Equal(b, input) {
			t.Fatalf("UnmarshalProtobuf(%x) changed its input to %x", input, b)
		}
		var r reference
		if libErr := proto.Unmarshal(b, legacy.MessageV2(&r)); libErr == nil && (err != nil || !same(&e, &r)) {
			t.Fatalf("UnmarshalProtobuf(%x) = %+v, %v, want %v", b, e, err, &r)
		}
		if err != nil {
			return
		}
		again, err := e.MarshalProtobuf()
		if err != nil {
			t.Fatalf("MarshalProtobuf(%+v): %v", e, err)
		}
		var back Error
		if err := back.UnmarshalProtobuf(again); err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("round trip of %x = %+v, %v, want %+v", b, back, err, e)
		}
		if err := proto.Unmarshal(again, legacy.MessageV2(&r)); err != nil || !same(&e, &r) {
			t.Fatalf("the protobuf library reads %x as %v, %v, want %+v", again, &r, err, e)
		}
	})
}
