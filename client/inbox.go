package client

import (
	"context"
	"sync"

	"github.com/lonng/nano/internal/goid"
)

// itemOverhead is what an item in the inbox counts beside its payload, in bytes.
const itemOverhead = 128

// inbox is the queue before the handlers: pushes, and events such as answers for RequestFunc. One goroutine runs them.
type inbox struct {
	limit int
	wake  chan struct{} // holds a token when there is something to see
	done  chan struct{} // closed when the goroutine has ended
	goid  goid.Mark     // marks the goroutine

	mu       sync.Mutex
	items    []item
	size     int // bytes of items, overhead included
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

// push queues a message for its handler. It reports false when too much waits already.
func (q *inbox) push(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size >= q.limit {
		return false
	}
	q.add(item{push: m})
	return true
}

// event queues a call, however much waits; nil is none.
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

// next returns the first item. finished says that there is none and none will come.
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

// finish makes run return once it has run what waits.
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
	defer close(q.done) // also where a handler ends the goroutine, as t.FailNow does
	q.goid.Run(func() { q.loop(ctx, handle) })
}

// loop is run without its end.
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

// inside reports whether the caller runs on the goroutine of the inbox, so that it must not wait for its end.
func (q *inbox) inside() bool { return q.goid.Current() }
