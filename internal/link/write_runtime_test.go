//go:build !nano_portable

package link

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/gosched"
)

// TestGather checks that the writer waits for the senders that are ready to run, also for one that another one starts.
func TestGather(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	stream, _ := wires()
	var y gosched.Yielder
	for range 100 {
		l := New(stream, "a", 1, &clusterpb.Hello{}, DefaultConfig(), nil)
		send := func() { _ = l.Send(&Frame{Kind: FirstKind}) }
		send()
		done := make(chan struct{})
		go func() {
			send()
			go func() {
				defer close(done)
				send()
			}()
		}()
		l.gather(&y)
		frames, _ := l.Queued()
		<-done
		if frames == 3 {
			return
		}
	}
	t.Error("the writer has missed frames of ready senders in 100 tries") // one miss is possible: the runtime guarantees nothing
}

// TestGatherEnds checks that the writer does not wait longer than it has to.
func TestGatherEnds(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	stream, _ := wires()
	for _, c := range []struct {
		name       string
		size, want int // bytes of each frame; the most frames when gather returns
	}{
		{"senders that always have more", 1, 100}, // usually one a turn
		{"a full batch", largeBatch, 1},
	} {
		l := New(stream, "a", 1, &clusterpb.Hello{}, DefaultConfig(), nil)
		send := func() { _ = l.Send(&Frame{Kind: FirstKind, Data: make([]byte, c.size)}) }
		send()
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					send()
					runtime.Gosched()
				}
			}
		}()
		var y gosched.Yielder
		l.gather(&y)
		frames, _ := l.Queued()
		close(stop)
		<-stopped
		if frames > c.want {
			t.Errorf("%s: %d frames were gathered, want at most %d", c.name, frames, c.want)
		}
	}
}

// TestGatherBesideSlowSenders checks that the writer waits for a sender that computes for long once at most.
func TestGatherBesideSlowSenders(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	stream, _ := wires()
	again := 0 // tries in which the writer has waited for a second frame
	for range 10 {
		l := New(stream, "a", 1, &clusterpb.Hello{}, DefaultConfig(), nil)
		send := func() { _ = l.Send(&Frame{Kind: FirstKind}) }
		send()
		var stop atomic.Bool
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for !stop.Load() {
				for began := time.Now(); time.Since(began) < 2*gatherTime; {
					continue
				}
				send()
				runtime.Gosched()
			}
		}()
		var y gosched.Yielder
		l.gather(&y)
		frames, _ := l.Queued()
		stop.Store(true)
		<-stopped
		if frames > 2 {
			again++
		}
	}
	if again > 5 {
		t.Errorf("the writer has waited for a slow sender again in %d of 10 tries", again)
	}
}
