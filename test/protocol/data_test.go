package protocol_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// vector is a message that another encoder has made.
type vector struct {
	Type       message.Type
	ID         uint64
	Route      string
	Compressed bool
	Body, Wire text
}

type text []byte

func (h *text) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

func readVectors(t testing.TB) (dict map[string]uint16, messages []vector) {
	t.Helper()
	b, err := os.ReadFile("../../internal/codec/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Dictionary map[string]uint16
		Messages   []vector
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Messages) == 0 {
		t.Fatal(len(v.Messages), err)
	}
	return v.Dictionary, v.Messages
}

// TestVectors checks that a server handles every vector byte for byte. A hook checks what
// clients send, and the test checks what the server sends.
func TestVectors(t *testing.T) {
	t.Parallel()
	dict, vectors := readVectors(t)
	for _, kind := range []string{"tcp", "ws", "pipe"} {
		for _, compressed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s compressed=%v", kind, compressed), func(t *testing.T) {
				t.Parallel()
				sessions := make(chan *session.Session, 1)
				game := &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
					sessions <- s
					return nil
				}}
				came := make(chan message.Message, 1)
				hooks := pipeline.New()
				hooks.Inbound().PushBack(func(_ *session.Session, m *pipeline.Message) error {
					came <- *m
					if m.Type == message.Request {
						m.Route = "Game.Echo"
					} else if m.Route != "Game.Do" {
						return errors.New("dropped")
					}
					return nil
				})
				opts := []nano.Option{nano.WithPipeline(hooks)}
				if compressed {
					opts = append(opts, nano.WithDictionary(dict))
				}
				p := testkit.Start(t, kind, game, opts...).Join()
				p.Send(testkit.Notify("Game.Do", ""))
				s := testkit.Receive(t, sessions, "the session")
				testkit.Receive(t, came, "the first message")
				for i, v := range vectors {
					if v.Compressed != compressed {
						continue
					}
					switch v.Type {
					case message.Request, message.Notify:
						p.Send(testkit.Pack(packet.Data, string(v.Wire)))
						m := testkit.Receive(t, came, "the message")
						if m.Type != v.Type || m.ID != v.ID || m.Route != v.Route || !bytes.Equal(m.Data, v.Body) {
							t.Errorf("vector %d: %x came through as %v", i, v.Wire, &m)
						}
						if v.Type == message.Request {
							want := append(binary.AppendUvarint([]byte{4}, v.ID), v.Body...)
							if typ, got, err := p.Packet(); err != nil || typ != packet.Data || got != string(want) {
								t.Errorf("vector %d was answered by %v %x, %v, want %x", i, typ, got, err, want)
							}
						}
					case message.Response:
						p.Send(testkit.Request(v.ID, "Any.Route", string(v.Body)))
						testkit.Receive(t, came, "the request")
						if typ, got, err := p.Packet(); err != nil || typ != packet.Data || got != string(v.Wire) {
							t.Errorf("vector %d: %v %x, %v came, want %x", i, typ, got, err, v.Wire)
						}
					case message.Push:
						if err := s.Push(v.Route, []byte(v.Body)); err != nil {
							t.Fatal(err)
						}
						if typ, got, err := p.Packet(); err != nil || typ != packet.Data || got != string(v.Wire) {
							t.Errorf("vector %d: %v %x, %v came, want %x", i, typ, got, err, v.Wire)
						}
					}
				}
			})
		}
	}
}

// TestStreamsCutAnywhere checks that a stream has the same meaning however it is split,
// over every kind of connection.
func TestStreamsCutAnywhere(t *testing.T) {
	t.Parallel()
	const n = 30
	var stream []byte
	for i := range uint64(n) {
		stream = append(stream, testkit.Request(i+1, "Game.Echo", strings.Repeat("x", int(i)))...)
		stream = append(stream, testkit.Pack(packet.Heartbeat, "")...)
	}
	for _, kind := range testkit.Transports {
		for _, size := range []int{1, 3, 100, len(stream)} {
			t.Run(fmt.Sprintf("%s by %d", kind, size), func(t *testing.T) {
				t.Parallel()
				p := testkit.Start(t, kind, &testkit.Game{}).Join()
				p.Go(func() {
					for piece := range slices.Chunk(stream, size) {
						if p.Wire.Send(piece) != nil {
							return
						}
					}
				})
				for i := range uint64(n) {
					if m := p.Next(); m.ID != i+1 || len(m.Data) != int(i) {
						t.Fatalf("%v came, want the answer to request %d", m, i+1)
					}
				}
			})
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		p := testkit.Start(t, kind, &testkit.Game{}).Join()
		for _, id := range []uint64{1, 127, 128, 255, 256, 16383, 16384, 1<<32 - 1, 1 << 32, 1<<53 + 1, 1 << 63, math.MaxUint64} {
			p.Echo(id, fmt.Sprint(id))
		}
		// A varint may have leading zeros, up to ten bytes.
		p.Send(testkit.Pack(packet.Data, "\x00\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00\x09Game.Echohello"))
		if m := p.Next(); m.ID != 1 || string(m.Data) != "hello" {
			t.Errorf("%v came, want the answer to request 1", m)
		}
	}
}

// TestMalformed checks that malformed data closes the connection. If the id of a request
// could be read, the request is answered first.
func TestMalformed(t *testing.T) {
	t.Parallel()
	route := "\x09Game.Echo"
	for _, test := range []struct {
		name   string
		before bool // sent before the handshake
		send   []byte
		id     uint64 // id of the answered request
	}{
		{name: "packet type 0", send: []byte{0, 0, 0, 0}},
		{name: "packet type 6", send: []byte{6}},
		{name: "packet type 0x84", send: []byte{0x84, 0, 0, 0}},
		{name: "packet type 255", send: []byte{255, 0, 0, 0}},
		{name: "text", send: []byte("GET / HTTP/1.1\r\n\r\n")},
		{name: "a kick", send: testkit.Pack(packet.Kick, "{}")},
		{name: "a second handshake", send: testkit.Pack(packet.Handshake, "{}")},
		{name: "a second ack", send: testkit.Pack(packet.Ack, "")},
		{name: "65,537 bytes announced", send: []byte{4, 1, 0, 1}},
		{name: "16 MiB announced", send: []byte{4, 255, 255, 255}},
		{name: "16 MiB of heartbeat", send: []byte{3, 255, 255, 255}},
		{name: "no message", send: testkit.Pack(packet.Data, "")},
		{name: "message type 4", send: testkit.DataPacket("\x08", route)},
		{name: "message type 5", send: testkit.DataPacket("\x0a", route)},
		{name: "message type 6", send: testkit.DataPacket("\x0c", route)},
		{name: "message type 7", send: testkit.DataPacket("\x0e", route)},
		{name: "a response", send: testkit.DataPacket("\x04\x01")},
		{name: "an error response", send: testkit.DataPacket("\x24\x01")},
		{name: "a push", send: testkit.DataPacket("\x06", route)},
		{name: "a compressed push", send: testkit.DataPacket("\x07\x00\x01")},
		{name: "a request without an id", send: testkit.DataPacket("\x00")},
		{name: "id 0", send: testkit.DataPacket("\x00\x00", route)},
		{name: "id 0 in two bytes", send: testkit.DataPacket("\x00\x80\x00", route)},
		{name: "an id cut off", send: testkit.DataPacket("\x00\x80\x80")},
		{name: "an id of 65 bits", send: testkit.DataPacket("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", route)},
		{name: "an id of 11 bytes", send: testkit.DataPacket("\x00\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", route)},
		{name: "a request without a route", send: testkit.DataPacket("\x00\x07"), id: 7},
		{name: "a route that does not fit", send: testkit.DataPacket("\x00\x08\x0aGame.Echo"), id: 8},
		{name: "a route of 255 bytes that does not fit", send: testkit.DataPacket("\x00\x09\xff", strings.Repeat("r", 254)), id: 9},
		{name: "a route code that does not fit", send: testkit.DataPacket("\x01\x81\x01\x01"), id: 129},
		{name: "a request with the largest id and no route", send: testkit.DataPacket("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), id: math.MaxUint64},
		{name: "a notify without a route", send: testkit.DataPacket("\x02")},
		{name: "a notify whose route does not fit", send: testkit.DataPacket("\x02\x05Game")},
		{name: "a notify whose route code does not fit", send: testkit.DataPacket("\x03\x01")},
		{name: "with a lot behind it", send: append(testkit.DataPacket("\x00\x07"), bytes.Repeat(testkit.Request(8, "Game.Echo", "x"), 10_000)...), id: 7},
		{name: "an ack first", before: true, send: testkit.Pack(packet.Ack, "")},
		{name: "data first", before: true, send: testkit.Request(1, "Game.Echo", "")},
		{name: "data before the ack", before: true, send: append(testkit.Pack(packet.Handshake, ""), testkit.Request(1, "Game.Echo", "")...)},
		{name: "a handshake before the ack", before: true, send: bytes.Repeat(testkit.Pack(packet.Handshake, ""), 2)},
		{name: "a kick first", before: true, send: testkit.Pack(packet.Kick, "{}")},
		{name: "HTTP", before: true, send: []byte("GET / HTTP/1.1\r\n\r\n")},
	} {
		for _, kind := range testkit.Sockets {
			t.Run(test.name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				game, ends := watched()
				at := testkit.Start(t, kind, game)
				p := at.Dial()
				if !test.before {
					p.Join()
					p.Call(1, "Game.Do", "")
				}
				p.Go(func() { _ = p.Wire.Send(test.send) })
				if test.before {
					_ = p.Conn.SetReadDeadline(time.Now().Add(testkit.Patience))
					if _, err := io.Copy(io.Discard, p.Reader); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("the connection stays open")
					}
				} else {
					e := p.ReadEnd()
					want := 1002
					if strings.Contains(t.Name(), "announced") || strings.Contains(t.Name(), "16_MiB") {
						want = 1009
					}
					if !errors.Is(e.Err, io.EOF) || at.IsWebSocket() && e.Code != want {
						t.Errorf("the connection ended with code %d, %v, want %d where there are frames", e.Code, e.Err, want)
					}
					switch {
					case test.id == 0 && len(e.Messages) > 0:
						t.Errorf("%v came, want nothing", e.Messages)
					case test.id != 0 && (len(e.Messages) != 1 || e.Messages[0].ID != test.id):
						t.Errorf("%v came, want the answer to request %d", e.Messages, test.id)
					case test.id != 0:
						if e := p.ErrorOf(e.Messages[0]); e.Code != nano.CodeBadRequest {
							t.Errorf("the answer is %v, want NANO-400", e)
						}
					}
					if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrProtocol) {
						t.Errorf("the session ended with %v, want ErrProtocol", err)
					}
				}
				if n := at.Stats().Closed["protocol"]; n != 1 {
					t.Errorf("%d sessions were closed for a protocol error, want 1", n)
				}
			})
		}
	}
}

// TestRefusedAlone checks that a message that cannot be served does not affect others.
func TestRefusedAlone(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("r", 255)
	for _, test := range []struct {
		name    string
		flag    string // flags other than the type
		route   string
		payload string
		code    string
	}{
		{"unknown service", "", "\x07No.Such", "", nano.CodeNotFound},
		{"unknown method", "", "\x0cGame.Missing", "", nano.CodeNotFound},
		{"a service alone", "", "\x04Game", "", nano.CodeNotFound},
		{"no route", "", "\x00", "", nano.CodeNotFound},
		{"a dot", "", "\x01.", "", nano.CodeNotFound},
		{"case matters", "", "\x09game.echo", "", nano.CodeNotFound},
		{"a route of 255 bytes", "", "\xff" + long, "", nano.CodeNotFound},
		{"a route that is not text", "", "\x03\xff\x00\xfe", "", nano.CodeNotFound},
		{"a handler for other nodes", "", "\x0eGame.Elsewhere", `{"N":1}`, nano.CodeNotFound},
		{"an unknown code", "\x01", "\x00\x09", "", nano.CodeNotFound},
		{"the highest code", "\x01", "\xff\xff", "", nano.CodeNotFound},
		{"gzip", "\x10", "\x09Game.Echo", "", nano.CodeBadRequest},
		{"the error flag", "\x20", "\x09Game.Echo", "", nano.CodeBadRequest},
		{"flag 0x40", "\x40", "\x09Game.Echo", "", nano.CodeBadRequest},
		{"flag 0x80", "\x80", "\x09Game.Echo", "", nano.CodeBadRequest},
		{"all flags, unknown route", "\xf0", "\x07No.Such", "", nano.CodeBadRequest},
		{"a payload cut off", "", "\x0bGame.Double", `{"N":`, nano.CodeBadRequest},
		{"a payload of another type", "", "\x0bGame.Double", `{"N":"x"}`, nano.CodeBadRequest},
		{"an error", "", "\x09Game.Fail", "", nano.CodeInternal},
		{"a panic", "", "\x0aGame.Panic", "", nano.CodeInternal},
		{"an error meant for the client", "", "\x0bGame.Refuse", "", "GAME-1"},
	} {
		for _, kind := range testkit.Sockets {
			for _, dict := range []map[string]uint16{nil, {"Game.Echo": 1}} {
				t.Run(fmt.Sprintf("%s over %s %v", test.name, kind, dict), func(t *testing.T) {
					t.Parallel()
					at := testkit.Start(t, kind, &testkit.Game{}, nano.WithDictionary(dict))
					p := at.Join()
					flag := byte(0)
					if test.flag != "" {
						flag = test.flag[0]
					}
					before := at.Stats()
					p.Send(testkit.DataPacket(string([]byte{flag | 2}), test.route, test.payload))
					p.Echo(1, "a notify is dropped")
					p.Send(testkit.DataPacket(string([]byte{flag, 5}), test.route, test.payload))
					m := p.Next()
					e := p.ErrorOf(m)
					if m.ID != 5 || e.Code != test.code || e.Message == "" {
						t.Errorf("request 5 was answered by %v, %v, want %s", m, e, test.code)
					}
					if strings.Contains(e.Message, testkit.ErrSecret.Error()) {
						t.Errorf("the client was told %q", e.Message)
					}
					if want := "internal error"; test.code == nano.CodeInternal && e.Message != want {
						t.Errorf("the client was told %q, want %q", e.Message, want)
					}
					if test.code == "GAME-1" && (e.Message != "not your turn" || e.Metadata["turn"] != "7") {
						t.Errorf("the client was told %+v", e)
					}
					p.Echo(6, "still here")
					after := at.Stats()
					if n := after.Refused["notify"] - before.Refused["notify"]; n != 1 {
						t.Errorf("%d notifies were counted as refused, want 1", n)
					}
					if n := after.Refused["request"] - before.Refused["request"]; n != 1 {
						t.Errorf("%d requests were counted as refused, want 1", n)
					}
				})
			}
		}
	}
}

var errPicky = errors.New("not one of mine")

// TestDictionary checks that routes are compressed in both directions, and that
// uncompressed routes are accepted too.
func TestDictionary(t *testing.T) {
	t.Parallel()
	codes := map[string]uint16{"Game.Echo": 0x0102, "Game.Do": 0xffff, "onNews": 0, "Game.Double": 3}
	dict, err := message.NewDictionary(codes)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range testkit.Sockets {
		p := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
			return errors.Join(s.Push("onNews", data), s.Push("onOther", data), s.Response(data))
		}}, nano.WithDictionary(codes)).Join()
		p.Send(testkit.DataPacket("\x01\x01\x01\x02hello"))
		if m := p.Next(); m.ID != 1 || string(m.Data) != "hello" {
			t.Errorf("%v %q came, want the answer to request 1", m, m.Data)
		}
		p.Echo(2, "spelled out")
		p.Send(testkit.DataPacket("\x01\x03\x00\x03", `{"N":4}`))
		if m := p.Next(); string(m.Data) != `{"N":8}` {
			t.Errorf("%v %q came, want the double", m, m.Data)
		}
		p.Send(testkit.DataPacket("\x01\x04\xff\xff", "!"))
		for _, want := range []string{"\x07\x00\x00!", "\x06\x07onOther!", "\x04\x04!"} {
			if typ, got, err := p.Packet(); err != nil || typ != packet.Data || got != want {
				t.Errorf("%v %q, %v came, want %q", typ, got, err, want)
			}
		}
		p.Wire.Dict = dict
		p.Send(testkit.DataPacket("\x03\xff\xff", "?")) // a notify, so no answer
		if m := p.Next(); m.Route != "onNews" || m.Type != message.Push {
			t.Errorf("%v came, want the push", m)
		}
	}
}

// Longest has a name of the maximum length. A route may have 255 bytes.
type Longest struct{ component.Base }

func (l *Longest) Echo(s *session.Session, data []byte) error {
	return errors.Join(s.Push(strings.Repeat("p", 255), data), s.Response(data))
}

func TestLongestRoute(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		components := &component.Components{}
		name := strings.Repeat("m", 255-len("Longest."))
		components.Register(&Longest{}, component.WithNameFunc(func(string) string { return name }))
		p := testkit.Start(t, kind, &testkit.Game{}, nano.WithComponents(components)).Join()
		p.Send(testkit.Request(1, "Longest."+name, "x"))
		if m := p.Next(); m.Type != message.Push || m.Route != strings.Repeat("p", 255) {
			t.Errorf("%v came, want the push", m)
		}
		if m := p.Next(); m.Type != message.Response || m.ID != 1 || m.Err {
			t.Errorf("%v came, want the answer", m)
		}
	}
}

// TestLongRouteInAnError checks that an error quotes only the beginning of a long route,
// even if quoting makes it longer.
func TestLongRouteInAnError(t *testing.T) {
	t.Parallel()
	p := testkit.Start(t, "tcp", &testkit.Game{}).Join()
	for _, char := range []string{"r", "\xff", "\n", "é"} {
		route := strings.Repeat(char, 255/len(char))
		p.Send(testkit.DataPacket("\x00\x01", string([]byte{byte(len(route))}), route))
		m := p.Next()
		if e := p.ErrorOf(m); e.Code != nano.CodeNotFound || !strings.HasPrefix(e.Message, `route "`) || len(m.Data) > 600 {
			t.Errorf("a route of %d times %q: %d bytes came, %v", len(route), char, len(m.Data), e)
		}
	}
}

// TestAnswers checks that handlers can do the listed things with a request and get the
// listed errors.
func TestAnswers(t *testing.T) {
	t.Parallel()
	type outcome struct {
		lastMid uint64
		errs    []error
	}
	got := make(chan outcome, 10)
	later := make(chan func(), 10)
	game := &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		o := outcome{lastMid: s.LastMid()}
		defer func() { got <- o }()
		respond := func(v any) { o.errs = append(o.errs, s.Response(v)) }
		switch string(data) {
		case "twice":
			respond([]byte("first"))
			respond([]byte("second"))
			o.errs = append(o.errs, s.ResponseMID(o.lastMid, []byte("third")))
		case "answer and fail":
			respond([]byte("first"))
			return testkit.ErrSecret
		case "answer and panic":
			respond([]byte("first"))
			panic("no luck")
		case "unspeakable":
			respond(func() {})
			return errors.New("could not say it")
		case "unspeakable, then not":
			respond(func() {})
			respond([]byte("first"))
		case "too large":
			respond(make([]byte, 2<<20))
			return nano.Errorf("GAME-3", "too large")
		case "later":
			mid := s.LastMid()
			later <- func() { o.errs = append(o.errs, s.ResponseMID(mid, []byte("at last"))) }
		case "later, with an error":
			mid := s.LastMid()
			later <- func() { o.errs = append(o.errs, s.ResponseMID(mid, func() {})) }
			return nil
		case "no id":
			o.errs = append(o.errs, s.ResponseMID(0, []byte("x")))
		case "nothing":
		}
		return nil
	}}
	for _, kind := range testkit.Sockets {
		p := testkit.Start(t, kind, game).Join()
		answer := func(m *message.Message) string {
			if m.Err {
				return p.ErrorOf(m).Code
			}
			return string(m.Data)
		}
		id := uint64(1000)
		for _, test := range []struct {
			do   string
			errs []error // nil allows any error
			want string  // "" for no answer
		}{
			{"twice", []error{nil, session.ErrSessionOnNotify, session.ErrSessionOnNotify}, "first"},
			{"answer and fail", []error{nil}, "first"},
			{"answer and panic", []error{nil}, "first"},
			{"unspeakable", []error{errAny}, nano.CodeInternal},
			{"unspeakable, then not", []error{errAny, nil}, "first"},
			{"too large", []error{session.ErrBufferExceed}, "GAME-3"},
			{"no id", []error{session.ErrSessionOnNotify}, ""},
			{"nothing", nil, ""},
		} {
			id++
			p.Send(testkit.Request(id, "Game.Do", test.do), testkit.Request(id+1000, "Game.Echo", ""))
			if test.want != "" {
				if m := p.Next(); m.ID != id || answer(m) != test.want {
					t.Errorf("%s: %v %s came, want %s", test.do, m, answer(m), test.want)
				}
			}
			if m := p.Next(); m.ID != id+1000 {
				t.Errorf("%s: %v came, want no more answers", test.do, m)
			}
			o := testkit.Receive(t, got, "the handler's end")
			if o.lastMid != id || !same(o.errs, test.errs) {
				t.Errorf("%s: LastMid = %d, errors %v, want %d, %v", test.do, o.lastMid, o.errs, id, test.errs)
			}
			// A notify is not answered.
			if test.do == "no id" {
				continue
			}
			p.Send(testkit.Notify("Game.Do", test.do))
			o = testkit.Receive(t, got, "the handler's end")
			for _, err := range o.errs {
				if !errors.Is(err, session.ErrSessionOnNotify) {
					t.Errorf("%s in a notify: %v, want ErrSessionOnNotify", test.do, err)
				}
			}
			if o.lastMid != 0 {
				t.Errorf("%s in a notify: LastMid = %d", test.do, o.lastMid)
			}
		}
		// Deferred answers may be sent in any order, between those of other requests.
		p.Send(testkit.Request(7, "Game.Do", "later"), testkit.Request(8, "Game.Do", "later"), testkit.Request(9, "Game.Echo", "now"))
		testkit.Receive(t, got, "the handler's end")
		testkit.Receive(t, got, "the handler's end")
		if m := p.Next(); m.ID != 9 {
			t.Errorf("%v came, want the answer to request 9", m)
		}
		first, second := testkit.Receive(t, later, "request 7"), testkit.Receive(t, later, "request 8")
		second()
		first()
		for _, id := range []uint64{8, 7} {
			if m := p.Next(); m.ID != id || string(m.Data) != "at last" {
				t.Errorf("%v came, want the answer to request %d", m, id)
			}
		}
		p.Echo(10, "done")
	}
}

// TestContextOfHandlers checks that a handler with a context parameter gets the context
// of its session.
func TestContextOfHandlers(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "tcp", &testkit.Game{})
	p := at.Join()
	if got := p.Call(1, "Game.Context", ""); got != "ok" {
		t.Errorf("Game.Context: %s", got)
	}
	p.Send(testkit.Request(2, "Game.Context", "close"))
	if e := p.ReadEnd(); len(e.Messages) != 1 || e.Messages[0].ID != 2 {
		t.Errorf("%v came, want the answer of the handler that closed the session", e.Messages)
	}
	if n := at.Stats().Panics; n != 0 {
		t.Errorf("%d panics, want the context to end with the session", n)
	}
}

var errAny = errors.New("any error")

func same(got, want []error) bool {
	return slices.EqualFunc(got, want, func(g, w error) bool { return errors.Is(g, w) || w == errAny && g != nil })
}
