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
	waiting waitingRequests  // the requests that the peer has not answered
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

// waitingRequests holds the requests of one session in the order in which they were sent. Answers usually come in that order.
type waitingRequests struct {
	list  []waitingRequest
	first int // the first one in list; those before it are taken
}

func (l *waitingRequests) len() int { return len(l.list) - l.first }

// all returns the requests.
func (l *waitingRequests) all() []waitingRequest { return l.list[l.first:] }

// add appends requests.
func (l *waitingRequests) add(w ...waitingRequest) {
	if l.first > 0 && len(l.list)+len(w) > cap(l.list) {
		n := copy(l.list, l.all())
		clear(l.list[n:])
		l.list, l.first = l.list[:n], 0
	}
	l.list = append(l.list, w...)
}

// take removes a request. It reports false if the session does not wait for its answer.
func (l *waitingRequests) take(id uint64) (w waitingRequest, ok bool) {
	for i := l.first; i < len(l.list); i++ {
		if l.list[i].id != id {
			continue
		}
		w = l.list[i]
		copy(l.list[l.first+1:], l.list[l.first:i])
		l.list[l.first] = waitingRequest{}
		if l.first++; l.first == len(l.list) {
			l.list, l.first = l.list[:0], 0
		}
		return w, true
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
		for _, w := range fs.waiting.all() { // no other goroutine has fs
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
	pc.b.Dispatcher.Counts.Failed.Add(int64(fs.waiting.len()))
	for _, w := range fs.waiting.all() {
		err := message.Errorf(message.CodeUnavailable, "the node that serves %s is down", w.route)
		isolated(func() { c.RelayError(w.id, w.route, err, w.begun) })
		endSpan(w.span, err)
	}
	fs.waiting = waitingRequests{}
	fs.share.ReleaseAll(c.Mailbox())
	if fs.will != nil {
		isolated(func() {
			if c.Relay(fs.will, false) != nil {
				pc.b.counts.lost.Add(1)
			}
		})
	}
}

// isolated calls f on a goroutine of its own, and waits for it: a hook that f calls may end its goroutine with
// runtime.Goexit.
func isolated(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}
