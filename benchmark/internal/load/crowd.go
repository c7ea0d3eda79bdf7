package load

import (
	"sync"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

// Crowded counts the events of a Crowd's clients since they connected.
type Crowded struct {
	Connected  int // connected clients
	Setup      time.Duration
	Heartbeats int64
	Pushes     int64
	LastPush   time.Time // when the newest push came
	Kicked     int64
	Closed     int64
	LastClosed time.Time // when the last connection ended
	Corrupt    int64
}

// crowd holds counters that the run updates and that questions of the parent read.
type crowd struct {
	mu   sync.Mutex
	seen Crowded // mu guards it
}

// CrowdRole is the role of a process of clients that join a room. After that they answer
// heartbeats and count pushes, until the parent ends the process. It reports "connected"
// when all have joined, and answers "crowd" with its Crowded.
func CrowdRole(c *proc.Child) error {
	var s Spec
	if err := c.Spec(&s); err != nil {
		return err
	}
	r, err := newRun(s)
	if err != nil {
		return err
	}
	defer r.transport.end()
	shared := &crowd{}
	c.Answer("crowd", func() any {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		return shared.seen
	})
	if err := r.connect(); err != nil {
		return err
	}
	r.look()
	r.crowded.Connected, r.crowded.Setup = r.ready, r.now
	shared.publish(r)
	c.Say("connected", nil)
	for {
		select {
		case <-c.Ended():
			return nil
		default:
		}
		if err := r.transport.wait(20 * time.Millisecond); err != nil {
			return err
		}
		r.look()
		if r.failed != nil {
			return r.failed
		}
		shared.publish(r)
	}
}

func (c *crowd) publish(r *run) {
	s := r.crowded
	s.Heartbeats, s.Closed, s.Corrupt = r.heartbeats, r.faults.Closed, r.faults.Corrupt
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = s
}
