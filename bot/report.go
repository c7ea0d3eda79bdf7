package bot

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/histogram"
)

// Report is the result of a game.
type Report struct {
	Seed     uint64    `json:"seed"`     // seed of the game
	Seconds  float64   `json:"seconds"`  // length of the game
	Players  int64     `json:"players"`  // bots that connected
	Failed   int64     `json:"failed"`   // bots that returned an error or did not connect
	Failures []Failure `json:"failures"` // the first failures, 20 at most

	Sent    int64            `json:"sent"`    // requests and notifies
	Answers int64            `json:"answers"` // answers to requests, including error responses
	Pushes  int64            `json:"pushes"`  // received pushes
	Errors  map[string]int64 `json:"errors"`  // error responses by code

	// Latency of the answers, from the call to the arrival, in nanoseconds: quantiles, at
	// most 19 % too long, and the longest one.
	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
}

// Failure is the error of one bot.
type Failure struct {
	Number int    `json:"number"` // number of the bot, from 1
	Err    string `json:"error"`  // text of the error
}

// maxFailures is the maximum number of failures in a report.
const maxFailures = 20

// recorder collects a report. Its methods may be called concurrently.
type recorder struct {
	options Options
	times   histogram.Histogram

	connected, failed, sent, answers, pushes, longest atomic.Int64

	mu       sync.Mutex // guards the fields below
	failures []Failure
	errors   map[string]int64
}

func newRecorder(o Options) *recorder {
	return &recorder{options: o, errors: map[string]int64{}}
}

// ended records the result of a bot.
func (r *recorder) ended(ctx context.Context, number int, err error) {
	if err == nil || ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, client.ErrClosed)) {
		return
	}
	r.failed.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) < maxFailures {
		r.failures = append(r.failures, Failure{number, err.Error()})
	}
}

// answered records an answer that came after d.
func (r *recorder) answered(m *client.Message, d time.Duration) {
	r.answers.Add(1)
	r.times.Add(d, 1)
	for old := r.longest.Load(); int64(d) > old && !r.longest.CompareAndSwap(old, int64(d)); {
		old = r.longest.Load()
	}
	if !m.Err {
		return
	}
	code := errorCode(m.Data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors[code]++
}

// errorCode returns the code of an error response, which is JSON or protobuf.
func errorCode(data []byte) string {
	var e client.Error
	if json.Unmarshal(data, &e) == nil && e.Code != "" {
		return e.Code
	}
	if e.UnmarshalProtobuf(data) == nil && e.Code != "" {
		return e.Code
	}
	return "unknown"
}

func (r *recorder) report(took time.Duration) Report {
	var times nano.Histogram
	times.First, times.Counts = r.times.Counts()
	longest := time.Duration(r.longest.Load())
	quantile := func(q float64) time.Duration { return min(times.Quantile(q), longest) }
	r.mu.Lock()
	defer r.mu.Unlock()
	return Report{
		Seed: r.options.Seed, Seconds: took.Seconds(), Players: r.connected.Load(), Failed: r.failed.Load(), Failures: r.failures,
		Sent: r.sent.Load(), Answers: r.answers.Load(), Pushes: r.pushes.Load(), Errors: r.errors,
		P50: quantile(.5), P99: quantile(.99), P999: quantile(.999), Max: longest,
	}
}

// timer times the requests of one client.
type timer struct {
	recorder *recorder

	mu      sync.Mutex
	started map[uint64]time.Time // requests without an answer; mu guards it
}

// sent is an outbound hook.
func (t *timer) sent(m *client.Message) error {
	t.recorder.sent.Add(1)
	if m.Type != client.Request {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started == nil {
		t.started = map[uint64]time.Time{}
	}
	t.started[m.ID] = time.Now()
	return nil
}

// received is an inbound hook.
func (t *timer) received(m *client.Message) error {
	if m.Type == client.Push {
		t.recorder.pushes.Add(1)
		return nil
	}
	t.mu.Lock()
	began, known := t.started[m.ID]
	delete(t.started, m.ID)
	t.mu.Unlock()
	if known {
		t.recorder.answered(m, time.Since(began))
	}
	return nil
}
