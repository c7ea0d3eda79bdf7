// Package hostport compares network addresses of the form "host:port" by meaning, not as
// text.
package hostport

import (
	"net"
	"net/netip"
	"strings"
)

// Equal reports whether a and b name the same host and port. Either may lack its port,
// which is then the given one. Names are equal regardless of case and of one trailing
// dot, IP addresses if they are the same address. Equal resolves no names, and an address
// that is not well formed equals nothing.
func Equal(a, b, port string) bool {
	x, xOK := parse(a, port)
	y, yOK := parse(b, port)
	return xOK && yOK && x == y
}

// address is an address in its normal form.
type address struct{ host, port string }

// parse returns the normal form of an address whose missing port is the given one.
func parse(s, port string) (address, bool) {
	host := s
	if h, p, err := net.SplitHostPort(s); err == nil {
		host = h
		if p != "" {
			port = p
		}
	} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
		if !strings.Contains(host, ":") {
			return address{}, false
		}
	} else if strings.ContainsAny(s, ":[]") {
		if _, err := netip.ParseAddr(s); err != nil {
			return address{}, false
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return address{ip.Unmap().String(), port}, true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return address{host, port}, host != "" && !strings.ContainsAny(host, ":[]")
}
