package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/nodeauth"

	"github.com/hashicorp/memberlist"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	packetSize  = 8 << 10  // largest gossip packet, in bytes
	packetQueue = 128      // packets that wait for one destination; more are dropped
	chunkSize   = 32 << 10 // largest message of a stream, in bytes
)

var (
	errStopped = errors.New("gossip: stopped")
	errDropped = errors.New("the connection was closed")
)

// transport carries packets and streams of memberlist over gRPC. It opens a connection when there is something to send
// to a destination. It closes the connection after an error, or after Timing.Idle without use.
type transport struct {
	self    *nodeauth.Self
	options []grpc.DialOption
	timing  Timing
	packets chan *memberlist.Packet
	streams chan net.Conn
	pinged  atomic.Int64 // when a ping was last sent, Unix nanoseconds

	ctx  context.Context // ends with Shutdown
	stop context.CancelFunc
	wg   sync.WaitGroup // every goroutine of the transport

	mu     sync.Mutex // guards the fields below; wg.Add is called under it, and not after closed is set
	closed bool
	routes map[seed]*route
	seeds  map[string]answer // by the name under which a seed was dialed
}

// route is the connection to a destination.
type route struct {
	to      seed
	conn    *grpc.ClientConn
	packets chan []byte
	ctx     context.Context
	stop    context.CancelCauseFunc
	used    atomic.Bool // since the idle timer last fired
}

// answer is the result of dialing a seed.
type answer struct {
	peer nodeauth.Peer
	err  error
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(self *nodeauth.Self, options []grpc.DialOption, timing Timing) *transport {
	t := &transport{
		self: self, options: options, timing: timing,
		packets: make(chan *memberlist.Packet, packetQueue),
		streams: make(chan net.Conn),
		routes:  make(map[seed]*route),
		seeds:   make(map[string]answer),
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// FinalAdvertiseAddr, PacketCh and the methods below it implement memberlist's interface.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	ip, port := advertised(t.self.Addr)
	return ip, port, nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress never blocks. If the queue is full, it drops the packet.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	now := time.Now()
	r, err := t.route(addr)
	if err != nil {
		return now, err
	}
	if isPing(b) {
		t.pinged.Store(now.UnixNano())
	}
	select {
	case r.packets <- b:
	default:
	}
	return now, nil
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream and completes its handshake.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, peer, err := t.dial(addr, timeout)
	if _, ok := parseSeed(addr.Name); ok {
		t.mu.Lock()
		t.seeds[addr.Name] = answer{peer, err}
		t.mu.Unlock()
	}
	return conn, err
}

func (t *transport) dial(addr memberlist.Address, timeout time.Duration) (net.Conn, nodeauth.Peer, error) {
	r, err := t.route(addr)
	if err != nil {
		return nil, nodeauth.Peer{}, err
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	expire := time.AfterFunc(timeout, func() { cancel(noAnswer(timeout)) })
	stream, err := clusterpb.NewClusterClient(r.conn).Stream(ctx)
	var peer nodeauth.Peer
	if err == nil {
		peer, err = t.self.Dial(stream, nil)
	}
	expire.Stop()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		cancel(nil)
		t.drop(r)
		return nil, peer, fmt.Errorf("gossip: %s: %w", r.to.target, plain(err))
	}
	if peer.Addr == t.self.Addr {
		cancel(nil)
		if peer.Epoch == t.self.Epoch {
			return nil, peer, ErrSelf
		}
		// It is not an earlier process of this node: that would not answer any more.
		return nil, peer, fmt.Errorf("%w: another node, which answers at %s, has the address %s", nodeauth.ErrRefused, r.to.target, peer.Addr)
	}
	near, far := net.Pipe()
	started := t.run(func() {
		defer cancel(nil)
		t.pump(ctx, stream, far)
	})
	if !started {
		cancel(nil)
		return nil, peer, errStopped
	}
	return conn{near, address(peer.Addr)}, peer, nil
}

// ErrSelf is returned by Join if the target is this node.
var ErrSelf = errors.New("gossip: the address is this node's own")

func noAnswer(timeout time.Duration) error { return fmt.Errorf("no answer within %v", timeout) }

// plain removes the gRPC status from an error and keeps its text.
func plain(err error) error {
	if st, ok := status.FromError(err); ok {
		return errors.New(st.Message())
	}
	return err
}

// dialed returns the result of dialing a seed last, and forgets it.
func (t *transport) dialed(name string) (nodeauth.Peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.seeds[name]
	delete(t.seeds, name)
	return a.peer, a.err
}

func (t *transport) lastPing() time.Time {
	if n := t.pinged.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// The types of memberlist's messages that isPing needs.
const (
	pingType     = 0
	compoundType = 7  // followed by the number of its messages, a byte, and the length of each, 2 bytes
	crcType      = 12 // followed by a checksum, 4 bytes, and another message
)

// isPing reports whether a packet of memberlist is a ping, or begins with one.
func isPing(b []byte) bool {
	if len(b) > 5 && b[0] == crcType {
		b = b[5:]
	}
	if len(b) > 1 && b[0] == compoundType {
		b = b[min(len(b), 2+2*int(b[1])):]
	}
	return len(b) > 0 && b[0] == pingType
}

// Reset closes the connection to a node, so the next packet opens a new one. After a network failure that is faster than
// waiting for TCP to retransmit.
func (t *transport) Reset(addr string) {
	t.mu.Lock()
	r := t.routes[seed{target: addr}]
	t.mu.Unlock()
	if r != nil {
		t.drop(r)
	}
}

// Shutdown ends every stream and connection and waits for the transport's goroutines.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.wg.Wait()
	return nil
}

// run starts a goroutine that Shutdown waits for. It reports false after Shutdown.
func (t *transport) run(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runLocked(f)
}

func (t *transport) runLocked(f func()) bool {
	if t.closed {
		return false
	}
	t.wg.Go(func() {
		f()
	})
	return true
}

// route returns the connection to a node, which need not be up yet.
func (t *transport) route(addr memberlist.Address) (*route, error) {
	to := seed{target: addr.Addr}
	if s, ok := parseSeed(addr.Name); ok {
		to = s
	} else if host, _, ok := parseName(addr.Name); ok {
		to = seed{target: host}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.routes[to]; ok {
		r.used.Store(true)
		return r, nil
	}
	options := t.options
	if to.authority != "" {
		options = append([]grpc.DialOption{grpc.WithAuthority(to.authority)}, options...)
	}
	conn, err := grpc.NewClient("passthrough:///"+to.target, options...)
	if err != nil && to.authority != "" {
		// The program's TLS options name the server themselves, and gRPC does not allow another name.
		conn, err = grpc.NewClient("passthrough:///"+to.target, t.options...)
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: %s: %w", to.target, err)
	}
	r := &route{to: to, conn: conn, packets: make(chan []byte, packetQueue)}
	r.used.Store(true)
	r.ctx, r.stop = context.WithCancelCause(t.ctx)
	if !t.runLocked(func() { t.serve(r) }) {
		r.stop(errStopped)
		_ = conn.Close()
		return nil, errStopped
	}
	t.routes[to] = r
	return r, nil
}

// drop closes a connection.
func (t *transport) drop(r *route) {
	t.mu.Lock()
	if t.routes[r.to] == r {
		delete(t.routes, r.to)
	}
	t.mu.Unlock()
	r.stop(errDropped)
}

// serve sends the packets of a connection, and closes it when it ends.
func (t *transport) serve(r *route) {
	defer r.conn.Close()
	defer t.drop(r)
	idle := time.NewTicker(t.timing.Idle)
	defer idle.Stop()
	var stream nodeauth.Stream
	for {
		select {
		case b := <-r.packets:
			if stream == nil {
				var err error
				if stream, err = t.open(r); err != nil {
					return
				}
			}
			if err := stream.SendMsg(&clusterpb.Envelope{Data: b}); err != nil {
				return
			}
		case <-idle.C:
			if !r.used.Swap(false) {
				return
			}
		case <-r.ctx.Done():
			return
		}
	}
}

// open opens the stream for packets. It ends with the route.
func (t *transport) open(r *route) (nodeauth.Stream, error) {
	expire := time.AfterFunc(t.timing.Stream, func() { r.stop(noAnswer(t.timing.Stream)) })
	defer expire.Stop()
	stream, err := clusterpb.NewClusterClient(r.conn).Packets(r.ctx)
	if err != nil {
		return nil, err
	}
	_, err = t.self.Dial(stream, nil)
	return stream, err
}

// ServePackets serves the Packets call of a peer.
func (t *transport) ServePackets(st clusterpb.Cluster_PacketsServer) error {
	return t.accept(st, func(peer nodeauth.Peer) error {
		for {
			var e clusterpb.Envelope
			if err := st.RecvMsg(&e); err != nil {
				return err
			}
			if len(e.GetData()) == 0 {
				return status.Error(codes.InvalidArgument, "gossip: empty packet")
			}
			p := &memberlist.Packet{Buf: e.GetData(), From: address(peer.Addr), Timestamp: time.Now()}
			select {
			case t.packets <- p:
			case <-st.Context().Done():
				return st.Context().Err()
			}
		}
	})
}

// ServeStream serves the Stream call of a peer.
func (t *transport) ServeStream(st clusterpb.Cluster_StreamServer) error {
	return t.accept(st, func(peer nodeauth.Peer) error {
		near, far := net.Pipe()
		select {
		case t.streams <- conn{near, address(peer.Addr)}:
		case <-st.Context().Done():
			return st.Context().Err()
		}
		t.pump(st.Context(), st, far)
		return nil
	})
}

// accept completes the handshake and runs f, both on another goroutine, because a receive that blocks ends only when
// the call returns.
func (t *transport) accept(st grpc.ServerStream, f func(nodeauth.Peer) error) error {
	ready := make(chan struct{})
	done := make(chan error, 1)
	started := t.run(func() {
		peer, err := t.self.Accept(st)
		close(ready)
		if err == nil {
			err = f(peer)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		done <- err
	})
	if !started {
		return status.Error(codes.Unavailable, errStopped.Error())
	}
	expire := time.NewTimer(t.timing.Stream)
	defer expire.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-t.ctx.Done():
			return status.Error(codes.Unavailable, errStopped.Error())
		case <-expire.C:
			select {
			case <-ready:
			default:
				return status.Error(codes.DeadlineExceeded, "gossip: no handshake in time")
			}
		}
	}
}

// pump copies bytes between a pipe and a stream until the other end of the pipe is closed or the stream ends. It starts a
// goroutine that ends with the stream. memberlist closes a stream only after it has read the answer, so pump need not wait
// until the last bytes have arrived.
func (t *transport) pump(ctx context.Context, st nodeauth.Stream, far net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = far.Close() })
	defer stop()
	defer far.Close()
	t.wg.Go(func() {
		defer far.Close()
		for {
			var e clusterpb.Envelope
			if st.RecvMsg(&e) != nil {
				return
			}
			if _, err := far.Write(e.GetData()); err != nil {
				return
			}
		}
	})
	for {
		b := make([]byte, chunkSize)
		n, err := far.Read(b)
		if n > 0 && st.SendMsg(&clusterpb.Envelope{Data: b[:n]}) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// conn is a stream for memberlist: the near end of a pipe, which supports deadlines.
type conn struct {
	net.Conn
	remote net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.remote }

// address is the address of a node.
type address string

func (address) Network() string  { return "grpc" }
func (a address) String() string { return string(a) }
