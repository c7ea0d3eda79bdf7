package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

const (
	maxPlayers  = 8                // test clients of a console at a time
	playerIdle  = 5 * time.Minute  // after which a test client closes
	playWait    = 10 * time.Second // for a connection and for an answer
	maxPushes   = 100              // pushes of a test client that are kept
	maxShown    = 64 << 10         // bytes of an answer that are shown
	maxPush     = 8 << 10          // bytes of a push that are kept
	playMissing = "the test client has closed; connect again"
)

// playground has the test clients of a console. They connect to the server in memory and
// take part in the game as any client does.
type playground struct {
	mu      sync.Mutex
	players map[string]*player // mu guards it
	opening int                // clients that are connecting; mu guards it
}

// player is one test client.
type player struct {
	*client.Client
	id   string
	idle *time.Timer

	mu     sync.Mutex
	pushes []push // mu guards it and count
	count  int    // pushes that have arrived
}

// push is one push to a test client.
type push struct {
	Number int       `json:"number"` // from 1
	Time   time.Time `json:"time"`
	Route  string    `json:"route"`
	shown
}

// routeForm is a route of this node.
type routeForm struct {
	Route   string     `json:"route"`
	Request *formField `json:"request"` // null if the handler takes bytes
	Reply   string     `json:"reply"`   // the Go type of the reply; empty if it is not known
}

// routes serves the routes that clients may use on this node, with forms of their requests.
func (h *handler) routes(w http.ResponseWriter, _ *http.Request) {
	list := []routeForm{}
	for _, r := range h.inside.Routes() {
		f := routeForm{Route: r.Route}
		if r.Request != nil {
			f.Request = new(requestForm(h.inside.Serializer(), r))
		}
		if r.Reply != nil {
			f.Reply = r.Reply.String()
		}
		list = append(list, f)
	}
	reply(w, struct {
		Time       time.Time   `json:"time"`
		Serializer string      `json:"serializer"` // "json", "protobuf", another name, or empty
		Routes     []routeForm `json:"routes"`     // sorted
	}{time.Now(), serializerName(h.inside.Serializer()), list})
}

// requestForm describes the request of a route.
func requestForm(s serialize.Serializer, r inspect.Route) formField {
	form := &former{left: maxFormFields}
	if m := protoMessage(r.New()); m != nil && serializerName(s) != "json" {
		return form.message(m.ProtoReflect().Descriptor(), 0)
	}
	return form.value(r.Request.Elem(), 0)
}

// take reserves a place for a test client.
func (p *playground) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.players)+p.opening >= maxPlayers {
		return false
	}
	p.opening++
	return true
}

// put fills the place that take has reserved, or frees it if the player is nil.
func (p *playground) put(c *player) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening--
	if c == nil {
		return
	}
	if p.players == nil {
		p.players = map[string]*player{}
	}
	p.players[c.id] = c
}

func (p *playground) find(id string) *player {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.players[id]
	if c != nil {
		c.idle.Reset(playerIdle)
	}
	return c
}

// drop closes a test client. It waits for the client up to two seconds.
func (p *playground) drop(c *player) {
	c.idle.Stop()
	p.mu.Lock()
	delete(p.players, c.id)
	p.mu.Unlock()
	_ = c.Close() // unsent messages do not matter
}

// received keeps a push.
func (c *player) received(s serialize.Serializer, m *client.Message) {
	v := decode(s, nil, m.Data, maxPush)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if len(c.pushes) == maxPushes {
		c.pushes = slices.Delete(c.pushes, 0, 1)
	}
	c.pushes = append(c.pushes, push{c.count, time.Now(), m.Route, v})
}

// openPlayer connects a test client.
func (h *handler) openPlayer(w http.ResponseWriter, r *http.Request) {
	var a struct {
		User string `json:"user"` // JSON for the handshake; empty for none
	}
	if !h.readBody(w, r, &a) {
		return
	}
	if a.User != "" && !json.Valid([]byte(a.User)) {
		fail(w, http.StatusBadRequest, "the user data is not JSON")
		return
	}
	if !h.play.take() {
		fail(w, http.StatusTooManyRequests, "there are 8 test clients already: close one")
		return
	}
	c, err := h.connect(r.Context(), a.User)
	h.play.put(c)
	h.logAction(r, "connect a test client", err)
	if err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	reply(w, struct {
		Client string `json:"client"`
	}{c.id})
}

// connect connects a client to the server in memory.
func (h *handler) connect(ctx context.Context, user string) (*player, error) {
	ctx, cancel := context.WithTimeout(ctx, playWait)
	defer cancel()
	near, far := net.Pipe()
	if err := h.inside.Connect(far); err != nil {
		_ = near.Close()
		return nil, err
	}
	c := &player{id: rand.Text()}
	opts := []client.Option{
		client.WithRequestTimeout(playWait),
		client.WithFallback(func(m *client.Message) { c.received(h.inside.Serializer(), m) }),
	}
	if user != "" {
		opts = append(opts, client.WithUser(json.RawMessage(user)))
	}
	var err error
	if c.Client, err = client.New(ctx, near, opts...); err != nil {
		return nil, err
	}
	c.idle = time.AfterFunc(playerIdle, func() { h.play.drop(c) })
	return c, nil
}

// send sends a request or a notify of a test client.
func (h *handler) send(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Client  string `json:"client"`
		Route   string `json:"route"`
		Notify  bool   `json:"notify"`
		Payload string `json:"payload"` // JSON, or the bytes of a handler that takes bytes
	}
	if !h.readBody(w, r, &a) {
		return
	}
	if err := session.CheckRoute(a.Route); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	c := h.play.find(a.Client)
	if c == nil {
		fail(w, http.StatusNotFound, playMissing)
		return
	}
	var route *inspect.Route
	routes := h.inside.Routes()
	if i := slices.IndexFunc(routes, func(r inspect.Route) bool { return r.Route == a.Route }); i >= 0 {
		route = &routes[i]
	}
	data, err := encode(h.inside.Serializer(), route, a.Payload)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	began := time.Now()
	var answer []byte
	if a.Notify {
		err = c.NotifyContext(r.Context(), a.Route, data)
	} else {
		err = c.Request(r.Context(), a.Route, data, &answer)
	}
	took := time.Since(began)
	kind := "request"
	if a.Notify {
		kind = "notify"
	}
	h.logAction(r, "send a "+kind+" of a test client", err, "route", a.Route, "bytes", len(data))
	h.answer(w, route, a.Notify, answer, err, took)
}

// answer answers send.
func (h *handler) answer(w http.ResponseWriter, route *inspect.Route, notify bool, data []byte, err error, took time.Duration) {
	type failure struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	a := struct {
		Time  time.Time `json:"time"`
		Took  float64   `json:"took"`  // seconds
		Reply *shown    `json:"reply"` // null for a notify and an error
		Error *failure  `json:"error"` // the error of the server's answer; null if there is none
	}{Time: time.Now(), Took: took.Seconds()}
	if e, ok := errors.AsType[*client.Error](err); ok {
		a.Error = &failure{e.Code, e.Message}
	} else if err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	if err == nil && !notify {
		var t reflect.Type
		if route != nil {
			t = route.Reply
		}
		a.Reply = new(decode(h.inside.Serializer(), t, data, maxShown))
	}
	reply(w, a)
}

// pushes serves the pushes to a test client after a number.
func (h *handler) pushes(w http.ResponseWriter, r *http.Request) {
	if roleOf(r) < Operator {
		fail(w, http.StatusForbidden, "want the role operator")
		return
	}
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if r.URL.Query().Get("after") != "" && err != nil {
		fail(w, http.StatusBadRequest, "after: want the number of a push")
		return
	}
	c := h.play.find(r.URL.Query().Get("client"))
	if c == nil {
		fail(w, http.StatusNotFound, playMissing)
		return
	}
	c.mu.Lock()
	list := slices.DeleteFunc(append([]push{}, c.pushes...), func(p push) bool { return p.Number <= after })
	c.mu.Unlock()
	a := struct {
		Time   time.Time `json:"time"`
		Pushes []push    `json:"pushes"` // the oldest first; the last 100 are kept
		Closed string    `json:"closed"` // why the connection has ended; empty if it has not
	}{Time: time.Now(), Pushes: list}
	select {
	case <-c.Done():
		a.Closed = c.Err().Error()
	default:
	}
	reply(w, a)
}

// closePlayer closes a test client.
func (h *handler) closePlayer(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Client string `json:"client"`
	}
	if !h.readBody(w, r, &a) {
		return
	}
	c := h.play.find(a.Client)
	if c == nil {
		fail(w, http.StatusNotFound, playMissing)
		return
	}
	h.play.drop(c)
	h.logAction(r, "close a test client", nil)
	reply(w, struct{}{})
}
