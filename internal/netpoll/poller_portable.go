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
func New(func(ids []int64)) (*Poller, error) {
	return nil, fmt.Errorf("netpoll: epoll in this build: %w", errors.ErrUnsupported)
}

// Arm returns an error that is [errors.ErrUnsupported].
func (p *Poller) Arm(syscall.RawConn, int64) error { return errors.ErrUnsupported }

// Close does nothing.
func (p *Poller) Close() {}
