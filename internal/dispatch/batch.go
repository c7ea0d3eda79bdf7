package dispatch

import (
	"sync"
)

// Batch is messages of one session that arrived together. Get one with NewBatch; Deliver takes it over.
type Batch struct {
	calls []Call
	size  int // bytes of payload, and what else is pinned
	next  *Batch
}

var batches = sync.Pool{New: func() any { return &Batch{calls: make([]Call, 0, 8)} }}

// maxIdleCalls is the largest batch that is kept for reuse.
const maxIdleCalls = 256

// NewBatch returns an empty batch.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Add appends a message with a payload of size bytes.
func (b *Batch) Add(c Call, size int) {
	b.calls = append(b.calls, c)
	b.size += size
}

// Next adds a message with a payload of size bytes, and returns its Call, which is zero, to be made in place: copying a
// Call costs as much as making one. It holds until the batch is added to again.
func (b *Batch) Next(size int) *Call {
	if len(b.calls) < cap(b.calls) {
		b.calls = b.calls[:len(b.calls)+1] // Free has cleared it
	} else {
		b.calls = append(b.calls, Call{})
	}
	b.size += size
	return &b.calls[len(b.calls)-1]
}

// Pin counts n bytes more, which the payloads keep from being freed.
func (b *Batch) Pin(n int) { b.size += n }

// Len returns the number of messages.
func (b *Batch) Len() int { return len(b.calls) }

// Size returns the bytes of payload, and what else is pinned.
func (b *Batch) Size() int { return b.size }

// Free gives up a batch that is not delivered.
func (b *Batch) Free() {
	if cap(b.calls) > maxIdleCalls {
		return
	}
	clear(b.calls)
	b.calls, b.size, b.next = b.calls[:0], 0, nil
	batches.Put(b)
}
