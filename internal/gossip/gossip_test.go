package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/nodeauth"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func quick() Timing {
	return Timing{Probe: 200 * time.Millisecond, Gossip: 50 * time.Millisecond, PushPull: time.Second, Stream: 2 * time.Second, Idle: time.Second}
}

// site is a gossip behind a gRPC server, and the events that it reported.
type site struct {
	*Gossip
	addr   string
	server *grpc.Server

	mu     sync.Mutex
	change chan struct{}
	alive  map[string]uint64
}

type service struct {
	clusterpb.UnimplementedClusterServer
	packets func(clusterpb.Cluster_PacketsServer) error
	stream  func(clusterpb.Cluster_StreamServer) error
}

func (s service) Packets(st clusterpb.Cluster_PacketsServer) error { return s.packets(st) }
func (s service) Stream(st clusterpb.Cluster_StreamServer) error   { return s.stream(st) }

func logger() *slog.Logger {
	if os.Getenv("NANO_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func plaintext() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
}

// begin serves a gossip on its own port. If host is not empty, the gossip advertises it
// instead of its IP address.
func begin(t *testing.T, host, secret string) *site {
	t.Helper()
	l := listen(t)
	s := &site{addr: l.Addr().String(), server: grpc.NewServer(grpc.WaitForHandlers(true)), change: make(chan struct{}), alive: make(map[string]uint64)}
	if host != "" {
		_, port, _ := net.SplitHostPort(s.addr)
		s.addr = net.JoinHostPort(host, port)
	}
	var err error
	s.Gossip, err = New(Config{
		Self: &nodeauth.Self{Addr: s.addr, Epoch: uint64(time.Now().UnixNano()), Secret: []byte(secret)},
		Dial: plaintext(), Timing: quick(), Logger: logger(),
		Alive: func(addr string, epoch uint64) { s.update(func() { s.alive[addr] = epoch }) },
		Gone:  func(addr string, epoch uint64) { s.update(func() { delete(s.alive, addr) }) },
	})
	if err != nil {
		t.Fatal(err)
	}
	clusterpb.RegisterClusterServer(s.server, service{packets: s.ServePackets, stream: s.ServeStream})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.server.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		s.server.Stop()
		<-served
		s.Wait(context.Background())
	})
	return s
}

func (s *site) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.change)
	s.change = make(chan struct{})
}

// knows waits until the site considers exactly these members alive.
func (s *site) knows(t *testing.T, others ...*site) {
	t.Helper()
	var want []string
	for _, o := range others {
		want = append(want, name(o.addr, o.cfg.Self.Epoch))
	}
	slices.Sort(want)
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		var got []string
		for addr, epoch := range s.alive {
			got = append(got, name(addr, epoch))
		}
		change := s.change
		s.mu.Unlock()
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-change:
		case <-deadline:
			t.Fatalf("%s knows %v, want %v", s.addr, got, want)
		}
	}
}

func TestMembersFindEachOther(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	for _, secret := range []string{"", "hush"} {
		t.Run("secret="+secret, func(t *testing.T) {
			one := begin(t, "localhost", secret) // the test needs a host name
			two, three := begin(t, "", secret), begin(t, "", secret)
			for _, s := range []*site{two, three} {
				who, err := s.Join(one.addr, "")
				if err != nil || who.Addr != one.addr || who.Epoch != one.cfg.Self.Epoch {
					t.Fatalf("Join(%s) = %v, %v", one.addr, who, err)
				}
			}
			one.knows(t, two, three)
			two.knows(t, one, three)
			three.knows(t, one, two)
			// Every pair probes each other, and no node may be reported dead.
			rounds := time.NewTimer(10 * quick().Probe)
			<-rounds.C
			two.knows(t, one, three)
			three.Leave(time.Second)
			one.knows(t, two)
			two.knows(t, one)
		})
	}
}

// TestDeadMember checks that a member that stops without leaving is detected.
func TestDeadMember(t *testing.T) {
	t.Parallel()
	one, two := begin(t, "", ""), begin(t, "", "")
	if _, err := two.Join(one.addr, ""); err != nil {
		t.Fatal(err)
	}
	one.knows(t, two)
	two.Stop()
	two.server.Stop()
	one.knows(t)
	if last := one.lastPing(); last.IsZero() {
		t.Error("a member was probed, and no ping was noticed")
	} else {
		one.Stop()
		one.Wait(t.Context())
		if d := time.Since(one.lastPing()); d < quick().Probe {
			t.Errorf("Wait returned %v after a ping, want at least %v", d, quick().Probe)
		}
	}
}

// TestPingsAreFound checks which packets are pings: Wait waits after these only.
func TestPingsAreFound(t *testing.T) {
	crc := func(b ...byte) []byte { return append([]byte{12, 0, 0, 0, 0}, b...) }
	for _, c := range []struct {
		packet []byte
		want   bool
	}{
		{[]byte{0, 0x85}, true},
		{[]byte{7, 2, 0, 2, 0, 1, 0, 0x85, 4}, true}, // with a broadcast
		{crc(7, 2, 0, 2, 0, 1, 0, 0x85, 3), true},    // with a suspicion
		{[]byte{1, 0x86}, false},
		{[]byte{2, 0x82}, false},
		{crc(5, 0x83), false},
		{[]byte{7, 2, 0, 1, 0, 1, 4, 5}, false},
		{[]byte{7, 9, 0}, false},
		{[]byte{7}, false},
		{crc(), false},
		{nil, false},
	} {
		if got := isPing(c.packet); got != c.want {
			t.Errorf("isPing(%x) = %v, want %v", c.packet, got, c.want)
		}
	}
}

func TestJoinRefused(t *testing.T) {
	one, two, three := begin(t, "", "hush"), begin(t, "", "hash"), begin(t, "", "")
	for _, c := range []struct {
		from, to *site
		want     string
	}{
		{two, one, "differ"},
		{three, one, "has none"},
		{one, three, "has none"},
	} {
		_, err := c.from.Join(c.to.addr, "")
		if !errors.Is(err, nodeauth.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Join = %v, want ErrRefused: %s", err, c.want)
		}
	}
	// A packet to an address without a connection is dropped.
	_, _ = two.WriteToAddress([]byte{0}, memberlist.Address{Name: name(one.addr, 1)})
	one.knows(t)
}

func TestJoinItself(t *testing.T) {
	one := begin(t, "", "")
	if _, err := one.Join(one.addr, ""); !errors.Is(err, ErrSelf) {
		t.Errorf("Join of the own address = %v, want ErrSelf", err)
	}
}

func TestJoinNobody(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	_ = l.Close()
	one := begin(t, "", "")
	if _, err := one.Join(addr, ""); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("Join where nobody listens = %v, want an error that names %s", err, addr)
	}
}

// TestWriteNeverBlocks checks that an unreachable destination does not delay others, and
// that packets beyond its queue are dropped.
func TestWriteNeverBlocks(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	one := begin(t, "", "")
	deaf := listen(t) // the kernel accepts, the program does not
	defer deaf.Close()
	to := memberlist.Address{Addr: deaf.Addr().String()}
	begun := time.Now()
	for range 10 * packetQueue {
		if _, err := one.WriteToAddress([]byte("packet"), to); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(begun); d > quick().Stream/2 {
		t.Errorf("%d packets took %v", 10*packetQueue, d)
	}
	if _, err := one.Join(deaf.Addr().String(), ""); err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("Join of a deaf node = %v, want no answer in time", err)
	}
}

// TestTransport checks that packets and streams pass between transports, and that streams
// support deadlines.
func TestTransport(t *testing.T) {
	one, two := transportAt(t), transportAt(t)
	to := memberlist.Address{Addr: "0.0.0.0:1", Name: name(two.self.Addr, two.self.Epoch)}

	for i := range 3 {
		if _, err := one.WriteToAddress(fmt.Append(nil, "packet ", i), to); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-two.PacketCh():
			if string(p.Buf) != fmt.Sprint("packet ", i) || p.From.String() != one.self.Addr {
				t.Errorf("packet %q from %v", p.Buf, p.From)
			}
		case <-time.After(patience):
			t.Fatal("no packet came")
		}
		two.Reset(one.self.Addr)
		if i == 1 {
			one.Reset(two.self.Addr) // the next packet gets a new connection
		}
	}

	near, err := one.DialAddressTimeout(to, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	far := <-two.StreamCh()
	if near.RemoteAddr().String() != two.self.Addr || far.RemoteAddr().String() != one.self.Addr {
		t.Errorf("the ends are at %v and %v", near.RemoteAddr(), far.RemoteAddr())
	}
	sent := strings.Repeat("0123456789abcdef", 100_000/16)
	go func() { _, _ = io.WriteString(near, sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != sent {
		t.Fatalf("%d bytes came as %d, %v", len(sent), len(got), err)
	}
	_ = near.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := near.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read past the deadline = %v, want a timeout", err)
	}
	_ = near.SetReadDeadline(time.Time{})
	if _, err := io.WriteString(far, "answer"); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	if b, err := io.ReadAll(near); err != nil || string(b) != "answer" {
		t.Errorf("the answer came as %q, %v", b, err)
	}
	_ = near.Close()
}

// TestShutdownEndsStreams checks that Shutdown ends open streams.
func TestShutdownEndsStreams(t *testing.T) {
	one, two := transportAt(t), transportAt(t)
	near, err := one.DialTimeout(two.self.Addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	far := <-two.StreamCh()
	ended := make(chan error, 2)
	for _, c := range []net.Conn{near, far} {
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
	}
	_ = two.Shutdown()
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("Read gave a byte after Shutdown")
			}
		case <-time.After(patience):
			t.Fatal("a stream outlived Shutdown")
		}
	}
	if _, err := two.WriteTo([]byte("x"), one.self.Addr); !errors.Is(err, errStopped) {
		t.Errorf("WriteTo after Shutdown = %v, want %v", err, errStopped)
	}
	if _, err := two.DialTimeout(one.self.Addr, time.Second); !errors.Is(err, errStopped) {
		t.Errorf("DialTimeout after Shutdown = %v, want %v", err, errStopped)
	}
}

// TestIdleConnectionIsClosed checks that an unused connection is closed.
func TestIdleConnectionIsClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	one, two := transportAt(t), transportAt(t)
	if _, err := one.WriteTo([]byte("x"), two.self.Addr); err != nil {
		t.Fatal(err)
	}
	<-two.PacketCh()
	one.mu.Lock()
	r := one.routes[seed{target: two.self.Addr}]
	one.mu.Unlock()
	if r == nil {
		t.Fatal("no connection after a packet")
	}
	select {
	case <-r.ctx.Done():
	case <-time.After(patience):
		t.Error("an unused connection was kept")
	}
}

// transportAt serves a transport without memberlist.
func transportAt(t *testing.T) *transport {
	t.Helper()
	l := listen(t)
	tr := newTransport(&nodeauth.Self{Addr: l.Addr().String(), Epoch: 7}, plaintext(), quick())
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	clusterpb.RegisterClusterServer(server, service{packets: tr.ServePackets, stream: tr.ServeStream})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = tr.Shutdown()
		server.Stop()
		<-served
	})
	return tr
}

func TestNames(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:1", "gate-0.gates.default.svc:34570", "[::1]:80", "odd#host:1"} {
		got, epoch, ok := parseName(name(addr, 1<<60+5))
		if !ok || got != addr || epoch != 1<<60+5 {
			t.Errorf("the name of %s is parsed as %s, %d, %v", addr, got, epoch, ok)
		}
		s := seed{target: addr, authority: "host:1"}
		if got, ok := parseSeed(s.String()); !ok || got != s {
			t.Errorf("%v is parsed as %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "#1", "a:1", "a:1#", "a:1#xyz", "a:1#11111111111111111"} {
		if addr, epoch, ok := parseName(s); ok {
			t.Errorf("%q is parsed as %s, %d", s, addr, epoch)
		}
	}
}

func TestLogLevels(t *testing.T) {
	var b strings.Builder
	w := logWriter{slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))}
	for _, line := range []string{"[ERR] memberlist: bad\n", "[WARN] memberlist: odd\n", "[DEBUG] memberlist: chatter\n", "plain\n"} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("Write(%q) = %d, %v", line, n, err)
		}
	}
	want := "level=DEBUG msg=\"memberlist: bad\"\nlevel=DEBUG msg=\"memberlist: odd\"\nlevel=DEBUG msg=\"memberlist: chatter\"\nlevel=DEBUG msg=plain\n"
	if b.String() != want {
		t.Errorf("logged %q, want %q", b.String(), want)
	}
}
