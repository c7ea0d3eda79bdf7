package agent

import (
	"errors"
	"runtime"
	"sync"

	"github.com/lonng/nano/internal/netpoll"
	"github.com/lonng/nano/internal/packet"
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
	if c.hub.parking.start(c.hub) == nil {
		return false
	}
	c.freeReader()
	if c.arm() {
		return true
	}
	c.in = newReader(c)
	return false
}

// rest acknowledges all accepted packets of a client with resume, and frees what its
// session needs only while packets are not acknowledged.
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
	r.rest()
}

// arm has the poller report when the socket is readable. It reports false if the caller
// still owns the reading side.
func (c *Conn) arm() bool {
	p := c.hub.parking.start(c.hub)
	if p == nil {
		return false
	}
	id := c.agent.Load().id
	c.flags.set(flagParked) // before an event can come
	if p.Arm(c.raw, id) == nil {
		return true
	}
	return !c.flags.clear(flagParked) // false unless another goroutine has taken it meanwhile
}

// unpark starts a reader if the connection is parked.
func (c *Conn) unpark() {
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

// closeSocket closes the socket without waiting. If the connection is parked it starts a
// reader, which ends the connection: nothing is reported for a closed socket.
func (c *Conn) closeSocket() {
	closeNow(c.socket)
	c.unpark()
}

// unparker takes what comes from parked connections. All but the hub belongs to the
// goroutine of the poller.
type unparker struct {
	hub    *Hub
	agents []*Agent
	idle   []*Conn // those that have sent heartbeats alone

	buf  *[readSize]byte
	n    int
	err  error
	read func(fd uintptr) // bound once
}

// ready is called with the ids of sessions whose connections have become readable. First
// it reads from all of them, so that one that wakes waits for no more than that.
func (u *unparker) ready(ids []int64) {
	if u.read == nil {
		u.read = u.readReady
		u.buf = readBuffers.Get().(*[readSize]byte)
	}
	h := u.hub
	h.mu.Lock()
	for _, id := range ids {
		if a := h.agents[id]; a != nil {
			u.agents = append(u.agents, a)
		}
	}
	h.mu.Unlock()
	woken := false
	for _, a := range u.agents {
		a.out.mu.Lock()
		c := a.out.conn
		a.out.mu.Unlock()
		if c == nil || !c.flags.clear(flagParked) {
			continue // its reader runs, or the event is that of a connection before
		}
		if u.take(c) {
			u.idle = append(u.idle, c)
		} else {
			woken = true
		}
	}
	if woken && len(u.idle) > 0 {
		runtime.Gosched() // with one processor the readers run now
	}
	for _, c := range u.idle {
		if !c.arm() {
			c.startReader(nil)
		}
	}
	clear(u.agents)
	clear(u.idle)
	u.agents, u.idle = u.agents[:0], u.idle[:0]
}

// take reads from a connection once. It reports whether there was nothing but heartbeats,
// which it has handled. Otherwise it has started a reader.
func (u *unparker) take(c *Conn) bool {
	u.n, u.err = 0, nil
	if err := c.raw.Control(u.read); err != nil || u.err != nil {
		c.startReader(nil) // it finds the same
		return false
	}
	if u.n == 0 { // the event was not for this connection
		return true
	}
	b := u.buf[:u.n]
	if !c.onlyHeartbeats(b) {
		c.in = newReader(c)
		c.in.buf = u.buf
		c.startReader(b)
		u.buf = readBuffers.Get().(*[readSize]byte)
		return false
	}
	c.in = newReader(c)
	c.consume(b, 0)
	if !c.atRest() {
		c.startReader(nil)
		return false
	}
	c.rest()
	c.freeReader()
	return true
}

// readReady reads once. An end of the stream is an error.
func (u *unparker) readReady(fd uintptr) {
	n, again, err := rawRead(fd, u.buf[:])
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
