package relay

import "github.com/lonng/nano/internal/link"

// outCall is a call that this node waits for. The goroutine that removes it from Broker.calls calls done.
type outCall struct {
	id   uint64
	pc   *peerConn                    // the node that serves it; nil for this node. Broker.callMu guards it
	done func(data []byte, err error) // must not block; data is valid until it returns
}

// open records a call that this node waits for.
func (b *Broker) open(c *outCall) {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	b.calls[c.id] = c
}

// at records which node serves a call.
func (b *Broker) at(c *outCall, pc *peerConn) {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	c.pc = pc
}

// removeCall removes a call from those that this node waits for; nil if it has ended.
func (b *Broker) removeCall(id uint64) *outCall {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	c := b.calls[id]
	delete(b.calls, id)
	return c
}

// finish ends a call with its result, unless it has ended.
func (b *Broker) finish(id uint64, data []byte, err error) {
	if c := b.removeCall(id); c != nil {
		c.done(data, err)
	} else {
		b.counts.late.Add(1)
	}
}

// abandon stops waiting for a call, and cancels it at the node that serves it.
func (b *Broker) abandon(id uint64) {
	switch c := b.removeCall(id); {
	case c == nil:
	case c.pc == nil:
		b.cancelJob(nil, id)
	default:
		_ = c.pc.link.SendReserved(&link.Frame{Kind: kindCancel, ID: id})
	}
}

// dropCalls ends the calls that a peer that went down was serving, and those that it waits for.
func (b *Broker) dropCalls(pc *peerConn) {
	var calls []*outCall
	var jobs []uint64
	b.callMu.Lock()
	for id, c := range b.calls {
		if c.pc == pc {
			delete(b.calls, id)
			calls = append(calls, c)
		}
	}
	for id, j := range b.jobs {
		if j.pc == pc {
			jobs = append(jobs, id)
		}
	}
	b.callMu.Unlock()
	for _, c := range calls {
		c.done(nil, errDown)
	}
	for _, id := range jobs {
		b.cancelJob(pc, id)
	}
}
