package agent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"github.com/lonng/nano/internal/carry"
)

// token lets a client resume its session. It holds the name of the node that issued it,
// and one encrypted block with the session's id and the number of the token. The name is
// a hint, and zero without a cluster. A token is opaque and must never be logged.
//
// AES with a secret key is a pseudorandom permutation: without the key, a guess is right
// with the probability of the number of valid tokens divided by 2^128. So the server stores
// no tokens, and a session at rest only has the number of its latest one.
type token [len(carry.Name{}) + aes.BlockSize]byte

// name returns the name of the node that issued the token.
func (t token) name() carry.Name { return carry.Name(t[:len(carry.Name{})]) }

// String hides the token from logs.
func (token) String() string { return "token" }

// text returns the token as sent to the client: base64url without padding.
func (t token) text() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// parseToken parses the text of a token. ok is false if no server can have issued it.
func parseToken(s string) (t token, ok bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(len(t)) {
		return t, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s))
	return t, err == nil && n == len(t)
}

// maxTokens is the maximum number of valid tokens per session.
const maxTokens = 8

// validTokens holds the numbers of a session's valid tokens: the one that the client used
// last, and later ones. The client may have any of them. Tokens are numbered from 1.
type validTokens struct{ used, latest uint64 }

// has reports whether token number n is valid. Of the later tokens only the newest are.
func (v validTokens) has(n uint64) bool {
	return n == v.used || n > v.used && n <= v.latest && v.latest-n < maxTokens-1
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
	session int64
	tokens  validTokens
	reason  string
	kick    []byte    // the body of the kick packet, if there was one
	until   time.Time // when the record expires
}

// cost returns the approximate memory of the record in bytes.
func (e *ended) cost() int { return 256 + len(e.kick) }

// maxEnded bounds the memory for records of ended sessions, in bytes.
const maxEnded = 4 << 20

// tokens makes and reads the tokens of a hub, and remembers why sessions have ended. Its
// mu may be locked while the mu of an outbox is held.
type tokens struct {
	block cipher.Block // AES with a random key

	mu    sync.Mutex
	ended map[int64]*ended // by session id; mu guards it and the following fields
	queue []*ended         // the records in ended, the oldest first
	cost  int
}

func (t *tokens) init() {
	var key [32]byte
	_, _ = rand.Read(key[:])           // rand.Read never fails
	t.block, _ = aes.NewCipher(key[:]) // it accepts keys of this size
	t.ended = map[int64]*ended{}
}

// issue returns token number n of a session, with the name of the issuing node.
func (t *tokens) issue(name carry.Name, session int64, n uint64) (k token) {
	var plain [aes.BlockSize]byte
	binary.BigEndian.PutUint64(plain[:], uint64(session))
	binary.BigEndian.PutUint64(plain[8:], n)
	t.block.Encrypt(k[copy(k[:], name[:]):], plain[:])
	return k
}

// read returns the session and the number of a token. If this hub has not issued it, the
// result is random.
func (t *tokens) read(k token) (session int64, n uint64) {
	var plain [aes.BlockSize]byte
	t.block.Decrypt(plain[:], k[len(carry.Name{}):])
	return int64(binary.BigEndian.Uint64(plain[:])), binary.BigEndian.Uint64(plain[8:])
}

// findToken returns the session of a valid token, the record of an ended session, or
// neither. n is the number of the token.
//
// A token with another name was not issued here, even if its encrypted block was. A node
// has no name until it knows its address.
func (h *Hub) findToken(k token) (a *Agent, n uint64, e *ended) {
	if name := k.name(); name != h.nodeName() && name != (carry.Name{}) {
		return nil, 0, nil
	}
	id, n := h.tokens.read(k)
	h.mu.Lock()
	a = h.agents[id]
	h.mu.Unlock()
	if a != nil && a.hasToken(n) {
		return a, n, nil
	}
	return nil, n, h.tokens.find(id, n)
}

// hasToken reports whether a client can resume the session with token number n.
func (a *Agent) hasToken(n uint64) bool {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.resume
	return r != nil && r.begun && !o.closed && r.tokens().has(n)
}

// find returns the record of an ended session if token number n was valid at its end.
func (t *tokens) find(session int64, n uint64) *ended {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(time.Now())
	if e := t.ended[session]; e != nil && e.tokens.has(n) {
		return e
	}
	return nil
}

// end adds the record of a session.
func (t *tokens) end(e *ended) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[e.session] = e
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
		delete(t.ended, e.session)
	}
}
