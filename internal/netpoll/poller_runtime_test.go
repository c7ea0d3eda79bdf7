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
	p, err := New(func(_ *Poller, events []Event) {
		for _, e := range events {
			ready <- e.ID
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

func watchSocket(t testing.TB, p *Poller, s socket, id int64) {
	t.Helper()
	if err := p.Watch(s.raw, id); err != nil {
		t.Fatalf("Watch(%d) = %v", id, err)
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

// TestWatch checks that a watched socket is reported when bytes come, when some are there
// already, and when the peer closes, and not after Unwatch.
func TestWatch(t *testing.T) {
	p, ready := start(t)
	s := connect(t)
	silent := func(id int64) { // what happened before would be reported before the probe
		t.Helper()
		probe := connect(t)
		write(t, probe.peer, "x")
		watchSocket(t, p, probe, id)
		want(t, ready, id)
	}
	watchSocket(t, p, s, math.MaxInt64)
	write(t, s.peer, "a")
	want(t, ready, math.MaxInt64)
	write(t, s.peer, "b") // although the first byte was not read
	want(t, ready, math.MaxInt64)
	silent(math.MinInt64)
	if err := p.Unwatch(s.raw); err != nil {
		t.Fatal(err)
	}
	write(t, s.peer, "c")
	silent(-1)
	watchSocket(t, p, s, -2)
	want(t, ready, -2)
	var b [3]byte
	if _, err := io.ReadFull(s, b[:]); err != nil || string(b[:]) != "abc" {
		t.Fatalf("ReadFull = %q, %v, want abc", b, err)
	}
	watchSocket(t, p, s, 1<<32)
	_ = s.peer.(*net.TCPConn).CloseWrite()
	want(t, ready, 1<<32)
}

// TestEnded checks that an event says whether the peer has closed its side, also if bytes
// came before.
func TestEnded(t *testing.T) {
	events := make(chan Event, 16)
	p, err := New(func(_ *Poller, list []Event) {
		for _, e := range list {
			events <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, test := range map[string]struct {
		act  func(net.Conn)
		want bool
	}{
		"bytes":           {func(c net.Conn) { write(t, c, "x") }, false},
		"the end":         {func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }, true},
		"bytes, then end": {func(c net.Conn) { write(t, c, "x"); _ = c.(*net.TCPConn).CloseWrite() }, true},
		"a reset":         {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }, true},
	} {
		s := connect(t)
		test.act(s.peer)
		for deadline := time.Now().Add(patience); ; {
			watchSocket(t, p, s, 7)
			select {
			case e := <-events:
				if e.Ended && !test.want {
					t.Errorf("%s: the event is %+v", name, e)
				}
				if e.Ended != test.want && time.Now().Before(deadline) { // the end has not arrived yet
					continue
				}
				if e != (Event{ID: 7, Ended: test.want}) {
					t.Errorf("%s: the event is %+v, want Ended %v", name, e, test.want)
				}
			case <-time.After(patience):
				t.Errorf("%s: nothing was reported", name)
			}
			break
		}
		_ = s.Close()
	}
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
				watchSocket(t, p, s, int64(i))
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
			case <-time.After(patience):
				t.Fatalf("round %d: %d sockets were reported, want %d", round, len(seen), n)
			}
		}
	}
}

// TestDescriptorIsReused checks a new connection with the descriptor of a closed one: only
// the id with which the new one is watched is reported.
func TestDescriptorIsReused(t *testing.T) {
	p, ready := start(t)
	for id := int64(1); id < 40; id += 2 {
		s := connect(t)
		fd := s.descriptor(t)
		watchSocket(t, p, s, id)
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
		write(t, again.peer, "x") // not reported: it is not watched
		probe := connect(t)
		write(t, probe.peer, "x")
		watchSocket(t, p, probe, -id)
		want(t, ready, -id)
		watchSocket(t, p, again, id+1)
		want(t, ready, id+1)
	}
}

// TestCopyOfDescriptor checks a closed socket that a copy of its descriptor keeps alive in
// the kernel: what the peer does is reported, and the socket does not keep the poller busy.
func TestCopyOfDescriptor(t *testing.T) {
	p, ready := start(t)
	s := connect(t)
	watchSocket(t, p, s, 1)
	file, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_ = s.Close()
	write(t, s.peer, "x")
	want(t, ready, 1)
	_ = s.peer.Close()
	want(t, ready, 1)
	probe := connect(t)
	watchSocket(t, p, probe, 2)
	write(t, probe.peer, "x")
	want(t, ready, 2)
}

// TestCloseAgainstWatch closes sockets while they are watched. Watch and Unwatch succeed or
// return net.ErrClosed, and touch no other socket instead.
func TestCloseAgainstWatch(t *testing.T) {
	p, ready := start(t)
	for id := range int64(300) {
		s, bystander := connect(t), connect(t)
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Close() })
		wg.Go(func() {
			for p.Watch(s.raw, id) == nil && p.Unwatch(s.raw) == nil {
			}
		})
		fresh := connect(t) // may get the descriptor
		wg.Wait()
		if err := p.Watch(s.raw, id); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Watch = %v, want net.ErrClosed", err)
		}
		for _, other := range []socket{bystander, fresh} {
			write(t, other.peer, "x")
			watchSocket(t, p, other, -1-id)
			want(t, ready, -1-id)
		}
	}
}

// TestFairness checks that a socket for which more arrives all the time does not delay
// another one, and that one that stays readable is not reported again.
func TestFairness(t *testing.T) {
	greedy, modest := connect(t), connect(t)
	served := make(chan int)
	started := make(chan struct{})
	count := 0
	p, err := New(func(_ *Poller, events []Event) {
		<-started
		for _, e := range events {
			if e.ID == 1 {
				count++
				_, _ = io.WriteString(greedy.peer, "x") // is never read
			} else {
				served <- count
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	write(t, greedy.peer, "x")
	watchSocket(t, p, greedy, 1)
	watchSocket(t, p, modest, 2)
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

// TestClose checks that Close ends the goroutine and that Watch then fails.
func TestClose(t *testing.T) {
	p, ready := start(t)
	s := connect(t)
	watchSocket(t, p, s, 1)
	p.Close()
	if err := p.Watch(s.raw, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Watch = %v, want os.ErrClosed", err)
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

// FuzzPoller opens, writes to, watches, unwatches and closes sockets in any order. Each
// write to a watched socket is reported, and nothing else.
func FuzzPoller(f *testing.F) {
	f.Add([]byte{0, 0, 2, 3, 0, 4, 2, 3, 4})
	f.Add([]byte{0, 3, 2, 4, 0, 3, 1, 2, 3})
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
			watched, written bool
		}
		p, ready := start(t)
		var all []*state
		due := func(i int) { // socket i has bytes and is watched
			if s := all[i]; s.watched && s.written {
				want(t, ready, int64(i))
			}
		}
		for _, step := range steps[:min(len(steps), 200)] {
			op, i := step%5, int(step/5)%max(len(all), 1)
			switch {
			case op == 0 || len(all) == 0:
				if len(all) < 16 {
					all = append(all, &state{socket: connect(t)})
				}
			case all[i] == nil:
			case op == 1:
				if err := p.Unwatch(all[i].raw); err != nil {
					t.Fatal(err)
				}
				all[i].watched = false
			case op == 2:
				write(t, all[i].peer, "x")
				all[i].written = true
				due(i)
			case op == 3:
				watchSocket(t, p, all[i].socket, int64(i))
				all[i].watched = true
				due(i)
			default:
				_, _ = all[i].Close(), all[i].peer.Close()
				all[i] = nil
			}
		}
		p.Close()
		if len(ready) > 0 {
			t.Errorf("socket %d was reported once too often", <-ready)
		}
	})
}
