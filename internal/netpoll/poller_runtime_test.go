//go:build linux && !nano_portable

package netpoll

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// start starts a poller that sends the ids of ready sockets to a channel.
func start(t *testing.T) (*Poller, <-chan int64) {
	t.Helper()
	ready := make(chan int64, 4096)
	p, err := New(func(ids []int64) {
		for _, id := range ids {
			ready <- id
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, ready
}

// socket is one side of a TCP connection.
type socket struct {
	*net.TCPConn
	raw  syscall.RawConn
	peer net.Conn
}

// listener is that of all connections.
var listener = sync.OnceValues(func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") })

func connect(t testing.TB) socket {
	t.Helper()
	l, err := listener()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.(*net.TCPConn).SetLinger(0) // no port is left in TIME_WAIT
	t.Cleanup(func() { _, _ = conn.Close(), peer.Close() })
	return newSocket(t, conn, peer)
}

func newSocket(t testing.TB, conn, peer net.Conn) (s socket) {
	t.Helper()
	s.TCPConn, s.peer = conn.(*net.TCPConn), peer
	var err error
	if s.raw, err = s.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return s
}

// reversed returns the other side of the connection.
func (s *socket) reversed(t testing.TB) socket { return newSocket(t, s.peer, s.TCPConn) }

func (s *socket) descriptor(t testing.TB) (fd uintptr) {
	t.Helper()
	if err := s.raw.Control(func(f uintptr) { fd = f }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func arm(t testing.TB, p *Poller, s socket, id int64) {
	t.Helper()
	if err := p.Arm(s.raw, id); err != nil {
		t.Fatalf("Arm(%d) = %v", id, err)
	}
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, ready <-chan int64, id int64) {
	t.Helper()
	select {
	case got := <-ready:
		if got != id {
			t.Fatalf("id %d is ready, want %d", got, id)
		}
	case <-time.After(patience):
		t.Fatalf("nothing is ready, want id %d", id)
	}
}

// TestArm checks that an armed socket is reported once: when bytes come, when some are
// there already, and when the peer closes.
func TestArm(t *testing.T) {
	p, ready := start(t)
	s, probe := connect(t), connect(t)
	arm(t, p, s, math.MaxInt64)
	write(t, s.peer, "a")
	want(t, ready, math.MaxInt64)
	write(t, s.peer, "b") // not reported: the socket is not armed
	write(t, probe.peer, "x")
	arm(t, p, probe, math.MinInt64)
	want(t, ready, math.MinInt64)
	arm(t, p, s, -2)
	want(t, ready, -2)
	var b [2]byte
	if _, err := io.ReadFull(s, b[:]); err != nil || string(b[:]) != "ab" {
		t.Fatalf("ReadFull = %q, %v, want ab", b, err)
	}
	arm(t, p, s, 1<<32)
	_ = s.peer.(*net.TCPConn).CloseWrite()
	want(t, ready, 1<<32)
}

// TestManyEvents checks sockets that become ready at once, more than one system call
// reports.
func TestManyEvents(t *testing.T) {
	p, ready := start(t)
	const n = maxEvents + maxEvents/2
	sockets := make([]socket, n)
	for i := range sockets {
		sockets[i] = connect(t)
	}
	for round := range 3 {
		for i, s := range sockets {
			if round == 0 {
				arm(t, p, s, int64(i))
			}
			write(t, s.peer, "x")
		}
		seen := make(map[int64]bool, n)
		for len(seen) < n {
			select {
			case id := <-ready:
				seen[id] = true
				if _, err := sockets[id].Read(make([]byte, 8)); err != nil {
					t.Fatal(err)
				}
				arm(t, p, sockets[id], id)
			case <-time.After(patience):
				t.Fatalf("round %d: %d sockets were reported, want %d", round, len(seen), n)
			}
		}
	}
}

// TestDescriptorIsReused checks a new connection with the descriptor of a closed one: only
// the id that is armed for the new one is reported.
func TestDescriptorIsReused(t *testing.T) {
	p, ready := start(t)
	for id := int64(1); id < 40; id += 2 {
		s := connect(t)
		fd := s.descriptor(t)
		arm(t, p, s, id)
		_ = s.Close()
		again := connect(t)
		for range 100 {
			if again.descriptor(t) != fd {
				again = again.reversed(t)
			}
			if again.descriptor(t) == fd {
				break
			}
			again = connect(t)
		}
		if again.descriptor(t) != fd {
			t.Fatal("no connection has the descriptor again")
		}
		write(t, again.peer, "x") // not reported: it is not armed
		probe := connect(t)
		write(t, probe.peer, "x")
		arm(t, p, probe, -id)
		want(t, ready, -id)
		arm(t, p, again, id+1)
		want(t, ready, id+1)
	}
}

// TestCopyOfDescriptor checks a closed socket that a copy of its descriptor keeps alive in
// the kernel: it is reported once and does not keep the poller busy.
func TestCopyOfDescriptor(t *testing.T) {
	p, ready := start(t)
	s := connect(t)
	arm(t, p, s, 1)
	file, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_ = s.Close()
	write(t, s.peer, "x")
	_ = s.peer.Close()
	want(t, ready, 1)
	probe := connect(t)
	arm(t, p, probe, 2)
	write(t, probe.peer, "x")
	want(t, ready, 2)
}

// TestCloseAgainstArm closes sockets while they are armed. Arm succeeds or returns
// net.ErrClosed, and arms no other socket instead.
func TestCloseAgainstArm(t *testing.T) {
	p, ready := start(t)
	for id := range int64(300) {
		s, bystander := connect(t), connect(t)
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Close() })
		wg.Go(func() {
			for p.Arm(s.raw, id) == nil {
			}
		})
		fresh := connect(t) // may get the descriptor
		wg.Wait()
		if err := p.Arm(s.raw, id); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Arm = %v, want net.ErrClosed", err)
		}
		for _, other := range []socket{bystander, fresh} {
			write(t, other.peer, "x")
			arm(t, p, other, -1-id)
			want(t, ready, -1-id)
		}
	}
}

// TestFairness checks that a socket that is always ready and is armed again at once does
// not delay another one.
func TestFairness(t *testing.T) {
	var p *Poller
	greedy, modest := connect(t), connect(t)
	served := make(chan int)
	started := make(chan struct{})
	count := 0
	p, err := New(func(ids []int64) {
		<-started
		for _, id := range ids {
			if id == 1 {
				count++
				_ = p.Arm(greedy.raw, 1)
			} else {
				served <- count
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	write(t, greedy.peer, "x") // is never read
	arm(t, p, greedy, 1)
	arm(t, p, modest, 2)
	write(t, modest.peer, "x")
	close(started)
	select {
	case n := <-served:
		if n > 2 {
			t.Errorf("a socket was served %d times before another one that was ready", n)
		}
	case <-time.After(patience):
		t.Fatal("the second socket is not served")
	}
}

// TestClose checks that Close ends the goroutine and that Arm then fails.
func TestClose(t *testing.T) {
	p, ready := start(t)
	s := connect(t)
	arm(t, p, s, 1)
	p.Close()
	if err := p.Arm(s.raw, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Arm = %v, want os.ErrClosed", err)
	}
	write(t, s.peer, "x")
	select {
	case id := <-ready:
		t.Errorf("id %d was reported by a closed poller", id)
	default:
	}
	p.Close() // again
}

func TestDisabled(t *testing.T) {
	Disabled.Store(true)
	defer Disabled.Store(false)
	if _, err := New(nil); err == nil {
		t.Error("New = nil")
	}
}

// FuzzPoller opens, writes to, arms and closes sockets in any order. Afterwards each open socket that is armed and has
// bytes is reported, and no other.
func FuzzPoller(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 0, 3, 1, 2, 3})
	f.Add([]byte{0, 2, 1, 3, 0, 2, 1})
	for range 4 {
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		type state struct {
			socket
			armed, written bool
		}
		p, ready := start(t)
		var all []*state
		armed := map[int64]int{}
		for _, step := range steps[:min(len(steps), 200)] {
			i := int(step>>2) % max(len(all), 1)
			switch {
			case step&3 == 0 || len(all) == 0:
				if len(all) < 16 {
					all = append(all, &state{socket: connect(t)})
				}
			case all[i] == nil:
			case step&3 == 1:
				write(t, all[i].peer, "x")
				all[i].written = true
			case step&3 == 2:
				arm(t, p, all[i].socket, int64(i))
				armed[int64(i)]++
				all[i].armed = true
			default:
				_, _ = all[i].Close(), all[i].peer.Close()
				all[i] = nil
			}
		}
		reported := map[int64]int{}
		for i, s := range all {
			for s != nil && s.armed && s.written && reported[int64(i)] == 0 {
				select {
				case id := <-ready:
					reported[id]++
				case <-time.After(patience):
					t.Fatalf("socket %d is armed and readable, and was not reported", i)
				}
			}
		}
		p.Close()
		for len(ready) > 0 {
			reported[<-ready]++
		}
		for id, n := range reported {
			if n > armed[id] {
				t.Errorf("socket %d was armed %d times and reported %d times", id, armed[id], n)
			}
			if s := all[id]; s != nil && !s.written {
				t.Errorf("socket %d was reported without a byte", id)
			}
		}
	})
}
