//go:build !linux

package load

// link is the state of a client in the transport.
type link struct{ netLink }

func newTransport(r *run) (transport, error) { return newNetTransport(r), nil }
