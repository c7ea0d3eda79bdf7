package client

import (
	"context"
	"sync"

	"github.com/lonng/nano/internal/goid"
)

// itemOverhead is the number of bytes that an item counts in addition to its payload.
const itemOverhead = 128

// inbox is the queue of pushes for their handlers, and of events such as answers for RequestFunc.
// One goroutine runs them.
type inbox struct {
	limit int
	wake  chan struct{} // holds a token when items or finished may have changed
	done  chan struct{} // closed when the goroutine has ended
	goid  goid.Mark     // marks the goroutine

	mu       sync.Mutex // guards the fields below
	items    []item
	size     int // bytes of items, including overhead
	finished bool
}

// item is one push or one event.
type item struct {
	push  *Message
	event func()
}

func (i item) size() int {
	if i.push == nil {
		return itemOverhead
	}
	return itemOverhead + len(i.push.Data)
}

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// full reports whether no more pushes may be queued.
func (q *inbox) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size >= q.limit
}

// push queues a message for its handler.
func (q *inbox) push(m *Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(item{push: m})
}

// event queues a call of f, also if the queue is full. A nil f is ignored.
func (q *inbox) event(f func()) {
	if f == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(item{event: f})
}

// add appends an item. The caller holds mu.
func (q *inbox) add(i item) {
	if q.finished {
		return
	}
	q.items = append(q.items, i)
	q.size += i.size()
	q.signal()
}

// next removes and returns the first item. If there is none, finished reports that none
// will follow.
func (q *inbox) next() (i item, ok, finished bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		q.items = nil
		return item{}, false, q.finished
	}
	i, q.items[0] = q.items[0], item{}
	q.items = q.items[1:]
	q.size -= i.size()
	return i, true, false
}

// finish makes run return when the queue is empty.
func (q *inbox) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished = true
	q.signal()
}

func (q *inbox) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run calls handle with every push and calls every event, one at a time in order, until finish or until ctx ends.
func (q *inbox) run(ctx context.Context, handle func(*Message)) {
	defer close(q.done) // also if a handler ends the goroutine, as t.FailNow does
	q.goid.Run(func() { q.loop(ctx, handle) })
}

// loop runs queued items until finish or until ctx ends.
func (q *inbox) loop(ctx context.Context, handle func(*Message)) {
	for ctx.Err() == nil {
		i, ok, finished := q.next()
		switch {
		case !ok && finished:
			return
		case !ok:
			select {
			case <-q.wake:
			case <-ctx.Done():
			}
		case i.push != nil:
			handle(i.push)
		default:
			i.event()
		}
	}
}

// inside reports whether the caller runs on the goroutine of the inbox, which must not wait for
// its own end.
func (q *inbox) inside() bool { return q.goid.Current() }
