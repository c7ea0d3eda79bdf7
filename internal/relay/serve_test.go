package relay

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// TestServeStrangeFrames checks that an invalid frame of a gate is refused and does not
// affect other frames.
func TestServeStrangeFrames(t *testing.T) {
	s := newScene(t, nil)
	request := link.Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Echo", Data: []byte("x")}
	s.says(request)
	s.hears(failed(link.Frame{Kind: kindResponse, Session: 7, ID: 1}, message.CodeUnavailable))
	request.Meta = []byte{0xff}
	s.says(request)
	s.hears(failed(link.Frame{Kind: kindResponse, Session: 7, ID: 1}, message.CodeUnavailable))
	s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Echo"})
	for _, kind := range []link.Frame{
		{Kind: kindClosed, Session: 7}, {Kind: kindUID, Session: 7, ID: 1}, {Kind: kindUID, ID: 1 << 63}, {Kind: kindUID, Flags: flagToGate, Session: 7},
		{Kind: kindRoute, Session: 7, Route: "x"}, {Kind: kindRoute, Flags: flagToGate, Session: 7}, {Kind: kindResponse, Session: 7, ID: 1},
		{Kind: kindPush, Session: 7, Route: "x"}, {Kind: kindKick, Session: 7}, {Kind: kindClose, Session: 7}, {Kind: kindDone, Session: 7, Meta: []byte{0xff}},
		{Kind: kindRPC, Session: 7, Route: "Shop.Do"}, {Kind: kindMulticast, Route: "x", Meta: []byte{1, 0xff}}, {Kind: kindReturn, ID: 5},
		{Kind: kindCancel, ID: 5}, {Kind: kindLogins, Data: []byte{0xff}}, {Kind: kindPushUser, ID: 9}, {Kind: kindKickUser, ID: 9}, {Kind: 200},
		{Kind: kindCall, ID: 5, Route: "Shop.Tell"}, // a call without a deadline
	} {
		s.says(kind)
	}
	s.silent()
	request.Meta = hello(3)
	s.says(request)
	s.hears(link.Frame{Kind: kindResponse, Session: 7, ID: 1, Data: []byte("x")})
	if list := s.SessionsByUID(3); len(list) != 1 || list[0].ID() != 7 {
		t.Errorf("SessionsByUID = %v, want the one that was introduced", list)
	}
	if n := s.Stats().Late; n != 2 {
		t.Errorf("%d answers came late, want 2", n)
	}
}

// TestServeSessionlessNotifies checks that notifies for a handler without a session are
// bounded, and acknowledged to the gate after they have run.
func TestServeSessionlessNotifies(t *testing.T) {
	s := newScene(t, nil)
	block, ran := make(chan struct{}), make(chan struct{}, 2*maxJobs)
	release := sync.OnceFunc(func() { close(block) })
	t.Cleanup(release)
	s.shop.do = func(*session.Session, []byte) error {
		<-block
		ran <- struct{}{}
		return nil
	}
	f := link.Frame{Kind: kindNotify, Flags: flagByProgram, Session: 7, Route: "Shop.Tell", Data: []byte("x"), Meta: hello(0)}
	for range 2 * flow.AckMessages {
		s.says(f)
		f.Meta = nil
	}
	s.silent()
	for range maxJobs {
		s.says(f)
	}
	const refused = 2 * flow.AckMessages
	told := uint64(0)
	hear := func(n uint64) {
		t.Helper()
		for told+flow.AckMessages <= n {
			done := s.next()
			if done.Kind != kindDone || done.Session != 7 {
				t.Fatalf("the gate got %+v, want an acknowledgment", done)
			}
			told += done.ID
		}
	}
	hear(refused)
	release()
	hear(maxJobs + refused)
	s.silent()
	if n := len(ran); n != maxJobs {
		t.Errorf("%d notifies were served, want %d", n, maxJobs)
	}
}

// TestServeTooMuch checks that a message for a full mailbox is refused. The gate gets an
// acknowledgment of each message that has run or was refused.
func TestServeTooMuch(t *testing.T) {
	s := newScene(t, nil)
	block, begun := make(chan struct{}), make(chan struct{}, 100)
	s.shop.do = func(sn *session.Session, data []byte) error {
		begun <- struct{}{}
		<-block
		return sn.Response(data)
	}
	s.says(link.Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Do", Meta: hello(0)})
	<-begun
	for id := uint64(2); id <= 10; id++ {
		s.says(link.Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Shop.Do"})
	}
	for id := uint64(5); id <= 10; id++ {
		s.hears(failed(link.Frame{Kind: kindResponse, Session: 7, ID: id}, message.CodeLimit))
	}
	s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do"})
	s.says(link.Frame{Kind: kindCall, Session: 7, ID: 1 << 63, Route: "Shop.Do", Meta: appendTime(nil, 1e9)})
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 1 << 63}, message.CodeLimit))
	close(block)
	for id := uint64(1); id <= 4; id++ {
		s.hears(link.Frame{Kind: kindResponse, Session: 7, ID: id})
	}
	if n := s.Stats().Refused; n != 7 {
		t.Errorf("%d messages were refused, want 7", n)
	}
	if c := &s.Dispatcher.Counts; c.Failed.Load() != 6 || c.Dropped.Load() != 1 {
		t.Errorf("%d requests and %d notifies were counted as refused, want 6 and 1", c.Failed.Load(), c.Dropped.Load())
	}
	// Two messages have had no answer so far: the notify and the call. The next
	// acknowledgment includes them.
	s.shop.do = func(*session.Session, []byte) error { return nil }
	sent := 2
	for ; sent < flow.AckMessages; sent++ {
		s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte("abc")})
		s.eventually("the notify has run", func() bool { r := s.proxy(7); return r.box.Room() == 4 })
	}
	f := s.next()
	size, _ := binary.Uvarint(f.Meta)
	if f.Kind != kindDone || f.Session != 7 || f.ID != flow.AckMessages || size != uint64(3*(sent-2)) {
		t.Errorf("the gate got an acknowledgment of %d messages of %d bytes in a frame of kind %d, want %d of %d", f.ID, size, f.Kind, flow.AckMessages, 3*(sent-2))
	}
	s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: make([]byte, flow.AckSize)})
	f = s.next()
	if size, _ := binary.Uvarint(f.Meta); f.Kind != kindDone || f.ID != 1 || size != flow.AckSize {
		t.Errorf("the gate got an acknowledgment of %d messages of %d bytes in a frame of kind %d, want 1 of %d", f.ID, size, f.Kind, flow.AckSize)
	}
}

// TestServeClosed checks that a session that this node closed, or that it drains, refuses
// messages until the gate confirms the close.
func TestServeClosed(t *testing.T) {
	s := newScene(t, nil)
	ended := make(chan error, 2)
	s.shop.do = func(sn *session.Session, data []byte) error {
		sn.OnClose(func(_ *session.Session, why error) { ended <- why })
		if len(data) > 0 {
			sn.Close()
			for what, err := range map[string]error{"Push": sn.Push("x", data), "ResponseMid": sn.NetworkEntity().ResponseMid(1, data)} {
				if !errors.Is(err, session.ErrBrokenPipe) {
					t.Errorf("%s after Close = %v, want ErrBrokenPipe", what, err)
				}
			}
			sn.Close()
		}
		return nil
	}
	s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte("close"), Meta: hello(5)})
	s.hears(link.Frame{Kind: kindClose, Session: 7})
	if err := <-ended; !errors.Is(err, session.ErrClosed) {
		t.Errorf("OnClose got %v, want ErrClosed", err)
	}
	again := link.Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Echo", Meta: hello(5)}
	s.says(again, link.Frame{Kind: kindCall, Session: 7, ID: 1 << 63, Route: "Shop.Echo", Meta: appendTime(nil, 1e9)})
	s.hears(failed(link.Frame{Kind: kindResponse, Session: 7, ID: 1}, message.CodeUnavailable), failed(link.Frame{Kind: kindReturn, ID: 1 << 63}, message.CodeUnavailable))
	if _, ok := s.Session(7); ok || len(s.SessionsByUID(5)) != 0 {
		t.Error("a session that was closed is still found")
	}
	s.says(link.Frame{Kind: kindClosed, Session: 7}, again)
	s.hears(link.Frame{Kind: kindResponse, Session: 7, ID: 1})

	s.says(link.Frame{Kind: kindNotify, Session: 8, Route: "Shop.Do", Meta: hello(0)})
	s.silent()
	s.Drain()
	if err := <-ended; !errors.Is(err, session.ErrShutdown) {
		t.Errorf("OnClose got %v, want ErrShutdown", err)
	}
	for id := int64(8); id < 10; id++ { // one known session and one unknown session
		s.says(link.Frame{Kind: kindRequest, Session: id, ID: 1, Route: "Shop.Echo", Meta: hello(0)},
			link.Frame{Kind: kindCall, Session: id, ID: 1 << 63, Route: "Shop.Echo", Meta: append(appendTime(nil, 1e9), hello(0)...)})
		s.hears(failed(link.Frame{Kind: kindResponse, Session: id, ID: 1}, message.CodeUnavailable), failed(link.Frame{Kind: kindReturn, ID: 1 << 63}, message.CodeUnavailable))
	}
}
