package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"time"
)

// recordMagic is the first bytes of a recording. The last one is the version.
const recordMagic = "nano.rec\x01"

// These are the intervals of a recording.
const (
	recordSnapshot = 10 * time.Second // between snapshots, from which a reader can start
	recordFlush    = time.Second      // how long the bytes of a message wait in a buffer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordHead is the first block of a recording.
type recordHead struct {
	Start  time.Time         `json:"start"`
	Meta   map[string]string `json:"meta,omitempty"`
	Hash   string            `json:"hash"`
	Schema json.RawMessage   `json:"schema"`
}

// Recorder writes the states of a [Sync] to a file, from which a [Replay] reads them. It
// records every field and entry, of all levels and owners. It is not safe for concurrent
// use.
type Recorder struct {
	sync     *Sync
	view     *View
	w        *bufio.Writer
	buf      []byte        // a block
	msg      []byte        // its payload
	at       time.Duration // time of the last block
	snapshot time.Duration // time of the last snapshot
	flushed  time.Duration
	err      error
}

// NewRecorder starts a recording of s, and writes its head to w. meta describes the
// recording; it may be nil.
//
// The recorder buffers up to 64 KiB, and flushes the buffer when [Recorder.Record] is called
// a second after the last flush. It does not close w.
func NewRecorder(w io.Writer, s *Sync, meta map[string]string) (*Recorder, error) {
	r := &Recorder{sync: s, view: s.NewView(nil), w: bufio.NewWriterSize(w, 64<<10)}
	r.view.Level(maxLevel)
	head, err := json.Marshal(recordHead{time.Now().UTC(), meta, s.schema.Hash, json.RawMessage(s.schema.JSON)})
	if err != nil {
		return nil, err
	}
	if _, err := r.w.WriteString(recordMagic); err != nil {
		return nil, err
	}
	r.block(0, head)
	if err := r.Flush(); err != nil {
		return nil, err
	}
	return r, nil
}

// Record writes the changes since the last call, or a snapshot every 10 s. Call it after
// each [Sync.Tick]. at is the time since the start of the recording; it must not decrease.
//
// The errors are those of the writer. After an error, all further calls return it.
func (r *Recorder) Record(at time.Duration) error {
	at = max(at, r.at)
	if at-r.snapshot >= recordSnapshot {
		r.view.Reset()
	}
	r.msg = r.view.Append(r.msg[:0])
	if len(r.msg) > 0 {
		if r.msg[0]&headSnapshot != 0 {
			r.snapshot = at
		}
		r.block(at, r.msg)
	}
	if at-r.flushed >= recordFlush {
		r.flushed = at
		return r.Flush()
	}
	return r.err
}

// Flush writes the buffered bytes. The errors are those of [Recorder.Record].
func (r *Recorder) Flush() error {
	if r.err == nil {
		r.err = r.w.Flush()
	}
	return r.err
}

// Close ends the recording and writes the buffered bytes. Further calls have no effect
// and return an error.
func (r *Recorder) Close() error {
	r.block(r.at, nil)
	err := r.Flush()
	if r.err == nil {
		r.err = errClosedRecorder
	}
	return err
}

var errClosedRecorder = errors.New("state: the recorder is closed")

// block writes a block with its checksum.
func (r *Recorder) block(at time.Duration, payload []byte) {
	if r.err != nil {
		return
	}
	b := appendUint(r.buf[:0], uint64((at-r.at)/time.Microsecond))
	b = appendUint(b, uint64(len(payload)))
	b = append(b, payload...)
	b = appendSum(b)
	r.at += (at - r.at).Truncate(time.Microsecond)
	r.buf = b
	_, r.err = r.w.Write(b)
}

// appendSum appends the checksum of b.
func appendSum(b []byte) []byte {
	sum := crc32.Checksum(b, castagnoli)
	return append(b, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
}
