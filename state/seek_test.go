package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
	"time"
)

// at returns the last frame for which until returns true, else the first one.
func at(frames []frame, until func(frame) bool) frame {
	last := frames[0]
	for _, f := range frames {
		if until(f) {
			last = f
		}
	}
	return last
}

// frames reads a recording from the start to the end.
func readFrames(t testing.TB, file []byte) (frames []frame, err error) {
	t.Helper()
	p, err := NewReplay(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	for {
		if err := p.Next(); err != nil {
			return frames, err
		}
		frames = append(frames, frame{p.At(), p.Tick(), p.State()})
	}
}

// TestSeek checks that a seek gives the state that reading from the start gives, in any
// order of seeks and of Next.
func TestSeek(t *testing.T) {
	for seed := range uint64(2) {
		file, _ := record(t, seed, 150, nil) // 30 s
		frames, err := readFrames(t, file)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		ends := frames[len(frames)-1]
		rng := rand.New(rand.NewPCG(seed, 0))
		for _, whole := range []bool{false, true} {
			// The recording is not at the start of the file.
			r := bytes.NewReader(append([]byte("head"), file...))
			_, _ = r.Seek(4, io.SeekStart)
			p, err := NewReplay(r)
			if err != nil {
				t.Fatal(err)
			}
			for whole && p.Next() == nil { // the replay knows all snapshots
			}
			for i := range 200 {
				tick := rng.Uint64N(ends.tick + 20)
				want := at(frames, func(f frame) bool { return f.tick <= tick })
				call := fmt.Sprintf("Seek(%d)", tick)
				if i%2 == 0 {
					err = p.Seek(tick)
				} else {
					d := time.Duration(rng.Int64N(int64(ends.at + 4*time.Second)))
					want = at(frames, func(f frame) bool { return f.at <= d })
					call = fmt.Sprintf("SeekTime(%v)", d)
					err = p.SeekTime(d)
				}
				if err != nil {
					t.Fatalf("seed %d: %s = %v", seed, call, err)
				}
				check := func(want frame) {
					t.Helper()
					if p.Tick() != want.tick || p.At() != want.at {
						t.Fatalf("seed %d: after %s the replay is at tick %d, %v, want %d, %v", seed, call, p.Tick(), p.At(), want.tick, want.at)
					}
					if d := differ(p.State(), any(want.state), "state"); d != "" {
						t.Fatalf("seed %d, %s: %s", seed, call, d)
					}
				}
				check(want)
				for range rng.IntN(3) { // it continues from there
					if want.tick == ends.tick {
						if err := p.Next(); !errors.Is(err, io.EOF) {
							t.Fatalf("Next at the end = %v, want io.EOF", err)
						}
						break
					}
					want = at(frames, func(f frame) bool { return f.tick <= want.tick || f.tick == nextTick(frames, want.tick) })
					call += ", Next"
					if err := p.Next(); err != nil {
						t.Fatalf("seed %d: %s = %v", seed, call, err)
					}
					check(want)
				}
			}
			for _, tick := range []uint64{0, math.MaxUint64, ends.tick, 1} {
				want := at(frames, func(f frame) bool { return f.tick <= tick })
				if err := p.Seek(tick); err != nil || p.Tick() != want.tick {
					t.Errorf("Seek(%d) = %v, at tick %d, want %d", tick, err, p.Tick(), want.tick)
				}
			}
		}
	}
}

// nextTick returns the tick of the frame after one.
func nextTick(frames []frame, tick uint64) uint64 {
	for _, f := range frames {
		if f.tick > tick {
			return f.tick
		}
	}
	return tick
}

// counter counts the bytes that are read.
type counter struct {
	io.ReadSeeker
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.n += n
	return n, err
}

// TestSeekReadsOnce checks that a seek does not read from the start, once the snapshots
// are known.
func TestSeekReadsOnce(t *testing.T) {
	game := &struct{ Board [500]uint8 }{}
	s, err := New(game)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	rec, err := NewRecorder(&out, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	const last = 20 * 60 * 10 // 10 minutes
	for tick := range uint64(last) {
		for i := range game.Board {
			game.Board[i] += uint8(i)
		}
		_ = s.Tick(tick + 1)
		if err := rec.Record(time.Duration(tick) * 50 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	file := out.Bytes()
	c := &counter{ReadSeeker: bytes.NewReader(file)}
	p, err := NewReplay(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Seek(last); err != nil {
		t.Fatal(err)
	}
	if limit := len(file) + len(file)/60*2 + 4*64<<10; c.n > limit {
		t.Errorf("the first seek read %d bytes of a file of %d", c.n, len(file))
	}
	for _, tick := range []uint64{last / 2, 1, last - 1, last / 3} {
		c.n = 0
		if err := p.Seek(tick); err != nil {
			t.Fatal(err)
		}
		if limit := len(file)/60*3 + 2*64<<10; c.n > limit {
			t.Errorf("Seek(%d) read %d bytes of a file of %d, want %d at most", tick, c.n, len(file), limit)
		}
	}
}

func TestSeekErrors(t *testing.T) {
	file := small(t)
	p, err := NewReplay(iotest.OneByteReader(bytes.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Seek(1); !errors.Is(err, errNoSeeker) {
		t.Errorf("Seek of a reader that cannot seek = %v", err)
	}
	if err := p.Next(); err != nil || p.Tick() != 1 {
		t.Errorf("Next after it = %v, at tick %d", err, p.Tick())
	}
	// A file that is cut off gives its whole states.
	for size := range len(file) {
		p, err := NewReplay(bytes.NewReader(file[:size]))
		if err != nil {
			continue
		}
		states, _ := readAll(file[:size])
		for range 2 {
			if err := p.Seek(9); !errors.Is(err, io.ErrUnexpectedEOF) || p.Tick() != uint64(states) {
				t.Errorf("the first %d bytes: Seek = %v, at tick %d, want io.ErrUnexpectedEOF at %d", size, err, p.Tick(), states)
			}
			if err := p.Seek(1); states > 0 && (err != nil || p.Tick() != 1) {
				t.Errorf("the first %d bytes: Seek(1) = %v, at tick %d", size, err, p.Tick())
			}
		}
	}
	// A damaged bit is found when its state is read.
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 4
		p, err := NewReplay(bytes.NewReader(bad))
		if err == nil {
			if err = p.Seek(9); err == nil { // the block of the end is damaged
				err = p.Next()
			}
		}
		if !errors.Is(err, ErrRecording) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("byte %d is wrong: %v, want an error", i, err)
		}
	}
	empty := slices.Concat(headOf(t, file), block(0, nil))
	if p, err = NewReplay(bytes.NewReader(empty)); err != nil {
		t.Fatal(err)
	}
	if err := p.Seek(1); !errors.Is(err, io.EOF) {
		t.Errorf("Seek of a recording without states = %v, want io.EOF", err)
	}
	broken := errors.New("broken disk")
	c := &failingSeeker{ReadSeeker: bytes.NewReader(file)}
	if p, err = NewReplay(c); err != nil {
		t.Fatal(err)
	}
	c.err = broken
	if err := p.Seek(2); !errors.Is(err, broken) {
		t.Errorf("Seek = %v, want the error of the reader", err)
	}
	c.err = nil
	if err := p.Seek(2); err != nil || p.Tick() != 2 {
		t.Errorf("the next Seek = %v, at tick %d", err, p.Tick())
	}
}

// failingSeeker cannot seek while err is set.
type failingSeeker struct {
	io.ReadSeeker
	err error
}

func (f *failingSeeker) Seek(offset int64, whence int) (int64, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.ReadSeeker.Seek(offset, whence)
}

// headOf returns the bytes of a recording before its first state.
func headOf(t testing.TB, file []byte) []byte {
	t.Helper()
	p, err := NewReplay(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return file[:p.first]
}

// FuzzSeek seeks in arbitrary files and in files of arbitrary blocks. If the file can be
// read, a seek gives the same state as reading.
func FuzzSeek(f *testing.F) {
	file := small(f)
	f.Add(file, []byte{7, 0}, uint64(1), int64(0))
	f.Add(file[:len(file)-3], []byte{7, 0, 3, 2, 1, 0, 2, 0xf, 1, 3}, uint64(2), int64(1500))
	head := headOf(f, file)
	check := func(t *testing.T, file []byte, tick uint64, us int64) {
		p, err := NewReplay(bytes.NewReader(file))
		if err != nil {
			return
		}
		frames, end := readFrames(t, file)
		d := time.Duration(us) * time.Microsecond
		for _, s := range []struct {
			seek  error
			until func(frame) bool
		}{
			{p.Seek(tick), func(f frame) bool { return f.tick <= tick }},
			{p.SeekTime(d), func(f frame) bool { return f.at <= d }},
			{p.Seek(tick), func(f frame) bool { return f.tick <= tick }},
		} {
			if s.seek != nil && !errors.Is(s.seek, ErrRecording) && !errors.Is(s.seek, io.ErrUnexpectedEOF) && !errors.Is(s.seek, io.EOF) {
				t.Fatalf("seeking in %x: %v", file, s.seek)
			}
			if errors.Is(end, io.EOF) && len(frames) > 0 && s.seek != nil {
				t.Fatalf("seeking in %x = %v, but it can be read", file, s.seek)
			}
		}
		if want := func(f frame) bool { return f.tick <= tick }; errors.Is(end, io.EOF) && len(frames) > 0 && p.Tick() != at(frames, want).tick {
			t.Fatalf("Seek(%d) in %x goes to tick %d, want %d", tick, file, p.Tick(), at(frames, want).tick)
		}
	}
	f.Fuzz(func(t *testing.T, file, payload []byte, tick uint64, us int64) {
		check(t, file, tick, us)
		check(t, bytes.Join([][]byte{head, block(0, payload), block(1, payload), block(0, nil)}, nil), tick, us)
	})
}
