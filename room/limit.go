package room

import (
	"sync"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// These constants are the default rate at which one session may create rooms: createBurst
// at once, and one more per createEvery.
const (
	createBurst = 20
	createEvery = time.Second
)

// These constants limit the requests for which all other nodes may be asked: room.accept,
// room.cancel, and joins by the id of a room whose node has gone. A session may send askBurst
// of them at once, and one more per askEvery.
const (
	askBurst = 20
	askEvery = time.Second
)

// limiter allows a number of actions per key at once, and one more per interval. Its
// methods may be called concurrently.
type limiter struct {
	burst int
	every time.Duration

	mu    sync.Mutex
	used  map[any]time.Time // when the key has its full burst again; mu guards it and sweep
	sweep int               // number of entries at which expired ones are deleted
}

// minSweep is the minimum number of keys at which a limiter deletes expired ones.
const minSweep = 1024

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: burst, every: every, used: map[any]time.Time{}, sweep: minSweep}
}

// allow counts one action of a key, and reports whether it is within the limit.
func (l *limiter) allow(key any) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.used[key]
	if full.Before(now) {
		full = now
	}
	full = full.Add(l.every)
	if full.Sub(now) > time.Duration(l.burst)*l.every {
		return false
	}
	l.used[key] = full
	if len(l.used) >= l.sweep {
		for k, t := range l.used {
			if t.Before(now) {
				delete(l.used, k)
			}
		}
		l.sweep = max(minSweep, 2*len(l.used))
	}
	return true
}

// restore undoes a call of allow.
func (l *limiter) restore(key any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full, ok := l.used[key]; ok {
		l.used[key] = full.Add(-l.every)
	}
}

// maxWaiting is the maximum number of requests of one session that wait for other nodes.
const maxWaiting = 8

// waiting counts the requests of a session that wait for other nodes.
type waiting struct {
	requests int
	join     bool // one of them is a join
}

// errWaiting is returned if too many requests or more than one join of a session wait for
// other nodes.
var errWaiting = message.Errorf(ErrBusy.Code, "wait for the answers to earlier requests")

// begin counts a request of a session that waits for other nodes. The caller calls end
// when the request is answered.
func (n *node) begin(s *session.Session, join bool) (end func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.waiting[s.ID()]
	if w == nil {
		w = &waiting{}
	}
	if w.requests >= maxWaiting || join && w.join {
		return nil, errWaiting
	}
	n.waiting[s.ID()] = w
	w.requests++
	w.join = w.join || join
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		w.requests--
		w.join = w.join && !join
		if w.requests == 0 {
			delete(n.waiting, s.ID())
		}
	}, nil
}
