package state

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// frame is one state of a recording.
type frame struct {
	at    time.Duration
	tick  uint64
	state map[string]any
}

// record plays a random game, and returns its recording and its states.
func record(t testing.TB, seed uint64, ticks int, meta map[string]string) ([]byte, []frame) {
	t.Helper()
	w := newWorld(seed)
	var file bytes.Buffer
	rec, err := NewRecorder(&file, w.sync, meta)
	if err != nil {
		t.Fatal(err)
	}
	view := w.sync.NewView(nil)
	view.Level(maxLevel)
	dec, err := NewDecoder(w.sync.Schema().JSON)
	if err != nil {
		t.Fatal(err)
	}
	var frames []frame
	for i := range ticks {
		err := w.step(func(*peer) {}, func(*peer, []byte, any) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		at := time.Duration(i) * 200 * time.Millisecond
		if err := rec.Record(at); err != nil {
			t.Fatal(err)
		}
		msg := view.Append(nil)
		if err := dec.Decode(msg); err != nil {
			t.Fatal(err)
		}
		if len(msg) > 0 {
			frames = append(frames, frame{at, w.tick, dec.State()})
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), frames
}

// TestReplay checks that a replay gives the recorded states, of all levels and owners.
func TestReplay(t *testing.T) {
	for seed := range uint64(2) {
		file, frames := record(t, seed, 125, map[string]string{"id": "a-1"})
		p, err := NewReplay(iotest.OneByteReader(bytes.NewReader(file)))
		if err != nil {
			t.Fatal(err)
		}
		if p.Meta()["id"] != "a-1" || time.Since(p.Start()) > time.Minute || p.Schema() != newWorld(seed).sync.Schema() {
			t.Errorf("the head is %v, %v, %v", p.Meta(), p.Start(), p.Schema())
		}
		snapshots := 0
		for len(frames) > 0 {
			if err := p.Next(); err != nil {
				t.Fatalf("seed %d: Next = %v, %d states before the end", seed, err, len(frames))
			}
			if p.Message()[0]&headSnapshot != 0 {
				snapshots++
			}
			f := frames[0]
			if p.Tick() != f.tick {
				continue // a snapshot of a state without changes
			}
			frames = frames[1:]
			if p.At() != f.at {
				t.Fatalf("seed %d, tick %d: At = %v, want %v", seed, f.tick, p.At(), f.at)
			}
			if d := differ(p.State(), any(f.state), "state"); d != "" {
				t.Fatalf("seed %d, tick %d: %s", seed, f.tick, d)
			}
		}
		for range 2 {
			if err := p.Next(); err != io.EOF {
				t.Fatalf("Next at the end = %v, want io.EOF", err)
			}
		}
		if snapshots != 3 {
			t.Errorf("%d snapshots in 25 s, want one every 10 s", snapshots)
		}
	}
}

// small returns a short recording of two states.
func small(t testing.TB) []byte {
	t.Helper()
	p := &pond{Round: 1, Frogs: map[playerID]*frog{1: {Name: "Ann", X: 10, Y: 20, Hand: []uint8{5, 6}}}}
	s, err := New(p, Owner[playerID]())
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	rec, err := NewRecorder(&file, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for tick := range uint64(3) {
		_ = s.Tick(tick + 1)
		if err := rec.Record(time.Duration(tick) * 1500 * time.Microsecond); err != nil {
			t.Fatal(err)
		}
		if tick < 1 {
			p.Frogs[1].X += 0.5
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestRecordingFormat checks the bytes that docs/state.md describes.
func TestRecordingFormat(t *testing.T) {
	file := small(t)
	rest, ok := bytes.CutPrefix(file, []byte("nano.rec\x01\x00"))
	if !ok {
		t.Fatalf("the file begins with %q", file[:10])
	}
	n, used := binary.Uvarint(rest)
	head := string(rest[used : used+int(n)])
	if !strings.HasPrefix(head, `{"start":"20`) || !strings.Contains(head, `"schema":[["pond",["round","int"]`) {
		t.Errorf("the head is %s", head)
	}
	blocks := rest[used+int(n)+4:]
	var want []byte
	for _, text := range []string{
		"00 19 | 07 00 | 03 | 02 | 01 00 | 02 0f 01 03 41 6e 6e c8 01 90 03 (01 00 00 02 05 06 00) | 00",
		"dc0b 05 | 04 | 02 | 02 02 0a", // 1,500 us later
		"00 00",
	} {
		b, err := hex.DecodeString(strings.NewReplacer(" ", "", "(", "", ")", "", "|", "").Replace(text))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, appendSum(b)...)
	}
	if !bytes.Equal(blocks, want) {
		t.Errorf("the blocks are %x, want %x", blocks, want)
	}
}

// readAll reads a recording to its end, and returns how many states it has.
func readAll(file []byte) (states int, err error) {
	p, err := NewReplay(bytes.NewReader(file))
	for err == nil {
		if err = p.Next(); err == nil {
			states++
		}
	}
	if err == io.EOF {
		err = nil
	}
	return states, err
}

// TestReplayCutOff checks that a file that is cut off gives its whole states, and then an error.
func TestReplayCutOff(t *testing.T) {
	file := small(t)
	if n, err := readAll(file); n != 2 || err != nil {
		t.Fatalf("the whole file has %d states, %v", n, err)
	}
	last := 0
	for size := range file {
		n, err := readAll(file[:size])
		if size == 0 {
			if !errors.Is(err, ErrRecording) {
				t.Errorf("an empty file: %v, want ErrRecording", err)
			}
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), fmt.Sprint("at byte ", size)) {
			t.Errorf("the first %d bytes: %v, want io.ErrUnexpectedEOF and the offset", size, err)
		}
		if n < last || n > 2 {
			t.Errorf("the first %d bytes have %d states", size, n)
		}
		last = n
	}
	if last != 2 {
		t.Errorf("all but the last byte have %d states, want 2", last)
	}
}

// TestReplayDamage checks that every damaged bit is detected.
func TestReplayDamage(t *testing.T) {
	file := small(t)
	for i := range file {
		for bit := range 8 {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << bit
			if _, err := readAll(bad); !errors.Is(err, ErrRecording) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("bit %d of byte %d is wrong: %v, want an error", bit, i, err)
			}
		}
	}
}

// block returns a block with the right checksum.
func block(us uint64, payload []byte) []byte {
	b := appendUint(appendUint(nil, us), uint64(len(payload)))
	return appendSum(append(b, payload...))
}

func TestReplayErrors(t *testing.T) {
	const head = `{"hash":"d5eac1a27e4d26a4","schema":[["A",["x","u8"]]]}`
	sum := func(head string) string {
		s := makeSchema([]*plan{{name: "A", fields: []field{{name: "x", value: value{kind: kindU8}}}}})
		return strings.Replace(head, "d5eac1a27e4d26a4", s.Hash, 1)
	}
	file := func(head string, blocks ...[]byte) string {
		return recordMagic + string(block(0, []byte(sum(head)))) + string(bytes.Join(blocks, nil))
	}
	snapshot, patch, end := block(0, []byte{7, 0, 1, 5}), block(50_000, []byte{4, 1, 6}), block(0, nil)
	if n, err := readAll([]byte(file(head, snapshot, patch, end))); n != 2 || err != nil {
		t.Fatalf("a good file has %d states, %v", n, err)
	}
	for _, test := range []struct{ name, file, want string }{
		{"another file", "hello, world", `the file does not begin with "nano.rec"`},
		{"another version", "nano.rec\x02", "version 2, want 1"},
		{"a head that is not JSON", file(`{"hash":`), "the head: unexpected end of JSON input"},
		{"another hash", file(`{"hash":"00","schema":[["A"]]}`), "the schema has the hash 701a90aa3a6120f6, not 00 as the head says"},
		{"no snapshot", file(head, patch, end), "the first state, at byte 70, is not a snapshot"},
		{"a bad state", file(head, snapshot, block(1, []byte{4, 9}), end), "the state after tick 1, at byte 80: state: malformed message"},
		{"a tick twice", file(head, snapshot, snapshot, end), "tick 1 after tick 1, at byte 80"},
		{"bytes after its end", file(head, snapshot, end, []byte{0}), "bytes after its end, at 86"},
		{"a huge block", file(head, snapshot, []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f}), "the block at byte 80 has 4294967295 bytes and is 0 us after the one before"},
		{"a huge time", file(head, snapshot, append(bytes.Repeat([]byte{0xff}, 8), 0x7f, 0)), "the block at byte 80 has 0 bytes and is 9223372036854775807 us"},
		{"a huge number", file(head, bytes.Repeat([]byte{0xff}, 20)), "the number before byte 80 is too large"},
		{"a block that is cut off", file(head, snapshot, []byte{0, 9, 1}), "the recording is cut off after tick 1, at byte 83"},
	} {
		_, err := readAll([]byte(test.file))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if want := !strings.Contains(test.want, "cut off"); errors.Is(err, ErrRecording) != want {
			t.Errorf("%s: errors.Is(%v, ErrRecording) is not %v", test.name, err, want)
		}
	}
	broken := errors.New("broken disk")
	p, err := NewReplay(io.MultiReader(strings.NewReader(file(head, snapshot)), failing{broken}))
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Next()
	if err := p.Next(); !errors.Is(err, broken) {
		t.Errorf("Next = %v, want the error of the reader", err)
	}
}

// failing is a reader and a writer that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestRecorderErrors(t *testing.T) {
	p := &struct{ Text string }{}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk full")
	if _, err := NewRecorder(failing{broken}, s, nil); !errors.Is(err, broken) {
		t.Errorf("NewRecorder = %v, want the error of the writer", err)
	}
	out := &limited{left: 2000, err: broken}
	rec, err := NewRecorder(out, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for i := range 200 {
		p.Text = strings.Repeat("x", i)
		if err := s.Tick(uint64(i) + 1); err != nil {
			t.Fatal(err)
		}
		if err := rec.Record(time.Duration(i) * 100 * time.Millisecond); err != nil {
			if failed++; !errors.Is(err, broken) {
				t.Fatalf("Record = %v, want the error of the writer", err)
			}
		} else if failed > 0 {
			t.Fatal("Record succeeds after an error")
		}
	}
	if failed == 0 {
		t.Error("Record did not return the error of the writer")
	}
	if err := rec.Close(); !errors.Is(err, broken) {
		t.Errorf("Close = %v, want the error of the writer", err)
	}
	good, err := NewRecorder(io.Discard, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := good.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if good.Record(0) == nil || good.Close() == nil {
		t.Error("a closed recorder records")
	}
}

// limited is a writer that fails after some bytes.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, l.err
	}
	return len(p), nil
}

// TestRecorderFlush checks that what is buffered is written once a second.
func TestRecorderFlush(t *testing.T) {
	p := &struct{ N int }{}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	rec, err := NewRecorder(&file, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	head := file.Len()
	for tick := range uint64(25) {
		p.N++
		_ = s.Tick(tick + 1)
		_ = rec.Record(time.Duration(tick) * 100 * time.Millisecond)
		states, _ := readAll(file.Bytes())
		if want := int(tick) / 10 * 10; tick >= 10 && states != want+1 || tick < 10 && file.Len() != head {
			t.Errorf("after %d ms, %d states are written", tick*100, states)
		}
	}
	_ = rec.Flush()
	if states, _ := readAll(file.Bytes()); states != 25 {
		t.Errorf("after Flush, %d states are written, want 25", states)
	}
}

// FuzzReplay reads arbitrary files, and files of arbitrary blocks.
func FuzzReplay(f *testing.F) {
	file := small(f)
	f.Add(file, []byte{7, 0})
	f.Add(file[:len(file)-3], []byte{7, 0, 3, 2, 1, 0, 2, 0xf, 1, 3})
	f.Add([]byte(recordMagic), []byte{})
	p, err := NewReplay(bytes.NewReader(file))
	if err != nil {
		f.Fatal(err)
	}
	head := file[:p.offset]
	check := func(t *testing.T, file []byte) {
		if _, err := readAll(file); err != nil && !errors.Is(err, ErrRecording) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("reading %x: %v", file, err)
		}
	}
	f.Fuzz(func(t *testing.T, file, payload []byte) {
		check(t, file)
		check(t, append([]byte(recordMagic), block(0, payload)...))
		check(t, bytes.Join([][]byte{head, block(0, payload), block(1, payload), block(0, nil)}, nil))
	})
}
