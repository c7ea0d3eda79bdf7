package cluster

import (
	"fmt"
	"net"
)

// dialable returns an address under which a listener's can be dialed.
func dialable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	addrs, _ := net.InterfaceAddrs()
	return net.JoinHostPort(reachable(addrs, tcp.IP.To4() == nil).String(), fmt.Sprint(tcp.Port))
}

// names reports whether an address, "host:port", is one node's: that of every interface would have each node dial itself.
func names(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && host != "" && !net.ParseIP(host).IsUnspecified() && port != "" && port != "0"
}

// reachable returns the first of a machine's addresses at which others may reach it: of version 4 if there is one, or
// else, where that will do, of version 6. A machine with neither is reached by itself only.
func reachable(addrs []net.Addr, six bool) net.IP {
	var found net.IP
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			return n.IP
		case six && found == nil:
			found = n.IP
		}
	}
	if found == nil {
		return net.IPv4(127, 0, 0, 1)
	}
	return found
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
