package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/packet"
	jsonserializer "github.com/lonng/nano/serialize/json"
)

// conformanceTable is the conformance table of clients. internal/conformance/README.md
// specifies it.
const conformanceTable = "../internal/conformance/client.json"

// notForGo lists the cases that do not apply to this client, with the reason.
var notForGo = map[string]string{
	"request: a call without a connection fails": "there is no Client before Dial has returned",
	"notify: a call without a connection fails":  "there is no Client before Dial has returned",
	"close: before connect it does nothing":      "there is no Client before Dial has returned",
}

// notForTCP lists the cases that apply only to WebSocket.
var notForTCP = map[string]string{
	"handshake: a text frame ends the attempt":          "TCP has no text frames",
	"request: what waits fails when the program closes": "the server has no resume and takes no kick: the end of the stream tells it",
	"notify: after close it fails":                      "the server has no resume and takes no kick: the end of the stream tells it",
	"close: the program closes twice":                   "the server has no resume and takes no kick: the end of the stream tells it",
}

// value is any JSON.
type value struct {
	set bool
	v   any
}

func (v *value) UnmarshalJSON(b []byte) error { v.set = true; return json.Unmarshal(b, &v.v) }

// texts is a string or a list of strings.
type texts []string

func (s *texts) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(s))
	}
	*s = texts{""}
	return json.Unmarshal(b, &(*s)[0])
}

type conformanceOptions struct {
	Reconnect      *bool           `json:"reconnect"`
	Offline        string          `json:"offline"`
	Buffer         int             `json:"buffer"`
	Timeout        int             `json:"timeout"`
	ConnectTimeout int             `json:"connectTimeout"`
	User           json.RawMessage `json:"user"`
}

type conformanceStep struct {
	Call    string          `json:"call"`
	ID      string          `json:"id"`
	Route   string          `json:"route"`
	JSON    json.RawMessage `json:"json"`
	Hex     texts           `json:"hex"`
	Offline string          `json:"offline"`
	Fails   string          `json:"fails"`

	Server string `json:"server"`
	Text   string `json:"text"`
	Code   int    `json:"code"`

	Advance int `json:"advance"`
	Sleep   int `json:"sleep"`

	Expect string           `json:"expect"`
	Resume value            `json:"resume"`
	User   value            `json:"user"`
	How    string           `json:"how"`
	Events []map[string]any `json:"events"`

	raw string
}

func (s *conformanceStep) UnmarshalJSON(b []byte) error {
	type plain conformanceStep
	s.raw = string(b)
	return json.Unmarshal(b, (*plain)(s))
}

func TestConformance(t *testing.T) {
	b, err := os.ReadFile(conformanceTable)
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Version int
		Cases   []struct {
			Name    string
			Options conformanceOptions
			Steps   []conformanceStep
		}
	}
	if err := json.Unmarshal(b, &table); err != nil || table.Version != 1 || len(table.Cases) < 200 {
		t.Fatalf("the table has version %d and %d cases, %v", table.Version, len(table.Cases), err)
	}
	for _, framed := range []bool{true, false} {
		kind, excluded := "WebSocket", []map[string]string{notForGo}
		if !framed {
			kind, excluded = "TCP", []map[string]string{notForGo, notForTCP}
		}
		t.Run(kind, func(t *testing.T) {
			ran, left := 0, 0
			for _, c := range table.Cases {
				if slices.ContainsFunc(excluded, func(m map[string]string) bool { return m[c.Name] != "" }) {
					left++
					continue
				}
				ran++
				t.Run(c.Name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newConformance(t, framed, c.Options)
						defer r.finish()
						for i, s := range c.Steps {
							if err := r.step(s); err != nil {
								t.Fatalf("step %d, %.300s: %v", i, s.raw, err)
							}
						}
						if err := r.nothing(); err != nil {
							t.Fatalf("at the end: %v", err)
						}
					})
				})
			}
			want := 0
			for _, m := range excluded {
				want += len(m)
			}
			if left != want {
				t.Errorf("%d cases do not apply, and %d are listed", left, want)
			}
			t.Logf("%d cases ran, %d do not apply", ran, left)
		})
	}
}

// conformance runs one case, in a bubble of synctest.
type conformance struct {
	t       *testing.T
	framed  bool
	options conformanceOptions
	slept   atomic.Int64
	clients sync.WaitGroup
	left    context.CancelFunc // cancels the attempt of the client that is being created
	routes  []string
	cancels map[string]context.CancelFunc

	mu        sync.Mutex // guards the fields below
	client    *Client    // the latest client; nil before Dial has returned
	attempt   *fakeAttempt
	peer      *fakePeer
	connected bool
	seen
}

// seen holds the events since the last expect step.
type seen struct {
	dials     int
	handshake []byte
	packets   []string
	beats     int
	closes    []fakeEnd
	events    []map[string]any
}

// fakeEnd describes how the client has closed a connection.
type fakeEnd struct {
	leaves bool
	code   int // code of the close frame; 0 for none
}

func newConformance(t *testing.T, framed bool, o conformanceOptions) *conformance {
	return &conformance{t: t, framed: framed, options: o, cancels: map[string]context.CancelFunc{}}
}

// finish ends the clients and connections of the case.
func (r *conformance) finish() {
	if r.left != nil {
		r.left()
	}
	r.mu.Lock()
	c := r.client
	r.mu.Unlock()
	if c != nil {
		_ = c.Close() // the case has checked everything
	}
	r.clients.Wait()
	r.mu.Lock()
	p := r.peer
	r.mu.Unlock()
	if p != nil {
		_ = p.conn.Close()
	}
	synctest.Wait()
}

func (r *conformance) step(s conformanceStep) error {
	var err error
	switch {
	case s.Call != "":
		err = r.call(s)
	case s.Server != "":
		err = r.serve(s)
	case s.Expect != "":
		err = r.expect(s)
	case s.Advance > 0:
		time.Sleep(time.Duration(s.Advance) * time.Millisecond)
	case s.Sleep > 0:
		r.slept.Add(int64(s.Sleep) * int64(time.Millisecond))
	default:
		err = errors.New("unknown step")
	}
	synctest.Wait()
	return err
}

func (r *conformance) event(e map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *conformance) call(s conformanceStep) error {
	var body any = s.JSON
	if s.Hex != nil {
		body = unhex(s.Hex[0])
	}
	switch s.Call {
	case "connect":
		r.connect()
	case "close":
		r.left()
		r.mu.Lock()
		c := r.client
		r.mu.Unlock()
		if c != nil {
			r.clients.Go(func() { _ = c.Close() }) // the case may have lost queued data
		}
	case "on":
		r.routes = append(r.routes, s.Route)
		if r.client != nil {
			r.client.On(s.Route, r.pushed)
		}
	case "notify":
		err := r.client.NotifyContext(offlineContext(r.t.Context(), s.Offline), s.Route, body)
		if kind := failure(err)["kind"]; err != nil && kind != s.Fails || err == nil && s.Fails != "" {
			return fmt.Errorf("Notify = %w of kind %v, want kind %q", err, kind, s.Fails)
		}
	case "cancel":
		r.cancels[s.ID]()
	case "request":
		ctx, cancel := context.WithCancel(offlineContext(context.Background(), s.Offline))
		r.cancels[s.ID] = cancel
		c := r.client
		r.clients.Go(func() {
			defer cancel()
			r.request(ctx, c, s, body)
		})
	default:
		return errors.New("unknown call")
	}
	return nil
}

func offlineContext(ctx context.Context, offline string) context.Context {
	switch offline {
	case "wait":
		return ContextWithOffline(ctx, OfflineWait)
	case "fail":
		return ContextWithOffline(ctx, OfflineFail)
	}
	return ctx
}

func (r *conformance) request(ctx context.Context, c *Client, s conformanceStep, body any) {
	var data []byte
	err := c.Request(ctx, s.Route, body, &data)
	event := map[string]any{"reply": s.ID}
	if err == nil && len(data) > 0 {
		var v any
		err = (&Message{Data: data, conn: &connection{serializer: jsonserializer.NewSerializer()}}).Decode(&v)
		event["json"] = v
	}
	if err != nil {
		event = failure(err)
		event["failed"] = s.ID
	}
	r.event(event)
}

// failure returns the kind of an error in the terms of the table.
func failure(err error) map[string]any {
	kind := "unknown"
	switch answer := (&Error{}); {
	case errors.Is(err, context.Canceled):
		kind = "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		kind = "timeout"
	case errors.Is(err, ErrPayload):
		kind = "payload"
	case errors.As(err, &answer):
		metadata := map[string]any{}
		for k, v := range answer.Metadata {
			metadata[k] = v
		}
		return map[string]any{"kind": "answer", "code": answer.Code, "message": answer.Message, "metadata": metadata}
	case errors.Is(err, ErrBufferFull):
		kind = "full"
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrRoute):
		kind = "usage"
	case errors.Is(err, ErrDisconnected), errors.Is(err, ErrClosed):
		kind = "closed"
	}
	return map[string]any{"kind": kind}
}

// pushed is the handler of pushes.
func (r *conformance) pushed(m *Message) {
	e := map[string]any{"push": m.Route}
	if len(m.Data) > 0 {
		var v any
		if err := m.Decode(&v); errors.Is(err, ErrPayload) {
			r.event(map[string]any{"unreadable": m.Route})
			return
		}
		e["json"] = v
	}
	r.event(e)
}

// status converts a status to events.
func (r *conformance) status(_ *Client, s Status) {
	kick, kicked := errors.AsType[*KickError](s.Err)
	r.mu.Lock()
	if s.State == Connecting {
		r.connected = false
	}
	known := r.connected // the table has no kicks before the first connection
	r.connected = r.connected || s.State == Connected
	r.mu.Unlock()
	if kicked && known {
		r.event(map[string]any{"kick": string(kick.reason()), "reason": kickReason(kick.Body)})
	}
	e := map[string]any{"status": s.State.String()}
	if s.State == Connected {
		e["resumed"] = s.Resumed
	}
	if s.Reason != "" {
		e["reason"] = string(s.Reason)
	}
	r.event(e)
}

// kickReason returns the reason in the body of a kick, or the whole body if it has none.
func kickReason(body string) any {
	var v any
	_ = json.Unmarshal([]byte(body), &v) // every body in the table is JSON
	if object, ok := v.(map[string]any); ok {
		if reason, ok := object["reason"]; ok {
			return reason
		}
	}
	return v
}

func (r *conformance) connect() {
	o := r.options
	connectTimeout := time.Duration(o.ConnectTimeout) * time.Millisecond
	if connectTimeout == 0 {
		connectTimeout = 10_000 * time.Hour
	}
	opts := []Option{
		WithSerializer(jsonserializer.NewSerializer()),
		WithRequestTimeout(time.Duration(o.Timeout) * time.Millisecond),
		WithDialTimeout(connectTimeout),
		WithResumeBuffer(o.Buffer),
		WithOnStatus(r.status),
		WithDialer(r.dial),
		func(o *options) {
			o.proxy = nil
			o.clock = func() time.Time { return time.Now().Add(time.Duration(r.slept.Load())) }
		},
	}
	if o.Reconnect == nil || *o.Reconnect {
		opts = append(opts, WithResume())
	}
	if o.Offline == "fail" {
		opts = append(opts, WithOffline(OfflineFail))
	}
	if o.User != nil {
		opts = append(opts, WithUser(o.User))
	}
	for _, route := range r.routes {
		opts = append(opts, WithHandler(route, r.pushed))
	}
	addr := "tcp://game:3250"
	if r.framed {
		addr = "ws://game:3250/nano"
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.left = cancel
	r.mu.Lock()
	r.client = nil
	r.mu.Unlock()
	r.clients.Go(func() {
		c, _ := Dial(ctx, addr, opts...) // a failure also produces a status
		r.mu.Lock()
		r.client = c
		r.mu.Unlock()
	})
}

func (r *conformance) expect(s conformanceStep) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s.Expect {
	case "dial":
		if n := r.dials; n != 1 {
			return fmt.Errorf("%d connection attempts, want 1", n)
		}
		r.dials = 0
	case "none":
		return r.nothingLocked()
	case "alive":
		if r.beats == 0 {
			return errors.New("the client has sent nothing")
		}
		r.beats = 0
	case "handshake":
		return r.expectHandshake(s)
	case "packets":
		var want []string
		for _, h := range s.Hex {
			want = append(want, hex.EncodeToString(unhex(h)))
		}
		if !slices.Equal(r.packets, want) {
			return fmt.Errorf("packets %.500q, want %.500q", r.packets, want)
		}
		r.packets = nil
	case "closed":
		if len(r.closes) == 0 {
			return errors.New("the client did not close")
		}
		end := r.closes[0]
		r.closes = r.closes[1:]
		if s.How != "any" && end.leaves != (s.How == "leave") {
			return fmt.Errorf("the client closed with %+v, want %s", end, s.How)
		}
		if !end.leaves && end.code != 0 && end.code < 3000 && s.How != "any" {
			return fmt.Errorf("the client closed with code %d", end.code)
		}
	case "events":
		return r.expectEvents(s.Events)
	default:
		return errors.New("unknown expectation")
	}
	return nil
}

func (r *conformance) expectHandshake(s conformanceStep) error {
	var got struct {
		Sys  struct{ Resume value }
		User value
	}
	if err := json.Unmarshal(r.handshake, &got); err != nil {
		return fmt.Errorf("handshake %q: %w", r.handshake, err)
	}
	if !reflect.DeepEqual(got.Sys.Resume, s.Resume) || !reflect.DeepEqual(got.User, s.User) {
		return fmt.Errorf("handshake %s", r.handshake)
	}
	r.handshake = nil
	return nil
}

// expectEvents compares the outcomes of requests apart from the other events, which are in order.
func (r *conformance) expectEvents(want []map[string]any) error {
	split := func(events []map[string]any) (outcomes map[string]any, others []map[string]any) {
		outcomes = map[string]any{}
		for _, e := range events {
			id, ok := e["reply"]
			if !ok {
				id, ok = e["failed"]
			}
			if ok {
				outcomes[id.(string)] = e
			} else {
				others = append(others, e)
			}
		}
		return outcomes, others
	}
	gotOutcomes, got := split(r.events)
	wantOutcomes, others := split(want)
	if !reflect.DeepEqual(gotOutcomes, wantOutcomes) || !reflect.DeepEqual(got, others) || len(r.events) != len(want) {
		return fmt.Errorf("events %v, want %v", r.events, want)
	}
	r.events = nil
	return nil
}

func (r *conformance) nothing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nothingLocked()
}

func (r *conformance) nothingLocked() error {
	if r.dials != 0 || r.handshake != nil || len(r.packets) > 0 || len(r.events) > 0 {
		return fmt.Errorf("%d attempts, handshake %q, packets %q, events %v, want nothing", r.dials, r.handshake, r.packets, r.events)
	}
	return nil
}

// packet handles a packet of the client.
func (r *conformance) packet(p *fakePeer, t packet.Type, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats++
	switch {
	case t == packet.Handshake:
		if r.handshake != nil || p.shaken {
			r.t.Error("a second handshake came")
		}
		r.handshake, p.shaken = slices.Clone(body), true
	case t == packet.Kick:
		p.end.leaves = true
	case t == packet.Heartbeat && len(body) == 0:
	default:
		r.packets = append(r.packets, hex.EncodeToString(append([]byte{byte(t), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)))
	}
}

// unhex returns the bytes of a text such as "00ff 61*40".
func unhex(s string) []byte {
	var b []byte
	for part := range strings.FieldsSeq(s) {
		digits, times, _ := strings.Cut(part, "*")
		n := 1
		if times != "" {
			n, _ = strconv.Atoi(times) // an error makes the case fail
		}
		piece, _ := hex.DecodeString(digits)
		for range n {
			b = append(b, piece...)
		}
	}
	if b == nil {
		b = []byte{}
	}
	return b
}
