//go:build !linux

package mesh

import "net"

// limitUnacked does nothing: only Linux has the option.
func limitUnacked(net.Conn) {}
