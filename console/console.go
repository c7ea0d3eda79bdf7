package console

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/inspect"
)

//go:embed web
var web embed.FS

// Options configures a console.
type Options struct {
	// Authorize returns the role of the person or program that sent a request. It is
	// called for every request, concurrently. If it returns an error, the answer is 401;
	// the text of the error is not sent. See [Token] and [Loopback]. It is required.
	Authorize func(*http.Request) (Role, error)
	// Path is where the console is mounted. It begins and ends with a slash. The default
	// is "/console/".
	Path string
	// Name is the name of the server in the heading of the page. The default is "nano".
	Name string
	// FormatValue returns the text that the sessions page shows for a value of a
	// session's data. Use it to hide secrets. It runs on the logic goroutine. By default,
	// the console shows booleans, numbers, strings, times and the results of
	// [fmt.Stringer], and only the type of any other value.
	FormatValue func(key string, value any) string
}

// handler serves one console.
type handler struct {
	Options
	srv     *nano.Server
	inside  inspect.Server
	sampler sampler
	stuck   stuckStack
	origin  *http.CrossOriginProtection
	play    playground
	logic   chan struct{} // holds a value while a task of the console waits or runs on the logic goroutine
	mux     http.Handler
}

// New returns the handler of a console for a server. It takes a sample of
// [nano.Server.Stats] every five seconds until the server has shut down, and keeps the
// last 180 samples. In a cluster, the consoles of other nodes show the pages of this
// server through the last console that was made for it. New panics if Authorize is nil or
// Path does not begin and end with a slash, because a console must not be open by
// mistake.
func New(srv *nano.Server, o Options) http.Handler {
	if o.Authorize == nil {
		panic("console: New: want Options.Authorize")
	}
	if o.Path == "" {
		o.Path = "/console/"
	}
	if !strings.HasPrefix(o.Path, "/") || !strings.HasSuffix(o.Path, "/") {
		panic("console: New: want a Path that begins and ends with a slash")
	}
	if o.Name == "" {
		o.Name = "nano"
	}
	h := &handler{
		Options: o,
		srv:     srv,
		inside:  inspect.Of(srv),
		origin:  http.NewCrossOriginProtection(),
		logic:   make(chan struct{}, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", asset("index.html", "text/html; charset=utf-8"))
	for _, style := range []string{"console.css", "pages.css"} {
		mux.HandleFunc("GET /"+style, asset(style, "text/css; charset=utf-8"))
	}
	for _, script := range []string{"api.js", "busy.js", "chart.js", "console.js", "dialog.js", "form.js", "play.js", "rooms.js", "sessions.js", "view.js"} {
		mux.HandleFunc("GET /"+script, asset(script, "text/javascript; charset=utf-8"))
	}
	mux.HandleFunc("GET /icon.svg", asset("icon.svg", "image/svg+xml"))
	mux.HandleFunc("GET /api/overview", h.overview)
	mux.HandleFunc("GET /api/sessions", h.sessions)
	mux.HandleFunc("GET /api/handlers", h.handlers)
	mux.HandleFunc("GET /api/busy", h.busy)
	mux.HandleFunc("GET /api/errors", h.errors)
	mux.HandleFunc("GET /api/cluster", h.cluster)
	mux.HandleFunc("GET /api/groups", h.groups)
	mux.HandleFunc("GET /api/rooms", h.rooms)
	mux.HandleFunc("GET /api/room", h.room)
	mux.HandleFunc("POST /api/close", h.closeRoom)
	mux.HandleFunc("GET /api/routes", h.routes)
	mux.HandleFunc("GET /api/play", h.pushes)
	mux.HandleFunc("POST /api/play/open", h.openPlayer)
	mux.HandleFunc("POST /api/play/send", h.send)
	mux.HandleFunc("POST /api/play/close", h.closePlayer)
	mux.HandleFunc("POST /api/drain", h.drain)
	mux.HandleFunc("POST /api/kick", h.kick)
	mux.HandleFunc("POST /api/push", h.push)
	h.mux = http.StripPrefix(strings.TrimSuffix(o.Path, "/"), mux)
	h.sampler.take(srv)
	h.inside.ServeNodes(h.serveNode)
	go h.sampler.run(srv, h.inside.Stopped())
	return h
}

// asset serves a file of the page.
func asset(name, contentType string) http.HandlerFunc {
	data, err := web.ReadFile("web/" + name)
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			fail(w, http.StatusInternalServerError, "the file is missing")
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(data)
	}
}

// roleKey is the key of the role in the context of a request.
type roleKey struct{}

func roleOf(r *http.Request) Role {
	role, _ := r.Context().Value(roleKey{}).(Role)
	return role
}

// ServeHTTP serves the page and the API.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	} {
		w.Header().Set(name, value)
	}
	role, err := h.Authorize(r)
	switch {
	case err != nil:
		if errors.Is(err, ErrCredentials) {
			w.Header().Add("WWW-Authenticate", `Basic realm="console", charset="UTF-8"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="console"`)
		}
		fail(w, http.StatusUnauthorized, "not authorized")
	case role < Viewer:
		fail(w, http.StatusForbidden, "want the role viewer")
	default:
		if path, ok := strings.CutPrefix(r.URL.Path, h.Path); ok && h.forward(w, r, path) {
			return
		}
		h.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), roleKey{}, role)))
	}
}

// reply answers with v as JSON.
func reply(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer cannot be encoded")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data))) // so that an answer that was flushed is complete
	_, _ = w.Write(data)
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// logicWait is how long a request waits for the logic goroutine.
const logicWait = 2 * time.Second

var errBusy = errors.New("the logic goroutine did not answer in time")

// onLogic runs f on the logic goroutine and returns its result. At most one task of a
// console waits there at a time. If the goroutine is stuck or ctx ends, onLogic returns
// errBusy, and f does not run later.
func onLogic[T any](ctx context.Context, h *handler, f func() T) (T, error) {
	var zero T
	select {
	case h.logic <- struct{}{}:
	case <-ctx.Done():
		return zero, errBusy
	case <-h.inside.Stopped():
		return zero, nano.ErrServerClosed
	}
	done := make(chan T, 1)
	h.srv.Invoke(func() {
		defer func() { <-h.logic }()
		if ctx.Err() == nil {
			done <- f()
		}
	})
	select {
	case v := <-done:
		return v, nil
	case <-ctx.Done():
		return zero, errBusy
	case <-h.inside.Stopped():
		return zero, nano.ErrServerClosed
	}
}
