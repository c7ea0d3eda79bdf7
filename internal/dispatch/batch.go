package dispatch

import "sync"

// Batch holds messages of one session that arrived together. NewBatch makes one; it belongs to the
// mailbox after Deliver.
type Batch struct {
	calls []Call
	size  int // bytes of payload and of pinned memory
	next  *Batch
	box   *Mailbox // the mailbox that has queued task
	task  func()   // calls runWaiting of box; made once

	// Messages that come before the calls, and that another node serves.
	remote      ForwardRun // nil for none
	forwards    int        // messages of remote
	forwardSize int        // their bytes of payload
	route       string     // of the last one; Free keeps it, to save allocations
}

var batches = sync.Pool{New: func() any { return &Batch{calls: make([]Call, 0, 8)} }}

// maxIdleCalls is the largest batch that is kept for reuse.
const maxIdleCalls = 1024

// NewBatch returns an empty batch.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Add appends a message with a payload of size bytes.
func (b *Batch) Add(c Call, size int) {
	b.calls = append(b.calls, c)
	b.size += size
}

// Next appends a message with a payload of size bytes and returns its Call, which is zero, for the
// caller to fill: copying a Call costs as much as making one. The Call is valid until the next
// message is added.
func (b *Batch) Next(size int) *Call {
	if len(b.calls) < cap(b.calls) {
		b.calls = b.calls[:len(b.calls)+1] // Free has cleared it
	} else {
		b.calls = append(b.calls, Call{})
	}
	b.size += size
	return &b.calls[len(b.calls)-1]
}

// Pin adds n bytes to the size: memory that the payloads keep from being freed.
func (b *Batch) Pin(n int) { b.size += n }

// Len returns the number of messages.
func (b *Batch) Len() int { return b.forwards + len(b.calls) }

// Size returns the bytes of payload and of pinned memory.
func (b *Batch) Size() int { return b.forwardSize + b.size }

// Away reports whether another node serves all messages, of which there is at least one.
func (b *Batch) Away() bool {
	for i := range b.calls {
		if sp := b.calls[i].special; sp == nil || sp.forward == nil {
			return false
		}
	}
	return b.Len() > 0
}

// Free returns a batch that is not delivered to the pool.
func (b *Batch) Free() {
	if b.remote != nil {
		b.freeRemote()
	}
	if cap(b.calls) > maxIdleCalls {
		return
	}
	clear(b.calls)
	b.calls, b.size, b.next, b.box = b.calls[:0], 0, nil, nil
	batches.Put(b)
}
