package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// vectors come from the encoder of the JavaScript clients, not from this repository.
type vectors struct {
	Dictionary map[string]uint16
	Messages   []struct {
		Type       message.Type
		ID         uint64
		Route      string
		Compressed bool
		Body, Wire hexBytes
	}
	Packages []struct {
		Type       packet.Type
		Body, Wire hexBytes
	}
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t *testing.T) (vectors, *message.Dictionary) {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Dictionary) == 0 || len(v.Messages) == 0 || len(v.Packages) == 0 {
		t.Fatalf("testdata/vectors.json holds %d routes, %d messages, %d packages, want some of each",
			len(v.Dictionary), len(v.Messages), len(v.Packages))
	}
	dict, err := message.NewDictionary(v.Dictionary)
	if err != nil {
		t.Fatal(err)
	}
	return v, dict
}

func TestVectorMessages(t *testing.T) {
	v, whole := readVectors(t)
	for i, vector := range v.Messages {
		var dict *message.Dictionary
		if vector.Compressed {
			dict = whole
		}
		m := &message.Message{Type: vector.Type, ID: vector.ID, Route: vector.Route, Data: vector.Body}
		got, err := message.AppendHeader(nil, m, dict)
		if got = append(got, m.Data...); err != nil || !bytes.Equal(got, vector.Wire) {
			t.Errorf("message %d: encoded %x, %v, want %x", i, got, err, vector.Wire)
		}
		if !vector.Compressed {
			if got, err := m.Encode(); err != nil || !bytes.Equal(got, vector.Wire) {
				t.Errorf("message %d: Encode = %x, %v, want %x", i, got, err, vector.Wire)
			}
		}
		back, err := message.Decode(vector.Wire, whole)
		if err != nil || back.Type != m.Type || back.ID != m.ID || back.Route != m.Route || back.Err || !bytes.Equal(back.Data, m.Data) {
			t.Errorf("message %d: Decode(%x) = %+v, %v, want %+v", i, vector.Wire, back, err, m)
		}
		h, err := message.Parse(vector.Wire)
		if err != nil || h.Type != m.Type || h.ID != m.ID || h.Compressed != vector.Compressed || h.Strange || !bytes.Equal(h.Body, m.Data) {
			t.Errorf("message %d: Parse(%x) = %+v, %v, want %+v", i, vector.Wire, h, err, m)
		}

		want, err := Append(nil, packet.Data, vector.Wire)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := AppendMessage(nil, m, dict); err != nil || !bytes.Equal(got, want) {
			t.Errorf("message %d: AppendMessage = %x, %v, want %x", i, got, err, want)
		}
	}
}

func TestVectorPackages(t *testing.T) {
	v, _ := readVectors(t)
	for i, vector := range v.Packages {
		if got, err := Append(nil, vector.Type, vector.Body); err != nil || !bytes.Equal(got, vector.Wire) {
			t.Errorf("package %d: Append(%v, %x) = %x, %v, want %x", i, vector.Type, vector.Body, got, err, vector.Wire)
		}
		typ, body, n, need, err := Next(vector.Wire, DefaultLimit)
		if err != nil || typ != vector.Type || !bytes.Equal(body, vector.Body) || n != len(vector.Wire) || need != 0 {
			t.Errorf("package %d: Next(%x) = %v, %x, %d, %d, %v, want %v, %x, %d, 0",
				i, vector.Wire, typ, body, n, need, err, vector.Type, vector.Body, len(vector.Wire))
		}
	}
}

// whole is a packet that Next returned.
type whole struct {
	typ  packet.Type
	body string
}

// read passes pieces to Next as a connection does, and keeps incomplete packets. It
// returns the packets, and the remaining bytes or the error.
func read(t testing.TB, limit int, pieces ...[]byte) ([]whole, []byte, error) {
	t.Helper()
	var packets []whole
	var b []byte
	for _, piece := range pieces {
		b = append(b, piece...)
		for {
			before := len(b)
			typ, body, n, need, err := Next(b, limit)
			if err != nil {
				return packets, nil, err
			}
			if n == 0 {
				if need <= before || need > packet.HeadLength+limit {
					t.Fatalf("Next of %d bytes needs %d, want more than there are and no more than %d", before, need, packet.HeadLength+limit)
				}
				break
			}
			if n != packet.HeadLength+len(body) || need != 0 {
				t.Fatalf("Next took %d bytes for a body of %d and needs %d, want %d and 0", n, len(body), need, packet.HeadLength+len(body))
			}
			packets = append(packets, whole{typ, string(body)})
			b = b[n:]
		}
	}
	return packets, b, nil
}

// stream returns consecutive packets of every type.
func stream(t testing.TB) ([]byte, []whole) {
	t.Helper()
	want := []whole{
		{packet.Handshake, `{"sys":{}}`}, {packet.Ack, ""}, {packet.Heartbeat, ""}, {packet.Heartbeat, "ignored"},
		{packet.Data, "\x06\x01abody"}, {packet.Data, strings.Repeat("d", 300)}, {packet.Kick, "{}"},
	}
	var b []byte
	for _, p := range want {
		var err error
		if b, err = Append(b, p.typ, []byte(p.body)); err != nil {
			t.Fatal(err)
		}
	}
	return b, want
}

func TestNextSplitAnywhere(t *testing.T) {
	b, want := stream(t)
	bytewise := slices.Collect(slices.Chunk(b, 1))
	if got, rest, err := read(t, 300, bytewise...); err != nil || !slices.Equal(got, want) || len(rest) != 0 {
		t.Errorf("byte by byte: %v, %x left, %v, want %v", got, rest, err, want)
	}
	for i := range len(b) + 1 {
		for j := i; j <= len(b); j++ {
			got, rest, err := read(t, 300, b[:i], b[i:j], b[j:])
			if err != nil || !slices.Equal(got, want) || len(rest) != 0 {
				t.Fatalf("split at %d and %d: %v, %x left, %v, want %v", i, j, got, rest, err, want)
			}
		}
	}
}

func TestNextTruncated(t *testing.T) {
	b, want := stream(t)
	for i := range b {
		got, rest, err := read(t, 300, b[:i])
		if err != nil || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("the first %d bytes: %v, %v, want the first of %v", i, got, err, want)
		}
		size := len(rest)
		for _, p := range got {
			size += packet.HeadLength + len(p.body)
		}
		if size != i || len(got) == len(want) {
			t.Fatalf("the first %d bytes: %d packets and %d bytes left, want all bytes accounted for", i, len(got), len(rest))
		}
	}
}

func TestNextNeed(t *testing.T) {
	tests := []struct {
		b    []byte
		need int
	}{
		{nil, 4},
		{[]byte{4}, 4},
		{[]byte{4, 0, 1}, 4},
		{[]byte{4, 0, 1, 0}, 260},
		{[]byte{4, 0, 1, 0, 'x'}, 260},
		{append([]byte{4, 0, 1, 0}, make([]byte, 255)...), 260},
	}
	for _, test := range tests {
		_, body, n, need, err := Next(test.b, DefaultLimit)
		if body != nil || n != 0 || need != test.need || err != nil {
			t.Errorf("Next(%x) = body %x, %d, %d, %v, want 0, %d", test.b, body, n, need, err, test.need)
		}
	}
}

func TestNextErrors(t *testing.T) {
	head := func(typ packet.Type, n int) []byte {
		b := make([]byte, packet.HeadLength)
		packet.PutHeader(b, typ, n)
		return b
	}
	tests := []struct {
		name  string
		b     []byte
		limit int
		want  error
	}{
		{"type 0", []byte{0}, DefaultLimit, ErrPacketType},
		{"type 6, one byte", []byte{6}, DefaultLimit, ErrPacketType},
		{"type 6", head(6, 0), DefaultLimit, ErrPacketType},
		{"type 255", head(255, packet.MaxLength), DefaultLimit, ErrPacketType},
		{"text", []byte("GET / HTTP/1.1\r\n"), DefaultLimit, ErrPacketType},
		{"one over the limit", head(packet.Data, DefaultLimit+1), DefaultLimit, ErrPacketTooLarge},
		{"one over a small limit", head(packet.Handshake, 9), 8, ErrPacketTooLarge},
		{"the largest", head(packet.Data, packet.MaxLength), DefaultLimit, ErrPacketTooLarge},
		{"a heartbeat with a body, limit 0", append(head(packet.Heartbeat, 1), 'x'), 0, ErrPacketTooLarge},
		{"whole, but over the limit", append(head(packet.Data, 9), make([]byte, 9)...), 8, ErrPacketTooLarge},
	}
	for _, test := range tests {
		_, body, n, need, err := Next(test.b, test.limit)
		if !errors.Is(err, test.want) || body != nil || n != 0 || need != 0 {
			t.Errorf("%s: Next(%x) = body %x, %d, %d, %v, want %v", test.name, test.b, body, n, need, err, test.want)
		}
	}
}

func TestNextAtTheLimit(t *testing.T) {
	for _, limit := range []int{0, 1, 255, 256, DefaultLimit, packet.MaxLength} {
		body := bytes.Repeat([]byte{'b'}, limit)
		b, err := Append(nil, packet.Data, body)
		if err != nil {
			t.Fatal(err)
		}
		_, got, n, _, err := Next(b, limit)
		if err != nil || n != packet.HeadLength+limit || !bytes.Equal(got, body) {
			t.Errorf("Next of a body at the limit of %d: %d bytes taken, %v, want %d", limit, n, err, packet.HeadLength+limit)
		}
		if _, _, _, _, err := Next(b, limit-1); !errors.Is(err, ErrPacketTooLarge) {
			t.Errorf("Next of a body of %d bytes, limit %d: %v, want ErrPacketTooLarge", limit, limit-1, err)
		}
	}
}

func TestNextAliases(t *testing.T) {
	b, _ := stream(t)
	_, body, _, _, err := Next(b, 300)
	if err != nil {
		t.Fatal(err)
	}
	if &body[0] != &b[packet.HeadLength] {
		t.Error("the body was copied, want it to alias the input")
	}
	next := b[packet.HeadLength+len(body)]
	if _ = append(body, 0xff); b[packet.HeadLength+len(body)] != next {
		t.Error("appending to the body changed the packet after it")
	}
}

func TestAppendErrors(t *testing.T) {
	dst := append(make([]byte, 0, 64), "head"...)
	huge := make([]byte, packet.MaxLength+1)
	unchanged := func(name string, got []byte, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || string(got) != "head" || &got[0] != &dst[0] {
			t.Errorf("%s = %d bytes, %v, want dst unchanged and %v", name, len(got), err, want)
		}
	}
	got, err := Append(dst, packet.Data, huge)
	unchanged("Append of a body too large", got, err, ErrPacketTooLarge)

	push := &message.Message{Type: message.Push, Route: "a"}
	header := len("\x06\x01a")
	push.Data = huge[:packet.MaxLength-header+1]
	got, err = AppendMessage(dst, push, nil)
	unchanged("AppendMessage of a body too large", got, err, ErrPacketTooLarge)
	got, err = AppendMessage(dst, &message.Message{Type: message.Request, Route: "a"}, nil)
	unchanged("AppendMessage without an id", got, err, message.ErrIDMissing)
	got, err = AppendMessage(dst, &message.Message{Type: message.Push, Route: strings.Repeat("r", 256)}, nil)
	unchanged("AppendMessage of a route too long", got, err, message.ErrRouteTooLong)

	push.Data = huge[:packet.MaxLength-header]
	got, err = AppendMessage(dst, push, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, body, n, _, err := Next(got[len("head"):], packet.MaxLength); err != nil || len(body) != packet.MaxLength || n != len(got)-len("head") {
		t.Errorf("the largest message: body of %d bytes, %v, want %d", len(body), err, packet.MaxLength)
	}
}

func TestAppendMessageWritesInPlace(t *testing.T) {
	dst := append(make([]byte, 0, 64), "head"...)
	m := &message.Message{Type: message.Push, Route: "onChat", Data: []byte("hi")}
	got, err := AppendMessage(dst, m, nil)
	if want := "head\x04\x00\x00\x0a\x06\x06onChathi"; err != nil || string(got) != want || &got[0] != &dst[0] {
		t.Errorf("AppendMessage(head, %v) = %q, %v, want %q in place", m, got, err, want)
	}
}

// FuzzNext decodes a stream whole, and again split in two. Both must have the same
// outcome, and the packets must encode to the same bytes.
func FuzzNext(f *testing.F) {
	b, _ := stream(f)
	f.Add(b, 7)
	f.Add([]byte("\x04\x00\x00\x09\x00\x01\x03a.bbod"), 3)
	f.Add([]byte("\x04\xff\xff\xff"), 2)
	f.Add([]byte("\x03\x00\x00\x00\x06"), 4)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		const limit = 1 << 10
		input := bytes.Clone(b)
		cut = max(0, min(cut, len(b)))
		packets, rest, err := read(t, limit, b)
		split, splitRest, splitErr := read(t, limit, b[:cut], b[cut:])
		if fmt.Sprint(err) != fmt.Sprint(splitErr) || !slices.Equal(packets, split) || !bytes.Equal(rest, splitRest) {
			t.Fatalf("read(%x) = %v, %x, %v, but split at %d = %v, %x, %v", b, packets, rest, err, cut, split, splitRest, splitErr)
		}
		if !bytes.Equal(b, input) {
			t.Fatalf("reading %x changed it to %x", input, b)
		}
		if err != nil && !errors.Is(err, ErrPacketType) && !errors.Is(err, ErrPacketTooLarge) {
			t.Fatalf("read(%x) = %v, want ErrPacketType or ErrPacketTooLarge", b, err)
		}
		var back []byte
		for _, p := range packets {
			if !p.typ.Valid() || len(p.body) > limit {
				t.Fatalf("read(%x) gave a packet of %v with %d bytes", b, p.typ, len(p.body))
			}
			if back, err = Append(back, p.typ, []byte(p.body)); err != nil {
				t.Fatal(err)
			}
		}
		if back = append(back, rest...); !bytes.HasPrefix(b, back) {
			t.Fatalf("packets of %x encode to %x", b, back)
		}
	})
}

// TestAppendResponse checks that a response appended without a Message equals one
// appended with a Message.
func TestAppendResponse(t *testing.T) {
	large := make([]byte, packet.MaxLength)
	for _, id := range []uint64{0, 1, 127, 128, 1<<14 - 1, 1 << 14, 1 << 62, math.MaxUint64} {
		fits := packet.MaxLength - len(binary.AppendUvarint([]byte{0}, id))
		for _, size := range []int{0, 1, 64, 1 << 16, fits, fits + 1, len(large)} {
			for _, before := range [][]byte{nil, []byte("before"), append(make([]byte, 0, 200), "before"...)} {
				if size > 1<<16 && before != nil {
					continue // one case of 16 MiB is enough
				}
				m := message.Message{Type: message.Response, ID: id, Data: large[:size]}
				want, wantErr := AppendMessage(bytes.Clone(before), &m, nil)
				got, err := AppendResponse(before, id, large[:size])
				if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Errorf("AppendResponse(%q, %d, %d bytes) = %d bytes, %v, want %d, %v", before, id, size, len(got), err, len(want), wantErr)
				}
			}
		}
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	data := make([]byte, 64)
	buf := make([]byte, 0, 256)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendResponse(buf, 70000, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	wire, err := Append(nil, packet.Data, make([]byte, 64))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, _, err := Next(wire, DefaultLimit); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	dict, err := message.NewDictionary(map[string]uint16{"onMessage": 1})
	if err != nil {
		b.Fatal(err)
	}
	cases := []struct {
		name string
		m    message.Message
		dict *message.Dictionary
	}{
		{"response", message.Message{Type: message.Response, ID: 70000}, nil},
		{"push", message.Message{Type: message.Push, Route: "onMessage"}, nil},
		{"push, compressed", message.Message{Type: message.Push, Route: "onMessage"}, dict},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			c.m.Data = make([]byte, 64)
			buf := make([]byte, 0, 256)
			b.SetBytes(int64(len(c.m.Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := AppendMessage(buf, &c.m, c.dict); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
