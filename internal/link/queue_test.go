package link

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
)

func TestQueueFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		cfg := DefaultConfig()
		cfg.QueueFrames = 10
		wb.holdIn = make(chan struct{})
		a, b := run(wa, cfg, new(keeper)), run(wb, cfg, new(keeper))
		synctest.Wait()
		var err error
		n := 0
		for ; err == nil && n < 100; n++ {
			err = a.Send(frame(n))
		}
		if !errors.Is(err, ErrQueueFull) || n != 11 {
			t.Errorf("frame %d: %v, want ErrQueueFull for the 11th", n, err)
		}
		close(wb.holdIn)
		synctest.Wait()
		if err := a.Send(frame(1)); err != nil {
			t.Errorf("Send once the peer took everything = %v", err)
		}
		a.Close(ErrStopped)
		<-a.Finished()
		<-b.Finished()
	})
}

// Bulk frames take a part of the queue, and their senders are told when to try again.
func TestSendBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		wb.holdIn = make(chan struct{})
		cfg := DefaultConfig()
		cfg.QueueBytes = 800 << 10
		kb := new(keeper)
		a, b := run(wa, cfg, new(keeper)), run(wb, cfg, kb)
		synctest.Wait()
		f := &Frame{Kind: FirstKind, Data: make([]byte, 1000)}
		var wait <-chan struct{}
		var err error
		n := 0
		for wait == nil && err == nil && n < 1000 {
			if wait, err = a.SendBulk(f); wait == nil {
				n++
			}
		}
		if most := 100 << 10 / f.Size(); err != nil || n != most {
			t.Fatalf("%d bulk frames were queued, %v, want %d", n, err, most)
		}
		if err := a.Send(f); err != nil {
			t.Errorf("Send beside bulk frames = %v", err)
		}
		select {
		case <-wait:
			t.Error("there is room while nothing was taken")
		default:
		}
		close(wb.holdIn)
		<-wait
		if again, err := a.SendBulk(f); again != nil || err != nil {
			t.Errorf("SendBulk with room = %v, %v", again, err)
		}
		synctest.Wait()
		if got := kb.count(); got != n+2 {
			t.Errorf("%d frames came, want %d", got, n+2)
		}
		// A sender that waits when the link ends is told.
		wb.holdIn = nil
		big := &Frame{Kind: FirstKind, Data: make([]byte, 101<<10)}
		wait, err = a.SendBulk(big)
		if err != nil || wait == nil {
			t.Fatalf("SendBulk of a frame over the part = %v, %v", wait, err)
		}
		a.Close(ErrStopped)
		<-wait
		if wait, err := a.SendBulk(f); wait != nil || !errors.Is(err, ErrDown) {
			t.Errorf("SendBulk after the end = %v, %v, want ErrDown", wait, err)
		}
		<-a.Finished()
		<-b.Finished()
	})
}

// TestBatches checks that small frames share batches of bounded size, and that a large
// frame is sent alone, up to the limit.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		kb := new(keeper)
		wb.holdIn = make(chan struct{})
		a, b := run(wa, DefaultConfig(), new(keeper)), run(wb, DefaultConfig(), kb)
		synctest.Wait()
		const small = 10000
		for i := range small {
			if err := a.Send(&Frame{Kind: FirstKind, ID: uint64(i), Data: make([]byte, 50)}); err != nil {
				t.Fatal(err)
			}
		}
		large := &Frame{Kind: FirstKind, Route: "Large", Data: bytes.Repeat([]byte{5}, 16<<20)}
		if err := a.Send(large); err != nil {
			t.Fatal(err)
		}
		if err := a.Send(&Frame{Kind: FirstKind, Data: make([]byte, MaxFrame)}); !errors.Is(err, ErrFrameTooLarge) {
			t.Errorf("Send of more than MaxFrame = %v, want ErrFrameTooLarge", err)
		}
		if err := a.Send(frame(7)); err != nil {
			t.Fatal(err)
		}
		close(wb.holdIn)
		synctest.Wait()
		a.Close(ErrStopped)
		<-a.Finished()
		<-b.Finished()
		if n := kb.count(); n != small+2 {
			t.Fatalf("%d frames came, want %d", n, small+2)
		}
		if got := kb.frames[small]; !bytes.Equal(got.Data, large.Data) {
			t.Errorf("the large frame came as %d bytes", len(got.Data))
		}
		batches := 0
		for _, size := range wa.sizes {
			if size > largeBatch {
				t.Errorf("a batch of %d bytes, want at most %d", size, largeBatch)
			}
			batches++
		}
		if most := small*60/largeBatch + large.Size()/partSize + 8; batches > most {
			t.Errorf("%d batches, want at most %d", batches, most)
		}
	})
}

func part(left uint64, data ...byte) []byte {
	return (&Frame{Kind: kindPart, ID: left, Data: data}).Append(nil)
}

// TestLargeFramesOnASlowNetwork checks that pings pass in both directions while large
// frames take longer to send than a peer may be silent.
func TestLargeFramesOnASlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		wa, wb := wires()
		wa.rate, wb.rate = rate, rate
		ka, kb := new(keeper), new(keeper)
		a, b := run(wa, DefaultConfig(), ka), run(wb, DefaultConfig(), kb)
		large := &Frame{Kind: FirstKind, Session: 7, ID: 9, Route: "Large", Meta: []byte("meta"), Data: make([]byte, 4<<20)}
		for i := range large.Data {
			large.Data[i] = byte(i >> 8)
		}
		hello := &clusterpb.Hello{Id: 3, Info: &clusterpb.MemberInfo{Label: string(make([]byte, 3<<20))}}
		for _, l := range []*Link{a, b} {
			if err := errors.Join(l.Send(large), l.SendHello(hello), l.Send(large), l.Send(frame(1))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(12 * time.Second) // one second for the headers of parts and the pings
		synctest.Wait()
		for _, k := range []*keeper{ka, kb} {
			if n := k.count(); n != 3 || !reflect.DeepEqual(k.frames[0], *large) || !reflect.DeepEqual(k.frames[1], *large) {
				t.Errorf("%d frames came, want 2 large ones and another", n)
			}
			if !slices.Equal(k.changed, []uint64{3}) {
				t.Errorf("hellos of %v came, want that of 3", k.changed)
			}
		}
		for _, l := range []*Link{a, b} {
			if err := l.Err(); err != nil {
				t.Errorf("the link ended with %v", err)
			}
			if rtt := l.RTT(); rtt == 0 || rtt > time.Second {
				t.Errorf("a ping took %v, want less than a second", rtt)
			}
			if frames, size := l.Queued(); frames != 0 || size != 0 {
				t.Errorf("%d frames of %d bytes still count as queued", frames, size)
			}
		}
		in, out := b.cfg.Counts, a.cfg.Counts
		if in.FramesIn.Load() != 4 || in.FramesIn.Load() != out.FramesOut.Load() || in.BytesIn.Load() != out.BytesOut.Load() {
			t.Errorf("%d frames of %d bytes came, %d of %d were sent, want 4 and as many bytes",
				in.FramesIn.Load(), in.BytesIn.Load(), out.FramesOut.Load(), out.BytesOut.Load())
		}
		a.Close(ErrStopped)
		<-a.Finished()
		<-b.Finished()
	})
}
