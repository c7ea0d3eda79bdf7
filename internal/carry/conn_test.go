package carry

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/flow"
)

// line delivers the calls of one end to the other end, in order, as a link does.
type line struct {
	to     *Conn
	frames chan func(*Conn)

	mu     sync.Mutex
	fault  error         // result of Data; mu guards it and the following fields
	full   chan struct{} // result of Data, or nil
	credit int
	closed int // number of calls of Close
}

func (l *line) Data(b []byte) (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil || l.full != nil {
		return l.full, l.fault
	}
	b = bytes.Clone(b)
	l.frames <- func(c *Conn) { _ = c.OnData(b) }
	return nil, nil
}

func (l *line) Credit(n int) {
	l.mu.Lock()
	l.credit += n
	l.mu.Unlock()
	l.frames <- func(c *Conn) { _ = c.OnCredit(uint64(n)) }
}

func (l *line) CloseWrite() { l.frames <- func(c *Conn) { c.OnCloseWrite() } }

func (l *line) Close(why *Refusal) {
	l.mu.Lock()
	l.closed++
	l.mu.Unlock()
	l.frames <- func(c *Conn) { c.OnClose(why) }
}

func (l *line) run() {
	for f := range l.frames {
		f(l.to)
	}
}

// pair holds both ends of a stream.
type pair struct {
	carrier, gate *Conn
	toGate, back  *line
}

// inPair runs f in fake time.
func inPair(t *testing.T, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{toGate: &line{frames: make(chan func(*Conn), 1<<12)}, back: &line{frames: make(chan func(*Conn), 1<<12)}}
		p.carrier = NewConn(p.toGate, &net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
		p.gate = NewConn(p.back, &net.TCPAddr{Port: 3}, &net.TCPAddr{Port: 2})
		p.toGate.to, p.back.to = p.gate, p.carrier
		go p.toGate.run()
		go p.back.run()
		f(t, p)
		_ = p.carrier.Close()
		_ = p.gate.Close()
		close(p.toGate.frames)
		close(p.back.frames)
	})
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Int())
	}
	return b
}

// Bytes arrive completely and in order in both directions, for all sizes of reads and
// writes.
func TestBytes(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		var wg sync.WaitGroup
		for _, d := range []struct{ from, to *Conn }{{p.carrier, p.gate}, {p.gate, p.carrier}} {
			want := randomBytes(20 * flow.StreamSize)
			wg.Go(func() {
				for rest := want; len(rest) > 0; {
					n := min(1+rand.IntN(3*maxData), len(rest))
					if _, err := d.from.Write(rest[:n]); err != nil {
						t.Errorf("Write = %v", err)
						return
					}
					rest = rest[n:]
				}
				if err := d.from.CloseWrite(); err != nil {
					t.Errorf("CloseWrite = %v", err)
				}
			})
			wg.Go(func() {
				var got bytes.Buffer
				var err error
				if d.to == p.gate {
					_, err = io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{d.to}, make([]byte, 1+rand.IntN(5000)))
				} else {
					_, err = d.to.WriteTo(&got)
				}
				if err != nil || !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%d bytes came, %v, want the %d that were sent", got.Len(), err, len(want))
				}
			})
		}
		wg.Wait()
	})
}

// A slow reader holds at most one window of bytes, and the writer waits for it.
func TestWindow(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		written := make(chan int, 1)
		go func() {
			n, _ := p.gate.Write(make([]byte, 2*flow.StreamSize))
			written <- n
		}()
		synctest.Wait()
		p.carrier.mu.Lock()
		n := len(p.carrier.in)
		p.carrier.mu.Unlock()
		if n != flow.StreamSize {
			t.Errorf("%d bytes wait to be read, want %d", n, flow.StreamSize)
		}
		b := make([]byte, 1000)
		for left := 2 * flow.StreamSize; left > 0; {
			n, err := p.carrier.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			left -= n
			synctest.Wait()
			if c := cap(p.carrier.in); c > 3*flow.StreamSize {
				t.Fatalf("a buffer of %d bytes for a window of %d", c, flow.StreamSize)
			}
		}
		if n := <-written; n != 2*flow.StreamSize {
			t.Errorf("Write = %d", n)
		}
		if cap(p.carrier.in) > maxSpare {
			t.Errorf("%d bytes are held for nothing", cap(p.carrier.in))
		}
	})
}

// stuck blocks writes until goOn is closed.
type stuck struct{ goOn chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.goOn
	return len(b), nil
}

// WriteTo gives credit only after bytes were written.
func TestWriteToCredit(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		w := stuck{make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			_, err := p.carrier.WriteTo(w)
			done <- err
		}()
		go func() {
			_, _ = p.gate.Write(make([]byte, 4*flow.StreamSize))
			_ = p.gate.Close()
		}()
		synctest.Wait()
		p.toGate.mu.Lock()
		credit := p.toGate.credit
		p.toGate.mu.Unlock()
		if credit != 0 {
			t.Errorf("credit for %d bytes, and nothing was written", credit)
		}
		close(w.goOn)
		if err := <-done; err != nil {
			t.Errorf("WriteTo = %v", err)
		}
	})
}

func TestCloseIsOrderly(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		ended := 0
		p.carrier.AfterEnd(func() { ended++ })
		if _, err := p.gate.Write([]byte("farewell")); err != nil {
			t.Fatal(err)
		}
		_ = p.gate.Close()
		_ = p.gate.Close()
		synctest.Wait()
		if _, err := p.carrier.Write([]byte("x")); err == nil {
			t.Error("Write to a stream that the other end has closed = nil")
		}
		if b, err := io.ReadAll(p.carrier); err != nil || string(b) != "farewell" {
			t.Errorf("%q, %v came, want the farewell", b, err)
		}
		if _, err := p.gate.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close = %v, want net.ErrClosed", err)
		}
		_ = p.carrier.Close()
		p.carrier.AfterEnd(func() { ended++ })
		if ended != 2 {
			t.Errorf("%d calls of AfterEnd's functions, want 2", ended)
		}
		if p.back.closed != 1 || p.toGate.closed != 0 {
			t.Errorf("the gate has sent %d ends and the carrier %d, want 1 and 0", p.back.closed, p.toGate.closed)
		}
	})
}

// After one direction is closed, the other continues.
func TestCloseWrite(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		_ = p.carrier.CloseWrite()
		if _, err := p.carrier.Write([]byte("x")); err == nil {
			t.Error("Write after CloseWrite = nil")
		}
		if n, err := p.gate.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read = %d, %v, want io.EOF", n, err)
		}
		_, _ = p.gate.Write([]byte("still"))
		b := make([]byte, 5)
		if _, err := io.ReadFull(p.carrier, b); err != nil || string(b) != "still" {
			t.Errorf("%q, %v came", b, err)
		}
	})
}

func TestAwait(t *testing.T) {
	lost := errors.New("lost")
	for name, c := range map[string]struct {
		answer func(p *pair)
		reason string
		err    error
	}{
		"bytes":   {func(p *pair) { _, _ = p.gate.Write([]byte("x")) }, "", nil},
		"refusal": {func(p *pair) { p.gate.Refuse(Refusal{Reason: "expired", Kick: []byte("{}")}) }, "expired", nil},
		"end":     {func(p *pair) { _ = p.gate.Close() }, "", io.EOF},
		"lost":    {func(p *pair) { p.carrier.OnLost(lost) }, "", lost},
		"nothing": {func(*pair) {}, "", os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			inPair(t, func(t *testing.T, p *pair) {
				began := time.Now()
				_ = p.carrier.SetDeadline(began.Add(time.Second))
				go func() {
					time.Sleep(10 * time.Millisecond)
					c.answer(p)
				}()
				why, err := p.carrier.Await()
				if err != c.err || (why == nil) != (c.reason == "") || why != nil && (why.Reason != c.reason || string(why.Kick) != "{}") {
					t.Errorf("Await = %+v, %v, want %q, %v", why, err, c.reason, c.err)
				}
				if took := time.Since(began); name != "nothing" && took > 100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Bytes received before the link ended can be read.
func TestLost(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		lost := errors.New("lost")
		_, _ = p.carrier.Write([]byte("last"))
		synctest.Wait()
		p.gate.OnLost(lost)
		if b, err := io.ReadAll(p.gate); err != lost || string(b) != "last" {
			t.Errorf("%q, %v came", b, err)
		}
		_ = p.gate.Close()
		if p.back.closed != 0 {
			t.Error("something was sent over a link that has ended")
		}
	})
}

func TestDeadlines(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		began := time.Now()
		_ = p.gate.SetReadDeadline(began.Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			_ = p.gate.SetReadDeadline(began.Add(2 * time.Second)) // an earlier deadline, set while the read waits
		}()
		if _, err := p.gate.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("Read = %v after %v", err, time.Since(began))
		}
		_ = p.gate.SetReadDeadline(time.Time{})
		_, _ = p.carrier.Write([]byte("x"))
		if n, err := p.gate.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read without a deadline = %d, %v", n, err)
		}
		_ = p.gate.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := p.gate.Write(make([]byte, 2*flow.StreamSize))
		if n != flow.StreamSize || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %d, %v, want %d bytes and the deadline", n, err, flow.StreamSize)
		}
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("%v is not a timeout", err)
		}
	})
}

// A peer that violates the window loses the stream.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(c *Conn) error{
		"overrun":        func(c *Conn) error { return c.OnData(make([]byte, flow.StreamSize+1)) },
		"data after end": func(c *Conn) error { c.OnCloseWrite(); return c.OnData([]byte("x")) },
		"credit":         func(c *Conn) error { return c.OnCredit(1) },
		"large credit":   func(c *Conn) error { return c.OnCredit(math.MaxUint64) },
	} {
		t.Run(name, func(t *testing.T) {
			inPair(t, func(t *testing.T, p *pair) {
				if fault(p.gate) == nil {
					t.Error("no error")
				}
				<-p.gate.Ended()
				<-p.carrier.Ended()
			})
		})
	}
}

// A write waits while the link is busy, until the deadline or the end of the stream.
func TestBusy(t *testing.T) {
	for name, c := range map[string]struct {
		then func(p *pair)
		err  error
		took time.Duration
	}{
		"room": {func(p *pair) {
			p.toGate.mu.Lock()
			defer p.toGate.mu.Unlock()
			close(p.toGate.full)
			p.toGate.full = nil
		}, nil, time.Second},
		"end":      {func(p *pair) { _ = p.gate.Close() }, errEnded, time.Second},
		"deadline": {func(*pair) {}, os.ErrDeadlineExceeded, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inPair(t, func(t *testing.T, p *pair) {
				p.toGate.full = make(chan struct{})
				began := time.Now()
				_ = p.carrier.SetWriteDeadline(began.Add(time.Minute))
				go func() {
					time.Sleep(time.Second)
					c.then(p)
				}()
				if _, err := p.carrier.Write([]byte("x")); err != c.err || time.Since(began) != c.took {
					t.Errorf("Write = %v after %v, want %v after %v", err, time.Since(began), c.err, c.took)
				}
			})
		})
	}
}

// If a frame of a stream cannot be queued, the stream would have a gap, so it ends.
func TestQueueFull(t *testing.T) {
	inPair(t, func(t *testing.T, p *pair) {
		full := errors.New("full")
		p.toGate.fault = full
		if _, err := p.carrier.Write([]byte("x")); err != full {
			t.Errorf("Write = %v", err)
		}
		<-p.gate.Ended()
	})
}

func TestNames(t *testing.T) {
	a, b, c := NameOf("10.0.0.1:1", 1), NameOf("10.0.0.1:1", 2), NameOf("10.0.0.2:1", 1)
	if a == b || a == c || a != NameOf("10.0.0.1:1", 1) || a == (Name{}) || NameOf("", 1) != (Name{}) {
		t.Errorf("names %x, %x, %x", a, b, c)
	}
}
