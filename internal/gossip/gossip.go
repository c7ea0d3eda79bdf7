// Package gossip finds the members of a cluster: memberlist, carried over the gRPC port of the node. It says whom to
// dial; whether a member is up is for its link to say.
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

// Timing sets the pace of the gossip.
type Timing struct {
	Probe    time.Duration // between two probes of a member, and how long one takes at most
	Gossip   time.Duration // between two rounds of gossip
	PushPull time.Duration // between two exchanges of everything known with some member
	Stream   time.Duration // within which a stream is opened, and an exchange done
	Idle     time.Duration // after which an unused connection is closed
}

// DefaultTiming returns what suits the machines of one site.
func DefaultTiming() Timing {
	return Timing{
		Probe:    500 * time.Millisecond,
		Gossip:   100 * time.Millisecond,
		PushPull: 10 * time.Second,
		Stream:   2 * time.Second,
		Idle:     30 * time.Second,
	}
}

// Config is what a Gossip is made of.
type Config struct {
	Self   *nodeauth.Self
	Dial   []grpc.DialOption
	Timing Timing
	Logger *slog.Logger
	// Alive and Gone tell of members other than this one that appear and disappear. They are called under memberlist's
	// lock: they must not block, and must not call the Gossip.
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

// New starts to take part. Nobody else is known before Join, or before somebody else joins this node.
func New(cfg Config) (*Gossip, error) {
	g := &Gossip{transport: newTransport(cfg.Self, cfg.Dial, cfg.Timing), cfg: cfg}
	c := memberlist.DefaultLANConfig()
	c.Name = name(cfg.Self.Addr, cfg.Self.Epoch)
	c.Transport = g.transport
	c.Events = events{g}
	c.Logger = log.New(logWriter{cfg.Logger}, "", 0)
	c.ProbeInterval = cfg.Timing.Probe
	c.ProbeTimeout = cfg.Timing.Probe * 2 / 5
	c.AwarenessMaxMultiplier = 1 // a probe takes no longer than Probe, whatever happens
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

// Join exchanges what is known with the node at target, "host:port", and returns who that is. If authority is not
// empty it is the name that TLS expects of the node. It takes no longer than opening a stream and an exchange may.
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

// Leave tells the others that this node goes, and waits at most timeout until one was told.
func (g *Gossip) Leave(timeout time.Duration) {
	if err := g.list.Leave(timeout); err != nil {
		g.cfg.Logger.Debug("gossip: leaving", "err", err)
	}
}

// Stop ends the part of this node without a word to the others. It waits for the transport's goroutines; for those of
// memberlist see Wait.
func (g *Gossip) Stop() {
	_ = g.list.Shutdown()
	g.ended = time.Now()
}

// Wait returns when memberlist's goroutines have ended: a probe under way at Stop can't be broken off, and memberlist
// does not tell when it is through.
func (g *Gossip) Wait(ctx context.Context) {
	last := g.lastWrite()
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

// events passes on what memberlist says of other nodes.
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
		return "", 0, false // this node, or one that had its address before
	}
	return addr, epoch, ok
}

// A node's name in the gossip is its address and epoch: every process is a member of its own, and whoever knows the
// name knows where to dial, host names included. (memberlist's own field holds an IP address only.)
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

// placeholder stands where memberlist insists on an IP address; the name beside it is what counts.
const placeholder = "0.0.0.0:1"

// seed is a node to join of which no more than the address is known. It passes through memberlist as a name.
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

// logWriter passes memberlist's lines on. What it calls an error is no more than a note here: the links tell who is
// up.
type logWriter struct{ logger *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(b, []byte("[ERR]")) || bytes.HasPrefix(b, []byte("[WARN]")) {
		level = slog.LevelInfo
	}
	text := string(bytes.TrimSpace(b))
	if _, rest, ok := strings.Cut(text, "] "); ok {
		text = rest
	}
	w.logger.Log(context.Background(), level, text)
	return len(b), nil
}

// advertised returns the IP address that memberlist shows for addr. It is for the eye only.
func advertised(addr string) (net.IP, int) {
	if host, port, err := net.SplitHostPort(addr); err == nil {
		n, _ := strconv.Atoi(port)
		if ip := net.ParseIP(host); ip != nil && n > 0 {
			return ip, n
		}
	}
	return net.IPv4zero, 1
}
