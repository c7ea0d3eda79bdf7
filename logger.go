package nano

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// Logger is what [WithLogger] takes. The library calls Println only, with one line at a
// time, and never ends the process. If the logger has methods Debug, Info, Warn and Error
// that take ...any, the library calls the method for the level of the line instead. The
// loggers of logrus and zap's sugared logger have them. Several goroutines use the logger
// at once if several servers share it.
type Logger interface {
	Println(v ...any)
	Fatal(v ...any)
	Fatalf(format string, v ...any)
}

// leveledLogger is a Logger that has a method for each level.
type leveledLogger interface {
	Debug(v ...any)
	Info(v ...any)
	Warn(v ...any)
	Error(v ...any)
}

// logger returns the destination of a server's log.
func (o *options) logger() *slog.Logger {
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	switch {
	case o.slog != nil:
		return o.slog
	case o.log != nil:
		if l, ok := o.log.(leveledLogger); ok {
			return slog.New(newLeveledHandler(l, level))
		}
		return slog.New(textHandler(lineWriter{o.log}, level, slog.TimeKey))
	case o.debug:
		return slog.New(textHandler(os.Stderr, level))
	}
	return slog.Default()
}

// textHandler writes one line per record, without the given built-in attributes.
func textHandler(w io.Writer, level slog.Level, without ...string) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			for _, key := range without {
				if len(groups) == 0 && a.Key == key {
					return slog.Attr{}
				}
			}
			return a
		},
	})
}

// nodeHandler is a slog.Handler that adds an attribute "node": the address of this node of
// a cluster, once it is known.
type nodeHandler struct {
	slog.Handler
	address func() string // returns "" if it is not known, or if the server is not a node
}

// Handle implements slog.Handler.
func (h nodeHandler) Handle(ctx context.Context, r slog.Record) error {
	if address := h.address(); address != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("node", address))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h nodeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return nodeHandler{h.Handler.WithAttrs(attrs), h.address}
}

// WithGroup implements slog.Handler.
func (h nodeHandler) WithGroup(name string) slog.Handler {
	return nodeHandler{h.Handler.WithGroup(name), h.address}
}

// lineWriter writes lines to a Logger. A slog.TextHandler writes one line at a time.
type lineWriter struct{ log Logger }

func (w lineWriter) Write(b []byte) (int, error) {
	w.log.Println(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// leveledHandler is a slog.Handler that writes to a leveledLogger: the message, then the
// attributes as key=value.
type leveledHandler struct {
	log   leveledLogger
	attrs slog.Handler // writes the attributes to buf
	buf   *lockedBuffer
}

// lockedBuffer is where a leveledHandler and the handlers derived from it put a line
// together.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // mu guards it
}

func newLeveledHandler(log leveledLogger, level slog.Level) *leveledHandler {
	buf := &lockedBuffer{}
	return &leveledHandler{log, textHandler(&buf.b, level, slog.TimeKey, slog.LevelKey, slog.MessageKey), buf}
}

// Enabled implements slog.Handler.
func (h *leveledHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.attrs.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h *leveledHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &leveledHandler{h.log, h.attrs.WithAttrs(attrs), h.buf}
}

// WithGroup implements slog.Handler.
func (h *leveledHandler) WithGroup(name string) slog.Handler {
	return &leveledHandler{h.log, h.attrs.WithGroup(name), h.buf}
}

// Handle implements slog.Handler.
func (h *leveledHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs, err := h.format(ctx, r)
	if err != nil {
		return err
	}
	line := r.Message
	if attrs != "" {
		line += " " + attrs
	}
	switch {
	case r.Level >= slog.LevelError:
		h.log.Error(line)
	case r.Level >= slog.LevelWarn:
		h.log.Warn(line)
	case r.Level >= slog.LevelInfo:
		h.log.Info(line)
	default:
		h.log.Debug(line)
	}
	return nil
}

// format returns the attributes of a record as key=value.
func (h *leveledHandler) format(ctx context.Context, r slog.Record) (string, error) {
	h.buf.mu.Lock()
	defer h.buf.mu.Unlock()
	h.buf.b.Reset()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return "", err
	}
	return strings.TrimSpace(h.buf.b.String()), nil
}
