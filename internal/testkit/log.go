package testkit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano"
)

// LogCapture is a slog.Handler that keeps every record. Its methods may be called concurrently.
type LogCapture struct {
	mu      sync.Mutex
	records []slog.Record
	came    chan struct{}
}

// NewLogCapture returns an empty LogCapture.
func NewLogCapture() *LogCapture { return &LogCapture{came: make(chan struct{}, 1)} }

// Count returns the number of records with this message.
func (l *LogCapture) Count(message string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message == message {
			n++
		}
	}
	return n
}

// All returns every record as text.
func (l *LogCapture) All() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	h := slog.NewTextHandler(&b, nil)
	for _, r := range l.records {
		_ = h.Handle(context.Background(), r)
	}
	return b.String()
}

// Enabled returns true: every level is kept.
func (l *LogCapture) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs returns l.
func (l *LogCapture) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup returns l.
func (l *LogCapture) WithGroup(string) slog.Handler { return l }

// Handle stores r.
func (l *LogCapture) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	l.records = append(l.records, r)
	l.mu.Unlock()
	select {
	case l.came <- struct{}{}:
	default:
	}
	return nil
}

// Option returns the server option that logs to l.
func (l *LogCapture) Option() nano.Option { return nano.WithSlog(slog.New(l)) }

// Find returns attribute key of the last record with this message.
func (l *LogCapture) Find(message, key string) (value string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message != message {
			continue
		}
		ok = true
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == key {
				value = a.Value.String()
			}
			return true
		})
	}
	return value, ok
}

// Wait waits for a record with this message and returns its attribute key.
func (l *LogCapture) Wait(t testing.TB, message, key string) string {
	t.Helper()
	for {
		if v, ok := l.Find(message, key); ok {
			return v
		}
		Receive(t, l.came, message)
	}
}
