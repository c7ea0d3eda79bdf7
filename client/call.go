package client

import "sync/atomic"

// call is a request that waits for its answer. Whoever takes it from its link's pending calls resolves it.
type call struct {
	id    uint64
	route string

	done   chan struct{} // Request: closed when answer and err are set
	answer *Message
	err    error

	fn      func(*Message, error) // RequestFunc
	release func()
	link    atomic.Pointer[link] // set once registered
}

func (p *call) resolve(q *inbox, m *Message, err error) {
	if p.fn == nil {
		p.answer, p.err = m, err
		close(p.done)
		return
	}
	p.release()
	q.event(func() { p.fn(m, failed("request", p.route, err)) })
}
