package link

// queue holds the encoded frames that wait to be written, in batches. The owner's lock guards it.
type queue struct {
	batches []batch // the last one is still being filled
	left    []byte  // the rest of the first one, if it is a frame that is being sent in parts
	bytes   int     // bytes of frames, including batches that are being sent
	frames  int
}

// batch is a buffer for outbound, with room for the head in front.
type batch struct {
	buf    *[]byte
	bytes  int // bytes of frames; in a part, the bytes of its piece of a frame
	frames int // frames that are complete with this batch
}

// add encodes a frame, whose body has the given size, into the last batch. A frame that does not fit a batch gets one of its
// own.
func (q *queue) add(f *Frame, body int) {
	size := sizeOf(body)
	last := q.room(size)
	*last.buf = f.append(*last.buf, body)
	last.bytes += size
	last.frames++
	q.bytes += size
	q.frames++
}

// room returns a batch with room for size more bytes.
func (q *queue) room(size int) *batch {
	if n := len(q.batches); n > 0 {
		last := &q.batches[n-1]
		need := len(*last.buf) + size
		if need <= cap(*last.buf) {
			return last
		}
		if need <= largeBatch {
			last.grow()
			return last
		}
	}
	buf := pool{}.Get(headSize + size)
	*buf = (*buf)[:headSize]
	q.batches = append(q.batches, batch{buf: buf})
	return &q.batches[len(q.batches)-1]
}

// grow moves the frames of a small batch into a large one.
func (b *batch) grow() {
	grown := pool{}.Get(largeBatch)
	*grown = append((*grown)[:0], *b.buf...)
	pool{}.Put(b.buf)
	b.buf = grown
}

// join appends the frames of b, and takes ownership of b. The frames go into the last batch if they fit, else b becomes
// a batch.
func (q *queue) join(b batch) {
	q.bytes += b.bytes
	q.frames += b.frames
	if n := len(q.batches); n > 0 {
		last := &q.batches[n-1]
		if frames := (*b.buf)[headSize:]; len(*last.buf)+len(frames) <= largeBatch {
			if len(*last.buf)+len(frames) > cap(*last.buf) {
				last.grow()
			}
			*last.buf = append(*last.buf, frames...)
			last.bytes += b.bytes
			last.frames += b.frames
			pool{}.Put(b.buf)
			return
		}
	}
	q.batches = append(q.batches, b)
}

// take removes the first batch, or its next part if it is a frame that is larger than a batch. Its bytes and frames count until
// release.
func (q *queue) take() (b batch, ok bool) {
	if len(q.batches) == 0 {
		return batch{}, false
	}
	b = q.batches[0]
	if len(*b.buf) > largeBatch {
		if q.left == nil {
			q.left = (*b.buf)[headSize:]
		}
		if b, q.left = cut(q.left); len(q.left) > 0 {
			return b, true
		}
		q.left = nil
	}
	n := copy(q.batches, q.batches[1:])
	q.batches[n] = batch{}
	q.batches = q.batches[:n]
	return b, true
}

// release stops counting a batch that take returned and that was sent.
func (q *queue) release(b batch) {
	q.bytes -= b.bytes
	q.frames -= b.frames
}

// drop empties the queue. It is not used afterwards.
func (q *queue) drop() {
	for _, b := range q.batches {
		pool{}.Put(b.buf)
	}
	q.batches, q.left = nil, nil
}
