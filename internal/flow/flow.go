// Package flow implements the flow-control window of a session between its gate and the
// nodes that serve its messages.
//
// A gate counts the forwarded messages that have not run ([Window]). When the window is
// full, the gate stops reading from the client. A node that serves a session acknowledges
// messages that have run ([Acks]), in batches. The gate does not charge messages that a
// node may have run without acknowledging them ([Share]). So the window is empty when all
// messages have run, for any number of nodes.
//
// The package does not depend on sessions or frames.
package flow

import "sync/atomic"

// These are the limits of the smallest window, for mailboxes with smaller limits, in
// messages and bytes of payload.
const (
	MinMessages = 128
	MinSize     = 128 << 10
)

// A node acknowledges AckMessages messages at a time, or fewer that have AckSize bytes of payload.
const (
	AckMessages = MinMessages / 4
	AckSize     = MinSize / 4
)

// Window counts the messages of one session at other nodes, and their bytes of payload.
// Its owner guards it.
type Window struct {
	maxMessages, maxSize int
	messages, size       int
}

// NewWindow returns an empty window of the given limits, or of MinMessages and MinSize if those are larger.
func NewWindow(messages, size int) *Window {
	return &Window{maxMessages: max(messages, MinMessages), maxSize: max(size, MinSize)}
}

// Acquire adds messages with size bytes of payload. It does not check the limits: see [Window.Free].
func (w *Window) Acquire(messages, size int) {
	w.messages += messages
	w.size += size
}

// Release removes messages with size bytes of payload.
func (w *Window) Release(messages, size int) { w.Acquire(-messages, -size) }

// Free returns how many more messages fit, 0 if the bytes have reached their limit. It is negative if the limit is
// exceeded.
func (w *Window) Free() int {
	if w.size >= w.maxSize {
		return 0
	}
	return w.maxMessages - w.messages
}

// HalfUsed reports whether more than half of the window is used.
func (w *Window) HalfUsed() bool {
	return w.messages > w.maxMessages/2 || w.size > w.maxSize/2
}

// Acquirer is a Window, or its owner.
type Acquirer interface {
	Acquire(messages, size int)
	Release(messages, size int)
}

// Share counts the messages of a session's window at one node. Its owner guards it. The
// zero value is empty.
type Share struct {
	messages, size int // not acknowledged by the node
}

// Acquire adds messages with size bytes of payload that were sent to the node.
func (s *Share) Acquire(w Acquirer, messages, size int) {
	m, n := s.charged()
	s.messages += messages
	s.size += size
	if after, bytes := s.charged(); after != m || bytes != n {
		w.Acquire(after-m, bytes-n)
	}
}

// Release removes messages with size bytes of payload that the node has acknowledged.
func (s *Share) Release(w Acquirer, messages, size int) {
	m, n := s.charged()
	s.messages -= messages
	s.size -= size
	if after, bytes := s.charged(); after != m || bytes != n {
		w.Release(m-after, n-bytes)
	}
}

// ReleaseAll removes everything.
func (s *Share) ReleaseAll(w Acquirer) { s.Release(w, s.messages, s.size) }

// charged returns the charge against the window: the unacknowledged messages, without the
// largest part that the node may have run.
func (s *Share) charged() (messages, size int) {
	return max(s.messages-(AckMessages-1), 0), max(s.size-(AckSize-1), 0)
}

// Acks counts the messages of one session that a node has run and not acknowledged. Its
// methods may be called concurrently. The zero value is empty.
type Acks struct{ messages, size atomic.Int64 }

// Add adds messages with size bytes of payload that have run. If due is true, the caller
// must acknowledge the returned numbers of messages and bytes.
func (a *Acks) Add(messages, size int) (ackedMessages, ackedSize int64, due bool) {
	m, n := a.messages.Add(int64(messages)), a.size.Add(int64(size))
	if m < AckMessages && n < AckSize {
		return 0, 0, false
	}
	return take(&a.messages), take(&a.size), true
}

// take sets a positive counter to 0 and returns its previous value.
func take(c *atomic.Int64) int64 {
	for {
		n := c.Load()
		if n <= 0 {
			return 0
		}
		if c.CompareAndSwap(n, 0) {
			return n
		}
	}
}

// Skip removes messages that need no acknowledgment, now or after they have run. Another
// frame, such as an answer, acknowledges them, or the gate has not sent them.
func (a *Acks) Skip(messages, size int) {
	a.messages.Add(-int64(messages))
	if size != 0 {
		a.size.Add(-int64(size))
	}
}

// Backlog returns the limits of a session's mailbox at a node that serves it. The
// arguments are the limits of its mailbox at the gate. The results are more than twice as
// large, because a gate does not charge all forwarded messages and programs add their
// own.
func Backlog(messages, size int) (maxMessages, maxSize int) {
	return 2*max(messages, MinMessages) + MinMessages, 2*max(size, MinSize) + MinSize
}
