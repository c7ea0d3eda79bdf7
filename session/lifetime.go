package session

import (
	"fmt"
	"slices"
	"sync"

	"github.com/lonng/nano/internal/stacktrace"
)

// LifetimeHandler is a callback for sessions that have closed.
type LifetimeHandler func(*Session)

// Lifetime holds the close callbacks for all sessions of the process: after
// Lifetime.OnClosed(h), each server calls h for every open session that closes. Its
// methods may be called concurrently.
var Lifetime = &lifetime{}

type lifetime struct {
	mu       sync.RWMutex
	onClosed []LifetimeHandler
}

// OnClosed registers a callback for every open session that closes from now on. It runs
// on the logic goroutine of the session's server, before the callbacks of
// [Session.OnClose]. It does not run for a session whose handshake was not completed.
// OnClosed may be called at any time. A callback cannot be removed.
func (lt *lifetime) OnClosed(h LifetimeHandler) {
	lt.mu.Lock()
	defer lt.mu.Unlock()
	lt.onClosed = append(lt.onClosed, h)
}

// Close calls the callbacks for s. Servers call it; programs need it only in tests.
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

// guard calls f and appends its panic to panics, with the stack, so that the other
// callbacks still run.
func guard(panics *[]error, f func()) {
	defer func() {
		if p := recover(); p != nil {
			*panics = append(*panics, fmt.Errorf("close callback: %v at %s", p, stacktrace.Line()))
		}
	}()
	f()
}
