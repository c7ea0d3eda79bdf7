//go:build unix && !nano_portable

package agent

import (
	"net"

	"github.com/lonng/nano/internal/rawio"
)

// writeNow writes as much of b as the socket accepts without waiting.
func writeNow(conn net.Conn, b []byte) {
	if raw := rawio.Of(conn); raw != nil {
		w := rawWriters.Get().(*rawWriter)
		_, _ = w.write(raw, b)
		rawWriters.Put(w)
	}
}
