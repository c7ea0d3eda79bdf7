package agent

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// TestStreamsEndUnderPressure checks that no bytes and no end of a stream are missed
// while the logic goroutine never rests.
func TestStreamsEndUnderPressure(t *testing.T) {
	h := newHost(t, nil)
	sched := h.Dispatcher.Loop
	var over atomic.Bool
	var more func()
	more = func() { // the loop always has a task
		if !over.Load() {
			sched.Invoke(more)
		}
	}
	sched.Invoke(more)
	defer over.Store(true)

	const clients, rounds, window = 16, 20, 4
	var group sync.WaitGroup
	for range clients {
		p, a := tcp(t, h)
		group.Go(func() {
			_ = p.SetDeadline(time.Now().Add(30 * time.Second))
			var requests, answers []byte
			for id := range uint64(window) {
				requests = append(requests, request(t, id+1, "again")...)
				answers = append(answers, data(t, message.Message{Type: message.Response, ID: id + 1, Data: []byte("again")})...)
			}
			got := make([]byte, len(answers))
			for range rounds {
				if _, err := p.Write(requests); err != nil {
					t.Errorf("Write = %v", err)
					return
				}
				if _, err := io.ReadFull(p, got); err != nil || string(got) != string(answers) {
					t.Errorf("read % x, %v, want % x", got, err, answers)
					return
				}
			}
			if _, err := p.Write(requests); err != nil {
				t.Errorf("Write = %v", err)
			}
			_ = p.Conn.(interface{ CloseWrite() error }).CloseWrite() // directly after the last bytes
			check(t, reason(t, a.session), session.ErrClientClosed)
		})
	}
	group.Wait()
	const echoes = 1 // requests over tcp
	if got, want := h.Counts.MessagesIn.Load(), int64(clients*(echoes+(rounds+1)*window)); got != want {
		t.Errorf("%d messages came in, want %d", got, want)
	}
}
