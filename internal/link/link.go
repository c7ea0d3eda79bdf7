// Package link implements the data stream of a pair of nodes: frames in order in both directions, written in batches, and
// pings that detect whether the peer answers. It does not depend on which node dials or on the contents of the frames.
package link

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

var (
	// ErrDown is returned when the link is down. Frames are delivered at most once: a frame that was sent before may have
	// arrived or not, and is not sent again.
	ErrDown = errors.New("cluster: member is down")
	// ErrQueueFull is returned when the queue is full, because the peer reads too slowly. The frame was not queued.
	ErrQueueFull = errors.New("cluster: queue to the member is full")
)

// Reasons why a link ended, for Handler.Down. A broken stream is ErrDown.
var (
	ErrLeft    = errors.New("cluster: member has left")
	ErrSilent  = errors.New("cluster: member does not answer pings")
	ErrStopped = errors.New("cluster: this node has stopped")
	// errGoexit ends a link whose goroutine was ended by a hook or a serializer of the program.
	errGoexit = errors.New("cluster: the goroutine of the link was ended with runtime.Goexit")
)

// Config holds the limits of links.
type Config struct {
	Ping        time.Duration // between two pings
	Dead        time.Duration // the longest time without an answer to a ping before the link ends
	QueueBytes  int           // bytes of frames that may wait to be sent
	QueueFrames int           // frames that may wait to be sent
	Counts      *Counts       // shared with other links; nil for counters of its own
}

// Counts counts the frames of links, except pings and pongs.
type Counts struct {
	FramesIn, FramesOut atomic.Int64
	BytesIn, BytesOut   atomic.Int64 // bytes of frames
}

// DefaultConfig returns the limits of a node: a ping every 500 ms, dead after 2 s, 32 MiB and 262,144 frames.
func DefaultConfig() Config {
	return Config{Ping: 500 * time.Millisecond, Dead: 2 * time.Second, QueueBytes: 32 << 20, QueueFrames: 1 << 18}
}

// Stream is the part of a gRPC stream that a link uses. Its codec is Codec.
type Stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Handler receives what happens on a link. All calls for one link come from one goroutine: Up, then any number of Received
// and Changed, then Down. A Handler must not block, because this node does not answer pings meanwhile, and a peer without an
// answer ends the link.
type Handler interface {
	// Up is called before the first frame.
	Up(l *Link)
	// Received is called with frames in the order in which the peer sent them. The slice and the bytes of the frames (Meta,
	// Data) are valid until it returns.
	Received(l *Link, frames []Frame)
	// Changed is called when the peer has sent a new hello.
	Changed(l *Link)
	// Down is called when the link has ended, with the reason. It is the last call.
	Down(l *Link, err error)
}

// Link is one end of the stream to a peer. Its methods may be called concurrently, and by its Handler.
type Link struct {
	Addr  string // address of the peer
	Epoch uint64 // epoch of the peer

	// Owner belongs to the Handler, which may set it in Up.
	Owner any

	cfg     Config
	stream  Stream
	handler Handler
	started time.Time // the origin of the clock of pings
	hello   atomic.Pointer[clusterpb.Hello]
	rtt     atomic.Int64

	wake     chan struct{} // holds a token if there is something to write
	done     chan struct{} // closed by Close
	finished chan struct{} // closed after Down

	mu       sync.Mutex // guards the fields below
	out      queue
	room     chan struct{} // closed when bulk frames may fit again, or the link has ended; nil if no goroutine waits
	ping     uint64        // ping that is sent before the batches; 0 for none
	pong     uint64        // likewise; the answer to the peer's last ping also answers earlier pings
	lastPing uint64        // clock value in the newest ping
	answered time.Duration // clock value in the newest ping that was answered
	ponged   chan struct{} // closed at the next answer; nil if no goroutine waits for it
	leaving  bool          // a bye is queued, which has to be the last frame
	err      error         // why the link ended; set once
}

// New returns the link of a stream whose handshake is complete. It does nothing until Run.
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

// setHello stores the peer's hello. The address in the hello is replaced by Addr, which the handshake has proved.
func (l *Link) setHello(h *clusterpb.Hello) {
	if h.Info == nil {
		h.Info = new(clusterpb.MemberInfo)
	}
	h.Info.ServiceAddr = l.Addr
	l.hello.Store(h)
}

// Hello returns the peer's last hello. It must not be changed.
func (l *Link) Hello() *clusterpb.Hello { return l.hello.Load() }

// RTT returns the smoothed round-trip time of the pings; 0 before the first answer.
func (l *Link) RTT() time.Duration { return time.Duration(l.rtt.Load()) }

// Done is closed when the link has ended. Handler.Down may be called later.
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

// Send queues a copy of a frame and never blocks. The error is ErrDown, ErrQueueFull or ErrFrameTooLarge.
func (l *Link) Send(f *Frame) error { return l.queue(f, l.cfg.QueueBytes, l.cfg.QueueFrames) }

// SendReserved queues a frame that keeps the state of the peer correct. Such frames have a reserved part of the queue, a
// quarter of its limits. If the reserved part is full too, the link closes with ErrQueueFull.
func (l *Link) SendReserved(f *Frame) error {
	err := l.queue(f, l.cfg.QueueBytes+l.cfg.QueueBytes/4, l.cfg.QueueFrames+l.cfg.QueueFrames/4)
	if err == ErrQueueFull {
		l.Close(err)
	}
	return err
}

// bulkShare is the part of the queue that SendBulk may fill: an eighth.
const bulkShare = 8

// SendBulk queues a copy of a frame of bulk data, whose sender can wait. It leaves most of the queue to other frames, so
// that bulk data neither fills it nor delays them for long. If the frame does not fit now, SendBulk returns a channel that
// is closed when the caller may try again. The frame has to be smaller than an eighth of the queue. The error is ErrDown or
// ErrFrameTooLarge.
func (l *Link) SendBulk(f *Frame) (wait <-chan struct{}, err error) {
	err = l.queue(f, l.cfg.QueueBytes/bulkShare, l.cfg.QueueFrames/bulkShare)
	if err != ErrQueueFull {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, ErrDown
	}
	if l.room == nil {
		l.room = make(chan struct{})
	}
	room := l.room
	l.makeRoom()
	return room, nil
}

// makeRoom wakes the senders of bulk frames if half of their part of the queue is free. The caller holds mu.
func (l *Link) makeRoom() {
	if l.room != nil && l.out.bytes <= l.cfg.QueueBytes/bulkShare/2 && l.out.frames <= l.cfg.QueueFrames/bulkShare/2 {
		close(l.room)
		l.room = nil
	}
}

// queue is Send with the given limits.
func (l *Link) queue(f *Frame, bytes, frames int) error {
	body := f.body()
	size := sizeOf(body)
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
	l.out.add(f, body)
	l.mu.Unlock()
	l.signal()
	return nil
}

// SendHello queues a new hello behind the frames that wait, even if the queue is full.
func (l *Link) SendHello(h *clusterpb.Hello) error {
	data, err := proto.Marshal(h)
	if err != nil {
		return err
	}
	l.force(&Frame{Kind: kindHello, Data: data})
	return nil
}

// Leave queues a bye behind the frames that wait. The peer ends the link when it reads the bye. Send returns ErrDown from now
// on.
func (l *Link) Leave() {
	l.force(&Frame{Kind: kindBye})
}

// force queues a frame of the link's own.
func (l *Link) force(f *Frame) {
	l.mu.Lock()
	if l.err == nil && !l.leaving {
		l.out.add(f, f.body())
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
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	close(l.done)
}

// Run starts the link and returns when it has ended. The caller then ends the stream, which ends the goroutines that still
// read and write. After that Finished is closed.
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
			l.Close(errGoexit) // has no effect if read has returned, because the link has ended then
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

// runLength bounds the frames of one call of the handler.
const runLength = 512

// read passes frames to the handler until the stream or the link ends. It alone receives from the stream.
func (l *Link) read() {
	var in inbound
	defer in.free()
	var assembler assembler
	frames := make([]Frame, 0, 16)
	kept := 0 // frames of the last message that are still in the array
	for {
		if err := l.stream.RecvMsg(&in); err != nil {
			l.Close(broken(err))
			return
		}
		var total, bytes int64
		most, large := 0, len(in.frames) > largeBatch
		for rest := in.frames; len(rest) > 0; {
			// The frame is decoded in its place: copying it would take as long.
			n := len(frames)
			if n == cap(frames) {
				frames = slices.Grow(frames, 1)
			}
			f := &frames[:n+1][n]
			var size int
			var err error
			if rest, size, err = assembler.next(rest, f); err != nil {
				l.Close(err)
				return
			}
			most = max(most, n+1)
			if size == 0 {
				continue
			}
			if f.Kind != kindPing && f.Kind != kindPong {
				total++
				bytes += int64(size)
				large = large || size > largeBatch
			}
			if f.Kind >= FirstKind {
				if frames = frames[:n+1]; n+1 == runLength {
					frames = l.deliver(frames)
				}
				continue
			}
			control := *f
			frames = l.deliver(frames)
			if !l.control(&control) {
				return
			}
		}
		l.cfg.Counts.FramesIn.Add(total)
		l.cfg.Counts.BytesIn.Add(bytes)
		if frames = l.deliver(frames); l.ended() {
			return
		}
		// The next message overwrites the frames of this one, which is cheaper than clearing them. So at most one
		// message is kept, and only if its buffer is from the pool.
		if large {
			most, kept = 0, max(most, kept)
		}
		if most < kept {
			clear(frames[most:kept])
		}
		kept = most
		in.free()
	}
}

func (l *Link) deliver(frames []Frame) []Frame {
	if len(frames) > 0 {
		l.handler.Received(l, frames)
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

// control handles a frame of the link itself, and reports whether the link continues.
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

// broken returns the error of a link whose stream ended with err.
func broken(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: it has ended the stream", ErrDown)
	}
	return fmt.Errorf("%w: %s", ErrDown, status.Convert(err).Message())
}
