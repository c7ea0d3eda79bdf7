package protocol_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// bare is a serializer without a name.
type bare struct{ *jsonserializer.Serializer }

func (bare) Name(int) {}

func TestHandshakeAnswer(t *testing.T) {
	t.Parallel()
	dict := map[string]uint16{"Game.Echo": 1, "onNews": 65535}
	for _, test := range []struct {
		name       string
		opts       []nano.Option
		heartbeat  int
		serializer string
		dict       map[string]uint16
		user       string
	}{
		{"defaults", []nano.Option{nano.WithSerializer(protobuf.NewSerializer())}, 30, "protobuf", nil, ""},
		{"JSON", nil, 30, "json", nil, ""},
		{"a serializer of the program", []nano.Option{nano.WithSerializer(bare{jsonserializer.NewSerializer()})}, 30, "", nil, ""},
		{"dictionary", []nano.Option{nano.WithDictionary(dict)}, 30, "json", dict, ""},
		{"no time at all", []nano.Option{nano.WithHeartbeatInterval(time.Nanosecond)}, 1, "json", nil, ""},
		{"less than a second", []nano.Option{nano.WithHeartbeatInterval(300 * time.Millisecond)}, 1, "json", nil, ""},
		{"a second and a bit", []nano.Option{nano.WithHeartbeatInterval(1400 * time.Millisecond)}, 1, "json", nil, ""},
		{"almost two", []nano.Option{nano.WithHeartbeatInterval(1900 * time.Millisecond)}, 2, "json", nil, ""},
		{"minutes", []nano.Option{nano.WithHeartbeatInterval(3 * time.Minute)}, 180, "json", nil, ""},
		{"user data", []nano.Option{nano.WithHandshakeData(func(_ *session.Session, b []byte) (any, error) {
			return map[string]string{"you said": string(b)}, nil
		})}, 30, "json", nil, `{"you said":"{\"sys\":{}}"}`},
	} {
		for _, kind := range testkit.Sockets {
			t.Run(test.name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				p := testkit.Start(t, kind, &testkit.Game{}, test.opts...).Dial()
				before := time.Now().Unix()
				a := p.Handshake(`{"sys":{}}`)
				switch {
				case a.Code != 200 || a.Sys == nil || a.Message != "":
					t.Fatalf("answer %+v", a)
				case a.Sys.Heartbeat != test.heartbeat:
					t.Errorf("heartbeat %d, want %d", a.Sys.Heartbeat, test.heartbeat)
				case a.Sys.ServerTime < before || a.Sys.ServerTime > time.Now().Unix():
					t.Errorf("servertime %d, want %d or so", a.Sys.ServerTime, before)
				case a.Sys.Serializer != test.serializer:
					t.Errorf("serializer %q, want %q", a.Sys.Serializer, test.serializer)
				case fmt.Sprint(a.Sys.Dict) != fmt.Sprint(test.dict) || (a.Sys.Dict == nil) != (test.dict == nil):
					t.Errorf("dict %v, want %v", a.Sys.Dict, test.dict)
				case string(a.User) != test.user:
					t.Errorf("user %s, want %s", a.User, test.user)
				}
			})
		}
	}
}

// Fields without a value are omitted. The heartbeat is an integer, because some clients
// read nothing else.
func TestHandshakeAnswerByteForByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := testkit.Start(t, "pipe", &testkit.Game{})
		for range 3 { // servertime is the time of the handshake, not that of the start
			time.Sleep(100 * time.Second)
			p := at.Dial()
			got, err := p.Wire.Handshake("")
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"code":200,"sys":{"heartbeat":30,"servertime":%d,"serializer":"json","maxPacket":65536}}`, time.Now().Unix())
			if got != want {
				t.Errorf("answer %s, want %s", got, want)
			}
		}
	})
}

func TestHandshakeValidator(t *testing.T) {
	t.Parallel()
	type call struct {
		s    *session.Session
		body string
	}
	calls := make(chan call, 1)
	ends := make(chan error, 1)
	at := testkit.Start(t, "tcp", &testkit.Game{OnDo: func(s *session.Session, _ []byte) error { return s.Response([]byte(s.String("name"))) }},
		nano.WithHandshakeValidator(func(s *session.Session, body []byte) error {
			s.OnClose(func(_ *session.Session, err error) { ends <- err })
			s.Set("name", "set by the validator")
			if err := s.Push("onNews", "too early"); err == nil {
				t.Error("a push before the handshake is complete went out")
			}
			calls <- call{s, string(body)}
			switch {
			case strings.Contains(string(body), "old"):
				return errors.New("update your client")
			case strings.Contains(string(body), "panic"):
				panic(testkit.ErrSecret)
			case strings.Contains(string(body), "kick"):
				return s.Kick("not today")
			}
			return nil
		}),
		nano.WithHandshakeData(func(s *session.Session, body []byte) (any, error) {
			if strings.Contains(string(body), "data") {
				return nil, errors.New("no data for you")
			}
			return s.ID(), nil
		}))

	for _, body := range []string{`{"sys":{"version":"1"},"user":{"token":"t"}}`, "", "[]", "null", `"x"`} {
		p := at.Dial()
		a := p.Handshake(body)
		c := testkit.Receive(t, calls, "the validator's call")
		if a.Code != 200 || c.body != body || string(a.User) != fmt.Sprint(c.s.ID()) {
			t.Errorf("handshake %q: answer %+v, the validator was given %q", body, a, c.body)
		}
		if _, ok := at.Session(c.s.ID()); ok {
			t.Error("the session is among the open ones before the ack")
		}
		p.Send(testkit.Pack(packet.Ack, ""))
		if got := p.Call(1, "Game.Do", ""); got != "set by the validator" {
			t.Errorf("the handler found %q in the session", got)
		}
		if s, ok := at.Session(c.s.ID()); !ok || s != c.s {
			t.Error("the session is not the one that the validator was given")
		}
		p.Abort()
		if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrClientClosed) {
			t.Errorf("the session ended with %v", err)
		}
	}

	for _, test := range []struct {
		body    string
		code    int
		message string
	}{
		{`{"sys":{"version":"old"}}`, 500, "update your client"},
		{`{"data":1}`, 500, "no data for you"},
		{`{"panic":1}`, 500, "internal error"},
	} {
		p := at.Dial()
		a := p.Handshake(test.body)
		testkit.Receive(t, calls, "the validator's call")
		if a.Code != test.code || a.Message != test.message || a.Sys == nil || a.Sys.Heartbeat != 30 {
			t.Errorf("handshake %s: answer %+v, want %d and %q", test.body, a, test.code, test.message)
		}
		p.Send(testkit.Pack(packet.Ack, ""), testkit.Request(1, "Game.Echo", "")) // is too late
		if e := p.ReadEnd(); len(e.Messages) > 0 || e.Kick != "" {
			t.Errorf("%+v came after a handshake was refused", e)
		}
		if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrHandshake) {
			t.Errorf("the session ended with %v, want ErrHandshake", err)
		}
	}
	p := at.Dial()
	p.Send(testkit.Pack(packet.Handshake, `{"kick":1}`))
	if e := p.ReadEnd(); e.Kick != `{"reason":"not today","code":"kicked"}` {
		t.Errorf("kicked by the validator: %+v", e)
	}
	testkit.Receive(t, calls, "the validator's call")
	if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrKicked) {
		t.Errorf("the session ended with %v, want ErrKicked", err)
	}
}

// TestHandshakeLargerThanTheWriteBuffer checks that the answer of the handshake is sent
// whatever WithWriteBuffer allows, and so is a refusal.
func TestHandshakeLargerThanTheWriteBuffer(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, testkit.NewGame(nil), nano.WithWriteBuffer(1000, nano.RefusePush),
			nano.WithHandshakeData(func(_ *session.Session, body []byte) (any, error) {
				if string(body) == "{}" {
					return long, nil
				}
				return nil, errors.New(long)
			}))
		p := at.Dial()
		if a := p.Handshake("{}"); a.Code != 200 {
			t.Errorf("%s: code %d came, want 200", kind, a.Code)
		}
		p.Send(testkit.Pack(packet.Ack, ""))
		p.Echo(1, "and goes on")
		if a := at.Dial().Handshake("[]"); a.Code != 500 || a.Message != long {
			t.Errorf("%s: code %d came with a message of %d bytes, want 500 and %d", kind, a.Code, len(a.Message), len(long))
		}
	}
}

func TestHandshakeIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithHandshakeValidator(func(*session.Session, []byte) error {
			t.Error("the validator was asked")
			return nil
		}))
		for _, body := range []string{"{", "hello", "{}{}", "\x00", `{"a":`, "nul"} {
			p := at.Dial()
			if a := p.Handshake(body); a.Code != 500 || a.Message == "" {
				t.Errorf("handshake %q: answer %+v, want 500 and a message", body, a)
			}
			if e := p.ReadEnd(); !errors.Is(e.Err, io.EOF) || e.Code != 0 != at.IsWebSocket() {
				t.Errorf("handshake %q: the connection ended with %+v", body, e)
			}
		}
	}
}

// TestHandshakeDeadline checks that a handshake has 10 s in total, whatever the client
// does meanwhile.
func TestHandshakeDeadline(t *testing.T) {
	const limit = 10 * time.Second
	every := func(p *testkit.Client, b []byte) {
		for range 30 {
			time.Sleep(time.Second)
			if p.Raw(b) != nil {
				return
			}
		}
	}
	for _, test := range []struct {
		name string
		ws   bool // WebSocket only
		do   func(p *testkit.Client)
	}{
		{"nothing", false, func(*testkit.Client) {}},
		{"half a header", false, func(p *testkit.Client) { p.Send([]byte{1, 0}) }},
		{"half a handshake", false, func(p *testkit.Client) { p.Send(testkit.Pack(packet.Handshake, "{}")[:5]) }},
		{"no ack", false, func(p *testkit.Client) { p.Handshake("{}") }},
		{"half an ack", false, func(p *testkit.Client) { p.Handshake("{}"); p.Send(testkit.Pack(packet.Ack, "")[:3]) }},
		{"a byte a second", false, func(p *testkit.Client) {
			for _, b := range testkit.Pack(packet.Handshake, strings.Repeat(" ", 40)) {
				time.Sleep(time.Second)
				if p.Wire.Send([]byte{b}) != nil {
					return
				}
			}
		}},
		{"heartbeats", false, func(p *testkit.Client) {
			for range 30 {
				time.Sleep(time.Second)
				if p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) != nil {
					return
				}
			}
		}},
		{"heartbeats instead of the ack", false, func(p *testkit.Client) {
			p.Handshake("{}")
			for range 30 {
				time.Sleep(time.Second)
				if p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) != nil {
					return
				}
			}
		}},
		{"pings", true, func(p *testkit.Client) { every(p, testkit.Frame(0x89, []byte("ping"))) }},
		{"empty frames", true, func(p *testkit.Client) { every(p, testkit.Frame(0x82, nil)) }},
		{"half a frame", true, func(p *testkit.Client) { _ = p.Raw(testkit.Frame(0x82, testkit.Pack(packet.Handshake, "{}"))[:8]) }},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			if test.ws && kind == "pipe" {
				continue
			}
			t.Run(test.name+" over "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ends := make(chan error, 1)
					at := testkit.Start(t, kind, &testkit.Game{}, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
						s.OnClose(func(_ *session.Session, err error) { ends <- err })
						return nil
					}))
					start := time.Now()
					p := at.DialPatient()
					over := make(chan time.Duration, 1)
					done := make(chan struct{})
					go func() {
						defer close(done)
						test.do(p)
					}()
					go func() {
						// The client's actions may include reading. This read sees the
						// end of the connection.
						for at.Stats().Accepted == 0 || at.Stats().Connections > 0 {
							time.Sleep(10 * time.Millisecond)
						}
						over <- time.Since(start)
					}()
					if took := <-over; took < limit || took > limit+time.Second {
						t.Errorf("closed after %v, want %v", took, limit)
					}
					p.Abort()
					<-done
					if !strings.Contains(test.name, "ack") {
						return // the program has not received the session
					}
					if err := <-ends; !errors.Is(err, session.ErrHandshake) {
						t.Errorf("the session ended with %v, want ErrHandshake", err)
					}
				})
			})
		}
	}
}

func TestHandshakeJustInTime(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.Start(t, kind, &testkit.Game{}).DialPatient()
			time.Sleep(5 * time.Second)
			p.Handshake("{}")
			time.Sleep(4900 * time.Millisecond)
			p.Send(testkit.Pack(packet.Ack, ""))
			time.Sleep(5 * time.Second)
			p.Echo(1, "still here")
		})
	}
}

// TestSlowUpgrade checks that the deadline of the handshake starts with the TCP
// connection on the server's own listener and includes the upgrade. It does not apply to
// pages.
func TestSlowUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := testkit.Start(t, "wspipe", &testkit.Game{})
		connect := func() *testkit.Client {
			conn, err := at.DialConn()
			if err != nil {
				t.Fatal(err)
			}
			p := testkit.NewClient(t, conn)
			p.Patience = time.Hour
			return p
		}
		ended := func(p *testkit.Client, start time.Time) {
			t.Helper()
			_, err := io.ReadAll(p.Reader)
			if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("closed after %v, %v, want 10s", took, err)
			}
			p.Abort()
		}

		start := time.Now()
		p := connect() // sends no byte
		ended(p, start)

		start = time.Now()
		p = connect() // sends single bytes
		go func(w *testkit.Wire) {
			for _, b := range []byte(testkit.UpgradeRequest("/")) {
				if w.Raw([]byte{b}) != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}(p.Wire)
		ended(p, start)

		start = time.Now()
		p = connect() // the upgrade takes most of the time limit, and the handshake gets the rest
		time.Sleep(8 * time.Second)
		if err := p.Upgrade("/"); err != nil {
			t.Fatal(err)
		}
		p.Handshake("{}")
		ended(p, start)

		// The second request on a connection has its own deadline.
		p = connect()
		for range 3 {
			if err := p.Raw([]byte("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(p.Reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			if err != nil || r.StatusCode != http.StatusNotFound {
				t.Fatalf("%s, %v, want 404", r.Status, err)
			}
			time.Sleep(8 * time.Second)
		}
		if err := p.Upgrade("/"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		p.Join()
		p.Echo(1, "in time")
		p.Abort()

		// A connection may be idle between pages for a limited time only.
		p = connect()
		if err := p.Raw([]byte("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		if _, err := io.ReadAll(p.Reader); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("an idle connection was closed after %v, want 2m0s", took)
		}
		p.Abort()
	})
}

// TestBindInValidator checks that a validator may bind the user before the session is
// visible to the program.
func TestBindInValidator(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error { return s.Bind(42) }))
		p := at.Dial()
		p.Handshake("{}")
		p.Send(testkit.Pack(packet.Ack, ""))
		p.Echo(1, "hello")
		if n := len(at.SessionsByUID(42)); n != 1 {
			t.Errorf("%d sessions of the user, want 1", n)
		}
		p.Abort()
		testkit.Eventually(t, "the user is gone", func() bool { return len(at.SessionsByUID(42)) == 0 })
	}
}
