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

// loadTime is how long TestTwiceTheLoad goes on, twice for each kind of work and way of shedding. From 10s on there are
// handlers that compute too. The long form, of some 16 minutes on a machine that does nothing else, is
//
//	go test -run TestTwiceTheLoad -v -timeout 1h -load 60s ./test/capacity
var loadTime = flag.Duration("load", 1500*time.Millisecond, "how long TestTwiceTheLoad goes on")

// crowded is clients that ask for work, and count what comes back.
type crowded struct {
	at      *testkit.Server
	wires   []*testkit.Wire
	window  []chan struct{} // of one client each: requests that are not answered
	answers atomic.Int64    // that are no refusals
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
		w.Patience = time.Hour // it is aborted
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

// ask has every client send until the time is up: at a rate, or whenever fewer than window requests of it are open. It
// returns the answers a second, of the second half of the time, and the most memory that was live.
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
		metrics.Read(live) // and not what was allocated since
		heap = max(heap, live[0].Value.Uint64())
	}
	return float64(c.answers.Load()-before) / time.Since(half).Seconds(), heap
}

// At twice the load that it can bear a server does nearly as much as it can, in bounded memory.
func TestTwiceTheLoad(t *testing.T) {
	testkit.SkipInShort(t, "capacity")
	const (
		clients = 50
		pending = 4
		size    = 16 << 10
		// What docs/security.md says of one session: the messages that wait, and what reading takes. These clients
		// read, so there is little output. The collector may need as much again.
		bound = 2 * (pending*(size+384) + size + 40<<10)
	)
	// What a handler costs is time, or the processor, which clients and other programs use too. Those make a sleep cost more
	// now and then, so what it did cost is measured; of the processor the server gets what it gets, which is the point.
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
		share = 0.4 // beside other programs a short run tells no more than whether the server breaks down
	} else {
		jobs = append(jobs, job{"computes", computes(time.Millisecond)}) // which tells nothing beside other programs
	}
	for _, work := range jobs {
		for _, kind := range testkit.Sockets {
			for _, limited := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, limited %v", work.name, kind, limited), func(t *testing.T) {
					var got, peak float64
					for range 3 { // the machine may have something else to do meanwhile
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

// computes returns what keeps a processor busy for about d.
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
