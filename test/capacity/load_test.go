package capacity_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// loadTime is the duration of each measurement of TestTwiceTheLoad. There are two for
// each kind of work and of overload protection. From 10s on, handlers that compute are
// measured too. The long form takes about 16 minutes and needs an idle machine:
//
//	go test -run TestTwiceTheLoad -v -timeout 1h -load 60s ./test/capacity
var loadTime = flag.Duration("load", 1500*time.Millisecond, "how long TestTwiceTheLoad goes on")

// crowded is a set of clients that send requests and count the answers.
type crowded struct {
	at      *testkit.Server
	wires   []*testkit.Wire
	window  []chan struct{} // for each client: its open requests
	answers atomic.Int64    // answers that are not refusals
	refused atomic.Int64
	readers sync.WaitGroup
	writers sync.WaitGroup
}

func newCrowded(at *testkit.Server, n int) *crowded {
	c := &crowded{at: at}
	for range n {
		w, err := at.Wire()
		if err == nil {
			err = w.Join()
		}
		if err != nil {
			at.T.Fatal(err)
		}
		w.Patience = time.Hour // the test aborts it
		done := make(chan struct{}, 1<<20)
		c.wires, c.window = append(c.wires, w), append(c.window, done)
		c.readers.Go(func() {
			defer close(done)
			for {
				m, err := w.Message()
				if err != nil {
					return
				}
				if m.Err {
					c.refused.Add(1)
				} else {
					c.answers.Add(1)
				}
				done <- struct{}{}
			}
		})
	}
	return c
}

func (c *crowded) abort() {
	for _, w := range c.wires {
		w.Abort()
	}
	c.readers.Wait()
	c.writers.Wait()
}

// ask makes every client send requests for a given time. It sends at a fixed rate, or as
// long as fewer than window requests are open. It returns the answers per second in the
// second half, and the largest live heap.
func (c *crowded) ask(d time.Duration, rate float64, window int, payload string) (perSecond float64, heap uint64) {
	start := time.Now()
	for i, w := range c.wires {
		for len(c.window[i]) > 0 {
			<-c.window[i]
		}
		c.writers.Go(func() {
			for sent, open := 0, 0; time.Since(start) < d; sent++ {
				if rate > 0 {
					due := time.Duration(float64(sent) / rate * float64(time.Second))
					time.Sleep(time.Until(start.Add(due)))
				} else if open++; open > window {
					<-c.window[i]
					open--
				}
				if w.Send(testkit.Request(uint64(sent)+1, "Game.Do", payload)) != nil {
					return
				}
			}
		})
	}
	time.Sleep(d / 2)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	before, half := c.answers.Load(), time.Now()
	for time.Since(start) < d {
		time.Sleep(d / 6)
		runtime.GC()
		metrics.Read(live) // excludes what was allocated since the last collection
		heap = max(heap, live[0].Value.Uint64())
	}
	return float64(c.answers.Load()-before) / time.Since(half).Seconds(), heap
}

// TestTwiceTheLoad checks that a server at twice its maximum load completes almost as
// much work as at its maximum, in bounded memory.
func TestTwiceTheLoad(t *testing.T) {
	testkit.SkipInShort(t, "capacity")
	const (
		clients = 50
		pending = 4
		size    = 16 << 10
		// The bound of one session in docs/security.md covers waiting messages and read
		// buffers. These clients read, so there is little output. The garbage collector
		// may need as much again.
		bound = 2 * (pending*(size+384) + size + 40<<10)
	)
	// A handler costs time or processor time. Other programs may make a sleep take
	// longer, so the test measures what it took.
	var calls, spent atomic.Int64
	game := func(work func()) *testkit.Game {
		return &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
			start := time.Now()
			work()
			calls.Add(1)
			spent.Add(int64(time.Since(start)))
			return s.Response(data[:1])
		}}
	}
	cost := func() float64 { return float64(spent.Swap(0)) / float64(calls.Swap(0)) }
	payload := strings.Repeat("x", size)
	options := []nano.Option{nano.WithMaxPending(pending), nano.WithSlowHandler(0)}
	overload := func(t *testing.T, kind string, work func(), sleeps, limited bool) (got, peak float64) {
		c := newCrowded(testkit.Start(t, kind, game(work), options...), clients)
		peak, _ = c.ask(*loadTime, 0, 2, payload)
		c.abort()
		alone := cost()
		opts := options
		if limited {
			opts = append(slices.Clip(opts), nano.WithMessageRate(peak/clients, 2), nano.WithMaxAbuse(0))
		}
		c = newCrowded(testkit.Start(t, kind, game(work), opts...), clients)
		defer c.abort()
		before := testkit.MeasureFootprint()
		cost()
		got, heap := c.ask(*loadTime, 2*peak/clients, 0, payload)
		now := cost()
		t.Logf("%.0f answers a second, at most %.0f; %d refused; a call took %v, before %v; %d KiB live, before %d",
			got, peak, c.refused.Load(), time.Duration(now), time.Duration(alone), heap>>10, before.Heap>>10)
		if sleeps {
			peak *= min(alone/now, 1)
		}
		if limited != (c.refused.Load() > 0) {
			t.Errorf("%d requests were refused", c.refused.Load())
		}
		if most := before.Heap + clients*bound; heap > most {
			t.Errorf("%d KiB are live, want %d at most", heap>>10, most>>10)
		}
		return got, peak
	}
	type job struct {
		name string
		do   func()
	}
	jobs := []job{{"sleeps", func() { time.Sleep(5 * time.Millisecond) }}}
	share := 0.8
	if *loadTime < 10*time.Second {
		share = 0.4 // a short run next to other programs only shows whether throughput collapses
	} else {
		jobs = append(jobs, job{"computes", computes(time.Millisecond)}) // not measurable next to other programs
	}
	for _, work := range jobs {
		for _, kind := range testkit.Sockets {
			for _, limited := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, limited %v", work.name, kind, limited), func(t *testing.T) {
					var got, peak float64
					for range 3 { // another program may disturb one try
						if got, peak = overload(t, kind, work.do, work.name == "sleeps", limited); got >= share*peak {
							return
						}
					}
					t.Errorf("%.0f answers a second at twice the load, want %.0f %% of %.0f", got, 100*share, peak)
				})
			}
		}
	}
}

// computes returns a function that uses the processor for about d.
func computes(d time.Duration) func() {
	block := make([]byte, 4<<10)
	fastest := time.Hour
	for range 100 {
		start := time.Now()
		sha256.Sum256(block)
		fastest = min(fastest, time.Since(start))
	}
	n := max(int(d/fastest), 1)
	return func() {
		for range n {
			sha256.Sum256(block)
		}
	}
}
