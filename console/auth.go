package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Role is what a person may do in the console.
type Role int

// The roles. Each includes the rights of those before it.
const (
	None     Role = iota // nothing; the console answers 403
	Viewer               // read every page
	Operator             // use the actions and the playground
)

// String returns the name of the role, such as "viewer".
func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	default:
		return "none"
	}
}

// ErrCredentials is an error for [Options.Authorize]: the console answers 401 and has the
// browser ask for a password. For any other error it answers 401 alone.
var ErrCredentials = errors.New("console: want credentials")

// Token returns a function for [Options.Authorize] that accepts one token for each role.
// An empty token grants nothing. Programs send the token as "Authorization: Bearer
// TOKEN". A browser asks for a name and a password: the password is the token, and the
// name is ignored. Use TLS, because both are sent as they are.
func Token(viewer, operator string) func(*http.Request) (Role, error) {
	return func(r *http.Request) (Role, error) {
		scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			_, token, ok = r.BasicAuth()
		}
		switch {
		case ok && same(token, operator):
			return Operator, nil
		case ok && same(token, viewer):
			return Viewer, nil
		}
		return None, ErrCredentials
	}
}

// same compares a token in a time that does not depend on its bytes.
func same(token, want string) bool {
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

var errNotLocal = errors.New("console: the request does not come from this machine")

// Loopback returns a function for [Options.Authorize] that gives a role to every program
// and browser on this machine. It refuses requests from other addresses and requests that
// a proxy forwards. It also refuses requests for a host name other than localhost, so
// that no page on the internet can reach the console under its own name. A console
// forwards requests for the pages of another node. So in a cluster, Loopback also trusts
// the programs on the machines of all nodes that have a console.
func Loopback(role Role) func(*http.Request) (Role, error) {
	return func(r *http.Request) (Role, error) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !from.Addr().Unmap().IsLoopback() || !localHost(r.Host) {
			return None, errNotLocal
		}
		for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
			if r.Header.Get(header) != "" {
				return None, errNotLocal
			}
		}
		return role, nil
	}
}

// localHost reports whether a Host header is localhost or a loopback address.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
