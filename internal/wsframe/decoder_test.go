package wsframe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"
	"unsafe"
)

// decode passes pieces to a decoder. It returns the complete messages, the control
// frames, and the close code, which is 0 without an error. The pieces are unmasked in
// place.
func decode(t testing.TB, c *Config, pieces ...[]byte) (out []string, code uint16) {
	t.Helper()
	var d Decoder
	var message []byte
	begun := false
	for _, b := range pieces {
		for len(b) > 0 {
			f, n, err := d.Next(c, b)
			if err != nil {
				var fault *Error
				if !errors.As(err, &fault) || fault.Error() == "" {
					t.Fatalf("Next(%x) = %v, want an *Error with a text", b, err)
				}
				return out, fault.Code
			}
			if n == 0 || n > len(b) {
				t.Fatalf("Next(%x) took %d bytes of %d", b, n, len(b))
			}
			b = b[n:]
			if f.Op == 0 {
				continue
			}
			if f.Begin == begun && !f.Op.Control() {
				t.Fatalf("Begin = %v in a frame that has begun: %v", f.Begin, begun)
			}
			if f.Op.Control() {
				out = append(out, fmt.Sprintf("%d %x", f.Op, f.Payload))
				continue
			}
			begun = !f.End
			message = append(message, f.Payload...)
			if f.End && f.Final {
				out = append(out, fmt.Sprintf("%d %x", f.Op, message))
				message = message[:0]
			}
		}
	}
	return out, 0
}

// reference decodes b in the simplest way.
func reference(c *Config, b []byte) (out []string, code uint16) {
	var message []byte
	var op Opcode
	for len(b) >= 2 {
		final, reserved, frameOp := b[0]&0x80 != 0, b[0]&0x70 != 0, Opcode(b[0]&0x0f)
		masked, short := b[1]&0x80 != 0, b[1]&0x7f
		known := slices.Contains([]Opcode{Continuation, Text, Binary, Close, Ping, Pong}, frameOp)
		control := frameOp >= Close
		switch {
		case frameOp == Text && !c.Text:
			return out, CodeUnsupportedData
		case reserved, !known, masked != c.FromClient, control && (!final || short > 125),
			frameOp == Close && short == 1,
			frameOp == Continuation && op == 0, !control && frameOp != Continuation && op != 0:
			return out, CodeProtocolError
		}
		b = b[2:]
		size := uint64(short)
		for _, long := range []struct {
			mark byte
			size int
		}{{126, 2}, {127, 8}} {
			if short != long.mark {
				continue
			}
			if len(b) < long.size {
				return out, 0
			}
			size = 0
			for _, digit := range b[:long.size] {
				size = size<<8 | uint64(digit)
			}
			b = b[long.size:]
		}
		var key [4]byte
		if masked {
			if len(b) < 4 {
				return out, 0
			}
			copy(key[:], b)
			b = b[4:]
		}
		if size >= 1<<63 {
			return out, CodeProtocolError
		}
		if !control {
			if size > 1<<31-1 || c.MaxFrame > 0 && size > uint64(c.MaxFrame) ||
				c.MaxMessage > 0 && uint64(len(message))+size > uint64(c.MaxMessage) {
				return out, CodeMessageTooBig
			}
			if frameOp != Continuation {
				op = frameOp
			}
		}
		payload := bytes.Clone(b[:min(size, uint64(len(b)))])
		for i := range payload {
			payload[i] ^= key[i%4]
		}
		b = b[len(payload):]
		whole := uint64(len(payload)) == size
		if control {
			if !whole {
				return out, 0
			}
			out = append(out, fmt.Sprintf("%d %x", frameOp, payload))
			if frameOp == Close && size > 0 {
				if code := referenceClose(payload); code != 0 {
					return out[:len(out)-1], code
				}
			}
			continue
		}
		message = append(message, payload...)
		ends := whole && final
		if op == Text && (!validPrefix(message) || ends && !utf8.Valid(message)) {
			return out, CodeInvalidPayload
		}
		if ends {
			out = append(out, fmt.Sprintf("%d %x", op, message))
			message, op = nil, 0
		}
	}
	return out, 0
}

func referenceClose(p []byte) uint16 {
	code := int(p[0])*256 + int(p[1])
	valid := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
	switch {
	case !valid:
		return CodeProtocolError
	case !utf8.Valid(p[2:]):
		return CodeInvalidPayload
	}
	return 0
}

// validPrefix reports whether b is a prefix of valid UTF-8.
func validPrefix(b []byte) bool {
	if utf8.Valid(b) {
		return true
	}
	for _, x := range []byte{0x80, 0x90, 0xA0, 0xBF} {
		for n := 1; n <= 3; n++ {
			end := append([]byte{x}, bytes.Repeat([]byte{0x80}, n-1)...)
			if utf8.Valid(append(bytes.Clone(b), end...)) {
				return true
			}
		}
	}
	return false
}

// frame builds a client frame.
func frame(first byte, payload string) []byte {
	return clientFrame(first, payload, [4]byte{0x11, 0x83, 0xc5, 0x2e})
}

func clientFrame(first byte, payload string, key [4]byte) []byte {
	b := AppendMasked(nil, Opcode(first&0x0f), key, []byte(payload))
	b[0] = first
	return b
}

func serverFrame(first byte, payload string) []byte {
	b := AppendFrame(nil, Opcode(first&0x0f), []byte(payload))
	b[0] = first
	return b
}

var (
	server     = Config{FromClient: true, Text: true}
	serverOnly = Config{FromClient: true} // binary messages only
	client     = Config{Text: true}
)

func TestDecoderFaults(t *testing.T) {
	header := func(b ...byte) []byte { return b }
	for _, test := range []struct {
		name string
		c    Config
		b    []byte
		want uint16
	}{
		{"text where it is not allowed", serverOnly, frame(0x81, "a"), 1003},
		{"text with reserved bits where it is not allowed", serverOnly, frame(0xf1, "a"), 1003},
		{"text without a mask where it is not allowed", serverOnly, serverFrame(0x81, "a"), 1003},
		{"no mask", server, serverFrame(0x82, "a"), 1002},
		{"a mask", client, frame(0x82, "a"), 1002},
		{"opcode 3", server, frame(0x83, ""), 1002},
		{"opcode 7", server, frame(0x87, ""), 1002},
		{"opcode 11", server, frame(0x8b, ""), 1002},
		{"opcode 15", server, frame(0x8f, ""), 1002},
		{"RSV1", server, frame(0xc2, ""), 1002},
		{"RSV2", server, frame(0xa2, ""), 1002},
		{"RSV3", server, frame(0x92, ""), 1002},
		{"a ping in fragments", server, frame(0x09, ""), 1002},
		{"a ping of 126 bytes", server, frame(0x89, string(make([]byte, 126))), 1002},
		{"a close frame of 1 byte", server, frame(0x88, "a"), 1002},
		{"close code 1005", server, frame(0x88, "\x03\xed"), 1002},
		{"a close reason that is not UTF-8", server, frame(0x88, "\x03\xe8\xff"), 1007},
		{"a close reason that ends in a character", server, frame(0x88, "\x03\xe8\xe4\xbd"), 1007},
		{"a continuation of nothing", server, frame(0x80, "a"), 1002},
		{"a message in a message", server, slices.Concat(frame(0x02, "a"), frame(0x82, "b")), 1002},
		{"a continuation of a whole message", server, slices.Concat(frame(0x02, "a"), frame(0x80, "b"), frame(0x80, "c")), 1002},
		{"a negative length", server, header(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), 1002},
		{"a length over 31 bits", server, header(0x82, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 1, 2, 3, 4), 1009},
		{"a length over 32 bits", server, header(0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4), 1009},
		{"a length of 63 bits", server, header(0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4), 1009},
		{"a frame over the limit", Config{FromClient: true, MaxFrame: 4}, frame(0x82, "abcde"), 1009},
		{"a frame at the limit", Config{FromClient: true, MaxFrame: 4}, frame(0x82, "abcd"), 0},
		{"a message over the limit", Config{FromClient: true, MaxMessage: 4}, slices.Concat(frame(0x02, "abc"), frame(0x80, "de")), 1009},
		{"a message at the limit", Config{FromClient: true, MaxMessage: 4}, slices.Concat(frame(0x02, "abc"), frame(0x80, "d"), frame(0x82, "abcd")), 0},
		{"control frames are not of the message", Config{FromClient: true, MaxMessage: 4}, slices.Concat(frame(0x02, "abc"), frame(0x89, "12345"), frame(0x80, "d")), 0},
		{"a length that is not in its shortest form", server, header(0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'a'), 0},
		{"text that is not UTF-8", server, frame(0x81, "a\xff"), 1007},
		{"text that ends in a character", server, frame(0x81, "\xe4\xbd"), 1007},
		{"a character over two frames", server, slices.Concat(frame(0x01, "\xe4\xbd"), frame(0x80, "\xa0")), 0},
		{"text that cannot become UTF-8", server, frame(0x81, "\xf4\x90\x80\x80")[:8], 1007},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The error is the same however the bytes are split.
			for split := range len(test.b) {
				b := bytes.Clone(test.b)
				if _, got := decode(t, &test.c, b[:split], b[split:]); got != test.want {
					t.Errorf("code of %x split at %d = %d, want %d", test.b, split, got, test.want)
				}
			}
			if _, got := reference(&test.c, test.b); got != test.want {
				t.Errorf("code of %x by the reference = %d, want %d", test.b, got, test.want)
			}
		})
	}
}

func TestCloseCodes(t *testing.T) {
	for code := range 1 << 16 {
		p := binary.BigEndian.AppendUint16(nil, uint16(code))
		want := referenceClose(p)
		if _, got := decode(t, &client, AppendFrame(nil, Close, p)); got != want {
			t.Errorf("code of a close frame with %d = %d, want %d", code, got, want)
		}
	}
}

func TestDecoderEvents(t *testing.T) {
	var d Decoder
	next := func(b []byte, want Frame, wantN int) {
		t.Helper()
		f, n, err := d.Next(&client, b)
		if err != nil || n != wantN || f.Op != want.Op || f.Begin != want.Begin || f.End != want.End || f.Final != want.Final || string(f.Payload) != string(want.Payload) {
			t.Errorf("Next(%x) = %+v, %d, %v, want %+v, %d", b, f, n, err, want, wantN)
		}
	}
	next(nil, Frame{}, 0)
	next([]byte{0x02}, Frame{}, 1)
	next([]byte{0x05}, Frame{Op: Binary, Begin: true}, 1)
	next(nil, Frame{}, 0)
	next([]byte("ab"), Frame{Op: Binary, Payload: []byte("ab")}, 2)
	next([]byte("cde\x89"), Frame{Op: Binary, End: true, Payload: []byte("cde")}, 3)
	next([]byte("\x89\x02h"), Frame{}, 3)
	next([]byte("i\x00"), Frame{Op: Ping, Begin: true, End: true, Final: true, Payload: []byte("hi")}, 1)
	next([]byte{0x00, 0x00, 0x80}, Frame{Op: Binary, Begin: true, End: true}, 2)
	next([]byte{0x80, 0x00}, Frame{Op: Binary, Begin: true, End: true, Final: true}, 2)
	if d.held != nil {
		t.Errorf("between frames the decoder holds %x, want nothing", *d.held)
	}
	f, _, err := d.Next(&client, AppendClose(nil, CodeGoingAway, "bye"))
	if err != nil || f.Op != Close || f.Code() != CodeGoingAway || string(f.Reason()) != "bye" {
		t.Errorf("Next of a close frame = %+v with %d %q, %v, want 1001 and bye", f, f.Code(), f.Reason(), err)
	}
	f, _, err = d.Next(&client, AppendClose(nil, CodeNoStatus, ""))
	if err != nil || f.Op != Close || f.Code() != CodeNoStatus || f.Reason() != nil {
		t.Errorf("Next of an empty close frame = %+v with %d, %v, want 1005", f, f.Code(), err)
	}
}

// TestDecoderCosts checks that a decoder is small, because each connection has one, and
// that payloads are not copied.
func TestDecoderCosts(t *testing.T) {
	if size := unsafe.Sizeof(Decoder{}); size > 32 {
		t.Errorf("a Decoder has %d bytes, want 32 at most", size)
	}
	b := frame(0x82, string(make([]byte, 1000)))
	var d Decoder
	if n := testing.AllocsPerRun(10, func() {
		f, _, err := d.Next(&server, b)
		if err != nil || &f.Payload[0] != &b[8] || len(f.Payload) != 1000 {
			t.Errorf("the payload does not alias the bytes that were read")
		}
	}); n != 0 {
		t.Errorf("Next makes %v allocations, want none", n)
	}
}

func TestMask(t *testing.T) {
	for range 1000 {
		b := make([]byte, rand.N(100))
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		var key [4]byte
		binary.LittleEndian.PutUint32(key[:], rand.Uint32())
		want := bytes.Clone(b)
		for i := range want {
			want[i] ^= key[i%4]
		}
		got := bytes.Clone(b)
		split := rand.N(len(b) + 1)
		Mask(got[split:], Mask(got[:split], binary.LittleEndian.Uint32(key[:])))
		if !bytes.Equal(got, want) {
			t.Fatalf("Mask(%x, %x) split at %d = %x, want %x", b, key, split, got, want)
		}
	}
}

// FuzzDecoder compares the decoder with the reference, for whole and split input.
func FuzzDecoder(f *testing.F) {
	for _, b := range [][]byte{
		frame(0x82, "hello"), frame(0x01, "h\xc3"), frame(0x89, ""), frame(0x88, "\x03\xe8bye"),
		slices.Concat(frame(0x01, "h\xc3"), frame(0x89, "ping"), frame(0x80, "\xa4")),
		frame(0x82, string(make([]byte, 200))),
	} {
		f.Add(b, uint64(1), true, true, uint16(0), uint16(0))
		f.Add(b, uint64(2), true, false, uint16(3), uint16(6))
	}
	f.Add([]byte{0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1, 0x61}, uint64(3), false, true, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, fromClient, text bool, maxFrame, maxMessage uint16) {
		c := &Config{FromClient: fromClient, Text: text, MaxFrame: int(maxFrame), MaxMessage: int(maxMessage)}
		want, wantCode := reference(c, b)
		random := rand.New(rand.NewPCG(seed, 0))
		var pieces [][]byte
		for rest := bytes.Clone(b); len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 1+int(seed%64)))
			pieces = append(pieces, rest[:n:n])
			rest = rest[n:]
		}
		for _, pieces := range [][][]byte{{bytes.Clone(b)}, pieces} {
			got, code := decode(t, c, pieces...)
			if !slices.Equal(got, want) || code != wantCode {
				t.Errorf("decode(%x) in %d pieces = %q with code %d, want %q with code %d", b, len(pieces), got, code, want, wantCode)
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	for _, size := range []int{16, 128, 1024, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			stream := frame(0x82, string(make([]byte, size)))
			var d Decoder
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := d.Next(&serverOnly, stream); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
