package room

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/state"
)

// Filter selects rooms by the values of their labels.
type Filter map[string]any

// Room is a seat in a room, or a spectator's place. Its methods may be called concurrently. A client has one room at a
// time: a join replaces the handlers of the one before, also if the server refuses it.
type Room struct {
	client *client.Client
	joined joined
	closed chan struct{}

	mu      sync.Mutex
	decoder *state.Decoder // nil until the join is answered; mu guards it and the following fields
	early   [][]byte       // messages that arrived before the answer
	err     error          // error of the latest message
	reason  string
	left    bool
	changed func()
}

// joined is the answer to a join.
type joined struct {
	ID       string          `json:"id"`
	Code     string          `json:"code"`
	Kind     string          `json:"kind"`
	Player   uint32          `json:"player"`
	TickRate float64         `json:"tickRate"`
	Hash     string          `json:"hash"`
	Schema   json.RawMessage `json:"schema"`
	Reply    json.RawMessage `json:"reply"`
}

// JoinOrCreate joins a room of a kind that fits the filter, or a new one. options are sent as JSON; a []byte is the payload
// as the server's serializer decodes it, for one other than JSON. Both may be nil. An error of the server is a
// *client.Error.
func JoinOrCreate(ctx context.Context, c *client.Client, kind string, options any, f Filter) (*Room, error) {
	return join(ctx, c, "room.joinOrCreate", map[string]any{"kind": kind, "options": options, "filter": map[string]any{"equal": f}})
}

// Join joins the room with an id. For options see [JoinOrCreate].
func Join(ctx context.Context, c *client.Client, id string, options any) (*Room, error) {
	return join(ctx, c, "room.join", map[string]any{"id": id, "options": options})
}

// JoinCode joins the private room with a code, in capital or small letters. For options see [JoinOrCreate].
func JoinCode(ctx context.Context, c *client.Client, code string, options any) (*Room, error) {
	return join(ctx, c, "room.join", map[string]any{"code": code, "options": options})
}

// Spectate watches the room with an id.
func Spectate(ctx context.Context, c *client.Client, id string) (*Room, error) {
	return join(ctx, c, "room.spectate", map[string]any{"id": id})
}

func join(ctx context.Context, c *client.Client, route string, request map[string]any) (*Room, error) {
	r := &Room{client: c, closed: make(chan struct{})}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	c.On("room.state", func(m *client.Message) { r.update(m.Data) })
	for _, route := range []string{"room.left", "room.closed"} {
		c.On(route, func(m *client.Message) {
			var body struct{ Reason string }
			_ = json.Unmarshal(m.Data, &body) // no reason if it does not decode
			r.end(body.Reason)
		})
	}
	var answer []byte
	if err := c.Request(ctx, route, body, &answer); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(answer, &r.joined); err != nil {
		return nil, err
	}
	return r, r.begin()
}

// begin decodes the messages that arrived before the answer.
func (r *Room) begin() error {
	d, err := state.NewDecoder(string(r.joined.Schema))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decoder = d
	for _, data := range r.early {
		r.err = d.Decode(data)
	}
	r.early = nil
	return nil
}

// update decodes a message of the state.
func (r *Room) update(data []byte) {
	if len(data) == 0 {
		return // it replaces a missed message
	}
	r.mu.Lock()
	if r.decoder == nil {
		r.early = append(r.early, data)
		r.mu.Unlock()
		return
	}
	r.err = r.decoder.Decode(data)
	changed := r.changed
	r.mu.Unlock()
	if changed != nil {
		changed()
	}
}

func (r *Room) end(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.left {
		r.left, r.reason = true, reason
		close(r.closed)
	}
}

// ID returns the id of the room.
func (r *Room) ID() string { return r.joined.ID }

// Code returns the code of a private room, "" of any other.
func (r *Room) Code() string { return r.joined.Code }

// Player returns the id of the player in the room.
func (r *Room) Player() uint32 { return r.joined.Player }

// TickRate returns the ticks per second, 0 for a room without ticks.
func (r *Room) TickRate() float64 { return r.joined.TickRate }

// Reply decodes the reply of OnJoin into v, as JSON. The error is that of encoding/json, also if OnJoin returned no reply.
// With a serializer other than JSON, v is a *[]byte, which receives the payload.
func (r *Room) Reply(v any) error { return json.Unmarshal(r.joined.Reply, v) }

// Send sends v to the method of the room with a name. There is no answer. The errors are those of [client.Client.Notify].
func (r *Room) Send(name string, v any) error {
	return r.client.Notify(r.joined.Kind+"."+name, v)
}

// Request sends v to the method of the room with a name, and decodes the answer into reply. A nil reply drops the answer.
// The errors are those of [client.Client.Request].
func (r *Room) Request(ctx context.Context, name string, v, reply any) error {
	return r.client.Request(ctx, r.joined.Kind+"."+name, v, reply)
}

// OnChange sets a function that the client calls after each message of the state, on the goroutine of its handlers. With
// nil it calls none.
func (r *Room) OnChange(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = f
}

// Get returns one value of the state; see [state.Decoder.Get].
func (r *Room) Get(path ...string) (v any, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decoder.Get(path...)
}

// State returns a copy of the state; see [state.Decoder.State].
func (r *Room) State() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decoder.State()
}

// Tick returns the tick of the state, and the number of the last input that is part of it.
func (r *Room) Tick() (tick uint64, ack uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decoder.Tick(), r.decoder.Ack()
}

// Synced reports whether the state is current: from a snapshot until the next error.
func (r *Room) Synced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decoder.Synced()
}

// Err returns the decoding error of the latest state message, or nil.
func (r *Room) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Closed returns a channel that is closed when the server has closed the room or taken the seat away, or after Leave.
func (r *Room) Closed() <-chan struct{} { return r.closed }

// Reason returns the reason that the server gave for the end of the room or of the seat.
func (r *Room) Reason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// Leave gives the seat up, and closes the channel of Closed. The errors are those of [client.Client.Request].
func (r *Room) Leave(ctx context.Context) error {
	err := r.client.Request(ctx, "room.leave", []byte("{}"), nil)
	r.end("")
	return err
}
