package mock

// NetAddr is the address that a NetworkEntity gives as its client's. It implements
// net.Addr.
type NetAddr struct{}

// Network returns "mock".
func (NetAddr) Network() string { return "mock" }

// String returns "mock-addr".
func (NetAddr) String() string { return "mock-addr" }
