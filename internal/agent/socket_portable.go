//go:build !unix || nano_portable

package agent

import (
	"net"
	"time"
)

// writeNow writes b if conn is a bare socket. It waits only briefly.
func writeNow(conn net.Conn, b []byte) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = conn.Write(b)
	}
}
