package state

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"time"
)

// This file moves a replay to a tick or a time. A recording has no index. The replay
// notes where the snapshots are that it passes, and skips from block to block to find
// more. So the first seek to a late state reads the file once, without decoding it.

// errNoSeeker is returned by Seek and SeekTime if the reader is not an io.Seeker.
var errNoSeeker = errors.New("state: the reader of the recording is not an io.Seeker")

// place is a position in a recording: the byte after a block, and the time and the tick
// of that block.
type place struct {
	offset int64
	at     time.Duration
	tick   uint64
}

// minMarked is the minimum number of bytes between two marks, which bounds their memory.
const minMarked = 64 << 10

// mark is a snapshot of a recording.
type mark struct {
	from place // before the snapshot
	at   time.Duration
	tick uint64
}

// Seek goes to the state of a tick, or to the last one before it. If tick is before the
// first state, Seek goes to the first one. The reader that was passed to [NewReplay] must
// be an [io.Seeker].
//
// Seek decodes from the snapshot before the tick, so it takes at most the changes of 10 s.
// It goes forward and back, also after Next has returned io.EOF or another error. The
// errors are those of [Replay.Next]; past the end, Seek goes to the last state, and returns
// io.EOF only if there is none. After an error, Seek to another tick may succeed.
func (p *Replay) Seek(tick uint64) error {
	return p.seek(tick, func(t uint64, _ time.Duration) bool { return t <= tick })
}

// SeekTime is [Replay.Seek] to a time since the start of the recording, as in [Replay.At].
func (p *Replay) SeekTime(at time.Duration) error {
	return p.seek(math.MaxUint64, func(_ uint64, t time.Duration) bool { return t <= at })
}

// seek goes to the last state for which until returns true, or to the first one. It needs
// no later state to stop at the tick last.
func (p *Replay) seek(last uint64, until func(tick uint64, at time.Duration) bool) error {
	if p.seeker == nil {
		return errNoSeeker
	}
	synced := p.err == nil && p.dec.Synced()
	if here := (place{p.offset, p.at, p.dec.Tick()}); until(p.edge.tick, p.edge.at) {
		if err := p.scan(until); err != nil {
			return p.fail(err)
		}
		if err := p.jump(here); err != nil {
			return p.fail(err)
		}
	}
	from := place{offset: p.first}
	i, _ := slices.BinarySearchFunc(p.marks, until, func(m mark, until func(uint64, time.Duration) bool) int {
		if until(m.tick, m.at) {
			return -1
		}
		return 1
	})
	if i > 0 {
		from = p.marks[i-1].from
	}
	if !synced || !until(p.dec.Tick(), p.at) || from.offset >= p.offset {
		if err := p.jump(from); err != nil {
			return p.fail(err)
		}
		p.err, p.dec.synced = nil, false
		if err := p.Next(); err != nil {
			return p.sought()
		}
	}
	for p.dec.Tick() != last {
		b, ok := p.ahead(place{p.offset, p.at, p.dec.Tick()})
		if ok && !until(b.after.tick, b.after.at) {
			return nil
		}
		if p.Next() != nil {
			return p.sought()
		}
	}
	return nil
}

// fail records an error that has ended a seek.
func (p *Replay) fail(err error) error {
	p.err = err
	return err
}

// sought returns the error of a seek after an error of Next.
func (p *Replay) sought() error {
	if errors.Is(p.err, io.EOF) && p.dec.Synced() {
		return nil
	}
	return p.err
}

// scan notes the snapshots from the edge on, until a block for which until is false. It
// ends before a block that is malformed or cut off: Next returns the error.
func (p *Replay) scan(until func(tick uint64, at time.Duration) bool) error {
	if err := p.jump(p.edge); err != nil {
		return err
	}
	for until(p.edge.tick, p.edge.at) {
		b, ok := p.ahead(p.edge)
		if !ok {
			return nil
		}
		if n, err := p.r.Discard(b.size); n < b.size {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		p.pass(b, p.edge)
	}
	return nil
}

// pass moves the edge over a block, and notes the block if it is a snapshot.
func (p *Replay) pass(b blockHead, from place) {
	if from.offset != p.edge.offset {
		return // it is behind the edge
	}
	if last := len(p.marks) - 1; b.snapshot && (last < 0 || from.offset-p.marks[last].from.offset >= minMarked) {
		p.marks = append(p.marks, mark{from, b.after.at, b.after.tick})
	}
	p.edge = b.after
}

// jump moves the reader to a place.
func (p *Replay) jump(to place) error {
	if _, err := p.seeker.Seek(p.base+to.offset, io.SeekStart); err != nil {
		return err
	}
	p.r.Reset(p.seeker)
	p.offset, p.at = to.offset, to.at
	return nil
}

// blockHead holds the decoded first bytes of a block.
type blockHead struct {
	size     int // of the block
	snapshot bool
	after    place
}

// ahead returns the head of the next block, which is at the given place. It returns false
// at the end of the recording, and for a block that is malformed or cut off in its head.
func (p *Replay) ahead(at place) (b blockHead, ok bool) {
	bytes, _ := p.r.Peek(3 * binary.MaxVarintLen64) // fewer at the end of the file
	us, i := binary.Uvarint(bytes)
	if i <= 0 || us > uint64((math.MaxInt64-at.at)/time.Microsecond) {
		return b, false
	}
	size, j := binary.Uvarint(bytes[i:])
	if j <= 0 || size == 0 || size > maxBlock {
		return b, false
	}
	head, k := binary.Uvarint(bytes[i+j:])
	if k <= 0 || uint64(k) > size {
		return b, false
	}
	b.size = i + j + int(size) + 4
	b.snapshot = head&headSnapshot != 0
	b.after = place{at.offset + int64(b.size), at.at + time.Duration(us)*time.Microsecond, at.tick + head>>headBits}
	if b.snapshot {
		b.after.tick = head >> headBits
	}
	return b, true
}
