package relay

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// TestForwardRun checks that a run goes to the node that knows the session, that its
// requests are answered once, and that it takes room in the mailbox.
func TestForwardRun(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	if r := s.ForwardRun(v.session, "Far.Do"); r != nil {
		t.Error("there is a run for a session that is bound to no node")
	}
	v.session.Router().Bind("Far", s.far.addr)
	r := s.ForwardRun(v.session, "Far.Do")
	if r == nil || !r.Add("Far.Do", 1, []byte("x")) {
		t.Fatal("there is no run for a session that is bound to the node")
	}
	if r.Send() {
		t.Error("a run was sent to a node that does not know the session")
	}
	r.Free()
	if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.next() // introduces the session

	r = s.ForwardRun(v.session, "Far.Do")
	if !r.Add("Far.Do", 1, []byte("one")) || !r.Add("Far.Log", 0, []byte("two")) || !r.Add("Far.Do", 3, nil) {
		t.Fatal("the run does not take messages of one service")
	}
	if r.Add("Shop.Do", 4, nil) || r.Add("Nowhere.Do", 4, nil) || r.Add("", 4, nil) {
		t.Error("the run takes messages of other services")
	}
	v.session.Router().Bind("Near", s.far.addr)
	if r.Add("Near.Do", 4, nil) {
		t.Error("the run takes messages that the node does not serve")
	}
	var copied []string
	r.Each(func(m *message.Message) {
		copied = append(copied, fmt.Sprintf("%v %d %s %s", m.Type, m.ID, m.Route, m.Data))
	})
	if want := []string{"request 1 Far.Do one", "notify 0 Far.Log two", "request 3 Far.Do "}; !slices.Equal(copied, want) {
		t.Errorf("Each = %q, want %q", copied, want)
	}
	if !r.Send() {
		t.Fatal("the run was not sent")
	}
	r.Free()
	s.hears(link.Frame{Kind: kindRoute, Session: 7, Route: "Near", Data: []byte(s.far.addr)},
		link.Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Far.Do", Data: []byte("one")},
		link.Frame{Kind: kindNotify, Session: 7, Route: "Far.Log", Data: []byte("two")},
		link.Frame{Kind: kindRequest, Session: 7, ID: 3, Route: "Far.Do"})
	answer := func(id uint64) link.Frame {
		return link.Frame{Kind: kindResponse, Session: 7, ID: id, Data: []byte{'a' + byte(id)}}
	}
	push := link.Frame{Kind: kindPush, Session: 7, Route: "onNews"}
	s.says(answer(3), answer(3), push, answer(1), answer(1), answer(9))
	s.gets(v, "answer 3 Far.Do d", "push 0 onNews ", "answer 1 Far.Do b")
	s.silent()
	if late := s.Stats().Late; late != 3 {
		t.Errorf("%d answers were late, want 3", late)
	}

	// A session that is bound to another node after the run began is not sent there.
	r = s.ForwardRun(v.session, "Far.Do")
	r.Add("Far.Do", 5, nil)
	v.session.Router().Bind("Far", "10.0.0.9:1")
	if r.Send() {
		t.Error("a run was sent to the node to which the session was bound before")
	}
	r.Free()
	v.session.Router().Bind("Far", s.far.addr)

	// The requests of all runs together are bounded. A run is sent whole, or not at all.
	for sent := 0; sent < maxWaiting; {
		r := s.ForwardRun(v.session, "Far.Do")
		n := 0
		for ; n < 100 && r.Add("Far.Do", uint64(1000+sent+n), nil); n++ {
		}
		fits := sent+n <= maxWaiting
		if r.Send() != fits {
			t.Fatalf("%d requests behind %d were sent: %v, want %v", n, sent, !fits, fits)
		}
		r.Free()
		if !fits {
			break
		}
		sent += n
	}
	const sent = maxWaiting / 100 * 100
	// Four messages went before, and each of the five answers counts for one.
	if room := v.box.Room(); room != 1<<20-(sent-1)+flow.AckMessages-1 {
		t.Errorf("the mailbox has room for %d with %d messages forwarded", room, sent-1)
	}
	r = s.ForwardRun(v.session, "Far.Do")
	r.Add("Far.Do", 1, nil)
	s.far.stop(t)
	s.eventually("all of them failed", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.sent) == sent
	})
	if r.Send() {
		t.Error("a run was sent to a node that is down")
	}
	r.Free()
	if v.sent[0] != "error 1000 Far.Do NANO-503" || v.box.Room() != 1<<20 {
		t.Errorf("the client got %q first, and the mailbox has room for %d, want NANO-503 and all of it", v.sent[0], v.box.Room())
	}
}

// TestAnswersInARow checks that answers that come together are sent in order, whatever
// their kinds are and however many the client takes at a time.
func TestAnswersInARow(t *testing.T) {
	s := newScene(t, nil)
	v, w := s.enter(7), s.enter(8)
	for _, v := range []*visitor{v, w} {
		if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"}); err != nil {
			t.Fatal(err)
		}
		s.next()
		r := s.ForwardRun(v.session, "Far.Do")
		for id := uint64(2); id <= 7; id++ {
			r.Add("Far.Do", id, nil)
		}
		if !r.Send() {
			t.Fatal("the run was not sent")
		}
		r.Free()
		for range 6 {
			s.next()
		}
	}
	v.most = 2
	e, _ := message.Errorf("FAR-1", "no").MarshalProtobuf()
	var row []link.Frame
	for _, session := range []int64{7, 8} {
		for id := uint64(2); id <= 7; id++ {
			f := link.Frame{Kind: kindResponse, Session: session, ID: id, Data: []byte("x")}
			if id == 5 {
				f.Flags, f.Data = flagError, e
				begun := link.Frame{Kind: kindResponse, Session: session, ID: 1, Data: []byte("y")}
				row = append(row, link.Frame{Kind: kindResponse, Session: session, ID: 99}, begun)
			}
			row = append(row, f)
		}
	}
	var run link.Run
	for i := range row {
		run.Add(&row[i])
	}
	if err := s.link.SendRun(&run); err != nil {
		t.Fatal(err)
	}
	want := []string{"answer 2 Far.Do x", "answer 3 Far.Do x", "answer 4 Far.Do x", "response 1 Far.Do y", "error 5 Far.Do FAR-1",
		"answer 6 Far.Do x", "answer 7 Far.Do x"}
	s.gets(v, want...)
	s.gets(w, want...)
	if late := s.Stats().Late; late != 2 {
		t.Errorf("%d answers were late, want 2", late)
	}
	v.mu.Lock()
	v.fault = session.ErrBufferExceed
	v.mu.Unlock()
	r := s.ForwardRun(v.session, "Far.Do")
	r.Add("Far.Do", 1, nil)
	if !r.Send() {
		t.Fatal("the run was not sent")
	}
	r.Free()
	s.says(link.Frame{Kind: kindResponse, Session: 7, ID: 1})
	s.gets(v, "error 1 Far.Do NANO-500")
}

// TestNoRunWithTracer checks that each message has a span with a Tracer.
func TestNoRunWithTracer(t *testing.T) {
	s := newScene(t, withSpans(&spans{prefix: "span "}, true))
	v := s.enter(7)
	v.session.Router().Bind("Far", s.far.addr)
	if r := s.ForwardRun(v.session, "Far.Do"); r != nil {
		t.Error("there is a run with a Tracer")
	}
}
