//go:build !linux

package load

// link is what the transport keeps of a client.
type link struct{ netLink }

func newTransport(r *run) (transport, error) { return newNetTransport(r), nil }
