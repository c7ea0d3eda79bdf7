package client

import "sync"

// keepBuffer is the largest capacity in bytes of an empty buffer that is reused.
const keepBuffer = 64 << 10

// outbox holds the queued packets for the writer of one connection.
type outbox struct {
	limit int
	wake  chan struct{} // holds a token when the writer has to check again

	mu       sync.Mutex // guards the fields below
	buf      []byte
	spare    []byte        // the buffer that was written before
	room     chan struct{} // closed when the writer takes buf; nil if no sender waits
	finished bool
}

func newOutbox(limit int) *outbox {
	return &outbox{limit: limit, wake: make(chan struct{}, 1)}
}

// put calls encode to append to the buffer. If the buffer is full, put instead returns a
// channel that is closed when there is room again. Urgent bytes do not wait for room.
// After finish, put returns ErrClosed.
func (o *outbox) put(urgent bool, encode func([]byte) ([]byte, error)) (<-chan struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.finished {
		return nil, ErrClosed
	}
	if !urgent && len(o.buf) >= o.limit {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		return o.room, nil
	}
	b, err := encode(o.buf)
	if err != nil {
		return nil, err
	}
	o.buf = b
	o.signal()
	return nil, nil
}

// take returns the queued bytes, and recycles the buffer that it returned before.
// finished reports that no more bytes follow.
func (o *outbox) take(written []byte) (b []byte, finished bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cap(written) > 0 && cap(written) <= keepBuffer {
		o.spare = written[:0]
	}
	if len(o.buf) == 0 {
		return nil, o.finished
	}
	b, o.buf, o.spare = o.buf, o.spare, nil
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return b, false
}

// empty reports whether no bytes are queued.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) == 0
}

// finish makes later calls of put fail.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finished = true
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
