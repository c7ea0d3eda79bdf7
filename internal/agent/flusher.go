package agent

import (
	"sync"
	"time"
)

// flusher lists the agents that have output. The logic goroutine holds the flusher while
// it runs a batch of tasks. Then agents are only listed, and are written when the batch
// ends. So one write carries everything that the batch sent to a client. Output of other
// goroutines also waits. When the flusher is not held, output is written at once.
//
// Workers do the writes, because a write costs several microseconds of the logic
// goroutine's time. The holder writes itself if there are few agents, or only one
// processor. That is cheaper than starting a worker, and an answer to one client does not
// wait behind a large broadcast.
type flusher struct {
	hub    *Hub
	max    int // maximum number of workers
	inline int // maximum number of agents that a holder writes itself
	timer  *time.Timer

	mu      sync.Mutex
	noted   []*Agent // agents listed while it is held; mu guards it and the following fields
	spare   []*Agent
	queue   []*Agent // agents for the workers, starting at next
	next    int
	holds   int
	workers int
	armed   bool // timer is set
	stopped bool

	wg sync.WaitGroup // waits for the workers
}

const (
	fewAgents = 4
	// maxHold is how long output of other goroutines may wait for the holder. A blocked
	// handler does not delay their pushes for longer.
	maxHold = 5 * time.Millisecond
	// share is the number of agents that a worker takes at a time.
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

// overdue passes the listed agents to workers when the flusher was held too long.
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

// release ends a hold. It writes the listed agents or passes them to workers.
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

// handOver passes the listed agents to the workers. The caller holds mu.
func (f *flusher) handOver() {
	f.queue = append(f.queue, f.noted...)
	clear(f.noted)
	f.noted = f.noted[:0]
	f.startWorkers()
}

// startWorkers starts as many workers as the queue needs. The caller holds mu.
func (f *flusher) startWorkers() {
	for f.workers < f.max && f.workers*share < len(f.queue)-f.next {
		f.workers++
		f.wg.Add(1)
		go f.work()
	}
}

// work writes queued agents until the queue is empty.
func (f *flusher) work() {
	defer f.wg.Done()
	var list [share]*Agent
	for {
		f.mu.Lock()
		n := copy(list[:], f.queue[f.next:])
		clear(f.queue[f.next : f.next+n])
		f.next += n
		if f.next >= len(f.queue)/2 { // free the space of taken agents, even if the queue is never empty
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

// stop waits for the workers. Nothing is sent after it.
func (f *flusher) stop() {
	f.mu.Lock()
	f.stopped = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	f.wg.Wait()
}
