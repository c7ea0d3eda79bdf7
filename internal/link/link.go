// Package link is the data stream of a pair of nodes: frames in order both ways, written in batches, and a ping that
// says whether the peer is there. It knows neither who dials whom nor what the frames mean.
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/gosched"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

var (
	// ErrDown tells that the link is down. Frames are delivered at most once: what was sent on the link before may have
	// arrived or not, and is not sent again.
	ErrDown = errors.New("cluster: member is down")
	// ErrQueueFull tells that the peer takes frames slower than they come: this one was not queued.
	ErrQueueFull = errors.New("cluster: queue to the member is full")
)

// Why a link ended, beside a broken stream. Down gets them.
var (
	ErrLeft    = errors.New("cluster: member has left")
	ErrSilent  = errors.New("cluster: member does not answer pings")
	ErrStopped = errors.New("cluster: this node has stopped")
	// errGoexit: frames run code of the program, such as hooks and serializers, which may end the goroutine.
	errGoexit = errors.New("cluster: the goroutine of the link was ended with runtime.Goexit")
)

// Config sets the limits of links.
type Config struct {
	Ping        time.Duration // between two pings
	Dead        time.Duration // a ping unanswered for so long ends the link
	QueueBytes  int           // that may wait to be sent, of frames
	QueueFrames int           // that may wait to be sent
	Counts      *Counts       // that the link adds to, beside others; nil for some of its own
}

// Counts is what has gone over links. Pings and pongs do not count.
type Counts struct {
	FramesIn, FramesOut atomic.Int64
	BytesIn, BytesOut   atomic.Int64 // of the frames
}

// DefaultConfig returns the limits of a node: a ping every 500 ms, dead after 2 s, 32 MiB and 262,144 frames.
func DefaultConfig() Config {
	return Config{Ping: 500 * time.Millisecond, Dead: 2 * time.Second, QueueBytes: 32 << 20, QueueFrames: 1 << 18}
}

// Stream is what a link needs of a gRPC stream whose codec is Codec.
type Stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Handler is told what happens on a link. All calls for one link come from one goroutine, one after the other: Up,
// then any number of Received and Changed, then Down. It must not block: the link's pings wait meanwhile, and a peer
// whose pings go unanswered for too long gives the link up.
type Handler interface {
	// Up comes before the first frame.
	Up(l *Link)
	// Received is handed frames in the order in which the peer sent them. The slice and the bytes of the frames (Meta,
	// Data) are valid until it returns.
	Received(l *Link, frames []Frame)
	// Changed tells that the peer sent a new hello.
	Changed(l *Link)
	// Down tells why the link ended. No frame comes after it.
	Down(l *Link, err error)
}

// Link is one end of the stream to a peer. Its methods may be called concurrently, also by its Handler.
type Link struct {
	Addr  string // of the peer
	Epoch uint64 // of the peer

	// Owner is for the Handler, which may set it in Up.
	Owner any

	cfg     Config
	stream  Stream
	handler Handler
	started time.Time // what pings are measured from
	hello   atomic.Pointer[clusterpb.Hello]
	rtt     atomic.Int64

	wake     chan struct{} // holds a token if there is something to write
	done     chan struct{} // closed by close
	finished chan struct{} // closed after Down

	mu       sync.Mutex // guards what follows
	out      queue
	ping     uint64        // to be sent before the batches; 0 for none
	pong     uint64        // likewise; the last ping of the peer answers for those before it
	lastPing uint64        // the clock of the newest ping
	answered time.Duration // when the newest answered ping was due
	ponged   chan struct{} // closed with the next answer; nil if nobody waits for one
	leaving  bool          // a bye is queued: nothing goes behind it
	err      error         // why the link ended; set once
}

// New makes the link of a stream that both sides have greeted on. It does nothing until Run.
func New(stream Stream, addr string, epoch uint64, hello *clusterpb.Hello, cfg Config, h Handler) *Link {
	l := &Link{
		Addr: addr, Epoch: epoch,
		cfg: cfg, stream: stream, handler: h,
		started:  time.Now(),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		finished: make(chan struct{}),
	}
	if l.cfg.Counts == nil {
		l.cfg.Counts = new(Counts)
	}
	l.setHello(hello)
	return l
}

// setHello keeps what the peer told of itself. Where it can be dialed is not for the hello to say: see Addr.
func (l *Link) setHello(h *clusterpb.Hello) {
	if h.Info == nil {
		h.Info = new(clusterpb.MemberInfo)
	}
	h.Info.ServiceAddr = l.Addr
	l.hello.Store(h)
}

// Hello returns what the peer last told of itself. It must not be changed.
func (l *Link) Hello() *clusterpb.Hello { return l.hello.Load() }

// RTT returns the round-trip time of the pings, smoothed; 0 before the first answer.
func (l *Link) RTT() time.Duration { return time.Duration(l.rtt.Load()) }

// Done is closed when the link has ended. Down may still be to come.
func (l *Link) Done() <-chan struct{} { return l.done }

// Finished is closed when Down has returned and the link's goroutines have ended.
func (l *Link) Finished() <-chan struct{} { return l.finished }

// Err returns why the link ended, or nil.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Queued returns how many frames wait to be sent, and their bytes.
func (l *Link) Queued() (frames, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.frames, l.out.bytes
}

// Send queues a frame; it copies it and never blocks. The error is ErrDown, ErrQueueFull or ErrFrameTooLarge.
func (l *Link) Send(f *Frame) error { return l.queue(f, l.cfg.QueueBytes, l.cfg.QueueFrames) }

// SendReserved queues a frame without which the peer would be left with a wrong picture of this node. There is room for them
// beyond the limits, for a quarter of what those allow; a link that has none left closes, with ErrQueueFull.
func (l *Link) SendReserved(f *Frame) error {
	err := l.queue(f, l.cfg.QueueBytes+l.cfg.QueueBytes/4, l.cfg.QueueFrames+l.cfg.QueueFrames/4)
	if err == ErrQueueFull {
		l.Close(err)
	}
	return err
}

// queue is Send, with so much room.
func (l *Link) queue(f *Frame, bytes, frames int) error {
	size := f.Size()
	if size > MaxFrame {
		return fmt.Errorf("%w: %d bytes, %d fit", ErrFrameTooLarge, size, MaxFrame)
	}
	l.mu.Lock()
	switch {
	case l.err != nil || l.leaving:
		l.mu.Unlock()
		return ErrDown
	case l.out.bytes+size > bytes || l.out.frames >= frames:
		l.mu.Unlock()
		return ErrQueueFull
	}
	l.out.add(f, size)
	l.mu.Unlock()
	l.signal()
	return nil
}

// Ping sends a ping and waits for its answer. It fails if the link or ctx ends before.
func (l *Link) Ping(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.started)
	l.lastPing = uint64(now) | 1
	l.ping = l.lastPing
	l.signal()
	for l.err == nil && l.answered < now {
		if l.ponged == nil {
			l.ponged = make(chan struct{})
		}
		ponged := l.ponged
		l.mu.Unlock()
		select {
		case <-ponged:
		case <-l.done:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return l.err
}

// SendHello queues a new hello. It has its place among the frames, and is queued even if the queue is full.
func (l *Link) SendHello(h *clusterpb.Hello) error {
	data, err := proto.Marshal(h)
	if err != nil {
		return err
	}
	l.force(&Frame{Kind: kindHello, Data: data})
	return nil
}

// Leave queues a goodbye behind the frames that wait: the peer ends the link when it gets there, and Send refuses
// from now on.
func (l *Link) Leave() {
	l.force(&Frame{Kind: kindBye})
}

// force queues a frame of the link's own.
func (l *Link) force(f *Frame) {
	l.mu.Lock()
	if l.err == nil && !l.leaving {
		l.out.add(f, f.Size())
		l.leaving = f.Kind == kindBye
	}
	l.mu.Unlock()
	l.signal()
}

// Close ends the link; frames that wait are dropped. Only the first error counts.
func (l *Link) Close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.leaving {
		err = ErrStopped
	}
	l.err = err
	l.out.drop()
	close(l.done)
}

// Run starts the link and returns when it has ended. The caller then ends the stream, which ends the goroutines that
// still read and write; Finished tells when.
func (l *Link) Run() {
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		defer wg.Done()
		l.write()
	}()
	go func() {
		defer wg.Done()
		defer func() {
			l.Close(errGoexit) // of no effect where read has returned: the link has ended then
			l.handler.Down(l, l.Err())
		}()
		l.handler.Up(l)
		l.read()
	}()
	go func() {
		wg.Wait()
		close(l.finished)
	}()
	l.watch()
}

// watch has pings sent, and ends the link when the peer leaves one unanswered.
func (l *Link) watch() {
	tick := time.NewTicker(l.cfg.Ping)
	defer tick.Stop()
	for {
		l.mu.Lock()
		now := time.Since(l.started)
		// The first ping that is unanswered is one Ping younger than the last that was answered. Half of one makes up for a
		// tick that comes early, so that this is seen at the tick that it is due at.
		if now-l.answered >= l.cfg.Dead+l.cfg.Ping/2 {
			l.mu.Unlock()
			l.Close(ErrSilent)
			return
		}
		l.lastPing = uint64(now) | 1 // never 0
		l.ping = l.lastPing
		l.mu.Unlock()
		l.signal()
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
	}
}

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
				yielder.Yield() // they may have more frames: a batch of many costs both nodes little more than one of a few
				continue
			case <-l.done:
				return
			}
		}
		if err := l.stream.SendMsg(&outbound{buf: b.buf}); err != nil {
			// The reader gets to know why the stream broke: here gRPC says no more than EOF.
			if err != io.EOF {
				l.Close(broken(err))
			}
			return
		}
		if b.bytes > 0 {
			l.mu.Lock()
			l.out.release(b)
			l.mu.Unlock()
			l.cfg.Counts.FramesOut.Add(int64(b.frames))
			l.cfg.Counts.BytesOut.Add(int64(b.bytes))
		}
	}
}

// next returns what is to be sent next: ping and pong go before the frames. Their batch counts no frames.
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

// runLength bounds how many frames the handler gets in one call.
const runLength = 512

// read hands frames to the handler until the stream or the link ends. It alone receives from the stream.
func (l *Link) read() {
	var in inbound
	defer in.free()
	var assembler assembler
	frames := make([]Frame, 0, 16)
	for {
		if err := l.stream.RecvMsg(&in); err != nil {
			l.Close(broken(err))
			return
		}
		var total, bytes int64
		for rest := in.frames; len(rest) > 0; {
			var f Frame
			var size int
			var err error
			if rest, size, err = assembler.next(rest, &f); err != nil {
				l.Close(err)
				return
			}
			if size == 0 {
				continue
			}
			if f.Kind != kindPing && f.Kind != kindPong {
				total++
				bytes += int64(size)
			}
			if f.Kind >= FirstKind {
				if frames = append(frames, f); len(frames) < runLength {
					continue
				}
			}
			frames = l.deliver(frames)
			if f.Kind < FirstKind && !l.control(&f) {
				return
			}
		}
		l.cfg.Counts.FramesIn.Add(total)
		l.cfg.Counts.BytesIn.Add(bytes)
		if frames = l.deliver(frames); l.ended() {
			return
		}
		in.free()
	}
}

func (l *Link) deliver(frames []Frame) []Frame {
	if len(frames) > 0 {
		l.handler.Received(l, frames)
		clear(frames)
	}
	return frames[:0]
}

func (l *Link) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// control acts on a frame of the link's own, and reports whether the link goes on.
func (l *Link) control(f *Frame) bool {
	switch f.Kind {
	case kindPing:
		l.mu.Lock()
		l.pong = f.ID
		l.mu.Unlock()
		l.signal()
	case kindPong:
		l.mu.Lock()
		now, sent := time.Since(l.started), time.Duration(f.ID)
		if f.ID <= l.lastPing && sent > l.answered {
			l.answered = sent
			l.measure(now - sent)
			if l.ponged != nil {
				close(l.ponged)
				l.ponged = nil
			}
		}
		l.mu.Unlock()
	case kindHello:
		h := new(clusterpb.Hello)
		if err := proto.Unmarshal(f.Data, h); err != nil {
			l.Close(fmt.Errorf("%w: hello: %v", ErrFrame, err))
			return false
		}
		l.setHello(h)
		l.handler.Changed(l)
	case kindBye:
		l.Close(ErrLeft)
		return false
	default:
		l.Close(fmt.Errorf("%w: kind %d", ErrFrame, f.Kind))
		return false
	}
	return true
}

// measure takes a round trip into account: the newest counts an eighth.
func (l *Link) measure(rtt time.Duration) {
	old := l.RTT()
	if old != 0 {
		rtt = old + (rtt-old)/8
	}
	l.rtt.Store(int64(max(rtt, 1)))
}

// broken says that the stream ended, and why.
func broken(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: it ended the stream", ErrDown)
	}
	return fmt.Errorf("%w: %s", ErrDown, status.Convert(err).Message())
}
