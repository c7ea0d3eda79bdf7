package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// stormJitter is the time over which disconnected clients reconnect, like clients with a
// random backoff. retryAfter is the pause after a failed attempt.
const (
	stormJitter = 100 * time.Millisecond
	retryAfter  = 100 * time.Millisecond
)

// absence is the additional state of a client in a Storm.
type absence struct {
	token string
	begun bool   // a broadcast has arrived
	next  uint32 // number of the next broadcast

	away     bool
	due      time.Duration // time of the next connection; 0 during an attempt
	returned bool          // the session was resumed
	target   uint32        // the client has caught up after the broadcasts before this one and the answer
	request  []byte        // the last packet sent, which the server may not have received
	asked    uint32        // number of requests sent
	answered uint32
}

// hello returns the handshake of a client.
func (r *run) hello(c *client) []byte {
	if c.absence.token == "" {
		return r.handshake
	}
	return r.frame(packet(packetHandshake, fmt.Appendf(nil, `{"sys":{"type":"bench","version":"1","resume":{"token":%q,"received":%d}}}`,
		c.absence.token, c.resume.received)))
}

// welcome parses the answer to a handshake of a Storm. After the ack it sends what the
// server has not received.
func (r *run) welcome(c *client, body []byte) {
	var answer struct {
		Sys struct {
			Resume struct {
				Token    string
				Resumed  bool
				Received uint32
			}
		}
	}
	a := &c.absence
	if err := json.Unmarshal(body, &answer); err != nil || answer.Sys.Resume.Token == "" {
		r.failed = fmt.Errorf("the handshake was answered by %s, want a session that can be resumed", body)
		return
	}
	got := answer.Sys.Resume
	a.token = got.Token
	if !a.away {
		return
	}
	if !got.Resumed {
		r.faults.Lost++
		r.failed = fmt.Errorf("a session was not resumed: %s", body)
		return
	}
	c.resume.acked, c.resume.bytes = c.resume.received, 0
	if sent := a.asked + 1; got.Received < sent { // the join counts as one request
		c.out = append(c.out, a.request...)
	}
	a.returned, a.target = true, r.newest
	r.back(c)
}

// told handles a message of a Storm.
func (r *run) told(c *client, m message) {
	a := &c.absence
	if m.typ == typeResponse && r.joined < r.Clients && a.asked == 0 {
		r.joined++
		return
	}
	from, number, ok := r.message.check(m.payload)
	switch {
	case !ok || m.typ == typeResponse && (from != c.n || m.id != uint64(number)+firstID):
		r.faults.Corrupt++
		return
	case m.typ == typeResponse:
		if number != a.answered || number >= a.asked {
			r.faults.Late++ // it has arrived before
			return
		}
		a.answered++
	default:
		if a.begun && number != a.next {
			if number < a.next {
				r.faults.Late++
			} else {
				r.faults.Lost += int64(number - a.next)
			}
		}
		a.begun, a.next = true, number+1
		r.newest = max(r.newest, a.next)
		if a.returned && number < a.target {
			r.missed++
		}
	}
	r.back(c)
}

// back records whether a client is connected again and has received what it missed.
func (r *run) back(c *client) {
	a := &c.absence
	if !a.away || !a.returned || a.answered < a.asked || a.next < a.target {
		return
	}
	a.away = false
	r.away--
	r.done++
	r.latency.Add(r.now - r.cutAt)
}

// storm closes all connections at once while each client has sent a request. It waits
// until all clients are back.
func (r *run) storm() error {
	r.look()
	r.cutAt, r.away = r.now, r.Clients
	for _, c := range r.clients {
		a := &c.absence
		a.request = r.message.append(nil, c.n, a.asked)
		a.asked++
		c.out = append(c.out, a.request...)
		r.transport.flush(c)
	}
	for _, c := range r.clients {
		c.absence.away = true
		c.absence.due = r.now + time.Duration(1+rand.Int64N(int64(stormJitter)))
		r.close(c)
	}
	deadline := r.cutAt + r.Duration
	for r.away > 0 {
		r.look()
		if r.now > deadline {
			r.faults.Stuck += int64(r.away)
			return nil
		}
		for _, c := range r.clients {
			if a := &c.absence; a.away && a.due > 0 && a.due <= r.now {
				a.due = 0
				if err := r.dial(c); err != nil {
					return err
				}
			}
		}
		if err := r.transport.wait(time.Millisecond); err != nil {
			return err
		}
		if r.failed != nil {
			return r.failed
		}
	}
	return nil
}

// retry schedules another connection for a client whose attempt has failed. It reports
// false if there was no attempt.
func (r *run) retry(c *client) bool {
	a := &c.absence
	if !a.away {
		return false
	}
	r.close(c)
	a.returned, a.due = false, r.now+retryAfter
	return true
}
