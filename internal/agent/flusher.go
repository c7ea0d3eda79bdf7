package agent

import (
	"sync"
	"time"
)

// flusher knows the agents that have something to send. While the logic goroutine works, they are only noted, and
// written when it has done with its batch: one write carries all that the batch sent to a client. What others send
// meanwhile goes along; what is sent while nobody holds the flusher goes out at once.
//
// Who holds it decides when, workers write: a write costs several microseconds, and the logic goroutine has better
// things to do. Where few agents are to be written, or there is only one processor, it writes itself: that is
// cheaper than handing over.
type flusher struct {
	host   *Host
	max    int // workers at most
	inline int // agents that a holder writes itself at most
	timer  *time.Timer

	mu      sync.Mutex
	noted   []*Agent // mu guards it and what follows
	spare   []*Agent
	holds   int
	workers int
	armed   bool // timer is set
	stopped bool

	wg sync.WaitGroup // workers
}

const (
	fewAgents = 4
	// maxHold is how long what others send may wait for a holder: a handler that blocks holds up nobody else's
	// pushes for longer.
	maxHold = 5 * time.Millisecond
	// share is how many agents a worker takes at a time.
	share = 16
)

func (f *flusher) init(h *Host, procs int) {
	f.host = h
	f.max = max(1, procs-1)
	f.inline = fewAgents
	if procs == 1 {
		f.inline = int(^uint(0) >> 1)
	}
}

// add notes an agent that has something to send.
func (f *flusher) add(a *Agent) {
	f.mu.Lock()
	f.noted = append(f.noted, a)
	if f.holds > 0 {
		if !f.armed && !f.stopped {
			f.armed = true
			if f.timer == nil {
				f.timer = time.AfterFunc(maxHold, f.overdue)
			} else {
				f.timer.Reset(maxHold)
			}
		}
		f.mu.Unlock()
		return
	}
	f.handOver()
	f.mu.Unlock()
}

// overdue has workers write what was noted while somebody has held the flusher for long.
func (f *flusher) overdue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	if len(f.noted) > 0 {
		f.handOver()
	}
}

func (f *flusher) hold() {
	f.mu.Lock()
	f.holds++
	f.mu.Unlock()
}

// release ends a hold, and has what was noted written.
func (f *flusher) release() {
	f.mu.Lock()
	f.holds--
	if len(f.noted) == 0 || f.holds > 0 {
		f.mu.Unlock()
		return
	}
	if len(f.noted) > f.inline {
		f.handOver()
		f.mu.Unlock()
		return
	}
	list := f.noted
	f.noted, f.spare = f.spare[:0], nil
	f.mu.Unlock()
	f.write(list)
	clear(list)
	f.mu.Lock()
	f.spare = list[:0]
	f.mu.Unlock()
}

func (f *flusher) write(list []*Agent) {
	w := rawWriters.Get().(*rawWriter)
	for _, a := range list {
		a.flush(w)
	}
	w.sent.report(f.host)
	rawWriters.Put(w)
}

// handOver starts as many workers as what was noted is worth. The caller holds mu.
func (f *flusher) handOver() {
	for f.workers < f.max && f.workers*share < len(f.noted) {
		f.workers++
		f.wg.Add(1)
		go f.work()
	}
}

// work writes what was noted until there is no more.
func (f *flusher) work() {
	defer f.wg.Done()
	var list [share]*Agent
	for {
		f.mu.Lock()
		n := copy(list[:], f.noted)
		if n == 0 {
			f.workers--
			f.mu.Unlock()
			return
		}
		rest := copy(f.noted, f.noted[n:])
		clear(f.noted[rest:])
		f.noted = f.noted[:rest]
		f.mu.Unlock()
		f.write(list[:n])
		clear(list[:n])
	}
}

// stop waits for the workers. Nothing is sent any more.
func (f *flusher) stop() {
	f.mu.Lock()
	f.stopped = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	f.wg.Wait()
}
