package nano

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lonng/nano/internal/hostport"
)

// webOptions holds what concerns WebSocket clients and pages.
type webOptions struct {
	enabled      bool   // Listen accepts WebSocket clients, not TCP ones
	path         string // where WebSocket clients connect
	ownPath      bool   // an option has set path
	sameOrigin   bool
	checkOrigin  func(*http.Request) bool // nil accepts every origin
	handler      http.Handler             // serves all other requests; nil for the default
	subprotocols []string                 // the preferred one first
}

// WithWebSocket makes [Listen] accept WebSocket clients at the given path, such as
// "/nano", instead of TCP clients. [Server.ServeWebSocket] uses the path too; its default
// is "/". [Listen] serves requests for other paths with the handler of [WithHTTPHandler].
func WithWebSocket(path string) Option {
	return func(o *options) {
		if u, err := url.Parse(path); err != nil || !strings.HasPrefix(path, "/") || u.Path != path {
			o.fault("WithWebSocket: want a path such as /nano, got %q", path)
			return
		}
		o.web.enabled, o.web.path, o.web.ownPath = true, path, true
	}
}

// WithHTTPHandler sets what serves the HTTP requests that are not for a WebSocket, on the
// same address, for [Listen] and [Server.ServeWebSocket]. By default Listen serves
// [http.DefaultServeMux], except patterns under /debug/ such as those of net/http/pprof
// and expvar, and ServeWebSocket answers 404. A handler that is given here is served
// whole: pass http.DefaultServeMux to publish /debug/ to everybody who can connect.
func WithHTTPHandler(h http.Handler) Option {
	return func(o *options) {
		if h == nil {
			o.fault("WithHTTPHandler: want a handler, got nil")
			return
		}
		o.web.handler = h
	}
}

// WithSubprotocols sets the WebSocket subprotocols that the server supports, the preferred
// one first. The server selects the first of the client's that it supports, and
// [session.Session.UpgradeRequest] shows what the client asked for. By default the server
// selects none; a browser that asks for a subprotocol then closes the connection. A name
// is a token of RFC 7230 section 3.2.6.
func WithSubprotocols(names ...string) Option {
	return func(o *options) {
		for _, name := range names {
			if name == "" || strings.ContainsFunc(name, func(r rune) bool {
				return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
			}) {
				o.fault("WithSubprotocols: want a token such as game.v1, got %q", name)
				return
			}
		}
		o.web.subprotocols = append(o.web.subprotocols, names...)
	}
}

// WithCheckOriginFunc sets a function that decides whether a WebSocket client may connect
// from the page that it runs on. By default every page may, and nil changes nothing.
// Several goroutines call f at once. With [WithSameOrigin], both have to agree.
func WithCheckOriginFunc(f func(*http.Request) bool) Option {
	return func(o *options) {
		if f != nil {
			o.web.checkOrigin = f
		}
	}
}

// WithSameOrigin accepts WebSocket clients only from pages of the server's own host: the
// Origin header, if there is one, must name the host and port of the request. A missing
// port is the one of the origin's scheme, so https://game.example.com and the host
// game.example.com:443 are the same.
func WithSameOrigin() Option { return func(o *options) { o.web.sameOrigin = true } }

// mayConnect reports whether a WebSocket client may connect from the page that it runs
// on.
func (o *options) mayConnect(r *http.Request) bool {
	if o.web.sameOrigin && !sameOrigin(r) {
		return false
	}
	return o.web.checkOrigin == nil || o.web.checkOrigin(r)
}

// sameOrigin reports whether the origin of a request, if it has one, is the host of the
// request.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	if err != nil || len(origins) > 1 || u.Host == "" {
		return false
	}
	port := "443"
	switch u.Scheme {
	case "https":
	case "http":
		port = "80"
	default:
		return false
	}
	return hostport.Equal(u.Host, r.Host, port)
}

// WithTLSFiles serves clients over TLS, with a certificate and its key in two PEM files.
// The server reads them when it is made. The lowest version is TLS 1.2; see
// [WithTLSConfig] for more, which it adds to.
func WithTLSFiles(certificate, key string) Option {
	return func(o *options) { o.useTLSFiles("WithTLSFiles", certificate, key) }
}

// tlsFiles are the files of a certificate.
type tlsFiles struct{ option, certificate, key string }

// useTLSFiles notes the files that an option names.
func (o *options) useTLSFiles(option, certificate, key string) {
	if certificate == "" || key == "" {
		o.fault("%s: want two files, got %q and %q", option, certificate, key)
		return
	}
	o.tlsFiles = tlsFiles{option, certificate, key}
}

// WithTLSConfig serves clients over TLS. The server uses a copy of c. GetCertificate in c
// renews certificates without a restart; ClientAuth asks clients for theirs.
func WithTLSConfig(c *tls.Config) Option {
	return func(o *options) {
		if c == nil {
			o.fault("WithTLSConfig: want a configuration, got nil")
			return
		}
		o.tlsConfig = c.Clone()
	}
}

// checkTLS loads the certificate of WithTLSFiles.
func (o *options) checkTLS() error {
	if f := o.tlsFiles; f.option != "" {
		certificate, err := tls.LoadX509KeyPair(f.certificate, f.key)
		if err != nil {
			return fmt.Errorf("nano: %s(%s, %s): %w", f.option, f.certificate, f.key, err)
		}
		if o.tlsConfig == nil {
			o.tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		o.tlsConfig.Certificates = append(slices.Clip(o.tlsConfig.Certificates), certificate)
	}
	if c := o.tlsConfig; c != nil && len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return errors.New("nano: WithTLSConfig: want Certificates, GetCertificate or GetConfigForClient, got none")
	}
	return nil
}
