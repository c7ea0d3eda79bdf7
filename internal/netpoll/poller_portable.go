//go:build !linux || nano_portable

package netpoll

import (
	"errors"
	"fmt"
	"syscall"
)

// Poller is not available in this build.
type Poller struct{}

// New returns an error that is [errors.ErrUnsupported].
func New(func(*Poller, []Event)) (*Poller, error) {
	return nil, fmt.Errorf("netpoll: epoll in this build: %w", errors.ErrUnsupported)
}

// Watch returns an error that is [errors.ErrUnsupported].
func (p *Poller) Watch(syscall.RawConn, int64) error { return errors.ErrUnsupported }

// Unwatch returns an error that is [errors.ErrUnsupported].
func (p *Poller) Unwatch(syscall.RawConn) error { return errors.ErrUnsupported }

// Close does nothing.
func (p *Poller) Close() {}
