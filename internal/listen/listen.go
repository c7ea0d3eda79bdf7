// Package listen owns the loop that accepts connections. It does not know what is spoken on them.
package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"syscall"
	"time"
)

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// Accept calls serve with every connection of l, until l is closed, which is no error, or fails. Serve must not block.
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

// Patient returns l such that its Accept waits out a fault that passes, as no file descriptor being free, 5 ms at first
// and a second at most. Each is logged, and failed is called. When closing is closed, all errors are net.ErrClosed.
func Patient(l net.Listener, closing <-chan struct{}, log *slog.Logger, failed func()) net.Listener {
	return &patient{l, closing, log, failed}
}

type patient struct {
	net.Listener
	closing <-chan struct{}
	log     *slog.Logger
	failed  func()
}

func (p *patient) Accept() (net.Conn, error) {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		conn, err := p.Listener.Accept()
		if err == nil {
			return conn, nil
		}
		select {
		case <-p.closing:
			return nil, net.ErrClosed
		default:
		}
		if !passes(err) {
			return nil, err
		}
		p.failed()
		p.log.Error("nano: accept failed", "error", err, "again in", backoff)
		wait := time.NewTimer(backoff)
		select {
		case <-p.closing:
			wait.Stop()
			return nil, net.ErrClosed
		case <-wait.C:
		}
	}
}

// passing is faults that pass but are not called temporary: of the connection that was to be accepted, and of memory.
var passing = []error{
	syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN,
	syscall.EHOSTUNREACH, syscall.ENOBUFS, syscall.ENOMEM,
}

func passes(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() ||
		slices.ContainsFunc(passing, func(target error) bool { return errors.Is(err, target) })
}
