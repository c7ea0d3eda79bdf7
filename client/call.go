package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// call is a request without an answer yet. The goroutine that removes it from the waiting
// calls resolves it, once.
type call struct {
	id    uint64
	route string

	done   chan struct{} // Request: closed when answer and err are set
	answer *Message
	err    error

	fn      func(*Message, error) // RequestFunc
	release func()
}

// resolve gives the call its answer or its error.
func (p *call) resolve(q *inbox, m *Message, err error) {
	if p.fn == nil {
		p.answer, p.err = m, err
		close(p.done)
		return
	}
	p.release()
	q.event(func() { p.fn(m, failed("request", p.route, err)) })
}

// calls holds the unanswered requests of a session.
type calls struct {
	inbox *inbox

	mu      sync.Mutex // guards the fields below
	pending map[uint64]*call
	err     error // why no call can be added
}

func newCalls(q *inbox) *calls { return &calls{inbox: q, pending: map[uint64]*call{}} }

// add adds a call to the unanswered ones.
func (s *calls) add(p *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.pending[p.id] = p
	return nil
}

// take removes an unanswered call, which the caller must resolve. It returns nil if no
// call waits for the answer to id.
func (s *calls) take(id uint64) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[id]
	delete(s.pending, id)
	return p
}

// remove removes p from the unanswered calls. It returns false if p was already removed.
func (s *calls) remove(p *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[p.id] != p {
		return false
	}
	delete(s.pending, p.id)
	return true
}

// fail resolves all unanswered calls with err, in the order in which they were made, and
// rejects later calls.
func (s *calls) fail(err error) {
	s.mu.Lock()
	failed := slices.Collect(maps.Values(s.pending))
	clear(s.pending)
	s.err = err
	s.mu.Unlock()
	slices.SortFunc(failed, func(a, b *call) int { return cmp.Compare(a.id, b.id) })
	for _, p := range failed {
		p.resolve(s.inbox, nil, err)
	}
}

// Request sends in to route and waits for the answer, which it decodes into out. If ctx has
// no deadline, WithRequestTimeout sets one. A nil in is the zero value of the handler's
// request, and with a nil out the answer's payload is ignored.
//
// An error response is returned as it is, an [*Error]. Every other error names the route and
// wraps its cause: that of ctx, [ErrDisconnected] if the connection was lost meanwhile,
// [ErrClosed], [ErrTooLarge], or the error of the serializer or of a hook. While the send
// buffer is full, Request waits for room.
func (c *Client) Request(ctx context.Context, route string, in, out any) error {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	s, err := c.current()
	if err != nil {
		return failed("request", route, err)
	}
	p := &call{id: s.ids.Add(1), route: route, done: make(chan struct{})}
	if err := c.begin(ctx, s, p, in); err != nil {
		return failed("request", route, err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if s.cancel(p) {
			return failed("request", route, ctx.Err())
		}
		<-p.done // answered at the same moment
	}
	if p.err == nil && out != nil {
		p.err = p.answer.Decode(out)
	}
	return failed("request", route, p.err)
}

// RequestFunc sends in to route and returns once it is queued. fn runs once, as a handler
// does, with the answer or with an error as [Client.Request] returns it; after
// [Client.Close] it does not run any more. If ctx has no deadline, WithRequestTimeout sets
// one. If RequestFunc itself returns an error, fn does not run.
func (c *Client) RequestFunc(ctx context.Context, route string, in any, fn func(*Message, error)) error {
	ctx, cancel := c.deadline(ctx)
	s, err := c.current()
	if err != nil {
		cancel()
		return failed("request", route, err)
	}
	p := &call{id: s.ids.Add(1), route: route, fn: fn}
	// If the context ends before the call was added, the check below detects it.
	stop := context.AfterFunc(ctx, func() {
		if s.cancel(p) {
			p.resolve(c.inbox, nil, ctx.Err())
		}
	})
	p.release = func() { stop(); cancel() }
	err = c.begin(ctx, s, p, in)
	if err == nil && ctx.Err() != nil && s.cancel(p) {
		err = ctx.Err()
	}
	if err != nil {
		p.release()
	}
	return failed("request", route, err)
}

// begin adds p to the unanswered calls, and sends its request.
func (c *Client) begin(ctx context.Context, s *session, p *call, in any) error {
	err := ctx.Err()
	var m *Message
	if err == nil {
		m, err = s.encoder().encode(Request, p.id, p.route, in)
	}
	if err == nil {
		err = s.calls.add(p)
	}
	if err == nil {
		err = c.send(ctx, s, m)
		if err != nil && !s.calls.remove(p) {
			return nil // the call was resolved with an error
		}
	}
	if err != nil {
		s.ids.CompareAndSwap(p.id, p.id-1) // the id was not used
	}
	return err
}

// cancel gives up a call, and withdraws its request if it was not passed to a connection
// yet. It returns false if the call was resolved meanwhile.
func (s *session) cancel(p *call) bool {
	if !s.calls.remove(p) {
		return false
	}
	if s.resumes {
		s.withdraw(p.id)
	}
	return true
}

// Notify sends in to route; there is no answer. It returns when the message is queued.
// Messages go out in the order of the calls, and are lost if the connection breaks first.
// While the send buffer is full, Notify waits for room, at most for the time of
// WithRequestTimeout. It returns the errors of [Client.Request], except for error responses.
func (c *Client) Notify(route string, in any) error {
	return c.NotifyContext(context.Background(), route, in)
}

// NotifyContext is [Client.Notify] with a context that bounds the wait for room. If ctx has
// no deadline, WithRequestTimeout sets one.
func (c *Client) NotifyContext(ctx context.Context, route string, in any) error {
	s, err := c.current()
	if err != nil {
		return failed("notify", route, err)
	}
	m, err := s.encoder().encode(Notify, 0, route, in)
	if err != nil {
		return failed("notify", route, err)
	}
	return failed("notify", route, c.send(ctx, s, m))
}
