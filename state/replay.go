package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"time"
)

// ErrRecording is returned for bytes that no [Recorder] writes. A file that is cut off is
// io.ErrUnexpectedEOF instead.
var ErrRecording = errors.New("state: malformed recording")

// maxBlock bounds a block of a recording.
const maxBlock = 256 << 20

// Replay reads the states of a recording. It is not safe for concurrent use.
type Replay struct {
	dec     *Decoder
	head    recordHead
	r       *bufio.Reader
	offset  int64 // bytes read
	payload bytes.Buffer
	at      time.Duration
	err     error

	seeker io.ReadSeeker // the reader of the recording; nil if it cannot seek
	base   int64         // where the recording begins in it
	first  int64         // where the first state begins
	edge   place         // marks has the snapshots before it
	marks  []mark        // in order
}

// NewReplay reads the head of a recording. The errors are [ErrRecording], with what is
// wrong and where; io.ErrUnexpectedEOF, if the file is cut off; and those of r.
func NewReplay(r io.Reader) (*Replay, error) {
	p := &Replay{r: bufio.NewReaderSize(r, 64<<10)}
	if s, ok := r.(io.ReadSeeker); ok {
		if at, err := s.Seek(0, io.SeekCurrent); err == nil { // a pipe is a file that cannot seek
			p.seeker, p.base = s, at
		}
	}
	magic := make([]byte, len(recordMagic))
	n, err := io.ReadFull(p.r, magic)
	p.offset = int64(n)
	last := len(recordMagic) - 1
	switch {
	case n > 0 && string(magic[:min(n, last)]) != recordMagic[:min(n, last)], n == 0 && errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: the file does not begin with %q", ErrRecording, recordMagic[:last])
	case err != nil:
		return nil, p.cut(err)
	case magic[last] != recordMagic[last]:
		return nil, fmt.Errorf("%w: version %d, want %d", ErrRecording, magic[last], recordMagic[last])
	}
	if _, err := p.block(); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(p.payload.Bytes(), &p.head); err != nil {
		return nil, fmt.Errorf("%w: the head: %w", ErrRecording, err)
	}
	sum := sha256.Sum256(p.head.Schema)
	if hash := hex.EncodeToString(sum[:8]); hash != p.head.Hash {
		return nil, fmt.Errorf("%w: the schema has the hash %s, not %s as the head says", ErrRecording, hash, p.head.Hash)
	}
	if p.dec, err = NewDecoder(string(p.head.Schema)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecording, err)
	}
	p.first = p.offset
	p.edge.offset = p.offset
	return p, nil
}

// Start returns when the recording was started.
func (p *Replay) Start() time.Time { return p.head.Start }

// Meta returns the description that was passed to [NewRecorder].
func (p *Replay) Meta() map[string]string { return p.head.Meta }

// Schema returns the schema of the state.
func (p *Replay) Schema() Schema { return Schema{string(p.head.Schema), p.head.Hash} }

// At returns the time of the state since the start of the recording.
func (p *Replay) At() time.Duration { return p.at }

// Tick returns the tick of the state.
func (p *Replay) Tick() uint64 { return p.dec.Tick() }

// State returns a copy of the state; see [Decoder.State].
func (p *Replay) State() map[string]any { return p.dec.State() }

// Get returns one value of the state; see [Decoder.Get].
func (p *Replay) Get(path ...string) (any, bool) { return p.dec.Get(path...) }

// Message returns the message that Next has read last, for a client that decodes it itself.
// It is valid until the next call of Next, Seek or SeekTime. After a seek it is the last
// message on the way, which a client cannot decode without those before.
func (p *Replay) Message() []byte { return p.payload.Bytes() }

// Next reads the next state. It returns io.EOF at the end of the recording, and else the
// errors of [NewReplay]. States that were read before an error are as recorded. After an
// error, all further calls return it, until a seek.
func (p *Replay) Next() error {
	if p.err == nil {
		p.err = p.next()
	}
	return p.err
}

func (p *Replay) next() error {
	before := place{p.offset, p.at, p.dec.Tick()}
	first := !p.dec.Synced()
	took, err := p.block()
	if err != nil {
		return err
	}
	msg := p.payload.Bytes()
	if len(msg) == 0 {
		if _, err := p.r.ReadByte(); err == nil {
			return fmt.Errorf("%w: bytes after its end, at %d", ErrRecording, p.offset)
		} else if !errors.Is(err, io.EOF) {
			return err
		}
		return io.EOF
	}
	if first && msg[0]&headSnapshot == 0 {
		return fmt.Errorf("%w: the first state, at byte %d, is not a snapshot", ErrRecording, before.offset)
	}
	if err := p.dec.Decode(msg); err != nil {
		return fmt.Errorf("%w: the state after tick %d, at byte %d: %w", ErrRecording, before.tick, before.offset, err)
	}
	if p.dec.Tick() <= before.tick && !first {
		return fmt.Errorf("%w: tick %d after tick %d, at byte %d", ErrRecording, p.dec.Tick(), before.tick, before.offset)
	}
	p.at += took
	p.pass(blockHead{snapshot: msg[0]&headSnapshot != 0, after: place{p.offset, p.at, p.dec.Tick()}}, before)
	return nil
}

// block reads a block. It returns its time since the block before.
func (p *Replay) block() (time.Duration, error) {
	from := p.offset
	sum := crc32.New(castagnoli)
	us, err := p.uint(sum)
	if err != nil {
		return 0, err
	}
	size, err := p.uint(sum)
	if err != nil {
		return 0, err
	}
	if size > maxBlock || us > uint64((math.MaxInt64-p.at)/time.Microsecond) {
		return 0, fmt.Errorf("%w: the block at byte %d has %d bytes and is %d us after the one before", ErrRecording, from, size, us)
	}
	p.payload.Reset()
	n, err := io.CopyN(io.MultiWriter(&p.payload, sum), p.r, int64(size)) // grows as bytes arrive
	p.offset += n
	if err != nil {
		return 0, p.cut(err)
	}
	var want [4]byte
	k, err := io.ReadFull(p.r, want[:])
	p.offset += int64(k)
	if err != nil {
		return 0, p.cut(err)
	}
	if binary.LittleEndian.Uint32(want[:]) != sum.Sum32() {
		return 0, fmt.Errorf("%w: the checksum of the block at byte %d is wrong", ErrRecording, from)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// uint reads an unsigned varint, and adds it to the checksum.
func (p *Replay) uint(sum hash.Hash32) (x uint64, err error) {
	for shift := 0; shift < 64; shift += 7 {
		c, err := p.r.ReadByte()
		if err != nil {
			return 0, p.cut(err)
		}
		p.offset++
		_, _ = sum.Write([]byte{c})
		if shift == 63 && c > 1 {
			break
		}
		x |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return x, nil
		}
	}
	return 0, fmt.Errorf("%w: the number before byte %d is too large", ErrRecording, p.offset)
}

// cut returns the error of a read that failed.
func (p *Replay) cut(err error) error {
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case p.dec == nil:
		return fmt.Errorf("state: the recording is cut off in its head, at byte %d: %w", p.offset, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("state: the recording is cut off after tick %d, at byte %d: %w", p.dec.Tick(), p.offset, io.ErrUnexpectedEOF)
}
