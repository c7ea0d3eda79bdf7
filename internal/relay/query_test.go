package relay

import (
	"context"
	"testing"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
)

// TestQueries checks that queries are answered once, are bounded, and end.
func TestQueries(t *testing.T) {
	s := newScene(t, nil)
	query := func(id uint64, data string) link.Frame {
		return link.Frame{Kind: kindCall, ID: id, Route: routeQuery, Meta: appendTime(nil, 1e9), Data: []byte(data)}
	}
	s.says(query(1, "early"))
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 1}, message.CodeNotFound))

	block, begun := make(chan struct{}), make(chan struct{}, maxQueries)
	s.ServeQueries(func(ctx context.Context, data []byte) []byte {
		switch string(data) {
		case "panic":
			panic("a fault of the console")
		case "block":
			begun <- struct{}{}
			<-block
		case "until canceled":
			begun <- struct{}{}
			<-ctx.Done()
		}
		return append([]byte("answer to "), data...)
	})
	s.says(query(2, "hello"))
	s.hears(link.Frame{Kind: kindReturn, ID: 2, Data: []byte("answer to hello")})
	s.says(query(3, "panic"))
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 3}, message.CodeInternal))
	for id := range uint64(maxQueries - 1) {
		s.says(query(10+id, "block"))
		<-begun
	}
	s.says(query(30, "until canceled"))
	<-begun
	s.says(query(31, "one too many"))
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 31}, message.CodeLimit))
	s.says(link.Frame{Kind: kindCancel, ID: 30})
	close(block)
	for range maxQueries - 1 {
		if f := s.next(); f.Kind != kindReturn || string(f.Data) != "answer to block" {
			t.Errorf("the answer is %+v, want one of a blocked query", f)
		}
	}
	s.wg.Wait() // every query has ended
	s.says(query(40, "again"))
	s.hears(link.Frame{Kind: kindReturn, ID: 40, Data: []byte("answer to again")})
	s.silent()
	s.Drain()
	s.says(query(50, "late"))
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 50}, message.CodeUnavailable))
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if len(s.jobs) != 0 {
		t.Errorf("%d jobs are left, want none", len(s.jobs))
	}
}
