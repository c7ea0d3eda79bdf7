package link

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/cluster/clusterpb"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

var frames = []struct {
	name  string
	frame Frame
	wire  string
}{
	{"nothing", Frame{Kind: 16}, "02 10 00"},
	{"data", Frame{Kind: 17, Data: []byte("abc")}, "05 11 00 616263"},
	{"flags", Frame{Kind: 17, Flags: 15}, "02 11 f0"},
	{"session", Frame{Kind: 16, Session: 300}, "04 10 01 ac02"},
	{"negative session", Frame{Kind: 16, Session: -1}, "0c 10 01 ffffffffffffffffff01"},
	{"id", Frame{Kind: 16, ID: 1}, "03 10 02 01"},
	{"largest id", Frame{Kind: 16, ID: math.MaxUint64}, "0c 10 02 ffffffffffffffffff01"},
	{"route", Frame{Kind: 16, Route: "a.b"}, "06 10 04 03 612e62"},
	{"meta", Frame{Kind: 16, Meta: []byte{9}}, "04 10 08 01 09"},
	{"all", Frame{Kind: 255, Flags: 1, Session: 1, ID: 2, Route: "r", Meta: []byte("m"), Data: []byte("d")}, "09 ff 1f 01 02 01 72 01 6d 64"},
}

func TestFrameWire(t *testing.T) {
	for _, c := range frames {
		want, err := hex.DecodeString(strings.ReplaceAll(c.wire, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got := c.frame.Append([]byte("before"))[len("before"):]
		if !bytes.Equal(got, want) {
			t.Errorf("%s: Append = %x, want %x", c.name, got, want)
		}
		if c.frame.Size() != len(want) {
			t.Errorf("%s: Size = %d, want %d", c.name, c.frame.Size(), len(want))
		}
		var d Decoder
		var f Frame
		rest, err := d.Next(append(want, "after"...), &f)
		if err != nil || string(rest) != "after" || !same(&f, &c.frame) {
			t.Errorf("%s: Next(%x) = %+v, %q, %v", c.name, want, f, rest, err)
		}
	}
}

// TestNextIntoUsedFrame checks that nothing of an earlier frame is left.
func TestNextIntoUsedFrame(t *testing.T) {
	var d Decoder
	var f Frame
	for _, first := range frames {
		for _, second := range frames {
			for _, c := range []Frame{first.frame, second.frame} {
				if _, err := d.Next(c.Append(nil), &f); err != nil || !same(&f, &c) {
					t.Fatalf("%q, then %q: Next = %+v, %v, want %+v", first.name, second.name, f, err, c)
				}
			}
		}
	}
}

// TestAppendSession compares the encoding of session ids with that of encoding/binary.
func TestAppendSession(t *testing.T) {
	check := func(id uint64) {
		t.Helper()
		got, want := appendSession([]byte("before"), id), binary.AppendUvarint([]byte("before"), id)
		if !bytes.Equal(got, want) {
			t.Fatalf("appendSession(%#x) = %x, want %x", id, got, want)
		}
	}
	for bit := range 64 {
		check(1 << bit)
		check(1<<bit - 1)
		check(^uint64(0) << bit)
		check(1<<56 | 1<<bit)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		check(random.Uint64() >> random.IntN(64))
	}
}

// TestSessionsInTurns checks that the decoder tells sessions apart whose encodings begin
// alike.
func TestSessionsInTurns(t *testing.T) {
	ids := []int64{1, 128, 1<<57 + 1, 1<<57 + 2, 1<<58 + 1, 1, 1, -1, -2, 1<<62 + 1<<57, 300, 300, 0, 300}
	var wire []byte
	for _, id := range ids {
		wire = (&Frame{Kind: FirstKind, Session: id, Data: []byte{0x80, 0x80}}).Append(wire)
	}
	var d Decoder
	for _, id := range ids {
		var f Frame
		var err error
		if wire, err = d.Next(wire, &f); err != nil || f.Session != id || !bytes.Equal(f.Data, []byte{0x80, 0x80}) {
			t.Fatalf("Next = %+v, %v, want session %d", f, err, id)
		}
	}
}

// same compares frames. Nil bytes equal empty bytes.
func same(a, b *Frame) bool {
	x, y := *a, *b
	if !bytes.Equal(x.Meta, y.Meta) || !bytes.Equal(x.Data, y.Data) {
		return false
	}
	x.Meta, x.Data, y.Meta, y.Data = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}

func TestMalformedFrame(t *testing.T) {
	for name, wire := range map[string]string{
		"no bytes":             "",
		"no kind":              "00",
		"no flags":             "0110",
		"cut short":            "051100",
		"length cut short":     "80",
		"length of 11 bytes":   "8080808080808080808001",
		"length over 64 bits":  "ffffffffffffffffff02",
		"length of all memory": "ffffffffffffffffff01",
		"no session":           "021001",
		"session cut short":    "03100180",
		"no id":                "021002",
		"no route length":      "021004",
		"route too long":       "0410040261",
		"route of all memory":  "0c1004ffffffffffffffffff01",
		"meta too long":        "0410080261",
	} {
		b, err := hex.DecodeString(wire)
		if err != nil {
			t.Fatal(err)
		}
		var d Decoder
		var f Frame
		if _, err := d.Next(b, &f); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: Next(%s) = %+v, %v, want ErrFrame", name, wire, f, err)
		}
	}
}

func TestRoutesAreKept(t *testing.T) {
	var d Decoder
	b := (&Frame{Kind: 16, Route: "Room.Join", ID: 7}).Append(nil)
	var f Frame
	if _, err := d.Next(b, &f); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Next(b, &f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("decoding a route seen before: %v allocations, want 0", n)
	}
	for i := range internCount + 10 {
		b := (&Frame{Kind: 16, Route: strings.Repeat("x", 1+i%internSize) + string(rune('a'+i%26)) + hex.EncodeToString([]byte{byte(i), byte(i >> 8)})}).Append(nil)
		if _, err := d.Next(b, &f); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.routes) > internCount {
		t.Errorf("%d routes are kept, want at most %d", len(d.routes), internCount)
	}
}

// decodeAll returns the frames of a batch up to the first malformed one.
func decodeAll(b []byte) (all []Frame, err error) {
	var a assembler
	for len(b) > 0 {
		var f Frame
		var size int
		if b, size, err = a.next(b, &f); err != nil {
			return all, err
		}
		if size > 0 {
			all = append(all, f)
		}
	}
	return all, nil
}

// FuzzDecode decodes a batch whole, and split in two. The first part must return a prefix
// of the frames.
func FuzzDecode(f *testing.F) {
	var batch []byte
	for _, c := range frames {
		f.Add(c.frame.Append(nil), uint16(1))
		batch = c.frame.Append(batch)
	}
	f.Add(batch, uint16(20))
	f.Add(slices.Concat(part(6, 7, 16), batch, part(4, 0, 1), part(0, 2, 3, 4, 5), batch), uint16(7))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x10}, uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		whole, err := decodeAll(b)
		if err != nil && !errors.Is(err, ErrFrame) {
			t.Fatalf("decoding %x: %v, want ErrFrame", b, err)
		}
		for i := range whole {
			again, err := decodeAll(whole[i].Append(nil))
			if err != nil || len(again) != 1 || !same(&again[0], &whole[i]) {
				t.Fatalf("%+v encoded and decoded: %+v, %v", whole[i], again, err)
			}
		}
		part, err := decodeAll(b[:min(int(cut), len(b))])
		if err != nil && !errors.Is(err, ErrFrame) {
			t.Fatalf("decoding a part of %x: %v, want ErrFrame", b, err)
		}
		if len(part) > len(whole) {
			t.Fatalf("%d frames in the first %d bytes of %x, %d in all", len(part), cut, b, len(whole))
		}
		for i := range part {
			if !same(&part[i], &whole[i]) {
				t.Fatalf("frame %d of the first %d bytes of %x: %+v, want %+v", i, cut, b, part[i], whole[i])
			}
		}
	})
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := Codec().Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Free()
	return data.Materialize()
}

// TestCodecIsProtobuf checks that a batch decodes as an Envelope, and an Envelope as a
// batch.
func TestCodecIsProtobuf(t *testing.T) {
	for _, size := range []int{1, 127, 128, 300, 5000, largeBatch, 3 << 20} {
		payload := bytes.Repeat([]byte{7}, size)
		buf := append(make([]byte, headSize), payload...)
		var e clusterpb.Envelope
		if err := proto.Unmarshal(marshal(t, &outbound{buf: &buf}), &e); err != nil || !bytes.Equal(e.GetData(), payload) {
			t.Errorf("a batch of %d bytes is an Envelope of %d, %v", size, len(e.GetData()), err)
		}
		var in inbound
		if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(marshal(t, &clusterpb.Envelope{Data: payload}))}, &in); err != nil || !bytes.Equal(in.frames, payload) {
			t.Errorf("an Envelope of %d bytes is a batch of %d, %v", size, len(in.frames), err)
		}
		in.free()
	}
	greeting := &clusterpb.Envelope{Greeting: &clusterpb.Greeting{Addr: "a:1"}}
	var back clusterpb.Envelope
	if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(marshal(t, greeting))}, &back); err != nil || !proto.Equal(&back, greeting) {
		t.Errorf("a greeting came back as %v, %v", &back, err)
	}
	var in inbound
	if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(marshal(t, greeting))}, &in); !errors.Is(err, errEnvelope) {
		t.Errorf("a greeting among the batches: %v, want %v", err, errEnvelope)
	}
}

// FuzzUnmarshal decodes an envelope from one buffer and from two. Both must return the
// same batch.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{dataTag, 3, 2, 16, 0}, uint16(2))
	f.Add([]byte{dataTag, 0x82, 0x80, 0x80, 0x80, 0x00, 2, 16}, uint16(4))
	f.Add([]byte{dataTag, 0xff}, uint16(1))
	f.Add([]byte{0x12, 0}, uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var whole, split inbound
		defer whole.free()
		defer split.free()
		err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &whole)
		n := min(int(cut), len(b))
		err2 := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:n]), mem.SliceBuffer(b[n:])}, &split)
		if (err == nil) != (err2 == nil) || !bytes.Equal(whole.frames, split.frames) {
			t.Fatalf("%x whole: %x, %v; cut at %d: %x, %v", b, whole.frames, err, n, split.frames, err2)
		}
		if err != nil {
			return
		}
		var e clusterpb.Envelope
		if err := proto.Unmarshal(b, &e); err != nil || !bytes.Equal(e.GetData(), whole.frames) {
			t.Fatalf("%x is a batch of %x, but protobuf says %x, %v", b, whole.frames, e.GetData(), err)
		}
	})
}
