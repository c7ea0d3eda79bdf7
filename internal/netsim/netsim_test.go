package netsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe returns both ends of a connection; n is in front of the near one.
func pipe(t *testing.T, n *Network) (near, far net.Conn) {
	a, far := net.Pipe()
	near = n.Conn(a)
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	t.Cleanup(n.Close)
	return near, far
}

// arrivals reads everything and returns the time of arrival of each byte.
func arrivals(c net.Conn, start time.Time) (at []time.Duration) {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.Read(buf)
		for range n {
			at = append(at, time.Since(start))
		}
		if err != nil {
			return at
		}
	}
}

// trace sends count bytes, one each step, and returns how long each took.
func trace(t *testing.T, n *Network, count int, step time.Duration) []time.Duration {
	near, far := pipe(t, n)
	start := time.Now()
	got := make(chan []time.Duration)
	go func() { got <- arrivals(far, start) }()
	for range count {
		if _, err := near.Write([]byte{1}); err != nil {
			t.Error(err)
		}
		time.Sleep(step)
	}
	_ = near.Close()
	at := <-got
	if len(at) != count {
		t.Fatalf("%d of %d bytes arrived", len(at), count)
	}
	for i := range at {
		at[i] -= time.Duration(i) * step
	}
	return at
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe(t, New(1, Conditions{Latency: 80 * time.Millisecond}))
		start := time.Now()
		for _, way := range []struct{ from, to net.Conn }{{near, far}, {far, near}} {
			go func() { _, _ = io.WriteString(way.from, "hello") }()
			buf := make([]byte, 9)
			if n, err := way.to.Read(buf); string(buf[:n]) != "hello" || err != nil {
				t.Fatalf("Read = %q, %v, want hello", buf[:n], err)
			}
		}
		if took := time.Since(start); took != 160*time.Millisecond {
			t.Errorf("both directions took %v, want 160ms", took)
		}
	})
}

func TestJitterKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Conditions{Latency: 10 * time.Millisecond, Jitter: 40 * time.Millisecond}
		took := trace(t, New(2, c), 1000, time.Millisecond)
		low, high := slices.Min(took), slices.Max(took)
		if low < c.Latency || high >= c.Latency+c.Jitter || high-low < 30*time.Millisecond {
			t.Errorf("messages took %v to %v, want 10ms to 50ms", low, high)
		}
		for i := range took[1:] {
			if took[i+1]+time.Millisecond < took[i] {
				t.Fatalf("message %d overtook the one before", i+1)
			}
		}
	})
}

// TestLoss checks that a lost message waits exactly one retransmission, and that only the messages behind it wait too.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const p, count = 0.05, 10000
		c := Conditions{Latency: 10 * time.Millisecond, Loss: p, Retransmit: 95 * time.Millisecond}
		lost, until := 0, time.Duration(0)
		for i, d := range trace(t, New(3, c), count, 10*time.Millisecond) {
			sent := time.Duration(i) * 10 * time.Millisecond
			switch at := sent + d; {
			case d == c.Latency+c.Retransmit:
				lost++
				until = at
			case at != max(until, sent+c.Latency):
				t.Fatalf("message %d took %v, but nothing before it was lost", i, d)
			}
		}
		if sigma := math.Sqrt(count * p * (1 - p)); math.Abs(float64(lost)-count*p) > 4*sigma {
			t.Errorf("%d of %d messages were lost, want 5 %%", lost, count)
		}
	})
}

func TestRetransmitDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Conditions{Latency: 30 * time.Millisecond, Loss: 1}
		if d := trace(t, New(1, c), 1, 0)[0]; d != 290*time.Millisecond {
			t.Errorf("a lost message took %v, want 30 ms, 200 ms and a round trip", d)
		}
	})
}

// TestSegments checks that a long message is several segments with fates of their own.
func TestSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe(t, New(4, Conditions{Loss: 0.5}))
		got := make(chan []time.Duration)
		go func() { got <- arrivals(far, time.Now()) }()
		_, _ = near.Write(make([]byte, 100*segmentSize))
		_ = near.Close()
		at := <-got
		early := slices.IndexFunc(at, func(d time.Duration) bool { return d > 0 })
		if early <= 0 || early%segmentSize != 0 || early > 20*segmentSize {
			t.Errorf("%d bytes were not behind a lost segment, want some whole segments", early)
		}
	})
}

func TestSeedRepeats(t *testing.T) {
	c := Conditions{Latency: time.Millisecond, Jitter: 9 * time.Millisecond, Loss: 0.1}
	run := func(seed uint64) (took []time.Duration) {
		synctest.Test(t, func(t *testing.T) { took = trace(t, New(seed, c), 500, 3*time.Millisecond) })
		return took
	}
	if !slices.Equal(run(7), run(7)) {
		t.Error("the same seed made other conditions")
	}
	if slices.Equal(run(7), run(8)) {
		t.Error("two seeds made the same conditions")
	}
	synctest.Test(t, func(t *testing.T) {
		n := New(7, c)
		first, second := trace(t, n, 500, 3*time.Millisecond), trace(t, n, 500, 3*time.Millisecond)
		if slices.Equal(first, second) {
			t.Error("two connections have the same conditions")
		}
	})
}

// TestGroupingOfWrites checks that the fate of a byte does not depend on how writes are grouped.
func TestGroupingOfWrites(t *testing.T) {
	run := func(size int) (at []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			near, far := pipe(t, New(5, Conditions{Jitter: time.Second, Loss: 0.2}))
			got := make(chan []time.Duration)
			go func() { got <- arrivals(far, time.Now()) }()
			for range 20 {
				for batch := make([]byte, 3000); len(batch) > 0; batch = batch[min(size, len(batch)):] {
					_, _ = near.Write(batch[:min(size, len(batch))])
				}
				time.Sleep(10 * time.Millisecond)
			}
			_ = near.Close()
			at = <-got
		})
		return at
	}
	if whole := run(3000); len(whole) != 60000 || !slices.Equal(whole, run(7)) || !slices.Equal(whole, run(1460)) {
		t.Error("other writes of the same bytes have another fate")
	}
}

func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Conditions{Latency: 100 * time.Millisecond})
		near, far := pipe(t, n)
		start, got := time.Now(), make(chan []time.Duration)
		go func() { got <- arrivals(far, start) }()
		_, _ = near.Write([]byte{1})
		n.Set(Conditions{Latency: -1, Jitter: -1, Loss: -1})
		if c := n.Conditions(); c.Latency != -1 {
			t.Errorf("Conditions = %v, want what was set", c)
		}
		time.Sleep(50 * time.Millisecond)
		_, _ = near.Write([]byte{2}) // cannot overtake
		time.Sleep(time.Second)
		_, _ = near.Write([]byte{3})
		_ = near.Close()
		want := []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 1050 * time.Millisecond}
		if at := <-got; !slices.Equal(at, want) {
			t.Errorf("messages arrived at %v, want %v", at, want)
		}
	})
}

// TestClose checks that Close delivers what was written, and that the other side's end is seen after what it wrote.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe(t, New(1, Conditions{Latency: time.Second}))
		start := time.Now()
		_, _ = io.WriteString(near, "bye")
		if err := errors.Join(near.Close(), near.Close()); err != nil {
			t.Errorf("Close = %v", err)
		}
		if _, err := near.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close = %v, want net.ErrClosed", err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close = %v, want net.ErrClosed", err)
		}
		if _, err := io.WriteString(far, "discarded"); err != nil {
			t.Errorf("the peer's Write = %v, want that it does not block", err)
		}
		if got, err := io.ReadAll(far); string(got) != "bye" || err != nil || time.Since(start) != time.Second {
			t.Errorf("the peer read %q, %v after %v, want bye after 1s", got, err, time.Since(start))
		}

		near, far = pipe(t, New(1, Conditions{Latency: time.Second}))
		start = time.Now()
		_, _ = io.WriteString(far, "bye")
		_ = far.Close()
		for range 2 {
			if got, err := io.ReadAll(near); len(got)%3 != 0 || err != nil || time.Since(start) != time.Second {
				t.Errorf("read %q, %v after %v, want the end after 1s", got, err, time.Since(start))
			}
		}
		_, _ = near.Write([]byte{1})
		time.Sleep(2 * time.Second)
		if _, err := near.Write([]byte{1}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write to a closed peer = %v, want io.ErrClosedPipe", err)
		}
	})
}

// TestCloseWithoutReader checks that a closed connection ends although its peer does not read.
func TestCloseWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe(t, New(1, Conditions{Latency: time.Second}))
		_, _ = near.Write([]byte{1})
		_ = near.Close()
		time.Sleep(linger + 2*time.Second)
		if n, err := far.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read = %d, %v, want the end", n, err)
		}
	})
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Conditions{Latency: time.Second})
		near, far := pipe(t, n)
		read := make(chan error)
		go func() { _, err := near.Read(make([]byte, 1)); read <- err }()
		_, _ = near.Write([]byte{1})
		synctest.Wait()
		n.Cut()
		if err := <-read; !errors.Is(err, ErrCut) {
			t.Errorf("Read = %v, want ErrCut", err)
		}
		if _, err := near.Write([]byte{1}); !errors.Is(err, ErrCut) {
			t.Errorf("Write = %v, want ErrCut", err)
		}
		if got, err := io.ReadAll(far); len(got) != 0 || err != nil {
			t.Errorf("the peer read %q, %v, want the end at once", got, err)
		}
		n.Cut()
		if err := near.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// TestCutMean checks the mean time until a connection is cut, whether or not the conditions are set again.
func TestCutMean(t *testing.T) {
	for _, again := range []bool{false, true} {
		run := func(seed uint64) (total time.Duration) {
			synctest.Test(t, func(t *testing.T) {
				n := New(seed, Conditions{Cut: time.Minute})
				for range 400 {
					near, _ := pipe(t, n)
					start, cut := time.Now(), make(chan struct{})
					go func() {
						defer close(cut)
						if _, err := near.Read(make([]byte, 1)); !errors.Is(err, ErrCut) {
							t.Errorf("Read = %v, want ErrCut", err)
						}
					}()
					if time.Sleep(10 * time.Second); again {
						n.Set(n.Conditions())
					}
					<-cut
					total += max(time.Since(start), 0)
				}
				n.Set(Conditions{})
				near, _ := pipe(t, n)
				time.Sleep(time.Hour)
				if _, err := near.Write([]byte{1}); err != nil {
					t.Errorf("Write without cuts = %v", err)
				}
			})
			return total / 400
		}
		// The loop looks after 10 s at the earliest, which adds some 0.8 s.
		mean := run(1)
		if mean < 50*time.Second || mean > 72*time.Second {
			t.Errorf("set again %v: connections lived for %v on average, want about a minute", again, mean)
		}
		if other := run(1); other != mean {
			t.Errorf("the same seed cut after %v and then after %v", mean, other)
		}
	}
}

// TestNetworkClose checks that a network that is closed leaves nothing behind, not even of connections that close.
func TestNetworkClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Conditions{Latency: time.Hour})
		var conns []net.Conn
		for range 4 {
			a, far := net.Pipe()
			near := n.Conn(a)
			conns = append(conns, near, far)
			_, _ = io.WriteString(near, "on its way")
		}
		_ = conns[0].Close()
		n.Close()
		for i := 0; i < len(conns); i += 2 {
			if _, err := conns[i].Read(make([]byte, 1)); err == nil || (i > 0) != errors.Is(err, ErrCut) {
				t.Errorf("Read of connection %d = %v, want ErrCut, or net.ErrClosed of the one that was closed", i/2, err)
			}
			if got, err := io.ReadAll(conns[i+1]); len(got) != 0 || err != nil {
				t.Errorf("the peer read %q, %v, want the end", got, err)
			}
		}
		a, _ := net.Pipe()
		if _, err := n.Conn(a).Write([]byte{1}); !errors.Is(err, ErrCut) {
			t.Errorf("Write over a closed network = %v, want ErrCut", err)
		}
		synctest.Wait()
		if len(n.list()) != 0 {
			t.Errorf("%d connections are left", len(n.list()))
		}
	})
}

func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe(t, New(1, Conditions{Latency: time.Second}))
		_ = near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := near.Write(make([]byte, 2*maxQueued))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n < maxQueued || n > maxQueued+segmentSize {
			t.Fatalf("Write = %d, %v, want 1 MiB and the deadline", n, err)
		}
		_ = near.SetWriteDeadline(time.Time{})
		var got int64
		read := make(chan struct{})
		go func() { got, _ = io.Copy(io.Discard, far); close(read) }()
		if _, err := near.Write(make([]byte, maxQueued)); err != nil {
			t.Error(err)
		}
		_ = near.Close()
		if <-read; got != int64(n)+maxQueued {
			t.Errorf("%d bytes arrived, want %d", got, n+maxQueued)
		}
	})
}

func TestDialer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Conditions{Latency: 50 * time.Millisecond})
		refused := errors.New("refused")
		dial := n.Dialer(func(_ context.Context, network, addr string) (net.Conn, error) {
			if network+addr != "tcpgame" {
				return nil, refused
			}
			c, far := net.Pipe()
			go func() { _, _ = far.Write([]byte{1}) }()
			t.Cleanup(func() { _ = far.Close() })
			return c, nil
		})
		defer n.Close()
		start := time.Now()
		c, err := dial(t.Context(), "tcp", "game")
		if err != nil || time.Since(start) != 100*time.Millisecond {
			t.Fatalf("dial = %v after %v, want 100ms", err, time.Since(start))
		}
		if _, err := c.Read(make([]byte, 1)); err != nil || time.Since(start) != 150*time.Millisecond {
			t.Errorf("Read = %v after %v, want 150ms", err, time.Since(start))
		}
		_ = c.Close()
		if _, err := dial(t.Context(), "tcp", "nowhere"); !errors.Is(err, refused) {
			t.Errorf("dial = %v, want refused", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 99*time.Millisecond)
		defer cancel()
		if _, err := dial(ctx, "tcp", "game"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial = %v, want the deadline", err)
		}
	})
}

// TestConn checks that the connections are correct implementations of net.Conn.
func TestConn(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	for _, c := range []Conditions{{}, {Latency: time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Retransmit: 3 * time.Millisecond}} {
		t.Run(strings.ReplaceAll(fmt.Sprint(c), " ", ","), func(t *testing.T) {
			nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
				n := New(1, c)
				a, b = net.Pipe()
				a, b = n.Conn(a), n.Conn(b)
				return a, b, func() { _, _ = a.Close(), b.Close() }, nil
			})
		})
	}
}

// TestRace uses a connection from many goroutines while conditions change.
func TestRace(t *testing.T) {
	n := New(1, Conditions{Jitter: time.Millisecond})
	near, far := pipe(t, n)
	done := make(chan int64)
	go func() {
		got, _ := io.Copy(io.Discard, far)
		done <- got
	}()
	written := make(chan error)
	for i := range 4 {
		go func() {
			for range 100 {
				n.Set(Conditions{Jitter: time.Duration(i) * time.Millisecond})
				if _, err := near.Write(bytes.Repeat([]byte{1}, 50)); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
	}
	for range 4 {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
	_ = near.Close()
	if got := <-done; got != 20000 {
		t.Errorf("%d bytes arrived, want 20000", got)
	}
}
