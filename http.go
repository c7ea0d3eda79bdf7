package nano

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	idlePage  = 2 * time.Minute // how long a connection is kept between two requests for pages
	maxHeader = 64 << 10        // bytes of the head of a request
)

// ServeWebSocket accepts WebSocket clients on l, over TLS if the server has a
// certificate. It starts the server if needed, blocks until Shutdown, and then returns
// nil. Clients connect at the path of [WithWebSocket], "/" by default; the handler of
// [WithHTTPHandler] serves all other requests, and without one they are not found. l may
// be any listener. ServeWebSocket closes it before it returns.
func (s *Server) ServeWebSocket(l net.Listener) error {
	release, err := s.open(l)
	if err != nil {
		return err
	}
	defer release()
	h := &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: s.opts.handshakeTimeout,
		IdleTimeout:       idlePage,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       s.hub.ConnContext,
		ConnState:         s.hub.ConnState,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.mu.Lock()
	s.https[h] = struct{}{}
	s.mu.Unlock()
	err = h.Serve(s.hub.Pages(s.patient(l)))
	select {
	case <-s.closing:
		return nil
	default:
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("nano: accept: %w", err)
}

// WebSocketHandler returns the handler that upgrades requests, for a mux of the program.
// It answers 503 before the server is started and when it shuts down.
func (s *Server) WebSocketHandler() http.Handler { return http.HandlerFunc(s.upgrade) }

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "the server is not ready", http.StatusServiceUnavailable)
		return
	}
	s.hub.ServeWebSocket(w, r)
}

// router is an http.Handler that can tell which of its patterns a request matches, "" for
// none.
type router interface {
	Handler(*http.Request) (h http.Handler, pattern string)
}

var (
	_ router = (*http.ServeMux)(nil)
	_ router = (*publicMux)(nil)
)

// hasPage reports whether the program serves the path of a request.
func (s *Server) hasPage(r *http.Request) bool {
	pages, ok := s.fallback.(router)
	if !ok {
		return s.fallback != nil
	}
	_, pattern := pages.Handler(r)
	return pattern != ""
}

// serveHTTP serves a listener of ServeWebSocket.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.hub.SetTLS(r)
	page := s.hasPage(r)
	upgrade := r.URL.Path == s.opts.web.path && (r.Header.Get("Upgrade") != "" || !page)
	if page && !upgrade {
		s.hub.ServePage(s.fallback, w, r)
		return
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // otherwise the answer waits for a body that may never come
	}
	switch {
	case upgrade:
		s.upgrade(w, r)
	case s.fallback != nil: // the fallback also answers for paths that it does not serve
		s.fallback.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// publicMux serves a mux without its patterns under /debug/. Packages such as
// net/http/pprof and expvar register theirs on http.DefaultServeMux when they are
// imported.
type publicMux struct {
	mux *http.ServeMux
	log *slog.Logger

	once sync.Once // logs that a page was not served
}

// Handler is http.ServeMux.Handler. A pattern under /debug/ matches nothing.
func (p *publicMux) Handler(r *http.Request) (http.Handler, string) {
	h, pattern := p.mux.Handler(r)
	if !isDebug(pattern) {
		return h, pattern
	}
	return http.HandlerFunc(p.refuse), ""
}

// ServeHTTP serves a request.
func (p *publicMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := p.mux.Handler(r); isDebug(pattern) {
		p.refuse(w, r)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// refuse answers that a page is not found.
func (p *publicMux) refuse(w http.ResponseWriter, r *http.Request) {
	p.once.Do(func() {
		p.log.Info("nano: pages under /debug/ of http.DefaultServeMux are not served to clients: see WithHTTPHandler")
	})
	http.NotFound(w, r)
}

// isDebug reports whether a pattern of a mux, "[METHOD ][HOST]/[PATH]", is one under
// /debug/.
func isDebug(pattern string) bool {
	_, path, ok := strings.Cut(pattern, "/")
	if unescaped, err := url.PathUnescape(path); err == nil {
		path = unescaped
	}
	return ok && strings.HasPrefix(path, "debug/")
}
