// Package listen implements the accept loop of a listener. It is independent of the protocol on the connections.
package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"syscall"
	"time"
)

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// Accept calls serve with each connection of l. It returns nil when l is closed, or the error of l. serve must not block.
func Accept(l net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			serve(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			return fmt.Errorf("nano: accept: %w", err)
		}
	}
}

// Retry returns a listener that retries Accept after a temporary error of l, such as a lack of file descriptors. It waits
// 5 ms at first, then twice as long each time, up to one second. It logs each error and calls failed. After closing is
// closed, Accept returns net.ErrClosed.
func Retry(l net.Listener, closing <-chan struct{}, log *slog.Logger, failed func()) net.Listener {
	return &retrier{l, closing, log, failed}
}

// keyed is a connection of a type that cannot be the key of a map.
type keyed struct{ net.Conn }

type retrier struct {
	net.Listener
	closing <-chan struct{}
	log     *slog.Logger
	failed  func()
}

func (p *retrier) Accept() (net.Conn, error) {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		conn, err := p.Listener.Accept()
		if err == nil {
			if !reflect.ValueOf(conn).Comparable() {
				conn = &keyed{conn}
			}
			return conn, nil
		}
		select {
		case <-p.closing:
			return nil, net.ErrClosed
		default:
		}
		if !temporary(err) {
			return nil, err
		}
		p.failed()
		p.log.Error("nano: accept failed", "error", err, "retry_in", backoff)
		wait := time.NewTimer(backoff)
		select {
		case <-p.closing:
			wait.Stop()
			return nil, net.ErrClosed
		case <-wait.C:
		}
	}
}

// temporaryErrors are the errors of accept(2) that concern one connection, or a lack of memory. Package net does not
// report them as temporary.
var temporaryErrors = []error{
	syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN,
	syscall.EHOSTUNREACH, syscall.ENOBUFS, syscall.ENOMEM,
}

func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() ||
		slices.ContainsFunc(temporaryErrors, func(target error) bool { return errors.Is(err, target) })
}
