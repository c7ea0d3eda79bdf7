package agent

import (
	"sync"
	"time"
)

// flusher lists the agents that have output. While the logic goroutine runs a batch of
// tasks it holds the flusher: agents are only listed, and written when the batch ends. So
// one write carries all that the batch sent to a client. Output of other goroutines waits
// as well. While the flusher is not held, output is written at once.
//
// Workers write, because a write costs several microseconds of the logic goroutine's
// time. The holder itself writes if there are few agents, or only one processor: that is
// cheaper than handing over, and the answer to one client does not wait behind a
// broadcast to thousands that the workers have before them.
type flusher struct {
	hub    *Hub
	max    int // workers at most
	inline int // agents that a holder writes itself at most
	timer  *time.Timer

	mu      sync.Mutex
	noted   []*Agent // while it is held; mu guards it and what follows
	spare   []*Agent
	queue   []*Agent // for the workers: from next on
	next    int
	holds   int
	workers int
	armed   bool // timer is set
	stopped bool

	wg sync.WaitGroup // workers
}

const (
	fewAgents = 4
	// maxHold is how long output of other goroutines may wait for the holder: a handler
	// that blocks does not delay their pushes for longer.
	maxHold = 5 * time.Millisecond
	// share is how many agents a worker takes at a time.
	share = 16
)

func (f *flusher) init(h *Hub, procs int) {
	f.hub = h
	f.max = max(1, procs-1)
	f.inline = fewAgents
	if procs == 1 {
		f.inline = int(^uint(0) >> 1)
	}
}

// add lists an agent that has output.
func (f *flusher) add(a *Agent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holds == 0 {
		f.queue = append(f.queue, a)
		f.startWorkers()
		return
	}
	f.noted = append(f.noted, a)
	if f.armed || f.stopped {
		return
	}
	f.armed = true
	if f.timer == nil {
		f.timer = time.AfterFunc(maxHold, f.overdue)
	} else {
		f.timer.Reset(maxHold)
	}
}

// overdue leaves what was listed to workers when the flusher has been held for long.
func (f *flusher) overdue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	f.handOver()
}

func (f *flusher) hold() {
	f.mu.Lock()
	f.holds++
	f.mu.Unlock()
}

// release ends a hold, and writes what was listed or leaves it to workers.
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
	w.sent.report(f.hub)
	rawWriters.Put(w)
}

// handOver leaves what was listed to the workers. The caller holds mu.
func (f *flusher) handOver() {
	f.queue = append(f.queue, f.noted...)
	clear(f.noted)
	f.noted = f.noted[:0]
	f.startWorkers()
}

// startWorkers starts as many workers as what they have before them is worth. The caller
// holds mu.
func (f *flusher) startWorkers() {
	for f.workers < f.max && f.workers*share < len(f.queue)-f.next {
		f.workers++
		f.wg.Add(1)
		go f.work()
	}
}

// work writes what is queued until there is no more.
func (f *flusher) work() {
	defer f.wg.Done()
	var list [share]*Agent
	for {
		f.mu.Lock()
		n := copy(list[:], f.queue[f.next:])
		clear(f.queue[f.next : f.next+n])
		f.next += n
		if f.next >= len(f.queue)/2 { // what was taken is not kept room for, also where the queue never is empty
			rest := copy(f.queue, f.queue[f.next:])
			clear(f.queue[rest:])
			f.queue, f.next = f.queue[:rest], 0
		}
		if n == 0 {
			f.workers--
			f.mu.Unlock()
			return
		}
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
