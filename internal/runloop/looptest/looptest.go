// Package looptest holds helpers for tests of run loops and schedulers.
package looptest

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Log is a log that the test can read. Its methods may be called concurrently.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Logger returns a logger that writes to l.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Count returns how many lines contain text.
func (l *Log) Count(text string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// Trace is a list of events in order. Its methods may be called concurrently.
type Trace struct {
	mu   sync.Mutex
	list []string
}

// Add appends an event.
func (r *Trace) Add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, what)
}

// Expect fails the test unless the events are these.
func (r *Trace) Expect(t testing.TB, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.list, want) {
		t.Errorf("events: %q, want %q", r.list, want)
	}
}

// Pass advances the fake time by d and waits until all goroutines are blocked.
func Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Do runs f on a loop or scheduler and waits for it.
func Do(s interface{ Invoke(func()) bool }, f func()) {
	done := make(chan struct{})
	s.Invoke(func() { defer close(done); f() })
	<-done
}
