package agent

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"

	"github.com/lonng/nano/internal/carry"
)

// token lets a client resume its session. It holds the name of the node that issued it
// and 144 random bits. The name is a hint, and zero without a cluster. A token is opaque
// and cannot be guessed, and must never be logged.
type token [24]byte

// tokenLength is the length of a token as text.
const tokenLength = 32

// newToken returns a new token with the name of the issuing node.
func newToken(name carry.Name) (t token) {
	n := copy(t[:], name[:])
	_, _ = rand.Read(t[n:]) // rand.Read never fails
	return t
}

// name returns the name of the node that issued the token.
func (t token) name() carry.Name { return carry.Name(t[:len(carry.Name{})]) }

// String hides the token from logs.
func (token) String() string { return "token" }

// text returns the token as sent to the client: base64url without padding.
func (t token) text() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// parseToken parses the text of a token. ok is false if no server can have issued it.
func parseToken(s string) (t token, ok bool) {
	if len(s) != tokenLength {
		return t, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s))
	return t, err == nil && n == len(t)
}

// These are the reasons why a session cannot be resumed.
const (
	reasonUnknown  = "unknown"
	reasonExpired  = "expired"
	reasonOverflow = "overflow"
	reasonEnded    = "ended"
)

// ended is the record of a session with resume that has ended.
type ended struct {
	reason string
	kick   []byte // the body of the kick packet, if there was one
	tokens []token
	until  time.Time // when the record expires
}

// cost returns the approximate memory of the record in bytes.
func (e *ended) cost() int { return 256 + 64*len(e.tokens) + len(e.kick) }

// maxEnded bounds the memory for records of ended sessions, in bytes.
const maxEnded = 4 << 20

// tokens maps tokens to sessions. Its mu may be locked while the mu of an outbox is held.
type tokens struct {
	mu    sync.Mutex
	live  map[token]*Agent // mu guards it and the following fields
	ended map[token]*ended
	queue []*ended // the records in ended, the oldest first
	cost  int
}

func (t *tokens) init() { t.live, t.ended = map[token]*Agent{}, map[token]*ended{} }

// find returns the session of a token, the record of an ended session, or neither.
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

// remove removes tokens of a live session.
func (t *tokens) remove(list []token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range list {
		delete(t.live, k)
	}
}

// end replaces the session with the tokens of e by the record e.
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

// expire removes expired records, and the oldest records beyond the bound. The caller
// holds mu.
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
