package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/serialize"
)

const (
	// linger bounds how long a connection that is being closed may still send what is queued, and see the server
	// close its side.
	linger = 2 * time.Second
	// readBuffer is the size that a reader starts with, in bytes; it grows for a packet that does not fit.
	readBuffer = 4 << 10
)

// transport is a connection as a stream of bytes. Close ends reads and writes that are under way.
type transport = io.ReadWriteCloser

// link is one connection: its reader, its writer, and the calls that wait for it.
type link struct {
	client *Client
	conn   transport
	out    *outbox
	born   time.Time
	heard  atomic.Int64  // when bytes came last, nanoseconds after born
	ready  chan struct{} // closed by the reader when the handshake is complete
	broken chan struct{} // closed when err is set
	wg     sync.WaitGroup

	writing atomic.Bool // the writer has taken bytes that are not written yet

	// Set by the reader before ready is closed and before client.adopt, and fixed from then on.
	shaken     bool
	dict       *message.Dictionary
	serializer serialize.Serializer // nil: the server speaks one that is not known
	speaks     string               // what the server calls it
	interval   time.Duration        // of the server's heartbeats; 0: it sends none

	mu      sync.Mutex // guards what follows
	pending map[uint64]*call
	err     error // why the link broke
}

func newLink(c *Client, conn transport) *link {
	return &link{
		client:  c,
		conn:    conn,
		out:     newOutbox(c.opts.sendBuffer),
		born:    time.Now(),
		ready:   make(chan struct{}),
		broken:  make(chan struct{}),
		pending: map[uint64]*call{},
	}
}

// start starts the reader and the writer, and sends the handshake.
func (l *link) start(hello []byte) {
	if err := l.control(packet.Handshake, hello); err != nil {
		l.fail(fmt.Errorf("client: handshake: %w", err))
		return
	}
	l.wg.Go(func() { l.fail(l.receive()) })
	l.wg.Go(l.write)
}

// watch keeps the connection alive and returns when its goroutines have ended: because it broke, or because the
// client closes it; the error is then that of Close.
func (l *link) watch() (err error) {
	var beats, silence <-chan time.Time
	every, patience := l.interval, l.interval*5/2
	if own := l.client.opts.heartbeat; own > 0 {
		every = own
	} else if own < 0 {
		every, patience = 0, 0
	}
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		beats = ticker.C
	}
	var timer *time.Timer
	if patience > 0 {
		timer = time.NewTimer(patience - l.silent())
		defer timer.Stop()
		silence = timer.C
	}
	for closing := l.client.ctx.Done(); ; {
		select {
		case <-beats:
			l.beat()
		case <-silence:
			left := patience - l.silent()
			if left <= 0 {
				l.fail(ErrHeartbeat)
			} else {
				timer.Reset(left)
			}
		case <-closing:
			return l.close()
		case <-l.broken:
			l.wg.Wait()
			return nil
		}
	}
}

// silent returns how long nothing has come from the server.
func (l *link) silent() time.Duration {
	return time.Since(l.born) - time.Duration(l.heard.Load())
}

// beat sends a heartbeat, unless there are bytes to send anyway.
func (l *link) beat() {
	// An outbox that is finished needs no heartbeat.
	_, _ = l.out.put(true, func(b []byte) ([]byte, error) {
		if len(b) > 0 {
			return b, nil
		}
		return codec.Append(b, packet.Heartbeat, nil)
	})
}

// control sends a packet that waits for no room.
func (l *link) control(t packet.Type, body []byte) error {
	_, err := l.out.put(true, func(b []byte) ([]byte, error) { return codec.Append(b, t, body) })
	return err
}

// close sends what is queued and ends the connection in order. It returns when the link's goroutines have ended.
func (l *link) close() error {
	l.reject(ErrClosed)
	l.out.finish()
	late := time.NewTimer(linger)
	defer late.Stop()
	select {
	case <-l.broken: // the server closed its side, too
	case <-late.C:
	}
	unsent := l.writing.Load() || !l.out.empty()
	l.fail(ErrClosed)
	l.wg.Wait()
	if unsent {
		return errUnsent
	}
	return nil
}

// write sends what is in the outbox until the link breaks, or until the outbox is finished and empty.
func (l *link) write() {
	var written []byte
	for {
		b, finished := l.out.take(written)
		switch {
		case len(b) > 0:
			l.writing.Store(true)
			if _, err := l.conn.Write(b); err != nil {
				l.writeFailed(err)
				return
			}
			l.writing.Store(false)
			written = b
			continue
		case finished:
			l.closeWrite()
			return
		}
		written = nil
		select {
		case <-l.out.wake:
		case <-l.broken:
			return
		}
	}
}

// writeFailed breaks the link, but leaves the word to the reader, if it has any: the server may have said why it
// closed, a kick above all.
func (l *link) writeFailed(err error) {
	late := time.NewTimer(linger)
	defer late.Stop()
	select {
	case <-l.broken:
	case <-late.C:
		l.fail(lost(err))
	}
}

// closeWrite tells the server that nothing follows. It answers by closing its side, so that nothing sent before is
// lost to a reset.
func (l *link) closeWrite() {
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		l.fail(ErrClosed)
	}
}

// fail breaks the link, the first time it is called, and fails the calls that wait for it.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = err
	}
	l.mu.Unlock()
	if !first {
		return
	}
	close(l.broken)
	l.reject(disconnected(err))
	abort(l.conn)
}

// abort closes a connection without the farewells of TLS and WebSocket, which may block.
func abort(conn transport) {
	switch c := conn.(type) {
	case *webSocket:
		abort(c.NetConn())
	case *tls.Conn:
		abort(c.NetConn())
	default:
		_ = conn.Close() // it is given up whatever comes of it
	}
}

// reason returns why the link broke.
func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// register adds a call to those that wait for an answer.
func (l *link) register(p *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return disconnected(l.err)
	}
	l.pending[p.id] = p
	return nil
}

// take removes a call from those that wait, and makes the caller the one who resolves it. It returns nil where
// nobody waits for id.
func (l *link) take(id uint64) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pending[id]
	delete(l.pending, id)
	return p
}

// reject fails every call that waits, in the order they were made.
func (l *link) reject(err error) {
	l.mu.Lock()
	calls := slices.Collect(maps.Values(l.pending))
	clear(l.pending)
	l.mu.Unlock()
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Compare(a.id, b.id) })
	for _, p := range calls {
		p.resolve(l.client.inbox, nil, err)
	}
}

// encode makes the message that carries in, as the outbound hooks leave it.
func (l *link) encode(t Type, id uint64, route string, in any) (*Message, error) {
	m := &Message{Type: t, ID: id, Route: route, link: l}
	hooks := l.client.opts.outbound
	var err error
	if raw, ok := in.(*[]byte); ok {
		in = *raw
	}
	switch in := in.(type) {
	case nil:
	case []byte:
		m.Data = in
		if len(hooks) > 0 {
			m.Data = bytes.Clone(in) // a hook may write over it
		}
	default:
		if l.serializer == nil {
			return nil, l.noSerializer()
		}
		if m.Data, err = l.serializer.Marshal(in); err != nil {
			return nil, err
		}
	}
	for _, hook := range hooks {
		if err := hook(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (l *link) noSerializer() error {
	return fmt.Errorf("%w: the server speaks %q, set WithSerializer", ErrNoSerializer, l.speaks)
}

// send queues a message. It waits for room until ctx ends; where ctx has no deadline, the request timeout counts.
func (l *link) send(ctx context.Context, m *Message) error {
	wire := message.Message{Type: m.Type, ID: m.ID, Route: m.Route, Data: m.Data}
	encode := func(b []byte) ([]byte, error) { return codec.AppendMessage(b, &wire, l.dict) }
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.reason(); err != nil {
		return disconnected(err)
	}
	room, err := l.out.put(false, encode)
	if room == nil {
		return err
	}
	ctx, cancel := l.client.deadline(ctx)
	defer cancel()
	for room != nil {
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("the send buffer is full: %w", ctx.Err())
		case <-l.broken:
			return disconnected(l.reason())
		case <-l.client.ctx.Done():
			return ErrClosed
		}
		room, err = l.out.put(false, encode)
	}
	return err
}

// receive reads packets and acts on them until there are no more. It returns why.
func (l *link) receive() error {
	buf := make([]byte, 0, readBuffer)
	for {
		n, readErr := l.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			l.heard.Store(int64(time.Since(l.born)))
		}
		rest := buf
		for {
			t, body, n, _, err := codec.Next(rest, l.client.opts.packetLimit)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrProtocol, err)
			}
			if n == 0 {
				break
			}
			if err := l.packet(t, body); err != nil {
				return err
			}
			rest = rest[n:]
		}
		if readErr == io.EOF && len(rest) > 0 {
			readErr = io.ErrUnexpectedEOF
		}
		if readErr != nil {
			return lost(readErr)
		}
		switch {
		case len(rest) == 0 && cap(buf) > keepBuffer:
			buf = make([]byte, 0, readBuffer)
		case len(rest) == cap(buf), len(buf) == cap(buf) && cap(buf) < keepBuffer:
			// Doubling as bytes arrive: an announced length alone costs nothing.
			buf = append(make([]byte, 0, 2*cap(buf)), rest...)
		default:
			buf = buf[:copy(buf, rest)]
		}
	}
}

// packet acts on one packet. body is valid until it returns.
func (l *link) packet(t packet.Type, body []byte) error {
	switch {
	case t == packet.Kick:
		return kicked(body)
	case t == packet.Heartbeat:
		return nil
	case t == packet.Handshake && !l.shaken:
		return l.accept(body)
	case t == packet.Data && l.shaken:
		return l.message(body)
	case l.shaken:
		return fmt.Errorf("%w: %v packet after the handshake", ErrProtocol, t)
	}
	return fmt.Errorf("%w: %v packet before the handshake", ErrProtocol, t)
}

// message acts on the message of a data packet.
func (l *link) message(body []byte) error {
	h, err := message.Parse(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	switch h.Type {
	case Response:
		l.response(h)
		return nil
	case Push:
		return l.push(h)
	}
	return fmt.Errorf("%w: %v from the server", ErrProtocol, h.Type)
}

func (l *link) response(h message.Header) {
	p := l.take(h.ID)
	if p == nil && len(l.client.opts.inbound) == 0 {
		l.client.opts.logger.Debug("client: response dropped: nobody waits for it", "id", h.ID)
		return
	}
	m := &Message{Type: Response, ID: h.ID, Data: bytes.Clone(h.Body), Err: h.Err, link: l}
	if p != nil {
		m.Route = p.route
	}
	err := l.inbound(h, m)
	switch {
	case p == nil:
	case err != nil:
		p.resolve(l.client.inbox, nil, err)
	case m.Err:
		p.resolve(l.client.inbox, nil, l.answerError(m.Data))
	default:
		p.resolve(l.client.inbox, m, nil)
	}
}

func (l *link) push(h message.Header) error {
	route, known := string(h.Route), true
	if h.Compressed {
		route, known = l.dict.Route(h.Code)
	}
	if !known {
		l.client.opts.logger.Warn("client: push dropped: its route code is not in the dictionary", "code", h.Code)
		return nil
	}
	m := &Message{Type: Push, Route: route, Data: bytes.Clone(h.Body), link: l}
	if err := l.inbound(h, m); err != nil {
		l.client.opts.logger.Warn("client: push dropped", "route", route, "error", err)
		return nil
	}
	if !l.client.inbox.push(m) {
		return ErrSlowHandlers
	}
	return nil
}

// inbound runs the inbound hooks.
func (l *link) inbound(h message.Header, m *Message) error {
	if h.Strange {
		return fmt.Errorf("%w: message with flags that are not known", ErrProtocol)
	}
	for _, hook := range l.client.opts.inbound {
		if err := hook(m); err != nil {
			return err
		}
	}
	return nil
}
