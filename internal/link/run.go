package link

// Run is a series of frames that are queued at once: one lock and one wake-up of the writer for all of them. The zero value is
// empty. It must not be used concurrently.
type Run struct {
	batch batch
}

// Add appends a copy of a frame. It reports false, and adds nothing, if the frame does not fit the run: a run is at most
// 64 KiB.
func (r *Run) Add(f *Frame) bool {
	body := f.body()
	size := sizeOf(body)
	b := &r.batch
	switch {
	case b.buf == nil:
		if headSize+size > largeBatch {
			return false
		}
		b.buf = pool{}.Get(headSize + size)
		*b.buf = (*b.buf)[:headSize]
	case len(*b.buf)+size > cap(*b.buf):
		if len(*b.buf)+size > largeBatch {
			return false
		}
		b.grow()
	}
	*b.buf = f.append(*b.buf, body)
	b.bytes += size
	b.frames++
	return true
}

// Len returns the number of frames.
func (r *Run) Len() int { return r.batch.frames }

// Each calls f with the frames in order. Their Meta and Data are valid until the run is sent or freed.
func (r *Run) Each(f func(*Frame)) {
	if r.batch.buf == nil {
		return
	}
	var d Decoder
	for rest := (*r.batch.buf)[headSize:]; len(rest) > 0; {
		var frame Frame
		var err error
		if rest, err = d.Next(rest, &frame); err != nil {
			return // Add has encoded it
		}
		f(&frame)
	}
}

// Free empties the run.
func (r *Run) Free() {
	if r.batch.buf != nil {
		pool{}.Put(r.batch.buf)
	}
	r.batch = batch{}
}

// SendRun queues the frames of a run behind those that wait, and empties the run. It never blocks. On an error, which is
// ErrDown or ErrQueueFull, no frame was queued and the run is unchanged.
func (l *Link) SendRun(r *Run) error {
	b := r.batch
	if b.frames == 0 {
		return nil
	}
	l.mu.Lock()
	switch {
	case l.err != nil || l.leaving:
		l.mu.Unlock()
		return ErrDown
	case l.out.bytes+b.bytes > l.cfg.QueueBytes || l.out.frames+b.frames > l.cfg.QueueFrames:
		l.mu.Unlock()
		return ErrQueueFull
	}
	l.out.join(b)
	l.mu.Unlock()
	r.batch = batch{}
	l.signal()
	return nil
}
