//go:build !unix || nano_portable

package agent

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// rawSupported is false: connections are read and written with package net.
const rawSupported = false

var errRaw = errors.New("agent: no raw sockets in this build")

func rawConn(net.Conn) syscall.RawConn { return nil }

// writeNow writes b if conn is a bare socket. It waits only briefly.
func writeNow(conn net.Conn, b []byte) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = conn.Write(b)
	}
}

func rawRead(uintptr, []byte) (int, bool, error) { return 0, false, errRaw }
func rawWrite(uintptr, []byte) (int, error)      { return 0, errRaw }
