// Package gossip finds the members of a cluster with memberlist, over the gRPC port of the node. It reports which
// members to dial. The link to a member shows whether the member is up.
package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lonng/nano/internal/nodeauth"

	"github.com/hashicorp/memberlist"
	"google.golang.org/grpc"
)

// Timing holds the periods and deadlines of the gossip.
type Timing struct {
	Probe    time.Duration // time between two probes of a member, and time limit of a probe
	Gossip   time.Duration // time between two rounds of gossip
	PushPull time.Duration // time between two exchanges of the whole state with a random member
	Stream   time.Duration // the longest time to open a stream, and for an exchange
	Idle     time.Duration // after which an unused connection is closed
}

// DefaultTiming returns the periods and deadlines for nodes of one site.
func DefaultTiming() Timing {
	return Timing{
		Probe:    500 * time.Millisecond,
		Gossip:   100 * time.Millisecond,
		PushPull: 10 * time.Second,
		Stream:   2 * time.Second,
		Idle:     30 * time.Second,
	}
}

// Config configures a Gossip.
type Config struct {
	Self   *nodeauth.Self
	Dial   []grpc.DialOption
	Timing Timing
	Logger *slog.Logger
	// Alive and Gone are called when another member appears or disappears. They run under memberlist's lock, so they must
	// not block and must not call the Gossip.
	Alive func(addr string, epoch uint64)
	Gone  func(addr string, epoch uint64)
}

// Gossip is a node's part in the gossip. Its methods may be called concurrently.
type Gossip struct {
	*transport
	cfg   Config
	list  *memberlist.Memberlist
	ended time.Time
}

// New starts the gossip of a node. It knows no other node before Join, or before another node joins this one.
func New(cfg Config) (*Gossip, error) {
	g := &Gossip{transport: newTransport(cfg.Self, cfg.Dial, cfg.Timing), cfg: cfg}
	c := memberlist.DefaultLANConfig()
	c.Name = name(cfg.Self.Addr, cfg.Self.Epoch)
	c.Transport = g.transport
	c.Events = events{g}
	c.Logger = log.New(logWriter{cfg.Logger}, "", 0)
	c.ProbeInterval = cfg.Timing.Probe
	c.ProbeTimeout = cfg.Timing.Probe * 2 / 5
	c.AwarenessMaxMultiplier = 1 // a probe never takes longer than Probe
	c.SuspicionMaxTimeoutMult = 3
	c.GossipInterval = cfg.Timing.Gossip
	c.PushPullInterval = cfg.Timing.PushPull
	c.TCPTimeout = cfg.Timing.Stream
	c.EnableCompression = false
	c.UDPBufferSize = packetSize
	list, err := memberlist.Create(c)
	if err != nil {
		_ = g.transport.Shutdown()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g.list = list
	return g, nil
}

// Join exchanges the state with the node at target, "host:port", and returns that node. If authority is not empty, it is the
// name that TLS expects of the node. Join takes at most twice Timing.Stream.
func (g *Gossip) Join(target, authority string) (nodeauth.Peer, error) {
	alias := seed{target, authority}.String()
	_, err := g.list.Join([]string{alias + "/" + placeholder})
	peer, dialErr := g.dialed(alias)
	switch {
	case dialErr != nil:
		return nodeauth.Peer{}, dialErr // memberlist keeps the text of an error only
	case err != nil:
		return nodeauth.Peer{}, fmt.Errorf("gossip: no answer from %s: %w", target, err)
	}
	return peer, nil
}

// Leave announces that this node leaves, and waits at most timeout until another node knows.
func (g *Gossip) Leave(timeout time.Duration) {
	if err := g.list.Leave(timeout); err != nil {
		g.cfg.Logger.Debug("gossip: leaving", "error", err)
	}
}

// Stop ends the gossip without an announcement. It waits for the transport's goroutines; for those of memberlist see
// [Gossip.Wait].
func (g *Gossip) Stop() {
	_ = g.list.Shutdown()
	g.ended = time.Now()
}

// Wait returns when memberlist's goroutines have ended. A probe that runs at Stop cannot be canceled, and memberlist
// does not report its end. So Wait waits until the longest time of a probe has passed since the last ping.
func (g *Gossip) Wait(ctx context.Context) {
	last := g.lastPing()
	if last.IsZero() {
		return
	}
	t := time.NewTimer(time.Until(last.Add(g.cfg.Timing.Probe)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// events calls Alive and Gone for memberlist's events.
type events struct{ g *Gossip }

func (e events) NotifyJoin(n *memberlist.Node) {
	if addr, epoch, ok := e.g.other(n); ok {
		e.g.cfg.Alive(addr, epoch)
	}
}

func (e events) NotifyLeave(n *memberlist.Node) {
	if addr, epoch, ok := e.g.other(n); ok {
		e.g.cfg.Gone(addr, epoch)
	}
}

func (events) NotifyUpdate(*memberlist.Node) {}

func (g *Gossip) other(n *memberlist.Node) (addr string, epoch uint64, ok bool) {
	if addr, epoch, ok = parseName(n.Name); addr == g.cfg.Self.Addr {
		return "", 0, false // this node, or a previous process at its address
	}
	return addr, epoch, ok
}

// A node's name in the gossip is its address and epoch. So every process is a separate member, and the name contains
// the address to dial. The address may contain a host name, which memberlist's own field cannot hold.
func name(addr string, epoch uint64) string { return addr + "#" + strconv.FormatUint(epoch, 16) }

func parseName(s string) (addr string, epoch uint64, ok bool) {
	i := strings.LastIndexByte(s, '#')
	if i <= 0 {
		return "", 0, false
	}
	epoch, err := strconv.ParseUint(s[i+1:], 16, 64)
	if err != nil {
		return "", 0, false
	}
	return s[:i], epoch, true
}

// placeholder is the IP address that memberlist requires; the transport uses the name beside it.
const placeholder = "0.0.0.0:1"

// seed is a node to join, of which only the address is known. It passes through memberlist as a name.
type seed struct{ target, authority string }

const seedMark = "?"

func (s seed) String() string { return seedMark + s.target + seedMark + s.authority }

func parseSeed(s string) (seed, bool) {
	rest, ok := strings.CutPrefix(s, seedMark)
	if !ok {
		return seed{}, false
	}
	target, authority, ok := strings.Cut(rest, seedMark)
	return seed{target, authority}, ok
}

// logWriter logs memberlist's lines, warnings and errors included, at level debug: after a failure or a restart memberlist
// writes many of them. Operators see the state of the links, which mesh logs.
type logWriter struct{ logger *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	text := string(bytes.TrimSpace(b))
	if _, rest, ok := strings.Cut(text, "] "); ok {
		text = rest
	}
	w.logger.Debug(text)
	return len(b), nil
}

// advertised returns the IP address that memberlist logs for addr.
func advertised(addr string) (net.IP, int) {
	if host, port, err := net.SplitHostPort(addr); err == nil {
		n, _ := strconv.Atoi(port)
		if ip := net.ParseIP(host); ip != nil && n > 0 {
			return ip, n
		}
	}
	return net.IPv4zero, 1
}
