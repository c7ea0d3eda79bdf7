package message

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

var long = strings.Repeat("r", MaxRouteLength)

// dictionary returns the dictionary of the tests.
func dictionary(t testing.TB) *Dictionary {
	t.Helper()
	d, err := NewDictionary(map[string]uint16{"Room.Join": 1, "onChat": 0xff01, "房间.x": 0, long: 0xffff})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWire(t *testing.T) {
	tests := []struct {
		name string
		m    Message
		dict bool
		head []byte
	}{
		{"request", Message{Type: Request, ID: 1, Route: "a.b"}, false, []byte{0x00, 1, 3, 'a', '.', 'b'}},
		{"request, compressed", Message{Type: Request, ID: 300, Route: "Room.Join"}, true, []byte{0x01, 0xac, 2, 0, 1}},
		{"request, not in the dictionary", Message{Type: Request, ID: 1, Route: "a"}, true, []byte{0x00, 1, 1, 'a'}},
		{"notify", Message{Type: Notify, Route: "é"}, false, []byte{0x02, 2, 0xc3, 0xa9}},
		{"notify, compressed", Message{Type: Notify, Route: "onChat"}, true, []byte{0x03, 0xff, 1}},
		{"notify, code 0", Message{Type: Notify, Route: "房间.x"}, true, []byte{0x03, 0, 0}},
		{"response", Message{Type: Response, ID: 127}, true, []byte{0x04, 0x7f}},
		{"response, id of two bytes", Message{Type: Response, ID: 128}, false, []byte{0x04, 0x80, 1}},
		{"response, error", Message{Type: Response, ID: 1, Err: true}, false, []byte{0x24, 1}},
		{"response, largest id", Message{Type: Response, ID: math.MaxUint64}, false,
			[]byte{0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
		{"push", Message{Type: Push, Route: "a"}, false, []byte{0x06, 1, 'a'}},
		{"push, compressed", Message{Type: Push, Route: "onChat"}, true, []byte{0x07, 0xff, 1}},
		{"push, empty route", Message{Type: Push}, true, []byte{0x06, 0}},
		{"longest route", Message{Type: Push, Route: long}, false, append([]byte{0x06, 255}, long...)},
		{"longest route, compressed", Message{Type: Push, Route: long}, true, []byte{0x07, 0xff, 0xff}},
	}
	for _, test := range tests {
		for _, body := range []string{"", "x", strings.Repeat("body", 1000)} {
			var dict *Dictionary
			if test.dict {
				dict = dictionary(t)
			}
			m := test.m
			m.Data = []byte(body)
			got, err := AppendHeader([]byte("head"), &m, dict)
			if err != nil || string(got) != "head"+string(test.head) {
				t.Errorf("%s: AppendHeader(head, %v) = %x, %v, want %x after head", test.name, &m, got, err, test.head)
			}
			wire := append(bytes.Clone(test.head), body...)
			back, err := Decode(wire, dict)
			if err != nil {
				t.Errorf("%s: Decode(%x): %v", test.name, wire, err)
				continue
			}
			clear(wire)
			if back.Type != m.Type || back.ID != m.ID || back.Route != m.Route || back.Err != m.Err || !bytes.Equal(back.Data, m.Data) {
				t.Errorf("%s: Decode = %+v once its input was overwritten, want %+v", test.name, back, m)
			}
		}
	}
}

func TestEncode(t *testing.T) {
	m := &Message{Type: Request, ID: 5, Route: "Room.Join", Data: []byte("{}")}
	want := append([]byte{0x00, 5, 9}, "Room.Join{}"...)
	if got, err := m.Encode(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Encode(%v) = %x, %v, want %x", m, got, err, want)
	}
	if got, err := (&Message{Type: Request, Route: "a"}).Encode(); err == nil || got != nil {
		t.Errorf("Encode of a request without an id = %x, %v, want an error", got, err)
	}
}

func TestErrorFlagIsForResponses(t *testing.T) {
	for _, typ := range []Type{Request, Notify, Push} {
		m := &Message{Type: typ, ID: 1, Route: "a", Err: true}
		b, err := m.Encode()
		if err != nil || b[0] != byte(typ)<<1 {
			t.Errorf("Encode(%v with Err) = %x, %v, want flag %02x", m, b, err, byte(typ)<<1)
		}
	}
}

func TestAppendHeaderErrors(t *testing.T) {
	tests := []struct {
		m    Message
		want error
	}{
		{Message{Type: Push + 1, Route: "a"}, ErrTypeUnknown},
		{Message{Type: 0xff}, ErrTypeUnknown},
		{Message{Type: Request, Route: "a"}, ErrIDMissing},
		{Message{Type: Response}, ErrIDMissing},
		{Message{Type: Request, ID: 1, Route: long + "r"}, ErrRouteTooLong},
		{Message{Type: Notify, Route: long + "r"}, ErrRouteTooLong},
		{Message{Type: Push, Route: strings.Repeat("r", 512)}, ErrRouteTooLong},
	}
	for _, test := range tests {
		dst := append(make([]byte, 0, 1024), "head"...)
		got, err := AppendHeader(dst, &test.m, dictionary(t))
		if !errors.Is(err, test.want) || string(got) != "head" || &got[0] != &dst[0] {
			t.Errorf("AppendHeader(head, %v) = %q, %v, want dst unchanged and %v", &test.m, got, err, test.want)
		}
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want Header
	}{
		{"request", "\x00\x01\x03a.bbody", Header{Type: Request, ID: 1, Route: []byte("a.b"), Body: []byte("body")}},
		{"compressed", "\x01\x01\x00\x02body", Header{Type: Request, ID: 1, Compressed: true, Code: 2, Body: []byte("body")}},
		{"no body", "\x06\x01a", Header{Type: Push, Route: []byte("a"), Body: []byte{}}},
		{"no route", "\x06\x00", Header{Type: Push, Route: []byte{}, Body: []byte{}}},
		{"error response", "\x24\x01{}", Header{Type: Response, ID: 1, Err: true, Body: []byte("{}")}},
		{"id with needless zeros", "\x04\x81\x80\x00x", Header{Type: Response, ID: 1, Body: []byte("x")}},
		{"gzip flag", "\x12\x01a", Header{Type: Notify, Strange: true, Route: []byte("a"), Body: []byte{}}},
		{"error flag on a request", "\x20\x01\x01a", Header{Type: Request, ID: 1, Strange: true, Route: []byte("a"), Body: []byte{}}},
		{"error flag on a push", "\x26\x01a", Header{Type: Push, Strange: true, Route: []byte("a"), Body: []byte{}}},
		{"high flags", "\xc4\x01", Header{Type: Response, ID: 1, Strange: true, Body: []byte{}}},
	}
	for _, test := range tests {
		got, err := Parse([]byte(test.wire))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: Parse(%x) = %+v, %v, want %+v", test.name, test.wire, got, err, test.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	ff := strings.Repeat("\xff", 9)
	tests := []struct {
		name string
		wire string
		id   uint64 // in the header, for a message with an error
	}{
		{"empty", "", 0},
		{"type 4", "\x08\x01\x01a", 0},
		{"type 7", "\x0e\x01\x01a", 0},
		{"request without anything", "\x00", 0},
		{"id cut short", "\x00\x80", 0},
		{"id of ten bytes cut short", "\x00" + ff, 0},
		{"id over 64 bits", "\x00" + ff + "\x02\x01a", 0},
		{"id of eleven bytes", "\x00" + ff + "\x80\x01\x01a", 0},
		{"id of eleven bytes, in zeros", "\x00" + strings.Repeat("\x80", 10) + "\x01\x01a", 0},
		{"id 0", "\x00\x00\x01a", 0},
		{"id 0 in two bytes", "\x00\x80\x00\x01a", 0},
		{"response, id 0", "\x04\x00", 0},
		{"response without an id", "\x04", 0},
		{"response, compressed", "\x05\x07\x00\x01", 7},
		{"request without a route", "\x00\x07", 7},
		{"request, route cut short", "\x00\x07\x02a", 7},
		{"request, longest route cut short", "\x00\x07\xff" + long[1:], 7},
		{"request, code missing", "\x01\x07", 7},
		{"request, code cut short", "\x01\x07\x01", 7},
		{"request, largest id, code cut short", "\x01" + ff + "\x01\x01", math.MaxUint64},
		{"notify without a route", "\x02", 0},
		{"notify, route cut short", "\x02\x05abcd", 0},
		{"notify, code missing", "\x03", 0},
		{"notify, code cut short", "\x03\x01", 0},
		{"push without a route", "\x06", 0},
		{"push, code cut short", "\x07\xff", 0},
	}
	for _, test := range tests {
		h, err := Parse([]byte(test.wire))
		if !errors.Is(err, ErrMalformed) || h.ID != test.id {
			t.Errorf("%s: Parse(%x) = id %d, %v, want id %d, ErrMalformed", test.name, test.wire, h.ID, err, test.id)
		}
		if m, err := Decode([]byte(test.wire), dictionary(t)); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: Decode(%x) = %v, %v, want ErrMalformed", test.name, test.wire, m, err)
		}
	}
}

func TestParseEveryTruncation(t *testing.T) {
	for _, m := range []*Message{
		{Type: Request, ID: math.MaxUint64, Route: "Room.Leave"},
		{Type: Request, ID: 1, Route: "Room.Join"},
		{Type: Notify, Route: long[1:]},
		{Type: Notify, Route: "Room.Join"},
		{Type: Response, ID: 1 << 62},
		{Type: Push, Route: "onMembers"},
		{Type: Push, Route: "onChat"},
	} {
		whole, err := AppendHeader(nil, m, dictionary(t))
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if h, err := Parse(whole[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("Parse(%x), cut at %d of %d = %+v, %v, want ErrMalformed", whole[:n], n, len(whole), h, err)
			}
		}
		if _, err := Parse(whole); err != nil {
			t.Errorf("Parse(%x): %v", whole, err)
		}
	}
}

func TestDecodeUnknownCode(t *testing.T) {
	for _, dict := range []*Dictionary{nil, dictionary(t)} {
		if m, err := Decode([]byte{0x03, 0, 2}, dict); !errors.Is(err, ErrCodeUnknown) || m != nil {
			t.Errorf("Decode of an unknown code = %v, %v, want ErrCodeUnknown", m, err)
		}
	}
}

func TestAliasing(t *testing.T) {
	b := []byte("\x06\x01abody")
	h, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if &h.Route[0] != &b[2] || &h.Body[0] != &b[3] {
		t.Error("Parse copied, want it to alias its input")
	}
	if _ = append(h.Route, 'X'); string(h.Body) != "body" {
		t.Errorf("appending to the route changed the body to %q", h.Body)
	}
}

func TestString(t *testing.T) {
	m := &Message{Type: Request, ID: 7, Route: "Room.Join", Data: []byte("secret")}
	if got, want := m.String(), `request id=7 route="Room.Join" bytes=6`; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
	names := []string{"request", "notify", "response", "push", "unknown"}
	for i, want := range names {
		if got := Type(i).String(); got != want {
			t.Errorf("Type(%d).String() = %q, want %q", i, got, want)
		}
	}
}

// FuzzParse splits a message in two. The header of the first part must be refused or
// equal to the header of the whole message.
func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x01\x03a.bbody"), 4)
	f.Add([]byte("\x01\xac\x02\x00\x01{}"), 3)
	f.Add([]byte("\x24\x01{}"), 2)
	f.Add([]byte("\x06\xff"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		input := bytes.Clone(b)
		h, err := Parse(b)
		if !bytes.Equal(b, input) {
			t.Fatalf("Parse(%x) changed its input to %x", input, b)
		}
		cut = max(0, min(cut, len(b)))
		part, partErr := Parse(b[:cut:cut])
		if err != nil {
			if !errors.Is(err, ErrMalformed) || partErr == nil {
				t.Fatalf("Parse(%x) = %v, its first %d bytes = %v, want ErrMalformed twice", b, err, cut, partErr)
			}
			return
		}
		head := len(b) - len(h.Body)
		if (partErr == nil) != (cut >= head) {
			t.Fatalf("Parse(%x), cut at %d of a header of %d bytes = %v", b, cut, head, partErr)
		}
		if partErr == nil {
			part.Body = h.Body
			if !reflect.DeepEqual(part, h) {
				t.Fatalf("Parse(%x), cut at %d = %+v, want %+v", b, cut, part, h)
			}
		}
		if h.Strange || h.Compressed {
			return
		}
		m := &Message{Type: h.Type, ID: h.ID, Route: string(h.Route), Data: h.Body, Err: h.Err}
		back, err := m.Encode()
		if err != nil {
			t.Fatalf("Encode(%v): %v", m, err)
		}
		// Leading zeros may make an id longer. An id with the length of its canonical
		// form is canonical.
		if len(back) > len(b) || len(back) == len(b) && !bytes.Equal(back, b) {
			t.Fatalf("Encode(Parse(%x)) = %x", b, back)
		}
	})
}

// FuzzDecode decodes and encodes a message, with and without a dictionary. The result
// must decode to the same message.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\x01\x03a.bbody"))
	f.Add([]byte("\x01\x01\x00\x01{}"))
	f.Add([]byte("\x03\x00\x02"))
	f.Add([]byte("\x02\x09Room.Joinbody"))
	dict := dictionary(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, dict := range []*Dictionary{nil, dict} {
			m, err := Decode(b, dict)
			if err != nil {
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrCodeUnknown) {
					t.Fatalf("Decode(%x) = %v, want ErrMalformed or ErrCodeUnknown", b, err)
				}
				continue
			}
			wire, err := AppendHeader(nil, m, dict)
			if err != nil {
				t.Fatalf("AppendHeader(%v): %v", m, err)
			}
			back, err := Decode(append(wire, m.Data...), dict)
			if err != nil || !bytes.Equal(back.Data, m.Data) {
				t.Fatalf("Decode(%x) = %v, %v, want %v", wire, back, err, m)
			}
			back.Data, m.Data = nil, nil
			if !reflect.DeepEqual(back, m) {
				t.Fatalf("Decode(%x) = %v, want %v", wire, back, m)
			}
		}
	})
}

func BenchmarkAppendHeader(b *testing.B) {
	for _, dict := range []*Dictionary{nil, dictionary(b)} {
		for _, m := range []*Message{{Type: Response, ID: 70000}, {Type: Push, Route: "onChat"}} {
			b.Run(fmt.Sprintf("%v/dictionary=%v", m.Type, dict != nil), func(b *testing.B) {
				buf := make([]byte, 0, 64)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := AppendHeader(buf, m, dict); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	wire, err := (&Message{Type: Request, ID: 70000, Route: "Room.Join", Data: make([]byte, 64)}).Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	wire, err := (&Message{Type: Request, ID: 70000, Route: "Room.Join", Data: make([]byte, 64)}).Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(wire, nil); err != nil {
			b.Fatal(err)
		}
	}
}
