package agent

import (
	"errors"
	"runtime"
	"sync"

	"github.com/lonng/nano/internal/netpoll"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/rawio"
	"github.com/lonng/nano/internal/wsframe"
)

// A parked connection has no goroutine: the hub's poller watches its socket. It takes
// heartbeats itself, and starts a reader for anything else.
//
// The goroutine that clears flagParked owns what otherwise belongs to the reader.

// parking is the poller of a hub, which starts with the first parked connection.
type parking struct {
	mu     sync.Mutex
	poller *netpoll.Poller // nil until it is needed; mu guards it and what follows
	off    bool            // there is no poller, or no more
}

// start returns the poller. It is nil if there is none in this build, if the system has
// refused it, or after stop.
func (p *parking) start(h *Hub) *netpoll.Poller {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poller != nil || p.off {
		return p.poller
	}
	poller, err := netpoll.New((&unparker{hub: h}).ready)
	if err != nil {
		p.off = true
		if !errors.Is(err, errors.ErrUnsupported) {
			h.Log.Warn("nano: idle connections keep a goroutine", "error", err)
		}
		return nil
	}
	p.poller = poller
	return poller
}

// stop ends the poller and waits for it. Parked connections are then read no more, but
// closing them has an effect.
func (p *parking) stop() {
	p.mu.Lock()
	poller := p.poller
	p.poller, p.off = nil, true
	p.mu.Unlock()
	if poller != nil {
		poller.Close()
	}
}

// park leaves the connection to the poller. It reports false if that is not possible: the
// caller still owns the reading side.
func (c *Conn) park() bool {
	if !c.atRest() {
		return false
	}
	c.rest()
	p := c.hub.parking.start(c.hub)
	if p == nil {
		return false
	}
	c.freeReader()
	if c.watch(p) {
		return true
	}
	c.in = newReader(c)
	return false
}

// rest acknowledges all accepted packets of a client with resume, and frees what its
// session needs only while packets are not acknowledged. The wheel also calls it, because
// connections with TLS and carried ones are never parked.
func (c *Conn) rest() {
	if !c.flags.has(flagResume) {
		return
	}
	o := &c.agent.Load().out
	r := o.resume
	if r == nil {
		return
	}
	c.acknowledge(r)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn == c {
		o.rest()
	}
}

// watch makes the poller report when bytes arrive. It returns false if the caller still
// owns the reading side.
func (c *Conn) watch(p *netpoll.Poller) bool {
	id := c.agent.Load().id
	c.flags.set(flagParked) // before an event can come
	if p.Watch(c.raw, id) == nil {
		return true
	}
	return !c.flags.clear(flagParked) // false unless another goroutine has taken it meanwhile
}

// socketClosed is called after a goroutine other than the reader's has closed the socket,
// for which nothing is reported. If the connection is parked it starts a reader, which ends
// the connection.
func (c *Conn) socketClosed() {
	c.flags.set(flagSocketClosed)
	if c.flags.clear(flagParked) {
		c.startReader(nil)
	}
}

// startReader starts a goroutine that reads from a connection that was parked, and that
// begins with rest. The caller owns the reading side.
func (c *Conn) startReader(rest []byte) {
	if c.in == nil {
		c.in = newReader(c)
	}
	c.flags.set(flagActive)
	go c.read(rest)
	c.hub.wheel.hasten(c, quietTime)
}

// closeSocket closes the socket without waiting.
func (c *Conn) closeSocket() {
	closeNow(c.socket)
	c.socketClosed()
}

// unparker takes what comes from parked connections. All but the hub belongs to the
// goroutine of the poller.
type unparker struct {
	hub    *Hub
	poller *netpoll.Poller
	agents []*Agent
	woken  bool // a reader was started

	buf  *[readSize]byte
	n    int
	err  error
	read func(fd uintptr) // bound once
}

// ready is called with the ids of sessions whose connections have become readable.
func (u *unparker) ready(p *netpoll.Poller, events []netpoll.Event) {
	if u.read == nil {
		u.read, u.poller = u.readReady, p
		u.buf = readBuffers.Get().(*[readSize]byte)
	}
	u.agents = u.agents[:0]
	h := u.hub
	h.mu.Lock()
	for _, e := range events {
		u.agents = append(u.agents, h.agents[e.ID])
	}
	h.mu.Unlock()
	for i, a := range u.agents {
		if a == nil {
			continue
		}
		a.out.mu.Lock()
		c := a.out.conn
		a.out.mu.Unlock()
		if c != nil && c.flags.clear(flagParked) { // otherwise its reader runs, or the event is that of a connection before
			u.take(c, events[i].Ended)
		}
	}
	clear(u.agents)
	if u.woken {
		u.woken = false
		runtime.Gosched() // with one processor the readers run now
	}
}

// take reads from a connection. It handles heartbeats, and starts a reader for anything
// else.
func (u *unparker) take(c *Conn, ended bool) {
	if ended {
		u.wake(c, nil)
		return
	}
	u.n, u.err = 0, nil
	if err := c.raw.Control(u.read); err != nil || u.err != nil {
		u.wake(c, nil) // it finds the same
		return
	}
	if u.n > 0 { // otherwise the event was not for this connection
		b := u.buf[:u.n]
		if !c.onlyHeartbeats(b) {
			c.in = newReader(c)
			c.in.buf = u.buf
			u.buf = readBuffers.Get().(*[readSize]byte)
			u.wake(c, b)
			return
		}
		c.in = newReader(c)
		c.consume(b, 0)
		if !c.atRest() {
			u.wake(c, nil)
			return
		}
		c.rest()
		c.freeReader()
	}
	c.flags.set(flagParked)
	if c.flags.has(flagSocketClosed) && c.flags.clear(flagParked) { // closed meanwhile
		c.startReader(nil)
	}
}

// wake starts a reader, which begins with rest.
func (u *unparker) wake(c *Conn, rest []byte) {
	_ = u.poller.Unwatch(c.raw) // fails if the socket is closed, which nothing watches
	c.startReader(rest)
	u.woken = true
}

// readReady reads once. An end of the stream is an error.
func (u *unparker) readReady(fd uintptr) {
	n, again, err := rawio.Read(fd, u.buf[:])
	if n == 0 && !again && err == nil {
		err = errEnded
	}
	u.n, u.err = n, err
}

var errEnded = errors.New("agent: the stream has ended")

// maxHeartbeats is up to how many bytes the poller looks for heartbeats in.
const maxHeartbeats = 64

// onlyHeartbeats reports whether b is whole heartbeats, for which there is room in the
// rates of the session: to handle them takes no time.
func (c *Conn) onlyHeartbeats(b []byte) bool {
	if len(b) > maxHeartbeats || c.agent.Load().flags.has(flagClosed) || c.meter != nil && !c.meter.hasRoom(max(1, len(b)/packet.HeadLength), len(b)) {
		return false
	}
	if !c.flags.has(flagFramed) {
		return wholeHeartbeats(b)
	}
	var copied [maxHeartbeats]byte // the decoder unmasks in place
	var d wsframe.Decoder
	b = copied[:copy(copied[:], b)]
	for len(b) > 0 {
		f, n, err := d.Next(&clientFrames, b)
		if err != nil || f.Op != wsframe.Binary || !f.End || !wholeHeartbeats(f.Payload) {
			return false
		}
		b = b[n:]
	}
	return true
}

// wholeHeartbeats reports whether b is one heartbeat or several and nothing else.
func wholeHeartbeats(b []byte) bool {
	for len(b) >= packet.HeadLength {
		t, size := packet.Header(b)
		if t != packet.Heartbeat || len(b) < packet.HeadLength+size {
			return false
		}
		if b = b[packet.HeadLength+size:]; len(b) == 0 {
			return true
		}
	}
	return false
}
