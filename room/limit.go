package room

import (
	"sync"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// The default rate at which one session may make rooms: createBurst at once, and one more each createEvery.
const (
	createBurst = 20
	createEvery = time.Second
)

// limiter allows each key a number of actions at once, and one more each interval. Its methods may be called concurrently.
type limiter struct {
	burst int
	every time.Duration

	mu    sync.Mutex
	used  map[any]time.Time // when the key will have its whole burst again; mu guards it and sweep
	sweep int               // entries at which those that are over are deleted
}

// minSweep is how many keys a limiter keeps at least before it looks for those that are over.
const minSweep = 1024

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: burst, every: every, used: map[any]time.Time{}, sweep: minSweep}
}

// allow takes one action of a key, and reports whether the key had one.
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

// restore gives an action back that allow has taken.
func (l *limiter) restore(key any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full, ok := l.used[key]; ok {
		l.used[key] = full.Add(-l.every)
	}
}

// maxWaiting is how many requests of one session may wait for other nodes.
const maxWaiting = 8

// waiting counts the requests of a session that wait for other nodes.
type waiting struct {
	requests int
	join     bool // one of them is a join
}

// errWaiting is returned if too many requests of a session wait for other nodes, or two joins would.
var errWaiting = message.Errorf(ErrBusy.Code, "wait for the answers to the requests before")

// begin counts a request of a session that waits for other nodes. The caller calls end when it has its answer.
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
