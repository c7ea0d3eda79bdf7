package nano

import (
	"io"
	"log/slog"
	"os"
	"strings"
)

// Logger is what WithLogger takes. The library calls Println only, with one line at a time: it never ends the process. A
// logger that several servers share is called concurrently.
type Logger interface {
	Println(v ...any)
	Fatal(v ...any)
	Fatalf(format string, v ...any)
}

// logger returns where a server logs to.
func (o *options) logger() *slog.Logger {
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	switch {
	case o.slog != nil:
		return o.slog
	case o.log != nil:
		return textLogger(lineWriter{o.log}, level, true)
	case o.debug:
		return textLogger(os.Stderr, level, false)
	}
	return slog.Default()
}

// textLogger writes a line a record; bare leaves out the time, which the program's logger adds itself.
func textLogger(w io.Writer, level slog.Level, bare bool) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if bare && len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// lineWriter hands lines to a Logger. A slog.TextHandler writes a line at a time.
type lineWriter struct{ log Logger }

func (w lineWriter) Write(b []byte) (int, error) {
	w.log.Println(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
