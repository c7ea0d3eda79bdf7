package mesh

import (
	"fmt"
	"net"
	"net/netip"
)

// listenAddr returns an address at which a listener with the address a can be dialed.
func listenAddr(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	addrs, _ := net.InterfaceAddrs()
	return net.JoinHostPort(reachable(addrs, tcp.IP.To4() == nil).String(), fmt.Sprint(tcp.Port))
}

// Dialable reports whether an address, "host:port", can belong to one node. Every node that dials the unspecified address
// dials itself.
func Dialable(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && host != "" && !net.ParseIP(host).IsUnspecified() && port != "" && port != "0"
}

// reachable returns the first of a machine's addresses that other machines may reach: an IPv4 address if there is one, or
// an IPv6 address if six allows it. Without either it returns the loopback address.
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

// isLoopback reports whether only processes of this machine can dial an address, "host:port".
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
