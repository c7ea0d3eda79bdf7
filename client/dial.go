package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// dialer returns a function that opens connections to addr.
func dialer(addr string, o *options) (func(context.Context) (transport, error), error) {
	if !strings.Contains(addr, "://") {
		addr = "tcp://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("client: address: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
		if u.Host == "" {
			return nil, fmt.Errorf("client: address %q: expected a host", addr)
		}
		return func(ctx context.Context) (transport, error) { return dialWebSocket(ctx, u, o) }, nil
	case "tcp", "tls":
		if u.Port() == "" || u.Path != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("client: address %q: expected %s://host:port", addr, u.Scheme)
		}
		if u.Scheme == "tls" {
			return func(ctx context.Context) (transport, error) { return dialTLS(ctx, u, o) }, nil
		}
		return func(ctx context.Context) (transport, error) { return dialTCP(ctx, u, o) }, nil
	}
	return nil, fmt.Errorf("client: address %q: expected the scheme tcp, tls, ws or wss", addr)
}

func dialTCP(ctx context.Context, u *url.URL, o *options) (transport, error) {
	conn, err := o.dial(ctx, "tcp", u.Host)
	if err != nil {
		return transport{}, err
	}
	return transport{conn: conn}, nil
}

func dialTLS(ctx context.Context, u *url.URL, o *options) (transport, error) {
	raw, err := o.dial(ctx, "tcp", u.Host)
	if err != nil {
		return transport{}, err
	}
	conn, err := secure(ctx, raw, u, o)
	if err != nil {
		return transport{}, err
	}
	return transport{conn: conn}, nil
}

// secure starts TLS over conn, which it closes on an error.
func secure(ctx context.Context, conn net.Conn, u *url.URL, o *options) (net.Conn, error) {
	config := tlsConfig(o)
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the error of the TLS handshake is more useful
		if _, plain := errors.AsType[tls.RecordHeaderError](err); plain || hungUp(err) {
			err = fmt.Errorf("%w: it does not answer with TLS, and may expect tcp:// or ws:// (%w)", ErrWrongTransport, err)
		}
		return nil, fmt.Errorf("TLS with %s: %w", u.Host, err)
	}
	return secured, nil
}

func tlsConfig(o *options) *tls.Config {
	if o.tls == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o.tls.Clone()
}
