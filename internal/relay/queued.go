package relay

import (
	"maps"
	"time"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/session"
)

// A node that pushes state to another node's client does not see the client's outbox. So
// the gate reports the number of queued bytes after a replaceable push, and then until
// few bytes are left.

const (
	// queueStep is the precision of a report. A report is sent if the number of whole
	// steps has changed.
	queueStep = 16 << 10
	// queueLook is how often a gate checks an outbox that it has reported.
	queueLook = 25 * time.Millisecond
)

// queueWatch holds the clients of a gate whose reported outboxes are not empty.
// peerConn.mu guards it.
type queueWatch struct {
	sessions map[int64]bool
	timer    *time.Timer // nil if it is not set
}

// stop ends the watch.
func (w *queueWatch) stop() {
	w.sessions = nil
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// reportQueued reports the outbox of a client to the peer, if it has changed much since the last report.
func (pc *peerConn) reportQueued(id int64, c replaceable) {
	n := c.Queued() // called without mu, because it locks the outbox
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.setQueued(id, n)
}

// setQueued is reportQueued for a client with n queued bytes. It reports whether the
// client has to be checked again. The caller holds mu.
func (pc *peerConn) setQueued(id int64, n int) (more bool) {
	fs := pc.clients[id]
	if fs == nil {
		return false
	}
	steps, before := n/queueStep, fs.queued
	if steps == before {
		return steps > 0
	}
	fs.queued = steps
	_ = pc.link.SendReserved(&link.Frame{Kind: kindQueued, Session: id, ID: uint64(n)})
	if before == 0 {
		if pc.watch.sessions == nil {
			pc.watch.sessions = make(map[int64]bool)
		}
		pc.watch.sessions[id] = true
		if pc.watch.timer == nil {
			pc.watch.timer = time.AfterFunc(queueLook, pc.lookAtQueues)
		}
	}
	return steps > 0
}

// lookAtQueues reports the outboxes that are watched.
func (pc *peerConn) lookAtQueues() {
	pc.mu.Lock()
	sessions := maps.Clone(pc.watch.sessions)
	pc.mu.Unlock()
	lengths := make(map[int64]int, len(sessions))
	for id := range sessions {
		lengths[id] = 0
		if c, ok := pc.client(id).(replaceable); ok {
			lengths[id] = c.Queued()
		}
	}
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if pc.watch.timer == nil {
		return // the link is down
	}
	for id, n := range lengths {
		if !pc.setQueued(id, n) {
			delete(pc.watch.sessions, id)
		}
	}
	if len(pc.watch.sessions) == 0 {
		pc.watch.timer = nil
		return
	}
	pc.watch.timer.Reset(queueLook)
}

// queued records the number of bytes queued for the peer's client.
func (pc *peerConn) queued(f *link.Frame) {
	if p := pc.session(f.Session); p != nil {
		p.queued.Store(int64(min(f.ID, 1<<40)))
	}
}

// Queued returns the number of bytes queued for the client at its gate, as of the gate's
// last report. Up to 16 KiB count as 0.
func (p *proxySession) Queued() int { return int(p.queued.Load()) }

// PushReplaceable sends the client a push that a later push replaces: see
// agent.Agent.PushReplaceable.
func (p *proxySession) PushReplaceable(route string, data []byte) error {
	if p.closed.Load() {
		return session.ErrBrokenPipe
	}
	return p.send(&link.Frame{Kind: kindPush, Flags: flagReplaceable, Session: p.id, Route: route}, data)
}
