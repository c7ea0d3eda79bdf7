package handler_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type request struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

type reply struct {
	Text string
}

var errRefused = errors.New("refused")

// lobby has a handler of every signature. Each records its arguments.
type lobby struct {
	component.Base
	name string
	got  string
}

func (l *lobby) note(parts ...any) error {
	l.got = l.name + ": " + fmt.Sprint(parts...)
	if strings.Contains(l.got, "refuse") {
		return errRefused
	}
	return nil
}

func (l *lobby) answer(parts ...any) (*reply, error) {
	if err := l.note(parts...); err != nil {
		return nil, err
	}
	if strings.Contains(l.got, "silent") {
		return nil, nil
	}
	return &reply{l.got}, nil
}

type key struct{}

func (l *lobby) Raw(s *session.Session, data []byte) error {
	return l.note("raw ", s.ID(), string(data))
}
func (l *lobby) Typed(s *session.Session, r *request) error {
	return l.note("typed ", s.ID(), r.Name, r.Tags)
}
func (l *lobby) CtxRaw(ctx context.Context, s *session.Session, data []byte) error {
	return l.note("ctx raw ", ctx.Value(key{}), s.ID(), string(data))
}
func (l *lobby) CtxTyped(ctx context.Context, s *session.Session, r *request) error {
	return l.note("ctx typed ", ctx.Value(key{}), s.ID(), r.Name, r.Tags)
}
func (l *lobby) ReplyRaw(s *session.Session, data []byte) (*reply, error) {
	return l.answer("reply raw ", s.ID(), string(data))
}
func (l *lobby) ReplyTyped(s *session.Session, r *request) (*reply, error) {
	return l.answer("reply typed ", s.ID(), r.Name, r.Tags)
}
func (l *lobby) CtxReplyRaw(ctx context.Context, s *session.Session, data []byte) (*reply, error) {
	return l.answer("ctx reply raw ", ctx.Value(key{}), s.ID(), string(data))
}
func (l *lobby) CtxReplyTyped(ctx context.Context, s *session.Session, r *request) (*reply, error) {
	return l.answer("ctx reply typed ", ctx.Value(key{}), s.ID(), r.Name, r.Tags)
}
func (l *lobby) NodeRaw(ctx context.Context, data []byte) (*reply, error) {
	return l.answer("node raw ", ctx.Value(key{}), string(data))
}
func (l *lobby) NodeTyped(ctx context.Context, r *request) (*reply, error) {
	return l.answer("node typed ", ctx.Value(key{}), r.Name, r.Tags)
}

// Lobby is lobby as an exported type, which needs no name option.
type Lobby struct{ lobby }

// service makes a service and finds its handlers.
func service(t testing.TB, c component.Component, opts ...component.Option) *handler.Service {
	t.Helper()
	s, err := newService(c, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newService(c component.Component, opts []component.Option) (*handler.Service, error) {
	var o handler.Options
	for _, option := range opts {
		option(&o)
	}
	return handler.New(c, o)
}

// call decodes payload as a message would be, and calls the handler.
func call(ctx context.Context, t testing.TB, h *handler.Handler, s *session.Session, payload string) (any, error) {
	t.Helper()
	if h.IsRawArg {
		return h.Call(ctx, s, handler.Raw([]byte(payload)))
	}
	arg, err := h.Decode(json.NewSerializer(), fmt.Appendf(nil, `{"name":%q,"tags":["a","b"]}`, payload))
	if err != nil {
		t.Fatal(err)
	}
	return h.Call(ctx, s, arg)
}

func TestEverySignature(t *testing.T) {
	l := &Lobby{lobby{name: "receiver"}}
	s := session.New(mock.NewNetworkEntity())
	id := s.ID()
	ctx := context.WithValue(context.Background(), key{}, "value")
	svc := service(t, l)
	tests := map[string]struct {
		raw, ctx, sessionless, reply bool
		want                         string
	}{
		"Raw":           {raw: true, want: fmt.Sprint("raw ", id, "X")},
		"Typed":         {want: fmt.Sprint("typed ", id, "X", []string{"a", "b"})},
		"CtxRaw":        {raw: true, ctx: true, want: fmt.Sprint("ctx raw value", id, "X")},
		"CtxTyped":      {ctx: true, want: fmt.Sprint("ctx typed value", id, "X", []string{"a", "b"})},
		"ReplyRaw":      {raw: true, reply: true, want: fmt.Sprint("reply raw ", id, "X")},
		"ReplyTyped":    {reply: true, want: fmt.Sprint("reply typed ", id, "X", []string{"a", "b"})},
		"CtxReplyRaw":   {raw: true, ctx: true, reply: true, want: fmt.Sprint("ctx reply raw value", id, "X")},
		"CtxReplyTyped": {ctx: true, reply: true, want: fmt.Sprint("ctx reply typed value", id, "X", []string{"a", "b"})},
		"NodeRaw":       {raw: true, ctx: true, sessionless: true, reply: true, want: "node raw valueX"},
		"NodeTyped":     {ctx: true, sessionless: true, reply: true, want: "node typed valueX[a b]"},
	}
	if got, want := slices.Sorted(maps.Keys(svc.Handlers)), slices.Sorted(maps.Keys(tests)); !slices.Equal(got, want) {
		t.Fatalf("handlers = %v, want %v", got, want)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := svc.Handlers[name]
			if h.Route != "Lobby."+name || h.IsRawArg != test.raw || h.Context() != test.ctx || h.Sessionless() != test.sessionless {
				t.Errorf("Route %q, IsRawArg %v, Context() %v, Sessionless() %v, want Lobby.%s, %v, %v, %v",
					h.Route, h.IsRawArg, h.Context(), h.Sessionless(), name, test.raw, test.ctx, test.sessionless)
			}
			if h.Method.Name != name || h.Receiver.Interface() != any(l) {
				t.Errorf("Method %s, Receiver %v, want %s of the component", h.Method.Name, h.Receiver, name)
			}
			wantType := reflect.TypeFor[*request]()
			if test.raw {
				wantType = reflect.TypeFor[[]byte]()
			}
			if h.Type != wantType {
				t.Errorf("Type = %v, want %v", h.Type, wantType)
			}
			// The arguments are small, so the allocator puts several into one block.
			got, err := call(ctx, t, h, s, "X")
			want := "receiver: " + test.want
			if err != nil || l.got != want {
				t.Errorf("the handler noted %q and returned %v, want %q and nil", l.got, err, want)
			}
			if r, ok := got.(*reply); ok != test.reply || ok && r.Text != want {
				t.Errorf("reply = %#v, want one with %q: %v", got, want, test.reply)
			}
			if got, err := call(ctx, t, h, s, "refuse"); !errors.Is(err, errRefused) || got != nil {
				t.Errorf("reply = %#v, error = %v, want none and %v", got, err, errRefused)
			}
			if got, err := call(ctx, t, h, s, "silent"); err != nil || got != nil {
				t.Errorf("reply = %#v, error = %v of a handler that returned nil, want nil and nil", got, err)
			}
		})
	}
}

// offside has methods whose signatures are almost those of handlers.
type offside struct {
	component.Base
}

type blob []byte

func (*offside) Nothing()                                                          {}
func (*offside) NoRequest(*session.Session) error                                  { return nil }
func (*offside) CtxNoRequest(context.Context) error                                { return nil }
func (*offside) CtxSession(context.Context, *session.Session) error                { return nil }
func (*offside) CtxSessionReply(context.Context, *session.Session) (*reply, error) { return nil, nil }
func (*offside) SessionAsRequest(*session.Session, *session.Session) error         { return nil }
func (*offside) NoSession(*request) error                                          { return nil }
func (*offside) SessionByValue(int64, *request) error                              { return nil }
func (*offside) RequestByValue(*session.Session, request) error                    { return nil }
func (*offside) NamedBytes(*session.Session, blob) error                           { return nil }
func (*offside) Text(*session.Session, string) error                               { return nil }
func (*offside) Interface(*session.Session, any) error                             { return nil }
func (*offside) Variadic(*session.Session, ...byte) error                          { return nil }
func (*offside) Late(*session.Session, context.Context, *request) error            { return nil }
func (*offside) TooMany(*session.Session, *request, *request) error                { return nil }
func (*offside) NoResult(*session.Session, *request)                               {}
func (*offside) NotAnError(*session.Session, *request) *reply                      { return nil }
func (*offside) ReplyByValue(*session.Session, *request) (reply, error)            { return reply{}, nil }

func (*offside) ErrorFirst(*session.Session, *request) (error, *reply) { return nil, nil } //nolint:staticcheck // the order is the point
func (*offside) ThreeResults(*session.Session, *request) (*reply, bool, error) {
	return nil, false, nil
}
func (*offside) NodeWithoutReply(context.Context, *request) error            { return nil }
func (*offside) BytesReply(*session.Session, *request) ([]byte, error)       { return nil, nil }
func (*offside) MapReply(*session.Session, *request) (map[string]int, error) { return nil, nil }
func (*offside) MapRequest(*session.Session, map[string]int) error           { return nil }
func (*offside) unexported(*session.Session, *request) error                 { return nil }

func TestMethodsThatAreNoHandlers(t *testing.T) {
	c := &offside{}
	_ = c.unexported
	s, err := newService(c, []component.Option{component.WithName("offside")})
	if err == nil || !strings.Contains(err.Error(), "no handlers") {
		t.Errorf("New() = %v, %v, want an error: there are no handlers", s, err)
	}
}

// These types test each way in which a component can have a method.
type (
	// Hall promotes methods of embedded fields: a value behind other fields, a pointer
	// and an interface.
	Hall struct {
		component.Base
		_ [3]int
		counter
		*ledger
		Greeter
	}
	counter struct{ n int }
	ledger  struct{ n int }
	// Greeter is an interface with a handler.
	Greeter interface {
		Greet(s *session.Session, data []byte) error
	}
	greeter struct{ text string }
)

func (c *counter) Count(_ *session.Session, data []byte) error { c.n += len(data); return nil }
func (c counter) Show(*session.Session, *request) (*reply, error) {
	return &reply{fmt.Sprint(c.n)}, nil
}
func (l *ledger) Book(_ *session.Session, r *request) error { l.n += len(r.Name); return nil }
func (l ledger) Sum(context.Context, *request) (*reply, error) {
	return &reply{fmt.Sprint(l.n)}, nil
}
func (g *greeter) Greet(_ *session.Session, data []byte) error {
	g.text = "hello " + string(data)
	return nil
}

func TestPromotedMethods(t *testing.T) {
	g := &greeter{}
	h := &Hall{counter: counter{1}, ledger: &ledger{10}, Greeter: g}
	svc := service(t, h)
	s := session.New(mock.NewNetworkEntity())
	for _, step := range []struct{ name, payload, want string }{
		{"Count", "abc", ""}, {"Show", "", "4"}, {"Count", "d", ""}, {"Show", "", "5"},
		{"Book", "abc", ""}, {"Sum", "", "13"}, {"Greet", "ann", ""},
	} {
		got, err := call(context.Background(), t, svc.Handlers[step.name], s, step.payload)
		text := ""
		if r, ok := got.(*reply); ok {
			text = r.Text
		}
		if err != nil || text != step.want {
			t.Errorf("%s(%q) = %q, %v, want %q", step.name, step.payload, text, err, step.want)
		}
	}
	if h.n() != "5 13" || g.text != "hello ann" {
		t.Errorf("the component holds %s and %q, want 5 13 and hello ann", h.n(), g.text)
	}
}

func (h *Hall) n() string { return fmt.Sprint(h.counter.n, " ", h.ledger.n) }

// TestPromotedFromNil checks that a call through a nil embedded field panics, as it does
// with reflection.
func TestPromotedFromNil(t *testing.T) {
	svc := service(t, &Hall{})
	for _, name := range []string{"Sum", "Greet"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a nil embedded value did not panic", name)
				}
			}()
			_, _ = call(context.Background(), t, svc.Handlers[name], nil, "")
		}()
	}
}

// Statue is a component that tests register as a value.
type Statue struct {
	Name string
	n    *int
}

func (Statue) Init()           {}
func (Statue) AfterInit()      {}
func (Statue) BeforeShutdown() {}
func (Statue) Shutdown()       {}
func (s Statue) Touch(_ *session.Session, data []byte) error {
	*s.n += len(data)
	return nil
}
func (s Statue) Who(*session.Session, *request) (*reply, error) { return &reply{s.Name}, nil }

// Dice is a component that is not a struct.
type Dice int

func (*Dice) Init()           {}
func (*Dice) AfterInit()      {}
func (*Dice) BeforeShutdown() {}
func (*Dice) Shutdown()       {}
func (d *Dice) Roll(_ *session.Session, data []byte) error {
	*d += Dice(len(data))
	return nil
}

func TestValueReceivers(t *testing.T) {
	n := 0
	s := session.New(mock.NewNetworkEntity())
	for i, c := range []component.Component{Statue{"venus", &n}, &Statue{"venus", &n}} {
		svc := service(t, c)
		if svc.Name != "Statue" || len(svc.Handlers) != 2 {
			t.Errorf("service %q with %d handlers, want Statue with 2", svc.Name, len(svc.Handlers))
		}
		if _, err := call(context.Background(), t, svc.Handlers["Touch"], s, "ab"); err != nil || n != 2*(i+1) {
			t.Errorf("Touch of %T = %v, touched %d times, want %d", c, err, n, 2*(i+1))
		}
		if got, err := call(context.Background(), t, svc.Handlers["Who"], s, ""); err != nil || got.(*reply).Text != "venus" {
			t.Errorf("Who of %T = %v, %v, want venus", c, got, err)
		}
	}
	d := new(Dice)
	if _, err := call(context.Background(), t, service(t, d).Handlers["Roll"], s, "abc"); err != nil || *d != 3 {
		t.Errorf("Roll = %v, the die shows %d, want 3", err, *d)
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		opts []component.Option
		want string // the route of Raw and the name of the scheduler
	}{
		{nil, "Lobby.Raw"},
		{[]component.Option{component.WithName("room")}, "room.Raw"},
		{[]component.Option{component.WithName("房间-1")}, "房间-1.Raw"},
		{[]component.Option{component.WithNameFunc(strings.ToLower)}, "Lobby.raw"},
		{[]component.Option{component.WithName("room"), component.WithNameFunc(strings.ToLower)}, "room.raw"},
		{[]component.Option{component.WithName("a"), component.WithName("b")}, "b.Raw"},
		{[]component.Option{component.WithSchedulerName("table")}, "Lobby.Raw table"},
	} {
		svc := service(t, &Lobby{}, test.opts...)
		route, sched, _ := strings.Cut(test.want, " ")
		name, method, _ := strings.Cut(route, ".")
		h := svc.Handlers[method]
		if svc.Name != name || svc.SchedName != sched || h == nil || h.Route != route || h.SchedName != sched {
			t.Errorf("service %q on %q with handler %+v, want route %q on %q", svc.Name, svc.SchedName, h, route, sched)
		}
	}
	// A component of an unexported type needs a name.
	service(t, &lobby{}, component.WithName("lobby"))
}

func TestFaults(t *testing.T) {
	var none *Lobby
	for name, test := range map[string]struct {
		comp component.Component
		opts []component.Option
		want []string // parts of the error's text
	}{
		"nil":                 {nil, nil, []string{"nil component"}},
		"nil with a name":     {nil, []component.Option{component.WithName("room")}, []string{"nil component"}},
		"nil pointer":         {none, nil, []string{"nil component"}},
		"unexported":          {&lobby{}, nil, []string{"lobby is not exported", "WithName"}},
		"no handlers":         {&struct{ component.Base }{}, []component.Option{component.WithName("room")}, []string{"room has no handlers", "func(*session.Session, *Request) error"}},
		"no name":             {&struct{ lobby }{}, nil, []string{"no name", "WithName"}},
		"pointer needed":      {Pointed{&component.Base{}}, nil, []string{"Pointed has no handlers", "register &Pointed{}"}},
		"two under one name":  {&Lobby{}, []component.Option{component.WithNameFunc(func(n string) string { return strings.TrimPrefix(n, "Ctx") })}, []string{"methods CtxRaw and Raw of Lobby", `"Raw"`}},
		"an empty name":       {&Lobby{}, []component.Option{component.WithNameFunc(func(n string) string { return strings.TrimPrefix(n, "Raw") })}, []string{"Raw of Lobby", "is empty"}},
		"a dot in a method":   {&Lobby{}, []component.Option{component.WithNameFunc(func(n string) string { return "v1." + n })}, []string{"of Lobby", `"v1.`, "dot"}},
		"a dot at the end":    {&Lobby{}, []component.Option{component.WithName("a.")}, []string{`"a."`, "dot"}},
		"a dot at the start":  {&Lobby{}, []component.Option{component.WithName(".a")}, []string{`".a"`, "dot"}},
		"two dots":            {&Lobby{}, []component.Option{component.WithName("a..b")}, []string{`"a..b"`, "dot"}},
		"a blank":             {&Lobby{}, []component.Option{component.WithName("my room")}, []string{`"my room"`, "blanks", "want"}},
		"a blank alone":       {&Lobby{}, []component.Option{component.WithName(" ")}, []string{`" "`, "blanks"}},
		"a line break":        {&Lobby{}, []component.Option{component.WithName("room\n")}, []string{`"room\n"`, "control"}},
		"not UTF-8":           {&Lobby{}, []component.Option{component.WithName("caf\xe9")}, []string{`"caf\xe9"`, "UTF-8"}},
		"a blank in a method": {&Lobby{}, []component.Option{component.WithNameFunc(func(n string) string { return n + " " })}, []string{"of Lobby", `Raw "`, "blanks"}},
		"bytes in a method":   {&Lobby{}, []component.Option{component.WithNameFunc(func(n string) string { return n + "\xff" })}, []string{"of Lobby", "UTF-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // the order does not depend on the map
				_, err := newService(test.comp, test.opts)
				if err == nil {
					t.Fatalf("New() = nil, want an error with %q", test.want)
				}
				for _, text := range test.want {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("New() = %q, want %q in it", err, text)
					}
				}
			}
		})
	}
}

// Pointed has a handler with a pointer receiver. It is registered by value too.
type Pointed struct{ *component.Base }

func (*Pointed) Move(*session.Session, *request) error { return nil }

func TestDecode(t *testing.T) {
	svc := service(t, &Lobby{})
	h := svc.Handlers["Typed"]
	for _, bad := range []string{"{", `{"name":1}`, `[]`} {
		if _, err := h.Decode(json.NewSerializer(), []byte(bad)); err == nil {
			t.Errorf("Decode(%q) = nil, want the error of the serializer", bad)
		}
	}
	// An empty payload decodes to a zero request with every serializer.
	for _, empty := range [][]byte{nil, {}} {
		arg, err := svc.Handlers["ReplyTyped"].Decode(json.NewSerializer(), empty)
		if err == nil {
			_, err = svc.Handlers["ReplyTyped"].Call(context.Background(), session.New(mock.NewNetworkEntity()), arg)
		}
		if err != nil {
			t.Errorf("Decode(%v) and Call = %v, want the zero request", empty, err)
		}
	}
	// Every message gets its own request value.
	var seen []*request
	keeper := &Keeper{seen: &seen}
	h = service(t, keeper).Handlers["Keep"]
	for i := range 3 {
		arg, err := h.Decode(json.NewSerializer(), fmt.Appendf(nil, `{"name":"%d"}`, i))
		if err == nil {
			_, err = h.Call(context.Background(), nil, arg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range seen {
		if r.Name != fmt.Sprint(i) || r.Tags != nil {
			t.Errorf("request %d = %+v, want its own name and nothing else", i, r)
		}
	}
}

// Keeper keeps its requests.
type Keeper struct {
	component.Base
	seen *[]*request
}

// Keep keeps r.
func (k *Keeper) Keep(_ *session.Session, r *request) error {
	*k.seen = append(*k.seen, r)
	return nil
}

func TestStats(t *testing.T) {
	var s handler.Stats
	if n, sum, longest := s.Load(); n != 0 || sum != 0 || longest != 0 {
		t.Errorf("Load() = %d, %v, %v, want zeros", n, sum, longest)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				s.Add(2, 3*time.Millisecond, time.Duration(i*100+j)*time.Microsecond)
			}
		})
	}
	wg.Wait()
	s.Add(0, 0, 0)
	if n, sum, longest := s.Load(); n != 1600 || sum != 2400*time.Millisecond || longest != 799*time.Microsecond {
		t.Errorf("Load() = %d, %v, %v, want 1600, 2.4s, 799µs", n, sum, longest)
	}
}

// Mixed has one handler, and methods of every kind that is not a handler.
type Mixed struct{ offside }

// Join is the handler.
func (*Mixed) Join(*session.Session, *request) error { return nil }

// Leave and Close are not handlers.
func (*Mixed) Leave(*session.Session)      {}
func (*Mixed) Close(context.Context) error { return nil }

func TestIgnoredMethods(t *testing.T) {
	svc := service(t, &Mixed{})
	if len(svc.Handlers) != 1 {
		t.Errorf("handlers = %v, want Join alone", slices.Collect(maps.Keys(svc.Handlers)))
	}
	want := map[string]string{ // a part of the reason
		"CtxSession":       "no request",
		"CtxSessionReply":  "no request",
		"SessionAsRequest": "no request",
		"RequestByValue":   "want *handler_test.request, not handler_test.request",
		"NamedBytes":       "request is a handler_test.blob: want a pointer or []byte",
		"Text":             "request is a string",
		"Interface":        "request is a interface {}",
		"Variadic":         "variadic",
		"Late":             "after the request",
		"TooMany":          "after the request",
		"NoResult":         "returns nothing: want error",
		"NotAnError":       "last result is *handler_test.reply: want error",
		"ReplyByValue":     "reply is handler_test.reply: want a pointer",
		"BytesReply":       "reply is []byte",
		"MapReply":         "reply is map[string]int: want a pointer",
		"ErrorFirst":       "last result is *handler_test.reply",
		"ThreeResults":     "3 results",
		"NodeWithoutReply": "no session and no reply",
		"MapRequest":       "request is a map[string]int",
	}
	got := map[string]handler.Ignored{}
	for _, i := range svc.Ignored {
		name, ok := strings.CutPrefix(i.Method, "Mixed.")
		if !ok || strings.Contains(i.Signature, "Mixed") || !strings.HasPrefix(i.Signature, "func(") {
			t.Errorf("ignored %+v, want a method of Mixed and its signature without the receiver", i)
		}
		got[name] = i
	}
	for name, reason := range want {
		if !strings.Contains(got[name].Reason, reason) {
			t.Errorf("%s is ignored because %q, want %q", name, got[name].Reason, reason)
		}
	}
	for name, i := range got {
		if want[name] == "" {
			t.Errorf("%s is reported (%s), want silence", name, i.Reason)
		}
	}
	if s := got["Text"].Signature; s != "func(*session.Session, string) error" {
		t.Errorf("signature = %q", s)
	}
}
