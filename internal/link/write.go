package link

import (
	"io"
	"time"

	"github.com/lonng/nano/internal/gosched"
)

// signal wakes the writer.
func (l *Link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends the batches as they come. It alone sends on the stream.
func (l *Link) write() {
	var yielder gosched.Yielder
	for {
		b, ok := l.next()
		if !ok {
			select {
			case <-l.wake:
				l.gather(&yielder)
				continue
			case <-l.done:
				return
			}
		}
		if err := l.stream.SendMsg(&outbound{buf: b.buf}); err != nil {
			// The reader gets the reason why the stream broke: here gRPC reports only EOF.
			if err != io.EOF {
				l.Close(broken(err))
			}
			return
		}
		if b.bytes > 0 {
			l.mu.Lock()
			l.out.release(b)
			l.makeRoom()
			l.mu.Unlock()
			l.cfg.Counts.FramesOut.Add(int64(b.frames))
			l.cfg.Counts.BytesOut.Add(int64(b.bytes))
		}
	}
}

// These bound how often gather yields, and for how long it does so again.
const (
	maxTurns   = 4
	gatherTime = time.Millisecond
)

// gather lets the senders that are ready to run add frames, until none of them does or a batch is full. A large batch costs
// little more than a small one. It does not wait again for senders that compute for long.
func (l *Link) gather(y *gosched.Yielder) {
	began := time.Now()
	for before, turns := 0, 0; turns < maxTurns; turns++ {
		frames, bytes := l.Queued()
		if frames == before || bytes >= largeBatch || turns > 0 && time.Since(began) > gatherTime {
			return
		}
		before = frames
		y.Yield()
	}
}

// next returns the next batch to send. Ping and pong go first, in a batch that counts no frames.
func (l *Link) next() (batch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return batch{}, false
	}
	if l.ping == 0 && l.pong == 0 {
		return l.out.take()
	}
	buf := pool{}.Get(headSize)
	if l.ping != 0 {
		*buf = (&Frame{Kind: kindPing, ID: l.ping}).Append(*buf)
	}
	if l.pong != 0 {
		*buf = (&Frame{Kind: kindPong, ID: l.pong}).Append(*buf)
	}
	l.ping, l.pong = 0, 0
	return batch{buf: buf}, true
}
