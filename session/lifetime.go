package session

import (
	"fmt"
	"slices"
	"sync"

	"github.com/lonng/nano/internal/stacktrace"
)

// LifetimeHandler is called with a session that has closed.
type LifetimeHandler func(*Session)

// Lifetime holds the callbacks for the sessions of every server in the process: Lifetime.OnClosed(h) has h called for
// every session that closes from then on. It may be called concurrently.
var Lifetime = &lifetime{}

type lifetime struct {
	mu       sync.RWMutex
	onClosed []LifetimeHandler
}

// OnClosed has h called for every session that closes from now on, on the logic goroutine of its server, before
// the session's own OnClose callbacks. It may be called at any time and concurrently; there is no way to take a
// callback back.
func (lt *lifetime) OnClosed(h LifetimeHandler) {
	lt.mu.Lock()
	defer lt.mu.Unlock()
	lt.onClosed = append(lt.onClosed, h)
}

// Close calls the callbacks for s. Servers do so; programs need it only in tests.
func (lt *lifetime) Close(s *Session) {
	var panics []error
	lt.close(s, &panics)
	if len(panics) > 0 {
		panic(panics[0])
	}
}

func (lt *lifetime) close(s *Session, panics *[]error) {
	lt.mu.RLock()
	handlers := slices.Clone(lt.onClosed)
	lt.mu.RUnlock()
	for _, h := range handlers {
		guard(panics, func() { h(s) })
	}
}

// guard calls f and keeps its panic, with the stack, for later: one callback's fault does not cost the others
// their turn.
func guard(panics *[]error, f func()) {
	defer func() {
		if p := recover(); p != nil {
			*panics = append(*panics, fmt.Errorf("close callback: %v at %s", p, stacktrace.Line()))
		}
	}()
	f()
}
