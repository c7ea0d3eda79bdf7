//go:build !unix || nano_portable

package rawio

import (
	"errors"
	"net"
	"syscall"
)

// Supported is false: connections are read and written with package net.
const Supported = false

var errUnsupported = errors.New("rawio: no raw sockets in this build")

// Of returns nil.
func Of(net.Conn) syscall.RawConn { return nil }

// Read fails.
func Read(uintptr, []byte) (n int, again bool, err error) { return 0, false, errUnsupported }

// Write fails.
func Write(uintptr, []byte) (n int, err error) { return 0, errUnsupported }
