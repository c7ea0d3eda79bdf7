package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
)

// dialer returns what opens connections to addr.
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
		return func(ctx context.Context) (transport, error) { return o.dial(ctx, "tcp", u.Host) }, nil
	}
	return nil, fmt.Errorf("client: address %q: expected the scheme tcp, tls, ws or wss", addr)
}

func dialTLS(ctx context.Context, u *url.URL, o *options) (transport, error) {
	raw, err := o.dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	config := tlsConfig(o)
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is the one to tell
		return nil, fmt.Errorf("TLS with %s: %w", u.Host, err)
	}
	return conn, nil
}

func tlsConfig(o *options) *tls.Config {
	if o.tls == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o.tls.Clone()
}
