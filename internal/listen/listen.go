// Package listen owns the loop that accepts connections. It does not know what is spoken on them.
package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// Accept calls serve with every connection of l, until l is closed, which is no error, or fails for good. A passing
// fault, such as no file descriptor being free, is waited out, 5 ms at first and a second at most. Serve must not block.
// closing ends a wait.
func Accept(l net.Listener, closing <-chan struct{}, log *slog.Logger, serve func(net.Conn)) error {
	backoff := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err == nil {
			backoff = 0
			serve(conn)
			continue
		}
		select {
		case <-closing:
			return nil
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() {
			return fmt.Errorf("nano: accept: %w", err)
		}
		backoff = min(max(2*backoff, minBackoff), maxBackoff)
		log.Error("nano: accept failed", "error", err, "again in", backoff)
		wait := time.NewTimer(backoff)
		select {
		case <-closing:
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}

// Note returns l with the faults of its Accept logged, for those who wait them out themselves.
func Note(l net.Listener, log *slog.Logger) net.Listener { return noting{l, log} }

type noting struct {
	net.Listener
	log *slog.Logger
}

func (n noting) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		n.log.Error("nano: accept failed", "error", err)
	}
	return conn, err
}
