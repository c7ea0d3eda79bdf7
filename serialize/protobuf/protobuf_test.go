package protobuf_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"testing"

	legacy "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/serialize/protobuf"
)

var (
	_ serialize.Serializer      = (*protobuf.Serializer)(nil)
	_ serialize.AppendMarshaler = (*protobuf.Serializer)(nil)
	_ serialize.InputCopier     = (*protobuf.Serializer)(nil)
)

// join is a message as protoc-gen-go generated it before the ProtoReflect method existed.
type join struct {
	Name  string            `protobuf:"bytes,1,opt,name=name,proto3" json:"name,omitempty"`
	Room  int64             `protobuf:"varint,2,opt,name=room,proto3" json:"room,omitempty"`
	Blob  []byte            `protobuf:"bytes,3,opt,name=blob,proto3" json:"blob,omitempty"`
	Seats []int32           `protobuf:"varint,4,rep,packed,name=seats,proto3" json:"seats,omitempty"`
	Tags  map[string]string `protobuf:"bytes,5,rep,name=tags,proto3" protobuf_key:"bytes,1,opt,name=key,proto3" protobuf_val:"bytes,2,opt,name=value,proto3"`

	XXX_unrecognized []byte `json:"-"`
}

func (m *join) Reset()         { *m = join{} }
func (m *join) String() string { return legacy.CompactTextString(m) }
func (*join) ProtoMessage()    {}

// score has its own encoding instead of the methods of a message.
type score struct {
	text string
	err  error
}

func (s *score) MarshalProtobuf() ([]byte, error) { return []byte(s.text), s.err }

func (s *score) UnmarshalProtobuf(b []byte) error {
	s.text = string(b)
	return s.err
}

func TestRoundTrip(t *testing.T) {
	nested, err := structpb.NewStruct(map[string]any{"player": "ann", "hand": []any{"a", 2.0, true, nil}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ v, empty any }{
		"string":   {wrapperspb.String("hello"), new(wrapperspb.StringValue)},
		"bytes":    {wrapperspb.Bytes([]byte{0, 1, 0xff}), new(wrapperspb.BytesValue)},
		"number":   {wrapperspb.UInt64(math.MaxUint64), new(wrapperspb.UInt64Value)},
		"empty":    {&structpb.Struct{}, &structpb.Struct{}},
		"nested":   {nested, &structpb.Struct{}},
		"older":    {&join{Name: "ann", Room: -7, Blob: []byte{1}, Seats: []int32{1, 300}, Tags: map[string]string{"k": "v"}}, &join{}},
		"required": {&descriptorpb.UninterpretedOption_NamePart{NamePart: new(""), IsExtension: new(false)}, &descriptorpb.UninterpretedOption_NamePart{}},
	}
	s := protobuf.NewSerializer()
	if !s.CopiesInput() {
		t.Error("CopiesInput() = false, want true")
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := s.Marshal(test.v)
			if err != nil || b == nil {
				t.Fatalf("Marshal(%v) = %#v, %v, want bytes", test.v, b, err)
			}
			if err := s.Unmarshal(b, test.empty); err != nil {
				t.Fatalf("Unmarshal(%x): %v", b, err)
			}
			clear(b)
			if !equal(test.empty, test.v) {
				t.Errorf("round trip = %v once the bytes were overwritten, want %v", test.empty, test.v)
			}
			b, err = s.MarshalAppend([]byte("head"), test.v)
			if err != nil || !bytes.HasPrefix(b, []byte("head")) {
				t.Fatalf("MarshalAppend(head, %v) = %x, %v, want it after head", test.v, b, err)
			}
			if err := s.Unmarshal(b[len("head"):], test.empty); err != nil || !equal(test.empty, test.v) {
				t.Errorf("round trip by MarshalAppend = %v, %v, want %v", test.empty, err, test.v)
			}
		})
	}
}

func equal(a, b any) bool {
	return proto.Equal(upgrade(a), upgrade(b))
}

func upgrade(v any) proto.Message {
	if m, ok := v.(proto.Message); ok {
		return m
	}
	return legacy.MessageV2(v)
}

func TestWire(t *testing.T) {
	s := protobuf.NewSerializer()
	got, err := s.Marshal(&join{Name: "ann", Room: 300, Seats: []int32{1, 2}})
	want := []byte{0x0a, 3, 'a', 'n', 'n', 0x10, 0xac, 0x02, 0x22, 2, 1, 2}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Marshal = %x, %v, want %x", got, err, want)
	}
	// A field that is unknown to this program is preserved.
	in := append(bytes.Clone(want), 0x4a, 1, 'x')
	var m join
	if err := s.Unmarshal(in, &m); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Marshal(&m); err != nil || !bytes.Equal(got, in) {
		t.Errorf("Marshal(Unmarshal(%x)) = %x, %v, want the same", in, got, err)
	}
}

func TestUnmarshalReplaces(t *testing.T) {
	s := protobuf.NewSerializer()
	for _, v := range []any{&join{Name: "ann", Room: 7}, wrapperspb.String("ann")} {
		if err := s.Unmarshal(nil, v); err != nil || proto.Size(upgrade(v)) != 0 {
			t.Errorf("Unmarshal(nothing) = %v, %v, want an empty message", v, err)
		}
	}
}

func TestWrongValueType(t *testing.T) {
	s := protobuf.NewSerializer()
	values := []any{
		nil, "text", 7, []byte("raw"), struct{}{}, map[string]string{}, join{},
		(*join)(nil), (*wrapperspb.StringValue)(nil), message.Error{},
	}
	for _, v := range values {
		if b, err := s.Marshal(v); err != protobuf.ErrWrongValueType || b != nil {
			t.Errorf("Marshal(%T) = %x, %v, want ErrWrongValueType", v, b, err)
		}
		dst := []byte("head")
		if b, err := s.MarshalAppend(dst, v); err != protobuf.ErrWrongValueType || string(b) != "head" {
			t.Errorf("MarshalAppend(head, %T) = %q, %v, want head and ErrWrongValueType", v, b, err)
		}
		if err := s.Unmarshal(nil, v); err != protobuf.ErrWrongValueType {
			t.Errorf("Unmarshal into %T = %v, want ErrWrongValueType", v, err)
		}
	}
}

func TestMarshalErrors(t *testing.T) {
	s := protobuf.NewSerializer()
	values := map[string]any{
		"not UTF-8":        wrapperspb.String("\xff"),
		"not UTF-8, older": &join{Room: 1, Name: "\xff"},
		"required":         &descriptorpb.UninterpretedOption_NamePart{},
		"own":              &score{text: "half", err: errors.New("broken")},
	}
	for name, v := range values {
		if b, err := s.Marshal(v); err == nil {
			t.Errorf("%s: Marshal = %x, want an error", name, b)
		}
		dst := append(make([]byte, 0, 64), "head"...)
		if b, err := s.MarshalAppend(dst, v); err == nil || string(b) != "head" || &b[0] != &dst[0] {
			t.Errorf("%s: MarshalAppend(head) = %q, %v, want dst unchanged and an error", name, b, err)
		}
	}
}

func TestUnmarshalErrors(t *testing.T) {
	s := protobuf.NewSerializer()
	for name, data := range map[string][]byte{
		"cut tag":       {0x80},
		"cut string":    {0x0a, 5, 'a'},
		"field 0":       {0x02, 0},
		"end of group":  {0x0c},
		"huge length":   {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"long varint":   {0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"invalid UTF-8": {0x0a, 1, 0xff},
	} {
		if err := s.Unmarshal(data, &join{}); err == nil {
			t.Errorf("%s: Unmarshal(%x) into an older message = nil, want an error", name, data)
		}
		if name == "long varint" {
			continue // field 2 is unknown to StringValue, but still has to be skipped
		}
		if err := s.Unmarshal(data, &wrapperspb.StringValue{}); err == nil {
			t.Errorf("%s: Unmarshal(%x) = nil, want an error", name, data)
		}
	}
	if err := s.Unmarshal(nil, &descriptorpb.UninterpretedOption_NamePart{}); err == nil {
		t.Error("Unmarshal without a required field = nil, want an error")
	}
	if err := s.Unmarshal(nil, &score{err: errors.New("broken")}); err == nil {
		t.Error("Unmarshal by UnmarshalProtobuf = nil, want its error")
	}
}

func TestOwnEncoding(t *testing.T) {
	s := protobuf.NewSerializer()
	b, err := s.MarshalAppend([]byte("head:"), &score{text: "7"})
	if err != nil || string(b) != "head:7" {
		t.Errorf("MarshalAppend = %q, %v, want head:7", b, err)
	}
	var got score
	if err := s.Unmarshal([]byte("8"), &got); err != nil || got.text != "8" {
		t.Errorf("Unmarshal = %q, %v, want 8", got.text, err)
	}

	want := &message.Error{Code: message.CodeNotFound, Message: "no such room", Metadata: map[string]string{"room": "7", "": "x"}}
	if b, err = s.Marshal(want); err != nil {
		t.Fatal(err)
	}
	var e message.Error
	if err := s.Unmarshal(b, &e); err != nil || e.Code != want.Code || e.Message != want.Message || !maps.Equal(e.Metadata, want.Metadata) {
		t.Errorf("round trip of an error = %+v, %v, want %+v", e, err, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := protobuf.NewSerializer()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := &join{Name: fmt.Sprint("player ", i), Room: int64(i)}
			for range 200 {
				b, err := s.Marshal(want)
				var got join
				if err == nil {
					err = s.Unmarshal(b, &got)
				}
				if err != nil || got.Name != want.Name || got.Room != want.Room {
					t.Errorf("round trip of %v = %v, %v", want, &got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzUnmarshal(f *testing.F) {
	s := protobuf.NewSerializer()
	seed, err := s.Marshal(&join{Name: "ann", Room: 7, Blob: []byte{1}, Seats: []int32{1, 300}, Tags: map[string]string{"k": "v"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-2])
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		input := bytes.Clone(data)
		var first join
		err := s.Unmarshal(data, &first)
		if !bytes.Equal(data, input) {
			t.Fatalf("Unmarshal(%x) changed its input to %x", input, data)
		}
		if err != nil {
			return
		}
		clear(data)
		b, err := s.Marshal(&first)
		if err != nil {
			t.Fatalf("Marshal of what Unmarshal(%x) gave: %v", input, err)
		}
		var second join
		if err := s.Unmarshal(b, &second); err != nil || !equal(&first, &second) {
			t.Fatalf("round trip of %x = %v, %v, want %v", input, &second, err, &first)
		}
	})
}

func messages() map[string]any {
	return map[string]any{
		"present": wrapperspb.String("sixty-four bytes or thereabouts is what most game messages take"),
		"older":   &join{Name: "sixty-four bytes or thereabouts is what most game messages take", Room: 7},
	}
}

func BenchmarkMarshal(b *testing.B) {
	s := protobuf.NewSerializer()
	for name, v := range messages() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMarshalAppend(b *testing.B) {
	s := protobuf.NewSerializer()
	buf := make([]byte, 0, 256)
	for name, v := range messages() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.MarshalAppend(buf, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	s := protobuf.NewSerializer()
	for name, v := range messages() {
		b.Run(name, func(b *testing.B) {
			data, err := s.Marshal(v)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Unmarshal(data, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
