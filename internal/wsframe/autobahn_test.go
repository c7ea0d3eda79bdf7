package wsframe_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lonng/nano/internal/wsframe"
)

// sent is one frame from a client.
type sent struct {
	first   byte // FIN, the reserved bits and the opcode
	payload string
}

// autobahnCase is a case of the Autobahn test suite. It has the frames of the client and
// the reply of an echo server.
type autobahnCase struct {
	id     string
	frames []sent
	chop   int      // bytes per write; 0 writes frame by frame, -1 writes everything at once
	want   []string // "text ...", "binary ...", "pong ..." and "close ...", which is last
	binary []string // the reply of a server that refuses text, if it is not that of wantBinary
}

const (
	finText   = 0x81
	finBinary = 0x82
	finCont   = 0x80
	finClose  = 0x88
	finPing   = 0x89
	finPong   = 0x8a
	moreText  = 0x01
	moreCont  = 0x00

	closeNormal = "\x03\xe8"
	hello       = "Hello, world!"
	kosme       = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
)

// heartbeat returns n bytes of heartbeat packets, which a server of this library accepts
// at any time. n is 0 or at least 4.
func heartbeat(n int) string {
	if n == 0 {
		return ""
	}
	size := n - 4
	return string([]byte{3, byte(size >> 16), byte(size >> 8), byte(size)}) + strings.Repeat("\xfe", size)
}

func autobahnCases() []autobahnCase {
	var cases []autobahnCase
	add := func(id string, chop int, want []string, frames ...sent) *autobahnCase {
		cases = append(cases, autobahnCase{id: id, frames: frames, chop: chop, want: want})
		return &cases[len(cases)-1]
	}
	bye := sent{finClose, closeNormal}
	text := func(s string) string { return fmt.Sprintf("text %x", s) }
	binary := func(s string) string { return fmt.Sprintf("binary %x", s) }
	pong := func(s string) string { return fmt.Sprintf("pong %x", s) }
	ends := func(want ...string) []string { return append(want, "close 1000") }
	fails := func(want ...string) []string { return append(want, "close 1002") }
	invalid := []string{"close 1007"}

	// Section 1: framing.
	for i, size := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		chop := 0
		if i == 7 {
			chop = 997
		}
		s := strings.Repeat("*", size)
		add(fmt.Sprintf("1.1.%d", i+1), chop, ends(text(s)), sent{finText, s}, bye)
		b := heartbeat(size)
		add(fmt.Sprintf("1.2.%d", i+1), chop, ends(binary(b)), sent{finBinary, b}, bye)
	}

	// Section 2: pings and pongs.
	add("2.1", 0, ends(pong("")), sent{finPing, ""}, bye)
	add("2.2", 0, ends(pong(hello)), sent{finPing, hello}, bye)
	add("2.3", 0, ends(pong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")), sent{finPing, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"}, bye)
	long := strings.Repeat("\xfe", 125)
	add("2.4", 0, ends(pong(long)), sent{finPing, long}, bye)
	add("2.5", 0, fails(), sent{finPing, long + "\xfe"}, bye)
	add("2.6", 1, ends(pong(long)), sent{finPing, long}, bye)
	add("2.7", 0, ends(), sent{finPong, ""}, bye)
	add("2.8", 0, ends(), sent{finPong, "unsolicited"}, bye)
	add("2.9", 0, ends(pong("ping")), sent{finPong, "unsolicited"}, sent{finPing, "ping"}, bye)
	var pings []sent
	var pongs []string
	for i := range 10 {
		pings = append(pings, sent{finPing, fmt.Sprint("payload-", i)})
		pongs = append(pongs, pong(fmt.Sprint("payload-", i)))
	}
	pings = append(pings, bye)
	add("2.10", 0, ends(pongs...), pings...)
	add("2.11", 1, ends(pongs...), pings...)

	// Section 3: reserved bits.
	ping := sent{finPing, ""}
	add("3.1", 0, fails(), sent{finText | 0x10, hello}, bye)
	add("3.2", -1, fails(text(hello)), sent{finText, hello}, sent{finText | 0x20, hello}, ping)
	add("3.3", 0, fails(text(hello)), sent{finText, hello}, sent{finText | 0x30, hello}, ping)
	add("3.4", 1, fails(text(hello)), sent{finText, hello}, sent{finText | 0x40, hello}, ping)
	add("3.5", 0, fails(), sent{finBinary | 0x50, heartbeat(8)}, bye)
	add("3.6", 0, fails(), sent{finPing | 0x60, hello}, bye)
	add("3.7", 0, fails(), sent{finClose | 0x70, closeNormal})

	// Section 4: reserved opcodes of data and control frames.
	for i, op := range []byte{0x83, 0x8b} {
		id := func(n int) string { return fmt.Sprintf("4.%d.%d", i+1, n) }
		add(id(1), 0, fails(), sent{op, ""}, bye)
		add(id(2), 0, fails(), sent{op + 1, hello}, bye)
		add(id(3), 0, fails(text(hello)), sent{finText, hello}, sent{op + 2, ""}, ping)
		add(id(4), 0, fails(text(hello)), sent{finText, hello}, sent{op + 3, hello}, ping)
		add(id(5), 1, fails(text(hello)), sent{finText, hello}, sent{op + 4, hello}, ping)
	}

	// Section 5: fragmentation.
	add("5.1", 0, fails(), sent{0x09, "fragment1"}, sent{finCont, "fragment2"})
	add("5.2", 0, fails(), sent{0x0a, "fragment1"}, sent{finCont, "fragment2"})
	both := text("fragment1fragment2")
	one, two := sent{moreText, "fragment1"}, sent{finCont, "fragment2"}
	between := sent{finPing, "ping"}
	stray, strayMore := sent{finCont, "stray"}, sent{moreCont, "stray"}
	for i, chop := range []int{-1, 0, 1} {
		id := func(n int) string { return fmt.Sprintf("5.%d", n+i) }
		add(id(3), chop, ends(both), one, two, bye)
		add(id(6), chop, ends(pong("ping"), both), one, between, two, bye)
		add(id(9), chop, fails(), stray, sent{finText, hello}).binary = fails()
		add(id(12), chop, fails(), strayMore, sent{finText, hello}).binary = fails()
	}
	add("5.15", -1, fails(both), one, two, strayMore, sent{finText, hello})
	add("5.16", -1, fails(), strayMore, one, two, strayMore, one, two).binary = fails()
	add("5.17", -1, fails(), stray, one, two, stray, one, two).binary = fails()
	add("5.18", 0, fails(), one, sent{finText, "fragment2"})
	for i, chop := range []int{-1, 0} {
		add(fmt.Sprintf("5.%d", 19+i), chop,
			ends(pong("pong1"), pong("pong2"), text("fragment1fragment2fragment3fragment4fragment5")),
			one, sent{moreCont, "fragment2"}, sent{finPing, "pong1"}, sent{moreCont, "fragment3"},
			sent{moreCont, "fragment4"}, sent{finPing, "pong2"}, sent{finCont, "fragment5"}, bye)
	}

	// Section 6: UTF-8.
	const valid = "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!"
	const broken = kosme + "\xed\xa0\x80edited"
	octets := func(s string) []sent {
		frames := []sent{{moreText, s[:1]}}
		for i := 1; i < len(s); i++ {
			frames = append(frames, sent{moreCont, s[i : i+1]})
		}
		frames[len(frames)-1].first |= 0x80
		return append(frames, bye)
	}
	add("6.1.1", 0, ends(text("")), sent{finText, ""}, bye)
	add("6.1.2", 0, ends(text("")), sent{moreText, ""}, sent{moreCont, ""}, sent{finCont, ""}, bye)
	add("6.1.3", 0, ends(text("middle")), sent{moreText, ""}, sent{moreCont, "middle"}, sent{finCont, ""}, bye)
	add("6.2.1", 0, ends(text(valid)), sent{finText, valid}, bye)
	add("6.2.2", 0, ends(text(valid)), sent{moreText, valid[:12]}, sent{finCont, valid[12:]}, bye)
	add("6.2.3", 0, ends(text(valid)), octets(valid)...)
	add("6.2.4", 0, ends(text(kosme)), octets(kosme)...)
	add("6.3.1", 0, invalid, sent{finText, broken}, bye)
	add("6.3.2", 0, invalid, octets(broken)...)
	// The last frame of the message never comes, so the server has to fail before it.
	add("6.4.1", 0, invalid, sent{moreText, kosme}, sent{moreCont, "\xf4\x90\x80\x80"})
	add("6.4.2", 0, invalid, sent{moreText, kosme + "\xf4"}, sent{moreCont, "\x90"})
	add("6.4.3", 1, invalid, sent{moreText, kosme + "\xf4\x90\x80\x80"})
	add("6.4.4", 1, invalid, sent{moreText, kosme + "\xf4\x90"})
	texts := func(section int, want bool, all ...string) {
		n := 0
		for _, c := range cases {
			if strings.HasPrefix(c.id, fmt.Sprintf("6.%d.", section)) {
				n++
			}
		}
		for i, s := range all {
			w := invalid
			if want {
				w = ends(text(s))
			}
			add(fmt.Sprintf("6.%d.%d", section, n+i+1), 0, w, sent{finText, s}, bye)
		}
	}
	texts(5, true, "hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", kosme)
	for n := range len(kosme) {
		texts(6, utf8.ValidString(kosme[:n+1]), kosme[:n+1])
	}
	texts(7, true, "\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80")
	texts(8, false, "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80")
	texts(9, true, "\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf")
	texts(10, false, "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf")
	texts(11, true, "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf")
	texts(11, false, "\xf4\x90\x80\x80")
	texts(12, false, "\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf",
		"\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", rangeOf(0x80, 0xbe, ""))
	texts(13, false, rangeOf(0xc0, 0xdf, " "), rangeOf(0xe0, 0xef, " "), rangeOf(0xf0, 0xf7, " "),
		rangeOf(0xf8, 0xfb, " "), rangeOf(0xfc, 0xfd, " "))
	incomplete := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	texts(14, false, incomplete...)
	texts(15, false, strings.Join(incomplete, ""))
	texts(16, false, "\xfe", "\xff", "\xfe\xfe\xff\xff")
	texts(17, false, "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf")
	texts(18, false, "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf")
	texts(19, false, "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80")
	texts(20, false, "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf")
	texts(21, false, "\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
		"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf")
	for plane := rune(0); plane <= 16; plane++ {
		texts(22, true, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	for special := rune(0xfff9); special <= 0xffff; special++ {
		texts(23, true, string(special))
	}

	// Section 7: close frames.
	add("7.1.1", 0, ends(text(hello)), sent{finText, hello}, bye)
	add("7.1.2", 0, ends(), bye, bye)
	add("7.1.3", 0, ends(), bye, ping)
	add("7.1.4", 0, ends(), bye, sent{finText, hello}).binary = ends()
	add("7.1.5", 0, ends(), one, bye, two)
	big := strings.Repeat("*", 256<<10)
	add("7.1.6", 0, ends(text(big)), sent{finText, big}, bye, ping)
	add("7.3.1", 0, []string{"close"}, sent{finClose, ""})
	add("7.3.2", 0, fails(), sent{finClose, "a"})
	add("7.3.3", 0, ends(), bye)
	add("7.3.4", 0, ends(), sent{finClose, closeNormal + "Hello World!"})
	add("7.3.5", 0, ends(), sent{finClose, closeNormal + strings.Repeat("*", 123)})
	add("7.3.6", 0, fails(), sent{finClose, closeNormal + strings.Repeat("*", 124)})
	add("7.5.1", 0, invalid, sent{finClose, closeNormal + broken}).binary = invalid
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.7.%d", i+1), 0, []string{fmt.Sprint("close ", code)}, sent{finClose, string([]byte{byte(code >> 8), byte(code)})})
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		add(fmt.Sprintf("7.9.%d", i+1), 0, fails(), sent{finClose, string([]byte{byte(code >> 8), byte(code)})})
	}
	for i, code := range []int{5000, 65535} {
		add(fmt.Sprintf("7.13.%d", i+1), 0, fails(), sent{finClose, string([]byte{byte(code >> 8), byte(code)})})
	}

	// Section 10: a long fragmented message.
	var fragments []sent
	for i := 0; i < 65536; i += 1300 {
		fragments = append(fragments, sent{moreCont, strings.Repeat("*", min(1300, 65536-i))})
	}
	fragments[0].first = moreText
	fragments[len(fragments)-1].first = finCont
	add("10.1.1", 0, ends(text(strings.Repeat("*", 65536))), append(fragments, bye)...)
	return cases
}

// rangeOf returns the bytes from first to last, each followed by separator.
func rangeOf(first, last byte, separator string) string {
	var s strings.Builder
	for b := int(first); b <= int(last); b++ {
		s.WriteByte(byte(b))
		s.WriteString(separator)
	}
	return s.String()
}

// writes returns the data of each write of the client.
func (c *autobahnCase) writes() [][]byte {
	key := [4]byte{0x7a, 0x01, 0xfe, 0x93}
	var frames [][]byte
	for _, f := range c.frames {
		b := wsframe.AppendMasked(nil, wsframe.Opcode(f.first&0x0f), key, []byte(f.payload))
		b[0] = f.first
		frames = append(frames, b)
		key[1]++
	}
	if c.chop == 0 {
		return frames
	}
	all := slices.Concat(frames...)
	if c.chop < 0 {
		return [][]byte{all}
	}
	return slices.Collect(slices.Chunk(all, c.chop))
}

// wantBinary returns the reply of a server that refuses text and does not echo. It sends
// pongs before the first text frame, then code 1003.
func (c *autobahnCase) wantBinary() []string {
	if c.binary != nil {
		return c.binary
	}
	text := slices.IndexFunc(c.frames, func(f sent) bool { return f.first&0x0f == 0x1 })
	if text < 0 {
		return slices.DeleteFunc(slices.Clone(c.want), isBinary)
	}
	var want []string
	for _, f := range c.frames[:text] {
		if f.first == finPing {
			want = append(want, fmt.Sprintf("pong %x", f.payload))
		}
	}
	return append(want, "close 1003")
}

func isBinary(s string) bool { return strings.HasPrefix(s, "binary ") }

// replies collects the frames of a server, up to its close frame, in the notation of the
// table.
type replies struct {
	decoder wsframe.Decoder
	message []byte
	got     []string
	closed  bool
}

var fromServer = wsframe.Config{Text: true}

func (r *replies) add(b []byte) error {
	for len(b) > 0 && !r.closed {
		f, n, err := r.decoder.Next(&fromServer, b)
		if err != nil {
			return err
		}
		b = b[n:]
		switch f.Op {
		case wsframe.Text, wsframe.Binary:
			r.message = append(r.message, f.Payload...)
			if f.End && f.Final {
				name := map[wsframe.Opcode]string{wsframe.Text: "text", wsframe.Binary: "binary"}[f.Op]
				r.got = append(r.got, fmt.Sprintf("%s %x", name, r.message))
				r.message = nil
			}
		case wsframe.Pong:
			r.got = append(r.got, fmt.Sprintf("pong %x", f.Payload))
		case wsframe.Close:
			r.closed = true
			if f.Code() == wsframe.CodeNoStatus {
				r.got = append(r.got, "close")
			} else {
				r.got = append(r.got, fmt.Sprint("close ", f.Code()))
			}
		}
	}
	return nil
}

// echo sends each message back, and replies to control frames.
type echo struct {
	config  wsframe.Config
	decoder wsframe.Decoder
	message []byte
	closed  bool
}

// add returns the reply to b.
func (e *echo) add(b []byte) (out []byte) {
	for len(b) > 0 && !e.closed {
		f, n, err := e.decoder.Next(&e.config, b)
		if err != nil {
			e.closed = true
			var fault *wsframe.Error
			if !errors.As(err, &fault) {
				panic(err)
			}
			return wsframe.AppendClose(out, fault.Code, fault.Error())
		}
		b = b[n:]
		switch f.Op {
		case wsframe.Text, wsframe.Binary:
			e.message = append(e.message, f.Payload...)
			if f.End && f.Final {
				out = wsframe.AppendFrame(out, f.Op, e.message)
				e.message = e.message[:0]
			}
		case wsframe.Ping:
			out = wsframe.AppendFrame(out, wsframe.Pong, f.Payload)
		case wsframe.Close:
			e.closed = true
			return wsframe.AppendClose(out, f.Code(), "")
		}
	}
	return out
}

func TestAutobahn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range autobahnCases() {
		t.Run(c.id, func(t *testing.T) {
			if seen[c.id] {
				t.Fatal("the case is there twice")
			}
			seen[c.id] = true
			e := echo{config: wsframe.Config{FromClient: true, Text: true}}
			var r replies
			for _, b := range c.writes() {
				if err := r.add(e.add(bytes.Clone(b))); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(r.got, c.want) {
				t.Errorf("the answers are %.200q, want %.200q", r.got, c.want)
			}
		})
	}
	if len(seen) != 247 {
		t.Errorf("%d cases, want the 247 of sections 1 to 7 and 10", len(seen))
	}
}

func TestAutobahnWithoutText(t *testing.T) {
	for _, c := range autobahnCases() {
		t.Run(c.id, func(t *testing.T) {
			e := echo{config: wsframe.Config{FromClient: true}}
			var r replies
			for _, b := range c.writes() {
				if err := r.add(e.add(bytes.Clone(b))); err != nil {
					t.Fatal(err)
				}
			}
			if got := slices.DeleteFunc(r.got, isBinary); !slices.Equal(got, c.wantBinary()) {
				t.Errorf("the answers are %.200q, want %.200q", got, c.wantBinary())
			}
		})
	}
}
