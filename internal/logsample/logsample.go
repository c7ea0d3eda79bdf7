// Package logsample owns a log handler that does not let one message drown the others: what a client can cause, it can cause
// as often as it likes. It does not know what is logged.
package logsample

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// PerSecond is how many records of one message pass in a second.
const PerSecond = 10

// Log returns a logger to the same place as log. Of warnings and errors with the same message PerSecond pass in a second;
// the next one that passes bears how many did not, as "suppressed".
func Log(log *slog.Logger) *slog.Logger {
	return slog.New(&handler{log.Handler(), &lines{of: map[string]*line{}}})
}

// maxMessages is how many messages are told apart: more than the library has.
const maxMessages = 256

type handler struct {
	slog.Handler
	lines *lines
}

// lines are the messages that were logged.
type lines struct {
	mu sync.Mutex
	of map[string]*line // mu guards it, and what it holds
}

// line is what came with one message.
type line struct {
	since      time.Time // when its second began
	n          int       // in that second
	suppressed int       // since one passed
}

// pass reports whether a record of a message passes now, and how many before it did not.
func (l *lines) pass(message string) (suppressed int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.of[message]
	if m == nil {
		if len(l.of) >= maxMessages {
			clear(l.of)
		}
		m = &line{since: now}
		l.of[message] = m
	}
	if now.Sub(m.since) >= time.Second {
		m.since, m.n = now, 0
	}
	if m.n++; m.n > PerSecond {
		m.suppressed++
		return 0, false
	}
	suppressed, m.suppressed = m.suppressed, 0
	return suppressed, true
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	suppressed, ok := h.lines.pass(r.Message)
	if !ok {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return h.Handler.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.lines}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.lines}
}
