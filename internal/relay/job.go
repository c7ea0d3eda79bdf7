package relay

import (
	"context"
	"errors"
	"time"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/payload"
)

// These limits bound what one peer may have this node serve at a time: calls, notifies
// for handlers without a session, and their bytes of payload.
const (
	maxJobs    = 16 << 10
	maxJobSize = 64 << 20
)

// job is a call that this node serves or passes on. The goroutine that removes it from Broker.jobs ends it.
type job struct {
	b       *Broker
	id      uint64
	pc      *peerConn // the peer that waits for it; nil for this node
	session int64     // the session that it runs for; 0 for none
	size    int
	ctx     context.Context
	cancel  context.CancelFunc
	next    uint64 // the call as which it was passed on, or 0; Broker.callMu guards it
}

// accept records a call that this node serves for pc, or for itself if pc is nil.
func (b *Broker) accept(ctx context.Context, pc *peerConn, id uint64, session int64, timeout time.Duration, size int) (*job, error) {
	j := &job{b: b, id: id, pc: pc, session: session, size: size}
	b.callMu.Lock()
	defer b.callMu.Unlock()
	if b.jobs[id] != nil {
		return nil, message.Errorf(message.CodeBadRequest, "a call with the id is served already")
	}
	if pc != nil && !pc.admit(size) {
		return nil, errJobs
	}
	j.ctx, j.cancel = context.WithTimeout(ctx, timeout)
	b.jobs[id] = j
	return j, nil
}

// admit counts a job that is served for the peer, unless there are too many. The caller holds Broker.callMu.
func (pc *peerConn) admit(size int) bool {
	if pc.jobs >= maxJobs || pc.jobSize+size > maxJobSize && pc.jobs > 0 {
		return false
	}
	pc.jobs++
	pc.jobSize += size
	return true
}

// dismiss takes back an admit. The caller holds Broker.callMu.
func (pc *peerConn) dismiss(size int) {
	pc.jobs--
	pc.jobSize -= size
}

// take removes a job; nil if it has ended.
func (b *Broker) take(id uint64) *job {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	return b.takeLocked(id)
}

func (b *Broker) takeLocked(id uint64) *job {
	j := b.jobs[id]
	if j == nil {
		return nil
	}
	delete(b.jobs, id)
	if j.pc != nil {
		j.pc.dismiss(j.size)
	}
	return j
}

// end answers the caller with data, or with err if there is one.
func (j *job) end(data []byte, err error) {
	j.cancel()
	if j.pc == nil {
		j.b.finish(j.id, data, err)
		return
	}
	if err != nil {
		j.pc.returnError(j.id, err)
		return
	}
	err = j.pc.link.Send(&link.Frame{Kind: kindReturn, ID: j.id, Data: data})
	if err != nil && !errors.Is(err, link.ErrDown) {
		j.pc.returnError(j.id, j.b.Dispatcher.Public(sendError(err))) // without ErrQueueFull: the call was served
	}
}

// fail ends a job with an error, unless it has ended.
func (j *job) fail(err error) {
	if t := j.b.take(j.id); t != nil {
		t.end(nil, j.b.Dispatcher.Public(err))
	}
}

// Answer ends a session's call with a reply, or with an error if e is not nil. mine is false if id is not the id of a
// call.
func (b *Broker) Answer(session int64, id uint64, v any, e *message.Error) (mine bool, err error) {
	b.callMu.Lock()
	j := b.jobs[id]
	b.callMu.Unlock()
	if j == nil || j.session != session {
		return b.ids.made(id), nil // too late
	}
	var data []byte
	if e == nil {
		if data, err = b.encode(v); err != nil {
			return true, err
		}
	}
	switch j = b.take(id); {
	case j == nil:
	case e != nil:
		j.end(nil, e)
	default:
		j.end(data, nil)
	}
	return true, nil
}

// cancelJob drops a job that pc does not wait for any more.
func (b *Broker) cancelJob(pc *peerConn, id uint64) {
	b.callMu.Lock()
	j := b.jobs[id]
	if j != nil && j.pc == pc {
		b.takeLocked(id)
	} else {
		j = nil
	}
	b.callMu.Unlock()
	if j != nil {
		j.cancel()
		if j.next != 0 {
			b.abandon(j.next)
		}
	}
}

// encode returns v as the payload of a call or its reply; nil is an empty one.
func (b *Broker) encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return payload.Encode(b.Dispatcher.Serializer, v)
}
