package relay

import (
	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// forwardedSession is the session of a client of this node that a peer knows. peerConn.mu guards it.
type forwardedSession struct {
	client  Client
	waiting []waitingRequest // the requests that the peer has not answered
	share   flow.Share       // messages that the peer has not acknowledged
	will    *message.Message // the client gets it when the peer goes down; nil for none
	queued  int              // steps of queueStep that were reported; see queueWatch
}

// waitingRequest is a request without an answer.
type waitingRequest struct {
	id    uint64
	route string
	span  trace.Span // ends with the answer; nil for none
	begun bool       // it has passed through the client's mailbox
}

// maxWaiting bounds the requests of one session without an answer from one node.
const maxWaiting = 1024

// take removes a request. It reports false if the session does not wait for its answer.
func (fs *forwardedSession) take(id uint64) (w waitingRequest, ok bool) {
	for i, w := range fs.waiting {
		if w.id == id {
			last := len(fs.waiting) - 1
			copy(fs.waiting[i:], fs.waiting[i+1:])
			fs.waiting[last] = waitingRequest{}
			fs.waiting = fs.waiting[:last]
			return w, true
		}
	}
	return waitingRequest{}, false
}

// client returns the client of this node whose session, with the given id, the peer knows. It returns nil if there is none.
func (pc *peerConn) client(id int64) Client {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if fs := pc.clients[id]; fs != nil {
		return fs.client
	}
	return nil
}

// finished tells the peer that a session has closed.
func (pc *peerConn) finished(s *session.Session) {
	f := link.Frame{Kind: kindClosed, Session: s.ID()}
	reason := s.NetworkEntity().(Client).Control().Reason()
	if reason == nil {
		reason = session.ErrClosed
	}
	putReason(&f, reason)
	pc.mu.Lock()
	fs := pc.clients[f.Session]
	if fs != nil {
		delete(pc.clients, f.Session)
		_ = pc.link.SendReserved(&f)
	}
	pc.mu.Unlock()
	if fs != nil {
		for _, w := range fs.waiting { // no other goroutine has fs
			endSpan(w.span, errUnanswered)
		}
	}
}

// lostClient ends a client's bindings, requests and messages at a node that went down.
func (pc *peerConn) lostClient(fs *forwardedSession) {
	c := fs.client
	c.Control().Unwatch(pc)
	for service, address := range c.Control().Routes() {
		if address == pc.link.Addr {
			pc.b.rebind(c, service, address, "")
		}
	}
	pc.b.Dispatcher.Counts.Failed.Add(int64(len(fs.waiting)))
	for _, w := range fs.waiting {
		err := message.Errorf(message.CodeUnavailable, "the node that serves %s is down", w.route)
		c.RelayError(w.id, w.route, err, w.begun)
		endSpan(w.span, err)
	}
	fs.waiting = nil
	fs.share.ReleaseAll(c.Mailbox())
	if fs.will != nil && c.Relay(fs.will, false) != nil {
		pc.b.counts.lost.Add(1)
	}
}
