package console_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/console"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

type base struct{ Room int }

type Item struct {
	Name  string `json:"name"`
	Count int64  `json:"count,string,omitempty"`
}

// Everything has a field of each kind.
type everything struct {
	base
	*Item   `json:"item"`
	Text    string            `json:"text"`
	Small   int8              `json:"small"`
	Ratio   float64           `json:"ratio,omitempty"`
	On      bool              `json:"on"`
	Raw     []byte            `json:"raw"`
	At      time.Time         `json:"at"`
	Until   *time.Time        `json:"until"`
	Items   []Item            `json:"items"`
	ByName  map[string]int    `json:"byName"`
	Any     any               `json:"any"`
	Message json.RawMessage   `json:"message"`
	Self    *everything       `json:"self"`
	Skipped string            `json:"-"`
	secret  string            //nolint:unused // a form leaves it out
	Nested  map[string][]Item `json:"nested"`
}

type label string

func (*label) UnmarshalText([]byte) error { return nil }

// quoted has fields whose JSON is in a JSON string.
type quoted struct {
	On    bool   `json:",string"`
	Text  string `json:",string"`
	Count *int   `json:",string"`
	Label label  `json:",string"`
}

type shop struct{ component.Base }

func (*shop) Quoted(_ *session.Session, q *quoted) (*quoted, error) { return q, nil }

func (*shop) All(_ *session.Session, e *everything) (*everything, error) { return e, nil }

func (*shop) Raw(s *session.Session, data []byte) error {
	return s.Response(append([]byte("\xff"), data...))
}

func (*shop) Tell(s *session.Session, i *Item) error { return s.Push("onItem", i) }

// Many answers with an item whose name is that of the request, repeated. It pushes the
// item too.
func (*shop) Many(s *session.Session, i *Item) (*Item, error) {
	many := &Item{Name: strings.Repeat(i.Name, int(i.Count))}
	return many, s.Push("onItem", many)
}

func (*shop) Refuse(*session.Session, *Item) (*Item, error) {
	return nil, nano.Errorf("SHOP-1", "sold out")
}

func withShop() nano.Option {
	components := &component.Components{}
	components.Register(&shop{}, component.WithName("shop"), component.WithNameFunc(strings.ToLower))
	return nano.WithComponents(components)
}

type formField struct {
	Name, Kind       string
	Optional, Quoted bool
	Fields           []formField
	Item             *formField
	Choices          []string
}

type routesPage struct {
	Serializer string
	Routes     []struct {
		Route   string
		Request *formField
		Reply   string
	}
}

func (p routesPage) form(t *testing.T, route string) *formField {
	t.Helper()
	for _, r := range p.Routes {
		if r.Route == route {
			return r.Request
		}
	}
	t.Fatalf("the routes %+v have no %s", p.Routes, route)
	return nil
}

func (f *formField) String() string {
	text := f.Name + ":" + f.Kind
	if f.Quoted {
		text += "'"
	}
	if f.Optional {
		text += "?"
	}
	if f.Item != nil {
		text += "[" + f.Item.String() + "]"
	}
	if f.Fields != nil {
		var parts []string
		for i := range f.Fields {
			parts = append(parts, f.Fields[i].String())
		}
		text += "{" + strings.Join(parts, " ") + "}"
	}
	return text
}

func TestForms(t *testing.T) {
	b := newBed(t, console.Options{}, withShop())
	p := get[routesPage](b, "routes")
	if p.Serializer != "json" {
		t.Errorf("the serializer is %q, want json", p.Serializer)
	}
	if f := p.form(t, "shop.raw"); f != nil {
		t.Errorf("the form of shop.raw is %v, want none", f)
	}
	const items = "{name:text count:integer'?}"
	want := ":object{Room:integer item:object?" + items + " text:text small:integer ratio:number? on:bool raw:bytes at:time until:time? items:list[:object" + items +
		"] byName:map[:integer] any:json message:json self:object?{"
	got := p.form(t, "shop.all").String()
	if !strings.HasPrefix(got, want) || strings.Contains(got, "secret") || strings.Contains(got, "Skipped") || strings.Count(got, "self:object") > 6 {
		t.Errorf("the form is %s, want %s and a bounded rest", got, want)
	}
}

// encoding/json reads a field with the option "string" from a JSON string, also if it is a bool or a text.
func TestQuotedForms(t *testing.T) {
	b := newBed(t, console.Options{}, withShop())
	if got, want := get[routesPage](b, "routes").form(t, "shop.quoted").String(), ":object{On:bool' Text:text' Count:integer'? Label:text'}"; got != want {
		t.Errorf("the form is %s, want %s", got, want)
	}
	if a := b.play(b.open(""), "shop.quoted", `{"On":"true","Text":"\"x\"","Count":"1","Label":"\"x\""}`, false); a.Error != nil {
		t.Errorf("the server answers %v, want no error", a.Error)
	}
}

type played struct {
	Took  float64
	Reply *struct{ Text, Encoding string }
	Error *struct{ Code, Message string }
}

// open connects a test client through the API.
func (b *bed) open(user string) string {
	b.t.Helper()
	w := b.ask("POST", "/console/api/play/open", operator, fmt.Sprintf(`{"user":%q}`, user))
	var a struct{ Client string }
	if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != 200 || err != nil || a.Client == "" {
		b.t.Fatalf("open = %d %s", w.Code, w.Body)
	}
	return a.Client
}

// play sends a message of a test client.
func (b *bed) play(client, route, payload string, notify bool) played {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"client": client, "route": route, "payload": payload, "notify": notify})
	if err != nil {
		b.t.Fatal(err)
	}
	w := b.ask("POST", "/console/api/play/send", operator, string(body))
	var a played
	if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != 200 || err != nil {
		b.t.Fatalf("send %s %s = %d %s", route, payload, w.Code, w.Body)
	}
	return a
}

func TestPlay(t *testing.T) {
	b := newBed(t, console.Options{}, withShop())
	c := b.open("")
	full := `{"Room":5,"text":"a","small":-1,"at":"2026-01-31T12:00:00Z","items":[{"name":"x","count":"9007199254740993"}]}`
	a := b.play(c, "shop.all", full, false)
	var echo everything
	if a.Reply == nil || a.Reply.Encoding != "json" || json.Unmarshal([]byte(a.Reply.Text), &echo) != nil || echo.Room != 5 || echo.Items[0].Count != 9007199254740993 {
		t.Errorf("shop.all answers %+v, want what was sent", a)
	}
	if n := b.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions are open, want the test client's", n)
	}
	if a := b.play(c, "shop.raw", "plain text", false); a.Reply == nil || a.Reply.Encoding != "base64" || a.Reply.Text != "/3BsYWluIHRleHQ=" {
		t.Errorf("shop.raw answers %+v, want bytes in base64", a.Reply)
	}
	if w := b.ask("GET", "/console/api/play?client="+c, operator, ""); !strings.Contains(w.Body.String(), `"pushes":[]`) {
		t.Errorf("without pushes, the answer is %s, want an empty list", w.Body)
	}
	if a := b.play(c, "shop.refuse", `{}`, false); a.Error == nil || a.Error.Code != "SHOP-1" || a.Error.Message != "sold out" || a.Reply != nil {
		t.Errorf("shop.refuse answers %+v, want the error SHOP-1", a)
	}
	if a := b.play(c, "no.route", `{}`, false); a.Error == nil || a.Error.Code != "NANO-404" {
		t.Errorf("no.route answers %+v, want NANO-404", a)
	}
	if a := b.play(c, "shop.tell", `{"name":"hat"}`, true); a.Reply != nil || a.Error != nil {
		t.Errorf("a notify has the answer %+v, want none", a)
	}
	type pushes struct {
		Pushes []struct {
			Number      int
			Route, Text string
		}
		Closed string
	}
	var got pushes
	for deadline := time.Now().Add(10 * time.Second); len(got.Pushes) == 0 && time.Now().Before(deadline); {
		got = askAs[pushes](b, operator, "play?client="+c)
	}
	if len(got.Pushes) != 1 || got.Pushes[0].Number != 1 || got.Pushes[0].Route != "onItem" || got.Pushes[0].Text != `{"name":"hat"}` {
		t.Fatalf("the pushes are %+v, want onItem", got)
	}
	if got := askAs[pushes](b, operator, "play?client="+c+"&after=1"); len(got.Pushes) != 0 {
		t.Errorf("after the first push there are %+v, want none", got.Pushes)
	}
	for body, want := range map[string]int{
		`{"client":"none","route":"shop.all","payload":"{}"}`:       404,
		`{"client":"` + c + `","route":"shop.all","payload":"{"}`:   400,
		`{"client":"` + c + `","route":"","payload":"{}"}`:          400,
		`{"client":"` + c + `","route":"shop.all","other":"field"}`: 400,
	} {
		if w := b.ask("POST", "/console/api/play/send", operator, body); w.Code != want {
			t.Errorf("send %s = %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
	if w := b.ask("POST", "/console/api/play/close", operator, `{"client":"`+c+`"}`); w.Code != 200 {
		t.Errorf("close = %d %s, want 200", w.Code, w.Body)
	}
	if w := b.ask("GET", "/console/api/play?client="+c, operator, ""); w.Code != 404 {
		t.Errorf("the pushes of a closed client = %d, want 404", w.Code)
	}
	for _, text := range []string{`msg="console: connect a test client" role=operator`, `msg="console: send a request of a test client" route=shop.all bytes=`} {
		if log := b.log.String(); !strings.Contains(log, text) || strings.Contains(log, "plain text") {
			t.Errorf("the log is %s, want %s and no payload", log, text)
		}
	}
}

// A long answer and a long push are truncated, and say so.
func TestPlayTruncates(t *testing.T) {
	b := newBed(t, console.Options{}, withShop())
	c := b.open("")
	type payload struct {
		Text, Encoding string
		Truncated      bool
		Size           int
	}
	next := 0
	for _, test := range []struct {
		count                    int
		encoding, pushEncoding   string
		truncated, pushTruncated bool
	}{
		{10, "json", "json", false, false},
		{5000, "json", "text", false, true},
		{40_000, "text", "text", true, true},
	} {
		w := b.ask("POST", "/console/api/play/send", operator, fmt.Sprintf(`{"client":%q,"route":"shop.many","payload":"{\"name\":\"é\",\"count\":\"%d\"}"}`, c, test.count))
		var a struct{ Reply payload }
		if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != 200 || err != nil {
			t.Fatalf("send = %d %s", w.Code, w.Body)
		}
		type pushes struct {
			Pushes []struct {
				Number int
				payload
			}
		}
		var got pushes
		for deadline := time.Now().Add(10 * time.Second); len(got.Pushes) == 0 && time.Now().Before(deadline); {
			got = askAs[pushes](b, operator, fmt.Sprintf("play?client=%s&after=%d", c, next))
		}
		if len(got.Pushes) != 1 {
			t.Fatalf("%d pushes, want 1", len(got.Pushes))
		}
		next = got.Pushes[0].Number
		whole := fmt.Sprintf(`{"name":%q}`, strings.Repeat("é", test.count))
		for _, p := range []struct {
			what, encoding string
			got            payload
			truncated      bool
			limit          int
		}{
			{"answer", test.encoding, a.Reply, test.truncated, 64 << 10},
			{"push", test.pushEncoding, got.Pushes[0].payload, test.pushTruncated, 8 << 10},
		} {
			want := payload{whole, p.encoding, p.truncated, len(whole)}
			if p.truncated {
				want.Text = whole[:len(p.got.Text)]
				if n := len(p.got.Text); n > p.limit || n < p.limit-1 {
					t.Errorf("%d items: the %s shows %d bytes, want %d", test.count, p.what, n, p.limit)
				}
			}
			if p.got != want {
				p.got.Text = fmt.Sprintf("%.40s", p.got.Text)
				t.Errorf("%d items: the %s is %+v of %d bytes, encoding %s, truncated %t", test.count, p.what, p.got, len(whole), p.encoding, p.truncated)
			}
		}
	}
}

func TestPlayHandshake(t *testing.T) {
	b := newBed(t, console.Options{}, nano.WithHandshakeValidator(func(_ *session.Session, data []byte) error {
		if !strings.Contains(string(data), "let me in") {
			return nano.Errorf("TEST-1", "no")
		}
		return nil
	}))
	for user, want := range map[string]int{``: 409, `"no"`: 409, `{`: 400, `"let me in"`: 200} {
		body, err := json.Marshal(map[string]string{"user": user})
		if err != nil {
			t.Fatal(err)
		}
		if w := b.ask("POST", "/console/api/play/open", operator, string(body)); w.Code != want {
			t.Errorf("open with %q = %d %s, want %d", user, w.Code, w.Body, want)
		}
	}
}

func TestPlayLimit(t *testing.T) {
	b := newBed(t, console.Options{})
	var clients []string
	for range 8 {
		clients = append(clients, b.open(""))
	}
	if w := b.ask("POST", "/console/api/play/open", operator, `{"user":""}`); w.Code != 429 {
		t.Errorf("the ninth client = %d %s, want 429", w.Code, w.Body)
	}
	// A client that the server has kicked says so.
	for _, s := range get[struct{ Sessions []struct{ ID string } }](b, "sessions").Sessions {
		if w := b.ask("POST", "/console/api/kick", operator, `{"session":"`+s.ID+`","reason":"enough"}`); w.Code != 200 {
			t.Fatalf("kick = %d %s", w.Code, w.Body)
		}
	}
	closed := ""
	for deadline := time.Now().Add(10 * time.Second); closed == "" && time.Now().Before(deadline); {
		closed = askAs[struct{ Closed string }](b, operator, "play?client="+clients[0]).Closed
	}
	if !strings.Contains(closed, "enough") {
		t.Errorf("the connection ended with %q, want the kick", closed)
	}
}

// Catalog speaks protobuf.
type catalog struct{ component.Base }

func (*catalog) Double(_ *session.Session, n *wrapperspb.Int64Value) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(fmt.Sprint(2 * n.Value)), nil
}

func (*catalog) Repeat(_ *session.Session, n *wrapperspb.Int64Value) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(strings.Repeat("x", int(n.Value))), nil
}

func TestPlayProtobuf(t *testing.T) {
	components := &component.Components{}
	components.Register(&catalog{}, component.WithName("catalog"), component.WithNameFunc(strings.ToLower))
	b := newBed(t, console.Options{}, nano.WithComponents(components), nano.WithSerializer(protobuf.NewSerializer()))
	if p := get[routesPage](b, "routes"); p.Serializer != "protobuf" || p.form(t, "catalog.double").Kind != "json" {
		t.Errorf("the routes are %+v, want catalog.double with the JSON of a wrapper", p)
	}
	a := b.play(b.open(""), "catalog.double", `"21"`, false)
	if a.Reply == nil || a.Reply.Text != `"42"` || a.Reply.Encoding != "json" {
		t.Errorf("catalog.double answers %+v, want 42", a)
	}
	a = b.play(b.open(""), "catalog.repeat", `"100000"`, false)
	if a.Reply == nil || a.Reply.Encoding != "text" || a.Reply.Text != `"`+strings.Repeat("x", 64<<10-1) {
		t.Errorf("catalog.repeat answers %.100v, want 64 KiB of text", a.Reply)
	}
}

// askAs requests a path of the API with a token and decodes the answer.
func askAs[T any](b *bed, token, path string) T {
	b.t.Helper()
	w := b.ask("GET", "/console/api/"+path, token, "")
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); w.Code != 200 || err != nil {
		b.t.Fatalf("GET %s = %d %s", path, w.Code, w.Body)
	}
	return v
}
