package link

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
)

// TestRuns checks that runs and single frames of any size arrive in the order in which they were queued.
func TestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		ka, kb := new(keeper), new(keeper)
		a, b := run(wa, DefaultConfig(), ka), run(wb, DefaultConfig(), kb)
		random := rand.New(rand.NewPCG(1, 2))
		next := func() *Frame {
			sizes := []int{0, 50, 1000, smallBatch, largeBatch / 3, largeBatch - 40}
			return &Frame{Kind: FirstKind, Route: "Far.Do", Data: make([]byte, random.IntN(sizes[random.IntN(len(sizes))]+1))}
		}
		n, runs := 0, 0
		for n < 5000 {
			if random.IntN(4) == 0 {
				f := next()
				n++
				f.ID = uint64(n)
				if err := a.Send(f); err != nil {
					t.Fatal(err)
				}
				continue
			}
			var r Run
			for range random.IntN(60) {
				f := next()
				f.ID = uint64(n + 1)
				if !r.Add(f) {
					break
				}
				n++
			}
			for err := a.SendRun(&r); err != nil; err = a.SendRun(&r) {
				if !errors.Is(err, ErrQueueFull) {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			if runs++; r.Len() != 0 || r.batch.buf != nil {
				t.Fatal("the run is not empty after SendRun")
			}
			if random.IntN(20) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		if frames, size := a.Queued(); frames != 0 || size != 0 {
			t.Errorf("%d frames of %d bytes wait, want none", frames, size)
		}
		a.Close(errors.New("enough"))
		<-a.Finished()
		<-b.Finished()
		if len(kb.frames) != n || runs == 0 {
			t.Fatalf("%d frames came, want %d", len(kb.frames), n)
		}
		for i, f := range kb.frames {
			if f.ID != uint64(i+1) {
				t.Fatalf("frame %d came at place %d", f.ID, i+1)
			}
		}
	})
}

// TestRunThatIsNotSent checks that a run stays as it is when the link takes none of it.
func TestRunThatIsNotSent(t *testing.T) {
	wa, _ := wires()
	cfg := DefaultConfig()
	cfg.QueueBytes, cfg.QueueFrames = 1<<10, 10
	l := New(wa, "peer:1", 1, &clusterpb.Hello{}, cfg, new(keeper)) // does not run, so nothing leaves the queue
	fill := func(frames, size int) (r Run) {
		for i := range frames {
			if !r.Add(&Frame{Kind: FirstKind, ID: uint64(i + 1), Route: "Far.Do", Data: bytes.Repeat([]byte{byte(i)}, size)}) {
				t.Fatal("a small frame does not fit a run")
			}
		}
		return r
	}
	unchanged := func(r *Run, frames, size int) {
		t.Helper()
		n := 0
		r.Each(func(f *Frame) {
			if f.Kind != FirstKind || f.ID != uint64(n+1) || f.Route != "Far.Do" || !bytes.Equal(f.Data, bytes.Repeat([]byte{byte(n)}, size)) {
				t.Errorf("frame %d of the run is %+v", n, f)
			}
			n++
		})
		if n != frames || r.Len() != frames {
			t.Errorf("the run has %d frames, want %d", n, frames)
		}
		r.Free()
		r.Each(func(*Frame) { t.Error("a run that was freed has a frame") })
	}
	many, large, first := fill(11, 1), fill(3, 400), fill(5, 1)
	if err := l.SendRun(&many); !errors.Is(err, ErrQueueFull) {
		t.Errorf("SendRun of too many frames = %v, want ErrQueueFull", err)
	}
	unchanged(&many, 11, 1)
	if err := l.SendRun(&large); !errors.Is(err, ErrQueueFull) {
		t.Errorf("SendRun of too many bytes = %v, want ErrQueueFull", err)
	}
	unchanged(&large, 3, 400)
	if err := l.SendRun(&first); err != nil {
		t.Errorf("SendRun = %v, want nil", err)
	}
	if frames, size := l.Queued(); frames != 5 || size == 0 {
		t.Errorf("%d frames of %d bytes wait, want 5", frames, size)
	}
	second := fill(6, 1)
	if err := l.SendRun(&second); !errors.Is(err, ErrQueueFull) {
		t.Errorf("SendRun behind others = %v, want ErrQueueFull", err)
	}
	l.Close(errors.New("enough"))
	if err := l.SendRun(&second); !errors.Is(err, ErrDown) {
		t.Errorf("SendRun over a link that has ended = %v, want ErrDown", err)
	}
	unchanged(&second, 6, 1)
	var none Run
	if err := l.SendRun(&none); err != nil {
		t.Errorf("SendRun of no frames = %v, want nil", err)
	}
	none.Free()
}

// TestRunIsBounded checks that a run refuses what does not fit a batch, and keeps the rest.
func TestRunIsBounded(t *testing.T) {
	var r Run
	defer r.Free()
	if r.Add(&Frame{Kind: FirstKind, Data: make([]byte, largeBatch)}) {
		t.Error("a frame that is larger than a batch fits a run")
	}
	n := 0
	for r.Add(&Frame{Kind: FirstKind, Data: make([]byte, 1000)}) {
		n++
	}
	if n == 0 || n != r.Len() || n*1000 > largeBatch || len(*r.batch.buf) > largeBatch || cap(*r.batch.buf) != largeBatch {
		t.Errorf("%d frames of 1000 bytes fit a run of %d bytes", n, largeBatch)
	}
}

// hoarder is a Handler that keeps the array of the frames, as no handler should.
type hoarder struct {
	keeper
	array []Frame
}

func (h *hoarder) Received(_ *Link, frames []Frame) { h.array = frames[:cap(frames)] }

// TestFramesOfOneMessage checks that a link keeps the frames of one message at most, and
// none of a large one, so that old bytes can be freed.
func TestFramesOfOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wa, wb := wires()
		h := new(hoarder)
		a := run(wa, DefaultConfig(), new(keeper))
		b := New(wb, "peer:1", 1, &clusterpb.Hello{}, DefaultConfig(), h)
		go func() {
			b.Run()
			wb.close()
		}()
		synctest.Wait() // the first pings; no others come while time stands still
		send := func(frames, size, want int) {
			t.Helper()
			var r Run
			for range frames {
				f := &Frame{Kind: FirstKind, Route: "Far.Do", Meta: []byte("meta"), Data: make([]byte, size)}
				if size > largeBatch {
					if err := a.Send(f); err != nil {
						t.Fatal(err)
					}
				} else if !r.Add(f) {
					t.Fatal("the frames do not fit a run")
				}
			}
			if err := a.SendRun(&r); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			kept := 0
			for i := range h.array {
				if f := &h.array[i]; f.Route != "" || len(f.Meta) > 0 || len(f.Data) > 0 {
					kept++
				}
			}
			if kept != want {
				t.Errorf("after %d frames of %d bytes, %d are kept, want %d", frames, size, kept, want)
			}
		}
		send(40, 10, 40)
		send(3, 10, 3)
		send(1, 2*largeBatch, 0)
		send(2*runLength, 10, runLength)
		send(1, 2*largeBatch, 0)
		send(5, 10, 5)
		a.Close(errors.New("enough"))
		<-a.Finished()
		<-b.Finished()
	})
}
