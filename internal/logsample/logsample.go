// Package logsample limits each distinct log message to 10 records per second, because a client can repeat a logged
// event without limit.
package logsample

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// PerSecond is the maximum number of records per second with the same message.
const PerSecond = 10

// Log returns a logger with the handler of log that limits warnings and errors to PerSecond records per message. After
// it has dropped records, the next one has an attribute "suppressed" with their number.
func Log(log *slog.Logger) *slog.Logger {
	return slog.New(&handler{log.Handler(), &lines{of: map[string]*line{}}})
}

// maxMessages is the maximum number of distinct messages that are tracked. The library has fewer.
const maxMessages = 256

type handler struct {
	slog.Handler
	lines *lines
}

// lines counts the records of each message.
type lines struct {
	mu sync.Mutex
	of map[string]*line // mu guards it, and what it holds
}

// line counts the records of one message.
type line struct {
	since      time.Time // start of the current second
	n          int       // records in that second
	suppressed int       // records dropped since the last one that passed
}

// pass reports whether a record passes now, and how many records of the message were dropped before it.
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
