package protocol_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// memoryRace is a server whose sessions together exceed MaxMemory while clients
// disconnect and resume.
type memoryRace struct {
	t  *testing.T
	at *testkit.Server

	all []*session.Session // used by the logic goroutine only

	resumed, overflowed, closed atomic.Int64
}

// serve pushes the next numbered message to every session, and responds.
func (r *memoryRace) serve(s *session.Session, data []byte) error {
	if string(data) == "first" {
		r.all = append(r.all, s)
		s.OnClose(func(_ *session.Session, err error) {
			switch {
			case errors.Is(err, session.ErrResumeOverflow):
				r.closed.Add(1)
			case !errors.Is(err, session.ErrClientClosed) && !errors.Is(err, session.ErrShutdown):
				r.t.Errorf("a session closed: %v", err)
			}
		})
	}
	open := r.all[:0]
	for _, m := range r.all {
		if m.Closed() {
			continue
		}
		open = append(open, m)
		n := m.Int("pushes")
		m.Set("pushes", n+1)
		err := m.Push("push", fmt.Appendf(nil, "%d %s", n, padding))
		if err != nil && !errors.Is(err, session.ErrBrokenPipe) && !errors.Is(err, session.ErrSlowClient) { // the session closes, and OnClose reports the cause
			r.t.Errorf("Push = %v", err)
		}
	}
	r.all = open
	return s.Response(data)
}

var padding = strings.Repeat("x", 700)

// TestResumeWhileMemoryIsReclaimed lets clients resume while the server drops the kept
// packets of sessions. A client either gets every packet that it missed, or the refusal
// "overflow".
func TestResumeWhileMemoryIsReclaimed(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	r := &memoryRace{t: t}
	r.at = testkit.Start(t, "tcp", testkit.NewGame(r.serve), nano.WithResume(nano.Resume{MaxMemory: 120 << 10}))
	var clients sync.WaitGroup
	for i := range 24 {
		clients.Go(func() { r.client(i, rounds) })
	}
	clients.Wait()
	st := r.at.Stats().Resume
	t.Logf("%d resumes, %d sessions ended at the bound, %d clients were told overflow", r.resumed.Load(), r.closed.Load(), r.overflowed.Load())
	if r.resumed.Load() == 0 || r.overflowed.Load() == 0 {
		t.Error("want both resumes and overflows")
	}
	if st.Refused["overflow"] != r.overflowed.Load() {
		t.Errorf("the server counts %d overflows, want %d", st.Refused["overflow"], r.overflowed.Load())
	}
	testkit.Eventually(t, "nothing is kept", func() bool {
		st := r.at.Stats()
		return st.Sessions == 0 && st.Resume.BytesHeld == 0 && st.Resume.Suspended == 0 && st.Resume.Overflowed == r.closed.Load()
	})
}

// client disconnects and resumes repeatedly, and then leaves.
func (r *memoryRace) client(i, rounds int) {
	c := &testkit.ResumeClient{}
	next, id := -1, uint64(0)
	for round, failed := 0, 0; round < rounds; round++ {
		w, err := r.at.Wire()
		if err != nil {
			r.t.Error(err)
			return
		}
		a, err := c.Connect(w)
		switch {
		case err != nil: // the session ended during the resume
			w.Abort()
			if failed++; failed > 10*rounds {
				r.t.Errorf("client %d does not come back: %v", i, err)
				return
			}
			round--
			continue
		case a.Resumed:
			r.resumed.Add(1)
		case a.Reason == "overflow":
			r.overflowed.Add(1)
			next = -1
		case a.Reason != "":
			r.t.Errorf("the client is told %q", a.Reason)
			return
		}
		if next < 0 {
			next, id = 0, 1
			c.Send(testkit.Request(id, "Game.Do", "first"))
		}
		for range 1 + (i+round)%7 {
			m, err := c.Next(w)
			if err != nil {
				// The session ended between the answer and the ack. The next answer
				// reports it.
				break
			}
			if m.Route != "push" {
				id++
				c.Send(testkit.Request(id, "Game.Do", "more"))
				continue
			}
			if want := fmt.Sprintf("%d ", next); !strings.HasPrefix(string(m.Data), want) {
				r.t.Errorf("client %d: push %.8q came, want %d", i, m.Data, next)
				return
			}
			next++
		}
		c.Lost()
		if round < rounds-1 {
			w.Abort()
			continue
		}
		_ = w.Send(testkit.Pack(packet.Kick, ""))
		for err == nil { // reads the kick, which a reset could discard
			_, _, err = w.Packet()
		}
		w.Abort()
	}
}
