package relay

import (
	"errors"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file handles what a node sends to the clients of this gate.

// responses sends answers on to one client. The frames are those from the first on that answer requests of its session; n is
// their number.
func (pc *peerConn) responses(frames []link.Frame) (n int) {
	id := frames[0].Session
	for n = 1; n < len(frames) && frames[n].Kind == kindResponse && frames[n].Session == id; {
		n++
	}
	frames = frames[:n]
	pc.taken = pc.taken[:0]
	pc.mu.Lock()
	fs := pc.clients[id]
	if fs == nil {
		pc.mu.Unlock()
		pc.b.counts.late.Add(int64(n))
		return n
	}
	ran := 0
	for i := range frames {
		w, ok := fs.waiting.take(frames[i].ID)
		if !ok {
			w.id = 0
		}
		pc.taken = append(pc.taken, w)
		if frames[i].Flags&flagLater == 0 {
			ran++
		}
	}
	if ran > 0 {
		fs.share.Release(fs.client.Mailbox(), ran, 0)
	}
	pc.mu.Unlock()
	i := 0 // the next answer
	defer func() {
		if i < n { // a hook has ended this goroutine, and the link with it
			pc.untake(id, fs, pc.taken[i:])
		}
		clear(pc.taken)
	}()
	for together := true; i < n; {
		if together {
			var sent int
			if sent, together = pc.relayAnswers(fs.client, frames[i:], pc.taken[i:]); sent > 0 {
				i += sent
				continue
			}
		}
		if pc.taken[i].id == 0 {
			pc.b.counts.late.Add(1)
		} else {
			pc.response(fs.client, &frames[i], &pc.taken[i])
		}
		i++
	}
	return n
}

// untake makes requests wait for their answers again, before the others: the end of the link answers them.
func (pc *peerConn) untake(id int64, fs *forwardedSession, taken []waitingRequest) {
	var list []waitingRequest
	for _, w := range taken {
		if w.id != 0 {
			list = append(list, w)
		}
	}
	pc.mu.Lock()
	finished := pc.clients[id] != fs
	if !finished {
		fs.waiting = waitingRequests{list: append(list, fs.waiting.all()...)}
	}
	pc.mu.Unlock()
	if finished {
		for _, w := range list {
			endSpan(w.span, errUnanswered)
		}
	}
}

// relayAnswers sends the first answers on to a client, as far as nothing about them is special. taken holds their requests.
// It returns how many it has sent. ok is false if the client takes no answers together.
func (pc *peerConn) relayAnswers(c Client, frames []link.Frame, taken []waitingRequest) (sent int, ok bool) {
	list := pc.answers[:0]
	for i := range frames {
		f, w := &frames[i], &taken[i]
		if w.id == 0 || w.begun || w.span != nil || f.Flags&flagError != 0 {
			break
		}
		list = append(list, message.Message{})
		m := &list[i]
		m.Type, m.ID, m.Route, m.Data = message.Response, f.ID, w.route, f.Data
	}
	if len(list) == 0 {
		return 0, true
	}
	sent = c.RelayAnswers(list)
	clear(list)
	pc.answers = list
	return sent, sent > 0
}

// response sends the answer to a request on to its client.
func (pc *peerConn) response(c Client, f *link.Frame, w *waitingRequest) {
	if f.Flags&flagError != 0 {
		e := errorOf(f.Data)
		c.RelayError(f.ID, w.route, e, w.begun)
		endSpan(w.span, e)
		return
	}
	m := &pc.message // set field by field, because a composite literal is made elsewhere and copied
	m.Type, m.ID, m.Route, m.Data, m.Err = message.Response, f.ID, w.route, f.Data, false
	err := c.Relay(m, w.begun)
	if err != nil {
		pc.b.counts.lost.Add(1)
		if !errors.Is(err, session.ErrBrokenPipe) {
			c.RelayError(f.ID, w.route, pc.b.Dispatcher.Public(err), w.begun)
		}
	}
	endSpan(w.span, err)
}

// push sends a push on to the client.
func (pc *peerConn) push(f *link.Frame) {
	c := pc.client(f.Session)
	if c == nil {
		return
	}
	if r, ok := c.(replaceable); ok && f.Flags&flagReplaceable != 0 {
		if r.PushReplaceable(f.Route, f.Data) != nil {
			pc.b.counts.lost.Add(1)
		}
		pc.reportQueued(f.Session, r)
		return
	}
	pc.relayPush(c, f)
}

// relayPush sends a push to a client, and counts it if it is lost.
func (pc *peerConn) relayPush(c Client, f *link.Frame) {
	pc.message = message.Message{Type: message.Push, Route: f.Route, Data: f.Data}
	if c.Relay(&pc.message, false) != nil {
		pc.b.counts.lost.Add(1)
	}
}

// multicast sends a push on to many clients.
func (pc *peerConn) multicast(f *link.Frame) error {
	pc.members = pc.members[:0]
	pc.mu.Lock()
	err := parseIDs(f.Meta, func(id int64) {
		if fs := pc.clients[id]; fs != nil {
			pc.members = append(pc.members, fs.client)
		}
	})
	pc.mu.Unlock()
	pc.b.counts.multicasts.Add(1)
	pc.b.Gate.Multicast(pc.members, f.Route, f.Data)
	clear(pc.members)
	return err
}

// close closes or kicks a client.
func (pc *peerConn) close(f *link.Frame) {
	c := pc.client(f.Session)
	switch {
	case c == nil:
	case f.Kind == kindKick:
		_ = c.KickFor(session.ErrKicked, string(f.Data))
	default:
		_ = c.Close()
	}
}

// done handles an acknowledgment: messages of a client have run.
func (pc *peerConn) done(f *link.Frame) error {
	rd := reader{b: f.Meta}
	size := uint64(0)
	if len(f.Meta) > 0 {
		size = rd.uvarint()
	}
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if fs := pc.clients[f.Session]; fs != nil && !rd.fault {
		fs.share.Release(fs.client.Mailbox(), int(min(f.ID, 1<<30)), int(min(size, 1<<30)))
	}
	return rd.err("bytes")
}
