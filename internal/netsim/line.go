package netsim

import (
	"bytes"
	"os"
	"sync"
	"time"
)

// segmentSize is how many bytes are delayed or lost together: those of a TCP segment on
// Ethernet.
const segmentSize = 1460

// maxQueued is the number of bytes on their way above which writes wait.
const maxQueued = 1 << 20

// line is one direction of a connection.
type line struct {
	network *Network
	number  uint64

	mu       sync.Mutex    // guards the fields below
	changed  chan struct{} // closed at each change
	queue    []segment     // bytes that have not arrived, in the order of arrival
	size     int           // bytes in queue
	last     time.Time     // when the last of queue arrives
	instant  time.Duration // time of the latest write, since the start of the network
	written  int           // bytes written at that instant
	readErr  error         // if not nil, reads fail
	writeErr error         // if not nil, writes fail
	readBy   time.Time     // deadlines; the zero time means none
	writeBy  time.Time
}

// segment is a piece of the written bytes, or the end of the stream.
type segment struct {
	arrival time.Time
	data    []byte
	end     error // reads return it from here on
}

func newLine(n *Network, number uint64) *line {
	return &line{network: n, number: number, changed: make(chan struct{})}
}

// change wakes all waiting calls. The caller holds mu.
func (l *line) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *line) setDeadline(field *time.Time, t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	*field = t
	l.change()
	return nil
}

// wait calls try until it returns true: at first, after each change, and at the time that
// it returned, unless that is zero. try runs with mu held. The error is
// os.ErrDeadlineExceeded.
func (l *line) wait(deadline *time.Time, try func(now time.Time) (done bool, at time.Time)) error {
	for {
		l.mu.Lock()
		now, by := time.Now(), *deadline
		if !by.IsZero() && !by.After(now) {
			l.mu.Unlock()
			return os.ErrDeadlineExceeded
		}
		done, at := try(now)
		changed := l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		if at.IsZero() || !by.IsZero() && by.Before(at) {
			at = by
		}
		if at.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// read waits until bytes have arrived, and returns as many of them as fit in p.
func (l *line) read(p []byte) (n int, err error) {
	late := l.wait(&l.readBy, func(now time.Time) (bool, time.Time) {
		switch {
		case l.readErr != nil:
			err = l.readErr
			return true, time.Time{}
		case len(l.queue) == 0:
			return false, time.Time{}
		case l.queue[0].arrival.After(now):
			return false, l.queue[0].arrival
		}
		for n < len(p) && len(l.queue) > 0 && !l.queue[0].arrival.After(now) {
			s := &l.queue[0]
			if s.end != nil {
				if n == 0 {
					err = s.end
				}
				break
			}
			k := copy(p[n:], s.data)
			n += k
			if s.data = s.data[k:]; len(s.data) == 0 {
				l.queue = l.queue[1:]
			}
		}
		l.size -= n
		l.change()
		return true, time.Time{}
	})
	if late != nil {
		err = late
	}
	return n, err
}

// write sends p on its way. It waits while there is no room.
func (l *line) write(p []byte) (n int, err error) {
	late := l.wait(&l.writeBy, func(now time.Time) (bool, time.Time) {
		if err = l.writeErr; err != nil {
			return true, time.Time{}
		}
		before := n
		for n < len(p) && l.size < maxQueued {
			n += l.segment(now, p[n:])
		}
		if n > before {
			l.change()
		}
		return n == len(p), time.Time{}
	})
	if late != nil {
		err = late
	}
	return n, err
}

// segment sends as much of p on its way as belongs to one segment. Bytes that are written
// at one instant fill segments together, as they do in the buffer of a socket.
func (l *line) segment(now time.Time, p []byte) (n int) {
	arrival := l.arrival(now)
	n = min(len(p), segmentSize-l.written%segmentSize)
	l.queue = append(l.queue, segment{arrival: arrival, data: bytes.Clone(p[:n])})
	l.written += n
	l.size += n
	return n
}

// arrival returns the arrival time of the next write.
func (l *line) arrival(now time.Time) time.Time {
	if at := now.Sub(l.network.start); at != l.instant {
		l.instant, l.written = at, 0
	}
	c := l.network.Conditions()
	r := l.network.random(l.number, uint64(l.instant), uint64(l.written/segmentSize))
	delay := max(c.Latency, 0) + time.Duration(r.Float64()*float64(max(c.Jitter, 0)))
	if r.Float64() < c.Loss {
		delay += c.retransmit()
	}
	if at := now.Add(delay); at.After(l.last) {
		l.last = at
	}
	return l.last
}

// finish sends the end of the stream on its way, and returns when it arrives. Reads return
// end from then on, and writes return writeErr at once. It has no effect if writes fail
// already.
func (l *line) finish(end, writeErr error) (arrival time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writeErr != nil {
		return l.last
	}
	l.writeErr = writeErr
	l.queue = append(l.queue, segment{arrival: l.arrival(time.Now()), end: end})
	l.change()
	return l.last
}

// fail ends the line at once, and drops the bytes that have not arrived. The first error
// counts.
func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readErr == nil {
		l.readErr = err
	}
	if l.writeErr == nil {
		l.writeErr = err
	}
	l.queue, l.size = nil, 0
	l.change()
}
