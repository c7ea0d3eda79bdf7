package agent

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"

	"github.com/lonng/nano/internal/carry"
)

// token lets a client go on with its session: the name of the node that gave it, which is
// a hint and zero without a cluster, and 144 random bits. It is opaque and unguessable. It
// must never be logged.
type token [24]byte

// tokenLength is the length of a token as text.
const tokenLength = 32

// newToken returns a token that the node of a name gives.
func newToken(name carry.Name) (t token) {
	n := copy(t[:], name[:])
	_, _ = rand.Read(t[n:]) // it does not fail
	return t
}

// name returns the name of the node that gave the token.
func (t token) name() carry.Name { return carry.Name(t[:len(carry.Name{})]) }

// String hides the token from logs.
func (token) String() string { return "token" }

// text returns the token as the client gets it: base64url without padding.
func (t token) text() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// parseToken returns the token of a text; ok is false if the server never gave such one.
func parseToken(s string) (t token, ok bool) {
	if len(s) != tokenLength {
		return t, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s))
	return t, err == nil && n == len(t)
}

// The reasons why a session cannot go on.
const (
	reasonUnknown  = "unknown"
	reasonExpired  = "expired"
	reasonOverflow = "overflow"
	reasonEnded    = "ended"
)

// ended is what is remembered of a session with resume that has ended.
type ended struct {
	reason string
	kick   []byte // the body of the kick packet, if there was one
	tokens []token
	until  time.Time // when it is forgotten
}

// cost is the memory that it takes, in bytes, roughly.
func (e *ended) cost() int { return 256 + 64*len(e.tokens) + len(e.kick) }

// maxEnded bounds the memory for sessions that have ended, in bytes.
const maxEnded = 4 << 20

// tokens finds the session of a token. Its mu may be taken under that of an outbox.
type tokens struct {
	mu    sync.Mutex
	live  map[token]*Agent // mu guards it and what follows
	ended map[token]*ended
	queue []*ended // those in ended, the oldest first
	cost  int
}

func (t *tokens) init() { t.live, t.ended = map[token]*Agent{}, map[token]*ended{} }

// find returns the session of a token, or what is remembered of it, or neither.
func (t *tokens) find(k token) (*Agent, *ended) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(time.Now())
	return t.live[k], t.ended[k]
}

// add makes k a token of a.
func (t *tokens) add(k token, a *Agent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[k] = a
}

// remove forgets tokens of a live session.
func (t *tokens) remove(list []token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range list {
		delete(t.live, k)
	}
}

// end remembers that the session with the tokens of e has ended.
func (t *tokens) end(e *ended) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range e.tokens {
		delete(t.live, k)
		t.ended[k] = e
	}
	t.queue = append(t.queue, e)
	t.cost += e.cost()
	t.expire(time.Now())
}

// expire forgets sessions whose time has passed, and the oldest ones beyond the bound. The
// caller holds mu.
func (t *tokens) expire(now time.Time) {
	for len(t.queue) > 0 && (now.After(t.queue[0].until) || t.cost > maxEnded) {
		e := t.queue[0]
		t.queue[0] = nil
		t.queue = t.queue[1:]
		t.cost -= e.cost()
		for _, k := range e.tokens {
			delete(t.ended, k)
		}
	}
}
