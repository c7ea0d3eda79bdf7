package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"

	"go.uber.org/goleak"
	"google.golang.org/grpc/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is one end of a stream in memory. Messages pass through the codec, and a few may
// be in transit.
type wire struct {
	in, out chan []byte
	closed  chan struct{} // shared by both ends
	close   func()
	delay   time.Duration // delay before a message is received
	rate    int           // bytes a second; 0 means no limit
	holdIn  chan struct{} // if set, receiving waits until it is closed
	sizes   []int         // sizes of the messages sent
}

func wires() (a, b *wire) {
	ab, ba, closed := make(chan []byte, 2), make(chan []byte, 2), make(chan struct{})
	end := sync.OnceFunc(func() { close(closed) })
	return &wire{in: ba, out: ab, closed: closed, close: end}, &wire{in: ab, out: ba, closed: closed, close: end}
}

func (w *wire) SendMsg(m any) error {
	data, err := Codec().Marshal(m)
	if err != nil {
		return err
	}
	b := data.Materialize()
	data.Free()
	w.sizes = append(w.sizes, len(b))
	if w.rate > 0 {
		time.Sleep(time.Duration(len(b)) * time.Second / time.Duration(w.rate))
	}
	select {
	case w.out <- b:
		return nil
	case <-w.closed:
		return io.EOF
	}
}

func (w *wire) RecvMsg(m any) error {
	if w.holdIn != nil {
		select {
		case <-w.holdIn:
		case <-w.closed:
			return errors.New("stream is gone")
		}
	}
	select {
	case b := <-w.in:
		if w.delay > 0 {
			time.Sleep(w.delay)
		}
		return Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, m)
	case <-w.closed:
		return errors.New("stream is gone")
	}
}

// keeper is a Handler that records its calls.
type keeper struct {
	mu      sync.Mutex
	up      int
	frames  []Frame
	changed []uint64
	down    error
	onUp    func(l *Link)
	onFrame func()
}

func (k *keeper) Up(l *Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up++
	if k.onUp != nil {
		k.onUp(l)
	}
}

func (k *keeper) Received(_ *Link, frames []Frame) {
	if k.onFrame != nil {
		k.onFrame()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range frames {
		f.Meta, f.Data = slices.Clone(f.Meta), slices.Clone(f.Data)
		k.frames = append(k.frames, f)
	}
}

func (k *keeper) Changed(l *Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed = append(k.changed, l.Hello().GetId())
}

func (k *keeper) Down(_ *Link, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = err
}

func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.frames)
}

// run runs a link as a node does. The stream ends with the link.
func run(w *wire, cfg Config, k *keeper) *Link {
	l := New(w, "peer:1", 1, &clusterpb.Hello{}, cfg, k)
	go func() {
		l.Run()
		w.close()
	}()
	return l
}

func frame(n int) *Frame {
	return &Frame{Kind: FirstKind, ID: uint64(n), Data: binary.BigEndian.AppendUint64(nil, uint64(n))}
}

func checkOrder(t *testing.T, who string, k *keeper, want int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.frames) != want {
		t.Fatalf("%s got %d frames, want %d", who, len(k.frames), want)
	}
	for i, f := range k.frames {
		if f.ID != uint64(i+1) || binary.BigEndian.Uint64(f.Data) != uint64(i+1) {
			t.Fatalf("%s: frame %d is %+v", who, i, f)
		}
	}
}

func TestOrderBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		wa, wb := wires()
		ka, kb := new(keeper), new(keeper)
		ca, cb := DefaultConfig(), DefaultConfig()
		ca.Counts, cb.Counts = new(Counts), new(Counts)
		a, b := run(wa, ca, ka), run(wb, cb, kb)
		for i := 1; i <= n; i++ {
			for _, l := range []*Link{a, b} {
				if err := l.Send(frame(i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(3 * time.Second) // time for several pings
		if err := errors.Join(a.Err(), b.Err()); err != nil {
			t.Fatalf("a quiet link ended: %v", err)
		}
		if frames, bytes := a.Queued(); frames != 0 || bytes != 0 {
			t.Errorf("%d frames of %d bytes wait, want none", frames, bytes)
		}
		size := int64(0)
		for i := 1; i <= n; i++ {
			size += int64(frame(i).Size())
		}
		for name, got := range map[string][4]int64{
			"a": {ca.Counts.FramesIn.Load(), ca.Counts.FramesOut.Load(), ca.Counts.BytesIn.Load(), ca.Counts.BytesOut.Load()},
			"b": {cb.Counts.FramesIn.Load(), cb.Counts.FramesOut.Load(), cb.Counts.BytesIn.Load(), cb.Counts.BytesOut.Load()},
		} {
			if want := [4]int64{n, n, size, size}; got != want {
				t.Errorf("%s counts frames in and out, bytes in and out %v, want %v", name, got, want)
			}
		}
		a.Close(errors.New("enough"))
		<-a.Finished()
		<-b.Finished()
		checkOrder(t, "a", ka, n)
		checkOrder(t, "b", kb, n)
		if ka.up != 1 || kb.up != 1 {
			t.Errorf("Up came %d and %d times, want once each", ka.up, kb.up)
		}
		if ka.down == nil || ka.down.Error() != "enough" {
			t.Errorf("a went down with %v, want what it was closed with", ka.down)
		}
		if !errors.Is(kb.down, ErrDown) {
			t.Errorf("b went down with %v, want ErrDown", kb.down)
		}
		if err := a.Send(frame(1)); !errors.Is(err, ErrDown) {
			t.Errorf("Send on a link that is down = %v, want ErrDown", err)
		}
	})
}

// TestUpGoesFirst checks that a frame sent in Up precedes frames that other goroutines
// send.
func TestUpGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		ka := &keeper{onUp: func(l *Link) { _ = l.Send(frame(1)) }}
		kb := new(keeper)
		a, b := run(wa, DefaultConfig(), ka), run(wb, DefaultConfig(), kb)
		synctest.Wait()
		_ = a.Send(frame(2))
		synctest.Wait()
		a.Close(ErrStopped)
		<-a.Finished()
		<-b.Finished()
		checkOrder(t, "b", kb, 2)
	})
}

func TestRTT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		wb.delay = 30 * time.Millisecond
		a, b := run(wa, DefaultConfig(), new(keeper)), run(wb, DefaultConfig(), new(keeper))
		time.Sleep(10 * time.Second)
		if rtt := a.RTT(); rtt < 29*time.Millisecond || rtt > 61*time.Millisecond {
			t.Errorf("RTT = %v, want 30 ms or one message more", rtt)
		}
		a.Close(ErrStopped)
		<-a.Finished()
		<-b.Finished()
	})
}

// TestPing checks that Ping reports when the peer answered last.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		wb.delay = 30 * time.Millisecond
		a, b := run(wa, DefaultConfig(), new(keeper)), run(wb, DefaultConfig(), new(keeper))
		time.Sleep(1250 * time.Millisecond) // between two pings of the link
		begun := time.Now()
		if err := a.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v", err)
		}
		if d := time.Since(begun); d < 30*time.Millisecond || d > 61*time.Millisecond {
			t.Errorf("the answer came after %v, want 30 ms or one message more", d)
		}
		wb.delay = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := a.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping of a slow peer = %v, want DeadlineExceeded", err)
		}
		b.Close(ErrStopped)
		if err := a.Ping(t.Context()); !errors.Is(err, ErrDown) {
			t.Errorf("Ping on a link that breaks = %v, want ErrDown", err)
		}
		<-a.Finished()
		<-b.Finished()
	})
}

// TestSilentPeer checks that a link ends when a peer reads nothing and its pings stay
// unanswered. Until then a full queue refuses frames without blocking.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, _ := wires()
		cfg := DefaultConfig()
		cfg.QueueBytes = 1 << 20
		k := new(keeper)
		a := run(wa, cfg, k)
		begun := time.Now()
		f := &Frame{Kind: FirstKind, Data: make([]byte, 1000)}
		sent := 0
		for ; ; sent++ {
			if err := a.Send(f); err != nil {
				if !errors.Is(err, ErrQueueFull) {
					t.Fatalf("Send to a slow peer = %v, want ErrQueueFull", err)
				}
				break
			}
		}
		if time.Since(begun) != 0 {
			t.Errorf("Send blocked for %v", time.Since(begun))
		}
		if queued := sent * f.Size(); queued < 1<<20-f.Size() {
			t.Errorf("the queue was full at %d bytes, want about 1 MiB", queued)
		}
		<-a.Done()
		if d := time.Since(begun); d < cfg.Dead || d > cfg.Dead+cfg.Ping {
			t.Errorf("given up after %v, want %v to %v", d, cfg.Dead, cfg.Dead+cfg.Ping)
		}
		<-a.Finished()
		if !errors.Is(k.down, ErrSilent) {
			t.Errorf("Down got %v, want ErrSilent", k.down)
		}
	})
}

// TestJudgeAfterAPause checks that the time in which this process did not run does not
// count as silence of the peer.
func TestJudgeAfterAPause(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name string
		asks [][2]time.Duration // the time of each ask, and the time of the last answer
		dead int                // index of the first ask that finds the peer dead; -1 if there is none
	}{
		{"answers", [][2]time.Duration{{1 * second, 0}, {2 * second, 1 * second}, {60 * second, 59 * second}}, -1},
		{"silence", [][2]time.Duration{{1 * second, 0}, {2 * second, 0}, {3 * second, 0}, {4 * second, 0}, {5 * second, 0}}, 4},
		{"a pause, and the answers come", [][2]time.Duration{{1 * second, 0}, {100 * second, 0}, {101 * second, 100 * second}, {102 * second, 101 * second}}, -1},
		{"a pause, and silence", [][2]time.Duration{{1 * second, 0}, {100 * second, 0}, {101 * second, 0}, {102 * second, 0}, {103 * second, 0}}, 4},
		{"two pauses with an answer between them", [][2]time.Duration{{10 * second, 0}, {11 * second, 10 * second}, {30 * second, 10 * second}}, -1},
		{"overload", [][2]time.Duration{{4 * second, 0}, {8 * second, 0}}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := judge{ping: second, dead: 4 * second}
			got := -1
			for i, ask := range c.asks {
				if j.silent(ask[0], ask[1]) {
					got = i
					break
				}
			}
			if got != c.dead {
				t.Errorf("ask %d finds the peer dead, want %d", got, c.dead)
			}
		})
	}
}

// TestBlockedHandler checks that a link ends on both sides if a handler blocks, because
// pings and their answers are not read.
func TestBlockedHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		release := make(chan struct{})
		ka, kb := new(keeper), &keeper{onFrame: func() { <-release }}
		a, b := run(wa, DefaultConfig(), ka), run(wb, DefaultConfig(), kb)
		_ = a.Send(frame(1))
		begun := time.Now()
		<-a.Finished()
		if d, most := time.Since(begun), 2500*time.Millisecond; d > most {
			t.Errorf("given up after %v, want at most %v", d, most)
		}
		if !errors.Is(a.Err(), ErrSilent) && !errors.Is(b.Err(), ErrSilent) {
			t.Errorf("the ends went down with %v and %v, want ErrSilent for one of them", a.Err(), b.Err())
		}
		close(release)
		<-b.Finished()
	})
}

// TestGoexitInHandler checks that a link ends with an error if a handler ends the
// goroutine.
func TestGoexitInHandler(t *testing.T) {
	for name, at := range map[string]func(k *keeper){
		"Up":       func(k *keeper) { k.onUp = func(*Link) { runtime.Goexit() } },
		"Received": func(k *keeper) { k.onFrame = runtime.Goexit },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wa, wb := wires()
				ka, kb := new(keeper), new(keeper)
				at(kb)
				a, b := run(wa, DefaultConfig(), ka), run(wb, DefaultConfig(), kb)
				_ = a.Send(frame(1))
				<-a.Finished()
				<-b.Finished()
				if !errors.Is(kb.down, errGoexit) {
					t.Errorf("Down got %v, want %v", kb.down, errGoexit)
				}
				if ka.down == nil {
					t.Error("the peer was not told")
				}
			})
		})
	}
}

func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		ka, kb := new(keeper), new(keeper)
		a, b := run(wa, DefaultConfig(), ka), run(wb, DefaultConfig(), kb)
		for i := 1; i <= 3000; i++ {
			_ = a.Send(frame(i))
		}
		a.Leave()
		if err := a.Send(frame(1)); !errors.Is(err, ErrDown) {
			t.Errorf("Send after Leave = %v, want ErrDown", err)
		}
		<-a.Finished()
		<-b.Finished()
		checkOrder(t, "b", kb, 3000)
		if !errors.Is(kb.down, ErrLeft) {
			t.Errorf("the peer's Down got %v, want ErrLeft", kb.down)
		}
		if !errors.Is(ka.down, ErrStopped) {
			t.Errorf("the leaver's Down got %v, want ErrStopped", ka.down)
		}
	})
}

func TestHelloChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		kb := new(keeper)
		a, b := run(wa, DefaultConfig(), new(keeper)), run(wb, DefaultConfig(), kb)
		_ = a.Send(frame(1))
		if err := a.SendHello(&clusterpb.Hello{Id: 5, Info: &clusterpb.MemberInfo{ServiceAddr: "elsewhere:1", Label: "gate"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Equal(kb.changed, []uint64{5}) {
			t.Errorf("Changed was called with ids %v, want 5", kb.changed)
		}
		if info := b.Hello().GetInfo(); info.GetLabel() != "gate" || info.GetServiceAddr() != "peer:1" {
			t.Errorf("the hello says %v, want label gate at the address of the handshake", info)
		}
		a.Close(ErrStopped)
		<-a.Finished()
		<-b.Finished()
	})
}

func TestMalformedBatchEndsTheLink(t *testing.T) {
	for name, b := range map[string][]byte{
		"no frame":       {1},
		"cut short":      {9, 16, 0},
		"unknown kind":   {2, 15, 0},
		"hello no proto": {3, byte(kindHello), 0, 0xff},
		"part too large": (&Frame{Kind: kindPart, ID: MaxFrame, Data: []byte{1}}).Append(nil),
		"part too long":  slices.Concat(part(5, 2, 16), part(0, 1, 2, 3, 4, 5, 6)),
		"part missing":   slices.Concat(part(5, 2, 16), part(1, 0)),
		"part of a part": part(0, part(0, 2, 16, 0)...),
		"empty part":     part(1),
		"two in parts":   part(0, 2, 16, 0, 2, 16, 0),
		"half in parts":  part(0, 2, 16),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wa, wb := wires()
				k := new(keeper)
				l := run(wb, DefaultConfig(), k)
				go func() {
					for range wa.in {
					}
				}()
				defer close(wb.out)
				buf := append(make([]byte, headSize), frame(1).Append(nil)...)
				buf = append(buf, b...)
				if err := wa.SendMsg(&outbound{buf: &buf}); err != nil {
					t.Fatal(err)
				}
				<-l.Finished()
				if !errors.Is(k.down, ErrFrame) {
					t.Errorf("Down got %v, want ErrFrame", k.down)
				}
			})
		})
	}
}

// TestPingFlood checks that a peer that floods with pings and reads no answers does not
// use more memory.
func TestPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		l := run(wb, DefaultConfig(), new(keeper))
		var pings []byte
		for i := range 1000 {
			pings = (&Frame{Kind: kindPing, ID: uint64(i + 1)}).Append(pings)
		}
		for range 100 {
			buf := append(make([]byte, headSize), pings...)
			if err := wa.SendMsg(&outbound{buf: &buf}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		l.mu.Lock()
		waiting := len(l.out.batches)
		l.mu.Unlock()
		if waiting != 0 {
			t.Errorf("%d batches wait after a flood of pings, want 0", waiting)
		}
		l.Close(ErrStopped)
		<-l.Finished()
	})
}

// TestConcurrentUse checks that Close, Send, Leave and SendHello may be called
// concurrently at any time.
func TestConcurrentUse(t *testing.T) {
	wa, wb := wires()
	a, b := run(wa, DefaultConfig(), new(keeper)), run(wb, DefaultConfig(), new(keeper))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 500 {
				for _, l := range []*Link{a, b} {
					_ = l.Send(frame(n))
					if n == 250 {
						_ = l.SendHello(&clusterpb.Hello{Id: uint64(i)})
					}
				}
			}
		})
	}
	wg.Wait()
	a.Leave()
	b.Leave()
	for _, l := range []*Link{a, b} {
		select {
		case <-l.Finished():
		case <-time.After(10 * time.Second):
			t.Fatal(fmt.Sprint("a link that was left did not end: ", l.Err()))
		}
	}
}
