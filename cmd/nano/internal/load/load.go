// Package load sends messages to a server at a fixed rate and measures how long the answers take.
//
// The load is an open loop: each message has a moment at which it is due, whether or not earlier ones were answered, and
// its latency counts from that moment. So a server that stalls cannot hide it by slowing the clients down, which is known
// as coordinated omission.
package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cmd/nano/internal/payload"
	"github.com/lonng/nano/internal/histogram"
)

// Step is a message of a scenario.
type Step struct {
	Notify bool
	Route  string
	Text   string // the payload; {n} stands for the number of the client, from 1
}

// Scenario lists the messages of each client: those of Begin once, and then those of Loop
// repeatedly.
type Scenario struct{ Begin, Loop []Step }

// Read reads a scenario: a message in each line, and a line "loop" before those that are repeated. Without that line all
// are repeated. Empty lines and lines that begin with # do nothing.
func Read(r io.Reader) (Scenario, error) {
	var s Scenario
	lines, n, looping := bufio.NewScanner(r), 0, false
	for lines.Scan() {
		n++
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if text == "loop" {
			if looping {
				return s, fmt.Errorf("line %d: there is a loop already", n)
			}
			s.Begin, s.Loop, looping = s.Loop, nil, true
			continue
		}
		step, err := ReadStep(text)
		if err != nil {
			return s, fmt.Errorf("line %d: %w", n, err)
		}
		s.Loop = append(s.Loop, step)
	}
	if err := lines.Err(); err != nil {
		return s, err
	}
	if len(s.Loop) == 0 {
		return s, errors.New("the scenario has no message to repeat")
	}
	return s, nil
}

// ReadStep reads "request ROUTE [PAYLOAD]" or "notify ROUTE [PAYLOAD]".
func ReadStep(text string) (Step, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	route, body, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if kind != "request" && kind != "notify" || route == "" {
		return Step{}, fmt.Errorf("want request ROUTE [PAYLOAD] or notify ROUTE [PAYLOAD], not %q", text)
	}
	return Step{kind == "notify", route, strings.TrimSpace(body)}, nil
}

// Config says what load to make.
type Config struct {
	Addr     string
	Clients  int
	Rate     float64 // messages a second, of all clients together
	For      time.Duration
	Timeout  time.Duration // of a connection, of a message of Begin, and of the last answers
	Scenario Scenario
	Codec    *payload.Codec
	Options  []client.Option
}

// Result holds the measurements.
type Result struct {
	Clients  int              `json:"clients"`
	Seconds  float64          `json:"seconds"` // from the moment when the first message was due to the last one
	Sent     int64            `json:"sent"`    // requests and notifies
	Rate     float64          `json:"rate"`    // sent a second
	Answers  int64            `json:"answers"`
	Pushes   int64            `json:"pushes"`
	Errors   map[string]int64 `json:"errors"` // number of errors, by code or by cause
	P50      time.Duration    `json:"p50"`    // nanoseconds from the moment when a request was due to its answer
	P99      time.Duration    `json:"p99"`
	P999     time.Duration    `json:"p999"`
	Max      time.Duration    `json:"max"`
	LateSend time.Duration    `json:"lateSend"` // how late the latest message was sent; a large value means that this machine is too slow
}

// Failed returns how many messages had an error.
func (r Result) Failed() (n int64) {
	for _, e := range r.Errors {
		n += e
	}
	return n
}

// run is one load.
type run struct {
	Config
	clients []*client.Client
	times   histogram.Histogram
	waiting sync.WaitGroup // requests without an answer

	sent, answers, pushes, late, longest atomic.Int64

	mu     sync.Mutex
	errors map[string]int64
}

// Run makes the load. It returns an error if the clients cannot connect or a message of Begin fails. If ctx ends, the
// load ends early, and Run returns the measurements until then.
func Run(ctx context.Context, c Config) (Result, error) {
	r := &run{Config: c, errors: map[string]int64{}}
	defer func() {
		for _, c := range r.clients {
			_ = c.Close()
		}
	}()
	if err := r.connect(ctx); err != nil {
		return Result{}, err
	}
	began := time.Now()
	r.send(ctx, began)
	took := time.Since(began)
	r.await()
	return r.result(took), nil
}

// connect connects the clients, 64 at a time, and has each do the steps of Begin.
func (r *run) connect(ctx context.Context) error {
	r.clients = make([]*client.Client, r.Clients)
	failed := make([]error, r.Clients)
	slots := make(chan struct{}, 64)
	var wg sync.WaitGroup
	for i := range r.Clients {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failed[i] = r.begin(ctx, i)
		})
	}
	wg.Wait()
	connected := r.clients[:0]
	var first error
	for i, c := range r.clients {
		if c != nil {
			connected = append(connected, c)
		}
		if failed[i] != nil && first == nil {
			first = fmt.Errorf("client %d: %w", i+1, failed[i])
		}
	}
	r.clients = connected
	return first
}

func (r *run) begin(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	c, err := client.Dial(ctx, r.Addr, append(slices.Clip(r.Options), client.WithFallback(func(*client.Message) { r.pushes.Add(1) }))...)
	if err != nil {
		return err
	}
	r.clients[i] = c
	for _, s := range r.Scenario.Begin {
		data, err := r.payload(s, i)
		if err != nil {
			return err
		}
		if s.Notify {
			err = c.NotifyContext(ctx, s.Route, data)
		} else {
			err = c.Request(ctx, s.Route, data, nil)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Route, err)
		}
	}
	return nil
}

func (r *run) payload(s Step, i int) ([]byte, error) {
	return r.Codec.Encode(s.Route, strings.ReplaceAll(s.Text, "{n}", strconv.Itoa(i+1)))
}

// send sends the messages when they are due.
func (r *run) send(ctx context.Context, began time.Time) {
	interval := float64(time.Second) / r.Rate
	for n := 0; ; n++ {
		after := time.Duration(float64(n) * interval)
		if after >= r.For {
			return
		}
		due := began.Add(after)
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		raise(&r.late, int64(time.Since(due)))
		i := n % len(r.clients)
		r.message(r.Scenario.Loop[n/len(r.clients)%len(r.Scenario.Loop)], i, due)
	}
}

func (r *run) message(s Step, i int, due time.Time) {
	data, err := r.payload(s, i)
	if err == nil {
		r.sent.Add(1)
		if s.Notify {
			err = r.clients[i].NotifyContext(context.Background(), s.Route, data)
		} else {
			r.waiting.Add(1)
			err = r.clients[i].RequestFunc(context.Background(), s.Route, data, func(_ *client.Message, err error) {
				defer r.waiting.Done()
				r.answered(due, err)
			})
			if err != nil {
				r.waiting.Done() // the function is not called
			}
		}
	}
	if err != nil {
		r.failed(err)
	}
}

// answered counts an answer. An error response is one too, and has its time.
func (r *run) answered(due time.Time, err error) {
	_, response := errors.AsType[*client.Error](err)
	if err != nil {
		r.failed(err)
	}
	if err == nil || response {
		took := time.Since(due)
		r.answers.Add(1)
		r.times.Add(took, 1)
		raise(&r.longest, int64(took))
	}
}

func (r *run) failed(err error) {
	what := err.Error()
	if e, ok := errors.AsType[*client.Error](err); ok {
		what = e.Code
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors[what]++
}

// raise makes v at least n.
func raise(v *atomic.Int64, n int64) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// await waits for the last answers. Those that do not come in time are errors, when the clients are closed.
func (r *run) await() {
	done := make(chan struct{})
	go func() {
		r.waiting.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(r.Timeout):
	}
	for _, c := range r.clients {
		_ = c.Close()
	}
	<-done
}

func (r *run) result(took time.Duration) Result {
	var times nano.Histogram
	times.First, times.Counts = r.times.Counts()
	longest := time.Duration(r.longest.Load())
	quantile := func(q float64) time.Duration { return min(times.Quantile(q), longest) }
	r.mu.Lock()
	defer r.mu.Unlock()
	return Result{
		Clients: len(r.clients), Seconds: took.Seconds(), Sent: r.sent.Load(), Rate: float64(r.sent.Load()) / took.Seconds(),
		Answers: r.answers.Load(), Pushes: r.pushes.Load(), Errors: r.errors,
		P50: quantile(.5), P99: quantile(.99), P999: quantile(.999), Max: longest, LateSend: time.Duration(r.late.Load()),
	}
}
