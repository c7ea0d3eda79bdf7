//go:build !unix || nano_portable

package mesh

import "net"

// wrapSocket returns c.
func wrapSocket(c net.Conn) net.Conn { return c }
