package dispatch_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func dictionary(t testing.TB, codes map[string]uint16) *message.Dictionary {
	t.Helper()
	d, err := message.NewDictionary(codes)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wire parses the header of an encoded message.
func wire(t testing.TB, b string) *message.Header {
	t.Helper()
	h, err := message.Parse([]byte(b))
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

func TestWhatIsRefused(t *testing.T) {
	inbound := pipeline.New().Inbound()
	for name, hooks := range map[string]pipeline.Channel{"without hooks": nil, "with hooks": inbound} {
		t.Run(name, func(t *testing.T) {
			codes := dictionary(t, map[string]uint16{"desk.Raw": 1, "desk.None": 2, "desk.Node": 3, "desk.Typed": 4})
			configure := func(c *dispatch.Config) { c.Inbound, c.Dictionary = hooks, codes }
			inBed(t, configure, with("desk", &desk{}), func(b *bed) {
				for i, test := range []struct{ what, wire, want string }{
					{"served", "\x00\x01\x08desk.Raw", ""},
					{"a code", "\x01\x01\x00\x01", ""},
					{"a code and a payload", "\x01\x01\x00\x04{\"N\":1}", ""},
					{"unknown service", "\x00\x01\x08bank.Raw", `NANO-404: route "bank.Raw"`},
					{"unknown method", "\x00\x01\x08desk.raw", `NANO-404: route "desk.raw"`},
					{"no route", "\x00\x01\x00", `NANO-404: route ""`},
					{"no dot", "\x00\x01\x04desk", `NANO-404: route "desk"`},
					{"bytes that are not text", "\x00\x01\x02\xff\xfe", `NANO-404: route "\xff\xfe"`},
					{"a code of no route", "\x01\x01\x00\x09", "NANO-404: route code 9"},
					{"a code of a route that nobody serves", "\x01\x01\x00\x02", `NANO-404: route "desk.None"`},
					{"for nodes only", "\x00\x01\x09desk.Node{\"N\":1}", `NANO-404: route "desk.Node"`},
					{"for nodes only, by code", "\x01\x01\x00\x03", `NANO-404: route "desk.Node"`},
					{"gzip flag", "\x10\x01\x08desk.Raw", "NANO-400: the message has flags"},
					{"error flag", "\x20\x01\x08desk.Raw", "NANO-400: the message has flags"},
					{"flag 0x40", "\x40\x01\x08desk.Raw", "NANO-400: the message has flags"},
					{"flag 0x80", "\x80\x01\x08desk.Raw", "NANO-400: the message has flags"},
					{"no payload", "\x00\x01\x0adesk.Typed", ""},
					{"a broken payload", "\x00\x01\x0adesk.Typed{", "NANO-400: the payload of desk.Typed does not decode"},
				} {
					id := uint64(i + 1)
					h := wire(t, test.wire)
					h.ID = id
					batch := dispatch.NewBatch()
					batch.Add(b.Decode(b.session, h, dispatch.Clones), 0)
					b.box.Deliver(batch)
					synctest.Wait()
					t.Run(test.what, func(t *testing.T) {
						old := b.t
						defer func() { b.t = old }()
						b.t = t
						b.failed(id, test.want)
						if strings.Contains(b.entity.fails[id], "\n") || strings.Contains(b.entity.fails[id], "invalid") {
							t.Errorf("the client is told %q, want no internals", b.entity.fails[id])
						}
					})
				}
				b.counted(0, 14, 0)
			})
		})
	}
}

// TestNotifiesAreDropped checks that a notify is never answered.
func TestNotifiesAreDropped(t *testing.T) {
	d := &desk{raw: func(_ *session.Session, data []byte) error {
		if string(data) == "panic" {
			panic("boom")
		}
		return errors.New("failed")
	}}
	inBed(t, nil, with("desk", d), func(b *bed) {
		b.do(notify("bank.Pay", ""), notify("desk.Typed", "{"), notify("desk.Raw", ""), notify("desk.Raw", "panic"))
		b.do(notify("desk.Typed", `{"N":1}`)) // the client does not wait for the reply
		b.counted(4, 0, 1)
		if len(b.entity.fails) != 0 || len(b.entity.responses) != 0 {
			t.Errorf("notifies were answered with %v and %v, want nothing", b.entity.fails, b.entity.responses)
		}
		b.logged("nano: handler failed", 1)
	})
}

func TestDraining(t *testing.T) {
	for name, hooks := range map[string]pipeline.Channel{"without hooks": nil, "with hooks": pipeline.New().Inbound()} {
		t.Run(name, func(t *testing.T) {
			ran := 0
			d := &desk{raw: func(*session.Session, []byte) error { ran++; return nil }}
			inBed(t, func(c *dispatch.Config) { c.Inbound = hooks }, with("desk", d), func(b *bed) {
				before := b.Decode(b.session, header(t, request(1, "desk.Raw", "x")), dispatch.Clones)
				b.Drain()
				batch := dispatch.NewBatch()
				batch.Add(before, 1)
				b.box.Deliver(batch)
				b.do(request(2, "desk.Raw", ""), request(3, "bank.Pay", ""), notify("desk.Raw", ""))
				b.failed(1, "")
				b.failed(2, "NANO-503")
				b.failed(3, "NANO-503")
				if ran != 1 {
					t.Errorf("%d handlers ran, want the one whose message was accepted before", ran)
				}
				b.counted(1, 2, 0)
			})
		})
	}
}

// faultOfPrograms is an error type whose methods dereference the receiver, so they panic
// for a nil pointer.
type faultOfPrograms struct{ text string }

func (f *faultOfPrograms) Error() string { return f.text }
func (f *faultOfPrograms) Unwrap() error { return errors.New(f.text) }

func TestErrorsThatClientsSee(t *testing.T) {
	coded := &message.Error{Code: "GAME-1", Message: "no seat is free"}
	for _, debug := range []bool{false, true} {
		for _, test := range []struct {
			err               error
			want, wantInDebug string
			logs              int
		}{
			{coded, "GAME-1: no seat is free", "", 0},
			{fmt.Errorf("joining: %w", coded), "GAME-1: no seat is free", "", 0},
			{errors.New("password is 1234"), "NANO-500: internal error", "NANO-500: password is 1234", 1},
			{(*message.Error)(nil), "NANO-500: internal error", "NANO-500: a nil *message.Error was returned as an error", 1},
			{(*faultOfPrograms)(nil), "NANO-500: internal error", "NANO-500: a nil *dispatch_test.faultOfPrograms was returned as an error", 1},
			{fmt.Errorf("joining: %w", (*message.Error)(nil)), "NANO-500: internal error", "NANO-500: joining: ", 1},
		} {
			d := &desk{raw: func(*session.Session, []byte) error { return test.err }}
			inBed(t, func(c *dispatch.Config) { c.Debug = debug }, with("desk", d), func(b *bed) {
				b.do(request(7, "desk.Raw", ""))
				want := test.want
				if debug && test.wantInDebug != "" {
					want = test.wantInDebug
				}
				b.failed(7, want)
				b.logged("nano: handler failed", test.logs)
				b.logged("error=<nil>", 0)
				b.counted(0, 1, 0)
			})
		}
	}
	inBed(t, func(c *dispatch.Config) { c.Debug = true }, with("desk", &desk{}), func(b *bed) {
		b.do(request(7, "desk.Typed", "{"))
		if !strings.HasPrefix(b.entity.fails[7], "NANO-400: the payload of desk.Typed does not decode: ") {
			t.Errorf("in debug mode the client is told %q, want also why", b.entity.fails[7])
		}
	})
}

// TestAnswersToAClientThatIsGoneAreNotLogged checks that a failed answer to a closed
// client is not counted as a failure of the handler.
func TestAnswersToAClientThatIsGoneAreNotLogged(t *testing.T) {
	d := &desk{raw: func(s *session.Session, _ []byte) error { return s.Response("late") }}
	inBed(t, nil, with("desk", d), func(b *bed) {
		b.entity.closed = session.ErrBrokenPipe
		b.entity.control.End(session.ErrClientClosed)
		b.do(request(1, "desk.Raw", ""), request(2, "desk.Typed", `{"N":1}`))
		if b.log.String() != "" {
			t.Errorf("logged %s, want nothing", b.log)
		}
	})
}

func TestPanics(t *testing.T) {
	d := &desk{raw: func(_ *session.Session, data []byte) error { panic("boom " + string(data)) }}
	inBed(t, func(c *dispatch.Config) { c.Debug = true }, with("desk", d), func(b *bed) {
		b.send(request(1, "desk.Raw", "one"), request(2, "desk.Typed", `{"N":1}`), request(3, "desk.Raw", "two"))
		synctest.Wait()
		b.failed(1, "NANO-500: internal error")
		b.responded(2, &value{2})
		b.failed(3, "NANO-500: internal error")
		b.counted(0, 2, 2)
		b.logged("nano: panic in a handler", 2)
		b.logged("boom one", 1)
		b.logged(`stack.1="dispatch_test.TestPanics.func1 `, 2) // the first frame belongs to the program
		b.logged("dispatch_test.go:", 2)
		b.logged(`\\n`, 0) // the stack is not escaped into one line
		b.logged("nano: handler failed", 0)
	})
}

func TestReplies(t *testing.T) {
	d := &desk{typed: func(s *session.Session, v *value) (*value, error) {
		switch v.N {
		case 0:
			s.Defer()
			return nil, nil
		case 1:
			return &value{10}, nil
		case 2:
			if err := s.Response("first"); err != nil {
				return nil, err
			}
			return &value{20}, nil // the program returns both
		}
		return &value{30}, errors.New("an error goes before a reply")
	}}
	inBed(t, nil, with("desk", d), func(b *bed) {
		for n := range 4 {
			b.do(request(uint64(n+1), "desk.Typed", fmt.Sprintf(`{"N":%d}`, n)))
		}
		if _, ok := b.entity.responses[1]; ok || b.entity.fails[1] != "" {
			t.Error("a handler that took the answer over was answered for")
		}
		b.responded(2, &value{10})
		b.responded(3, "first")
		b.failed(3, "")
		b.logged("no request to respond to", 1)
		b.failed(4, "NANO-500")
		if err := b.entity.ResponseMid(1, "later"); err != nil {
			t.Error(err)
		}
		b.responded(1, "later")
	})
}

func TestContextOfAHandler(t *testing.T) {
	inBed(t, nil, with("desk", &desk{}), func(b *bed) {
		b.do(request(1, "desk.Ctx", ""))
		b.responded(1, &value{})
		b.entity.control.End(&message.Error{Code: "GAME-2", Message: "left"})
		b.do(request(2, "desk.Ctx", ""))
		b.failed(2, "GAME-2: left")
	})
}

func TestBegin(t *testing.T) {
	inBed(t, nil, with("desk", &desk{}), func(b *bed) {
		b.send(request(5, "desk.Raw", ""), notify("desk.Raw", ""), request(1<<63, "none.None", ""))
		synctest.Wait()
		(&trace{list: b.entity.begun}).expect(t, "5 desk.Raw", "0 desk.Raw", "9223372036854775808 -")
	})
}

func TestInboundHooks(t *testing.T) {
	var kept [][]byte
	var got []string
	d := &desk{raw: func(_ *session.Session, data []byte) error { got = append(got, string(data)); return nil }}
	p := pipeline.New()
	p.Inbound().PushBack(func(s *session.Session, m *pipeline.Message) error {
		kept = append(kept, m.Data)
		switch string(m.Data) {
		case "refuse":
			return &message.Error{Code: "GAME-3", Message: "cheating"}
		case "fail":
			return errors.New("internals")
		case "panic":
			panic("boom")
		case "route":
			m.Route, m.Data = "desk.Typed", []byte(`{"N":41}`)
		case "lost":
			m.Route = "desk.Nowhere"
		case "header":
			m.Type, m.ID = message.Notify, 99
		default:
			m.Data = append(m.Data, '!')
		}
		if s.ID() == 0 {
			t.Error("the hook got no session")
		}
		return nil
	})
	codes := dictionary(t, map[string]uint16{"desk.Raw": 1})
	configure := func(c *dispatch.Config) { c.Inbound, c.Dictionary = p.Inbound(), codes }
	inBed(t, configure, with("desk", d), func(b *bed) {
		b.send(request(1, "desk.Raw", "a"), request(2, "desk.Raw", "refuse"), request(3, "desk.Raw", "fail"),
			request(4, "desk.Raw", "panic"), request(5, "desk.Raw", "route"), request(6, "desk.Raw", "lost"),
			request(7, "desk.Raw", "header"), notify("desk.Raw", "refuse"), request(8, "none.None", "b"))
		synctest.Wait()
		b.failed(1, "")
		b.failed(2, "GAME-3: cheating")
		b.failed(3, "NANO-500: internal error")
		b.failed(4, "NANO-500: internal error")
		b.responded(5, &value{42})
		b.failed(6, `NANO-404: route "desk.Nowhere"`)
		b.failed(7, "")
		b.failed(8, `NANO-404: route "none.None"`)
		b.counted(1, 5, 1)
		(&trace{list: got}).expect(t, "a!", "header")
		(&trace{list: b.entity.begun[6:7]}).expect(t, "7 desk.Raw")
		// A message that a hook keeps is unchanged after its buffer is
		// overwritten.
		if string(kept[1]) != "refuse" || string(kept[2]) != "fail" {
			t.Errorf("a hook kept %q, want what it was given", kept)
		}
	})
}

// keeping is a serializer that keeps its input, as a decoder that does not copy strings
// does.
type keeping struct{ *json.Serializer }

type text struct{ B []byte }

func (keeping) Unmarshal(data []byte, v any) error {
	t, ok := v.(*text)
	if !ok {
		return errors.New("want a *text")
	}
	t.B = data
	return nil
}

func (keeping) CopiesInput() bool { return false }

// careless is keeping without the method that reports whether it copies.
type careless struct{ k keeping }

func (c careless) Marshal(v any) ([]byte, error)      { return c.k.Marshal(v) }
func (c careless) Unmarshal(data []byte, v any) error { return c.k.Unmarshal(data, v) }

// page is a component that keeps all payloads.
type page struct {
	component.Base
	got [][]byte
}

func (p *page) Raw(_ *session.Session, data []byte) error { p.got = append(p.got, data); return nil }
func (p *page) Text(_ *session.Session, v *text) error    { p.got = append(p.got, v.B); return nil }

// TestPayloadsAreTheHandlersOwn checks that a handler owns its payload. Later messages do
// not overwrite it, and appending to it or changing it changes no other payload.
func TestPayloadsAreTheHandlersOwn(t *testing.T) {
	hooks := pipeline.New().Inbound()
	hooks.PushBack(func(*session.Session, *pipeline.Message) error { return nil })
	for name, configure := range map[string]func(*dispatch.Config){
		"raw and copied":     func(*dispatch.Config) {},
		"keeping serializer": func(c *dispatch.Config) { c.Serializer = keeping{} },
		"careless one":       func(c *dispatch.Config) { c.Serializer = careless{} },
		"keeping and hooks":  func(c *dispatch.Config) { c.Serializer, c.Inbound = keeping{}, hooks },
	} {
		t.Run(name, func(t *testing.T) {
			p := &page{}
			inBed(t, configure, with("page", p), func(b *bed) {
				want := [][]byte{}
				var list []*message.Message
				for i := range 20 {
					route, data := "page.Raw", bytes.Repeat([]byte{byte('a' + i)}, i)
					if i%2 == 1 {
						route = "page.Text"
					}
					if i%2 == 1 && name == "raw and copied" {
						list = append(list, notify(route, fmt.Sprintf(`{"B":"%s"}`, base64(data))))
					} else {
						list = append(list, notify(route, string(data)))
					}
					want = append(want, data)
				}
				b.send(list...)
				b.send(list...)
				synctest.Wait()
				for i, got := range p.got {
					if !bytes.Equal(got, want[i%20]) {
						t.Errorf("payload %d = %q, want %q", i, got, want[i%20])
					}
				}
				if len(p.got) != 40 {
					t.Fatalf("%d payloads, want 40", len(p.got))
				}
				for _, got := range p.got[:20] {
					_ = append(got, "appended"...)
					for i := range got {
						got[i] = '#'
					}
				}
				for i, got := range p.got[20:] {
					if !bytes.Equal(got, want[i]) {
						t.Errorf("payload %d became %q when others were changed, want %q", i, got, want[i])
					}
				}
				for i, got := range p.got[:20] {
					if !bytes.Equal(got, bytes.Repeat([]byte("#"), i)) {
						t.Errorf("payload %d became %q when others were appended to", i, got)
					}
				}
			})
		})
	}
}

func base64(b []byte) string {
	s, err := json.NewSerializer().Marshal(b)
	if err != nil {
		panic(err)
	}
	return strings.Trim(string(s), `"`)
}

// TestBatchCounts checks that Len and Size of a batch count the messages that were added.
func TestBatchCounts(t *testing.T) {
	p := &page{}
	inBed(t, func(c *dispatch.Config) { c.Serializer = keeping{} }, with("page", p), func(b *bed) {
		batch := dispatch.NewBatch()
		for i, m := range []*message.Message{notify("page.Raw", "abc"), notify("page.Text", "defg"), notify("page.Raw", "hi")} {
			batch.Add(b.Decode(b.session, header(t, m), dispatch.Clones), len(m.Data))
			if batch.Len() != i+1 {
				t.Errorf("Len() = %d, want %d", batch.Len(), i+1)
			}
		}
		if batch.Size() != 9 {
			t.Errorf("Size() = %d, want 9", batch.Size())
		}
		b.box.Deliver(batch)
		synctest.Wait()
		if got := string(bytes.Join(p.got, []byte(" "))); got != "abc defg hi" {
			t.Errorf("payloads = %q, want abc defg hi", got)
		}
	})
}

type faultySerializer struct{ *json.Serializer }

func (faultySerializer) Unmarshal([]byte, any) error { panic("boom") }

func TestSerializerThatPanics(t *testing.T) {
	inBed(t, func(c *dispatch.Config) { c.Serializer = faultySerializer{} }, with("desk", &desk{}), func(b *bed) {
		b.do(request(1, "desk.Typed", "{}"), request(2, "desk.Raw", "x"))
		b.failed(1, "NANO-400: the payload of desk.Typed does not decode")
		b.failed(2, "")
		b.counted(0, 1, 1)
		b.logged("boom", 1)
	})
}

// others is the fake for the other nodes of a cluster.
type others struct {
	sent  trace
	away  string // the route that sessions forward to another node
	fault func() error

	runs *runs // nil if ForwardRun returns nil
}

func (o *others) ForwardRun(_ *session.Session, route string) dispatch.ForwardRun {
	if o.runs == nil || !o.runs.bound(route) {
		return nil
	}
	return &run{runs: o.runs}
}

func (o *others) Serves(service string) bool { return service == "bank" || service == "desk" }

func (o *others) BoundAway(_ *session.Session, route string) bool { return o.away == route }

func (o *others) Forward(s *session.Session, m *message.Message) error {
	if s == nil {
		return errors.New("no session")
	}
	o.sent.add("%v %d %s %s", m.Type, m.ID, m.Route, m.Data)
	if o.fault != nil {
		return o.fault()
	}
	return nil
}

func TestForward(t *testing.T) {
	hooks := pipeline.New().Inbound()
	for name, inbound := range map[string]pipeline.Channel{"without hooks": nil, "with hooks": hooks} {
		t.Run(name, func(t *testing.T) {
			remote := &others{}
			configure := func(c *dispatch.Config) {
				c.Inbound, c.Dictionary = inbound, dictionary(t, map[string]uint16{"bank.Coded": 1})
			}
			inBed(t, configure, with("desk", &desk{}), func(b *bed) {
				b.SetRemote(remote)
				b.send(request(1, "bank.Pay", "10"), notify("bank.Log", "x"), request(2, "desk.Typed", `{"N":1}`),
					request(3, "desk.Other", ""), request(4, "desk.Node", "{}"), request(5, "shop.Buy", ""),
					request(6, "bank", ""), request(7, ".Pay", ""))
				batch := dispatch.NewBatch()
				batch.Add(b.Decode(b.session, wire(t, "\x01\x08\x00\x01coded"), dispatch.Clones), 5)
				b.box.Deliver(batch)
				synctest.Wait()
				remote.sent.expect(t, "request 1 bank.Pay 10", "notify 0 bank.Log x", "request 3 desk.Other ",
					"request 4 desk.Node {}", "request 8 bank.Coded coded")
				b.responded(2, &value{2}) // routes of this node are not forwarded
				for id := range uint64(5) {
					b.failed(id, "") // the other node answers
				}
				for id := uint64(5); id < 8; id++ {
					b.failed(id, "NANO-404")
				}
				remote.fault = func() error { return message.Errorf(message.CodeUnavailable, "node is down") }
				b.do(request(11, "bank.Pay", ""))
				remote.fault = func() error { panic("boom") }
				b.do(request(12, "bank.Pay", ""))
				b.failed(11, "NANO-503: node is down")
				b.failed(12, "NANO-500: internal error")
				b.counted(0, 5, 1)
			})
		})
	}
}

func TestAdd(t *testing.T) {
	inBed(t, nil, with("desk", &desk{}), func(b *bed) {
		for name, test := range map[string]struct {
			comp component.Component
			want string
		}{
			"desk":                   {&page{}, `service "desk" is registered twice, by *dispatch_test.desk and by *dispatch_test.page`},
			"none":                   {&component.Base{}, "no handlers"},
			strings.Repeat("x", 252): {&page{}, "bytes, want 255 at most"},
		} {
			opts := []component.Option{component.WithName(name)}
			if err := b.Add(test.comp, opts); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Add(%T as %.8s) = %v, want an error with %q", test.comp, name, err, test.want)
			}
		}
		if err := b.Add(&page{}, []component.Option{component.WithName("page")}); err != nil {
			t.Error(err)
		}
		if h, ok := b.Handler("page.Raw"); !ok || h.Route != "page.Raw" {
			t.Errorf("Handler(page.Raw) = %v, %v, want it", h, ok)
		}
		if _, ok := b.Handler("page.None"); ok {
			t.Error("Handler(page.None) is there, want none")
		}
		var names trace
		for _, s := range b.Services()[:1] {
			names.add("%s", s.Name)
		}
		names.expect(t, "desk")
	})
}
