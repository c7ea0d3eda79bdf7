package relay

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/stacktrace"
)

// Nodes query each other for what no handler serves: the console of a node shows the pages
// of another one. A query is a call without a session whose route no service can have. A
// node without a console, and one of an older version, answers that it does not serve the
// route.
const routeQuery = "?"

// maxQueries is how many queries a node answers at a time.
const maxQueries = 8

// queries are the queries that a node answers.
type queries struct {
	serve   func(ctx context.Context, data []byte) []byte // nil: none is answered
	running int
}

// ServeQueries sets the function that answers the queries of other nodes. It is called on
// goroutines of its own, and returns when ctx ends.
func (b *Broker) ServeQueries(f func(ctx context.Context, data []byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries.serve = f
}

// Query sends a query to the node at an address, and waits for the answer.
func (b *Broker) Query(ctx context.Context, addr string, data []byte) (answer []byte, err error) {
	err = b.await(ctx, nil, "", data, &answer, func(ctx context.Context, c *outCall, data []byte) error {
		for _, pc := range *b.peers.Load() {
			if pc.link.Addr == addr {
				b.at(c, pc)
				return sendError(pc.link.Send(&link.Frame{
					Kind: kindCall, ID: c.id, Route: routeQuery, Meta: appendTimeLeft(nil, ctx), Data: data,
				}))
			}
		}
		return errDown
	})
	return answer, err
}

// query answers a query of the peer.
func (pc *peerConn) query(f *link.Frame, timeout time.Duration) {
	j := pc.acceptCall(context.Background(), f, 0, timeout, "")
	if j == nil {
		return
	}
	b := pc.b
	serve, err := b.beginQuery()
	if err != nil {
		j.fail(err)
		return
	}
	data := bytes.Clone(f.Data)
	go func() {
		defer b.endQuery()
		answer, err := b.answerQuery(j.ctx, serve, data)
		if err != nil {
			j.fail(err)
		} else if t := b.take(j.id); t != nil {
			t.end(answer, nil)
		}
	}()
}

// beginQuery counts a query that is answered, unless there are too many.
func (b *Broker) beginQuery() (serve func(context.Context, []byte) []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.queries.serve == nil:
		return nil, errNotServed(routeQuery)
	case b.draining:
		return nil, errDraining
	case b.queries.running >= maxQueries:
		return nil, errJobs
	}
	b.queries.running++
	b.wg.Add(1)
	return b.queries.serve, nil
}

func (b *Broker) endQuery() {
	b.mu.Lock()
	b.queries.running--
	b.mu.Unlock()
	b.wg.Done()
}

// answerQuery calls serve. A panic is an error.
func (b *Broker) answerQuery(ctx context.Context, serve func(context.Context, []byte) []byte, data []byte) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			b.Log.Error("nano: panic in the answer to another node", "panic", fmt.Sprint(p), stacktrace.Attr())
			err = message.Errorf(message.CodeInternal, "internal error")
		}
	}()
	return serve(ctx, data), nil
}
