// Package netsim simulates the conditions of a network on connections: latency, jitter,
// loss and cuts.
//
// It serves tests, package nanotest and the demos. A [Network] wraps connections of any
// kind. All its waits are on timers and channels, so it works in the fake time of
// testing/synctest.
//
// The same seed repeats the same conditions. The delay and loss of a byte depend on the
// seed, the number of its connection, its direction and the time since New. They also
// depend on the bytes that were written before it at the same instant. It does not depend
// on how writes are grouped, which the Go scheduler decides. For runs that repeat in fake
// time, use one Network per client, so that the numbers of connections do not depend on
// the scheduler either.
package netsim

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCut is returned by reads and writes after the network has cut the connection.
var ErrCut = errors.New("netsim: the connection was cut")

// Conditions describe a network. The zero value is a perfect one. Negative values count
// as 0.
type Conditions struct {
	// Latency is the time that a message takes in one direction.
	Latency time.Duration
	// Jitter bounds a random time that each message takes in addition. Messages keep their
	// order.
	Jitter time.Duration
	// Loss is the probability from 0 to 1 that a message is lost. As TCP sends it again, a
	// lost message and all messages behind it arrive after one retransmission. A message of
	// more than 1,460 bytes is several segments, each of which can be lost.
	Loss float64
	// Retransmit is the time that a retransmission takes in addition. The default is 200 ms,
	// the shortest timeout of Linux, and one round trip.
	Retransmit time.Duration
	// Cut is the mean time until a connection is cut. The default 0 means never.
	Cut time.Duration
}

// retransmit returns the time of a retransmission.
func (c *Conditions) retransmit() time.Duration {
	if c.Retransmit > 0 {
		return c.Retransmit
	}
	return 200*time.Millisecond + 2*max(c.Latency, 0)
}

// Network applies conditions to connections. Its methods may be called concurrently.
type Network struct {
	seed       uint64
	start      time.Time
	conditions atomic.Pointer[Conditions]

	mu     sync.Mutex         // guards the fields below
	conns  map[*conn]struct{} // connections whose goroutines run
	made   uint64             // number of connections so far
	closed bool
}

// New returns a network.
func New(seed uint64, c Conditions) *Network {
	n := &Network{seed: seed, start: time.Now(), conns: map[*conn]struct{}{}}
	n.conditions.Store(&c)
	return n
}

// Conditions returns the current conditions.
func (n *Network) Conditions() Conditions { return *n.conditions.Load() }

// Set changes the conditions, also of open connections. Bytes that are on their way keep
// their time of arrival.
func (n *Network) Set(c Conditions) {
	n.conditions.Store(&c)
	for _, conn := range n.list() {
		conn.arm()
	}
}

// Cut cuts all connections at once, with the bytes that are on their way.
func (n *Network) Cut() {
	for _, conn := range n.list() {
		conn.cut()
	}
}

// Close cuts all connections, and those that are made later. A test in fake time calls it
// at its end, because time stops there and pending bytes would never arrive.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.Cut()
}

// list returns the connections.
func (n *Network) list() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		list = append(list, c)
	}
	return list
}

// Conn passes both directions of inner through the network. It owns inner from now on. The
// caller has to close the result.
//
// A write returns at once, unless 1 MiB is on its way. Close returns at once. After
// Close, the written bytes are delivered, and then inner is closed, at most 5 s after
// they have arrived. If the peer has closed the connection, there is nothing to deliver.
func (n *Network) Conn(inner net.Conn) net.Conn {
	n.mu.Lock()
	n.made++
	c := &conn{Conn: inner, network: n, number: n.made}
	c.in, c.out = newLine(n, 2*c.number), newLine(n, 2*c.number+1)
	n.conns[c] = struct{}{}
	closed := n.closed
	n.mu.Unlock()
	c.arm()
	go c.send()
	go c.receive()
	if closed {
		c.cut()
	}
	return c
}

// DialFunc opens a connection, as the method DialContext of [net.Dialer] does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Dialer returns a function that dials with dial and passes the connection through the
// network. It takes one round trip longer than dial. The errors are those of dial, and the
// error of ctx if ctx ends first.
func (n *Network) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		trip := time.NewTimer(2 * n.Conditions().Latency)
		defer trip.Stop()
		select {
		case <-trip.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return n.Conn(c), nil
	}
}

// remove forgets a connection.
func (n *Network) remove(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// random returns the random source of one event. The same arguments give the same source.
func (n *Network) random(line, at, index uint64) *rand.Rand {
	var seed [32]byte
	for i, x := range [...]uint64{n.seed, line, at, index} {
		binary.LittleEndian.PutUint64(seed[8*i:], x)
	}
	return rand.New(rand.NewChaCha8(seed))
}
