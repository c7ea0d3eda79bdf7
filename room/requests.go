package room

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// service is the first part of the routes that all kinds share.
const service = "room"

// request is a client's request to the routes room.*. It is always JSON.
type request struct {
	Kind    string          `json:"kind"`
	ID      string          `json:"id"`
	Code    string          `json:"code,omitempty"`   // code of a private room, instead of its id
	Create  json.RawMessage `json:"create,omitempty"` // options of OnCreate if they differ from those of OnJoin
	Options json.RawMessage `json:"options"`          // JSON; with a serializer other than JSON, the payload in base64
	Hash    string          `json:"hash"`             // hash of the client's schema
	Filter  Filter          `json:"filter"`
	Match   uint64          `json:"match"` // the match that a player accepts
	// Forwarded says that another node has sent the request, and that it follows a room
	// which has moved.
	Forwarded bool `json:"forwarded,omitempty"`
}

// Joined is the answer to a join.
type Joined struct {
	ID        string          `json:"id"`                  // id of the room
	Code      string          `json:"code,omitempty"`      // of a private room
	Kind      string          `json:"kind"`                // name of its kind
	Player    PlayerID        `json:"player"`              // id of the player
	Spectator bool            `json:"spectator,omitempty"` // the player only watches
	TickRate  float64         `json:"tickRate"`            // ticks per second, 0 for none
	SendRate  float64         `json:"sendRate"`            // how often per second the state is sent
	Hash      string          `json:"hash"`                // hash of the schema
	Schema    json.RawMessage `json:"schema,omitempty"`    // omitted if the client has it
	Reply     json.RawMessage `json:"reply,omitempty"`     // reply of OnJoin; with a serializer other than JSON, the payload in base64
}

// maxListed is the maximum number of rooms that room.list returns.
const maxListed = 100

// requests returns the handlers of the routes room.*.
func (s *server) requests() []handler.Func {
	list := append(s.nodeRequests(), s.queueRequests()...)
	funcs := map[string]func(*session.Session, *request, func(any, error)){
		"accept":           s.onAccept,
		"cancel":           s.onCancel,
		"create":           s.onCreate,
		methodJoin:         s.onJoin,
		methodJoinOrCreate: s.onJoinOrCreate,
		"leave":            s.onLeave,
		"list":             s.onList,
		methodSpectate:     s.onSpectate,
	}
	for name, f := range funcs {
		list = append(list, handler.Func{Service: service, Name: name, Call: func(from *session.Session, data any) (any, error) {
			req := &request{}
			if payload := data.([]byte); len(payload) > 0 {
				if err := req.decode(payload); err != nil {
					return nil, badRequest("%v", err)
				}
			}
			if err := req.Filter.check(); err != nil {
				return nil, err
			}
			f(from, req, deferReply(from))
			return nil, nil
		}})
	}
	return list
}

// decode decodes a client's request. It refuses a filter with unknown members.
func (r *request) decode(payload []byte) error {
	in := struct {
		*request
		Filter *strictFilter `json:"filter"`
	}{r, (*strictFilter)(&r.Filter)}
	return json.Unmarshal(payload, &in)
}

// strictFilter is a [Filter] whose unknown members are errors: without them, the filter
// would select other rooms.
type strictFilter Filter

// UnmarshalJSON implements [json.Unmarshaler].
func (f *strictFilter) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode((*Filter)(f)); err != nil {
		return fmt.Errorf("a filter has equal, near, at and within: %w", err)
	}
	return nil
}

// deferReply returns a function that answers the running request of a session later, in JSON.
func deferReply(from *session.Session) func(v any, err error) {
	r := from.Defer()
	return func(v any, err error) {
		var body []byte
		if err == nil {
			body, err = json.Marshal(v)
		}
		if err != nil {
			_ = r.Fail(err)
			return
		}
		_ = r.Reply(body)
	}
}

func badRequest(format string, args ...any) error {
	return message.Errorf(message.CodeBadRequest, format, args...)
}

// These constants bound a filter from a client.
const (
	maxFilterKeys = 16
	maxFilterText = 64
)

// check returns an error if a client may not send the filter.
func (f Filter) check() error {
	if len(f.Equal) > maxFilterKeys {
		return badRequest("a filter has at most %d labels", maxFilterKeys)
	}
	for k, v := range f.Equal {
		text, isText := v.(string)
		switch v.(type) {
		case string, bool, float64:
		default:
			return badRequest("the label %q of a filter is not a text, number or bool", k)
		}
		if len(k) > maxFilterText || isText && (len(text) > maxFilterText || !utf8.ValidString(text)) {
			return badRequest("a label of a filter has over %d bytes", maxFilterText)
		}
	}
	return nil
}

// decode decodes the options of a request into a new value of type t. It returns nil if t
// is nil.
func (n *node) decode(t reflect.Type, raw json.RawMessage) (any, error) {
	if t == nil {
		return nil, nil
	}
	v := reflect.New(t).Interface()
	if len(raw) == 0 || string(raw) == "null" {
		return v, nil
	}
	payload := []byte(raw)
	if !n.json {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, badRequest("the options are not a text in base64")
		}
		var err error
		if payload, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, badRequest("the options are not base64")
		}
	}
	if err := n.serializer.Unmarshal(payload, v); err != nil {
		return nil, badRequest("the options do not decode")
	}
	return v, nil
}

// encode returns the reply of OnJoin in the form of the answer.
func (n *node) encode(reply any) (json.RawMessage, error) {
	if reply == nil {
		return nil, nil
	}
	if v := reflect.ValueOf(reply); !n.json && v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, nil // a serializer such as protobuf has no null
	}
	data, err := n.serializer.Marshal(reply)
	if err != nil || n.json {
		return data, err
	}
	return json.Marshal(data) // base64
}

// decoder decodes the options of a request for one of the hooks.
type decoder func(h *hook) (any, error)

func (n *node) decoder(raw json.RawMessage) decoder {
	return func(h *hook) (any, error) {
		if h == nil {
			return nil, nil
		}
		return n.decode(h.options, raw)
	}
}

// kindOf returns the server's kind with the given name.
func (n *node) kindOf(name string) (*kind, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := n.kinds[name]; at != nil {
		return at.kind, nil
	}
	return nil, errNoKind(name)
}

func errNoKind(name string) error {
	return message.Errorf(ErrNotFound.Code, "there is no kind of rooms %q", name)
}

// entry returns the entry of a client's request.
func (s *server) entry(from *session.Session, req *request) *entry {
	k, _ := s.node.kindOf(req.Kind) // nil without an error, because another node may have it
	e := &entry{s: from, kind: k, req: req, opts: s.node.decoder(req.Options), create: req.Options}
	if len(req.Create) > 0 {
		e.create = req.Create
	}
	return e
}

func (s *server) onCreate(from *session.Session, req *request, answer func(any, error)) {
	s.node.createAny(s.entry(from, req), answer)
}

func (s *server) onJoin(from *session.Session, req *request, answer func(any, error)) {
	s.node.serve(s.entry(from, req), methodJoin, answer)
}

func (s *server) onJoinOrCreate(from *session.Session, req *request, answer func(any, error)) {
	s.node.serve(s.entry(from, req), methodJoinOrCreate, answer)
}

func (s *server) onSpectate(from *session.Session, req *request, answer func(any, error)) {
	s.node.serve(s.entry(from, req), methodSpectate, answer)
}

func (s *server) onList(from *session.Session, req *request, answer func(any, error)) {
	s.node.listAny(s.entry(from, req), answer)
}

func (s *server) onLeave(from *session.Session, _ *request, answer func(any, error)) {
	p := s.node.seat(from)
	if p == nil {
		answer(struct{}{}, nil)
		return
	}
	p.core.do(func() {
		if p.core.away {
			s.node.leaveThere(from, answer)
			return
		}
		if p.session == from {
			p.core.remove(p, ErrLeft, "")
		}
		answer(struct{}{}, nil)
	})
}

func (s *server) onAccept(from *session.Session, req *request, answer func(any, error)) {
	if !s.node.asks.allow(from.ID()) {
		answer(nil, ErrRate)
		return
	}
	s.node.acceptAny(from, req.Match, answer)
}

func (s *server) onCancel(from *session.Session, _ *request, answer func(any, error)) {
	if !s.node.asks.allow(from.ID()) {
		answer(nil, ErrRate)
		return
	}
	s.node.cancelAny(from, answer)
}

// joined returns the answer to a join. hash is the hash of the client's schema.
func (n *node) joined(c *core, r seated, hash string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	j, err := n.joinedFor(c, r)
	if err != nil {
		return nil, err
	}
	if hash == j.Hash {
		j.Schema = nil
	}
	return j, nil
}

func (n *node) joinedFor(c *core, r seated) (*Joined, error) {
	o := &c.kind.options
	j := &Joined{
		ID: c.id, Code: c.getCode(), Kind: c.kind.name, Player: r.player.ID, Spectator: r.player.spectator,
		TickRate: o.tickRate, SendRate: o.tickRate / float64(max(1, c.kind.every)),
		Hash: c.kind.schema.Hash, Schema: json.RawMessage(c.kind.schema.JSON),
	}
	var err error
	j.Reply, err = n.encode(r.reply)
	return j, err
}
