package load

import (
	"bytes"
	"fmt"
	"time"
)

// connected is called when a client has connected.
func (r *run) connected(c *client) {
	if r.WebSocket {
		c.state = stateUpgrade
		c.out = append(c.out, upgrade...)
	} else {
		c.state = stateHandshake
		c.out = append(c.out, r.hello(c)...)
	}
	r.transport.flush(c)
}

// gone is called when a connection has ended or could not be opened.
func (r *run) gone(c *client, err error) {
	if err != nil && !r.worked {
		r.failed = err
	}
	if r.retry(c) {
		return
	}
	r.faults.Closed++
	r.crowded.LastClosed = time.Now()
	r.again(c)
}

// again closes a connection, and opens it again if the load requires that.
func (r *run) again(c *client) {
	r.close(c)
	switch {
	case !r.redial || r.failed != nil:
	case r.Pause > 0:
		r.pause(c)
	default:
		r.failed = r.dial(c)
	}
}

// received is called with bytes from the server, and does not keep them. The transport
// flushes afterwards.
func (r *run) received(c *client, b []byte) {
	r.look()
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		b = c.rest
	}
	if c.state == stateUpgrade {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			c.rest = append(c.rest[:0], b...)
			return
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			r.failed = fmt.Errorf("the upgrade was refused: %s", b[:end])
			return
		}
		b = b[end+4:]
		c.state = stateHandshake
		c.out = append(c.out, r.hello(c)...)
	}
	if r.WebSocket {
		b = r.frames(c, b)
	} else {
		b = r.packets(c, b)
	}
	if c.state == stateHandshake || c.state == stateReady {
		c.rest = append(c.rest[:0], b...)
	}
	if r.Resume && c.state == stateReady && c.resume.due(r.now) {
		r.acknowledge(c)
	}
}

// frames consumes whole frames of b and returns the rest. Each frame must contain one
// packet.
func (r *run) frames(c *client, b []byte) []byte {
	began := c.began
	for {
		opcode, payload, n := unframe(b)
		if n == 0 {
			return b
		}
		b = b[n:]
		switch {
		case opcode == 8:
			r.gone(c, nil)
			return nil
		case opcode > 2: // pings are not expected, and a run needs no pongs
		case len(payload) < head || len(payload) != head+length(payload):
			r.faults.Corrupt++
		default:
			r.packet(c, payload[0], payload[head:])
		}
		if c.state == stateClosed || c.began != began {
			return nil
		}
	}
}

func length(b []byte) int { return int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

// packets consumes whole packets of b and returns the rest.
func (r *run) packets(c *client, b []byte) []byte {
	began := c.began
	for len(b) >= head {
		n := head + length(b)
		if len(b) < n {
			break
		}
		r.packet(c, b[0], b[head:n])
		if c.state == stateClosed || c.began != began { // closed, and perhaps open again
			return nil
		}
		b = b[n:]
	}
	return b
}

func (r *run) packet(c *client, typ byte, body []byte) {
	switch typ {
	case packetData:
		if r.Resume {
			c.resume.count(head+len(body), r.now)
		}
		r.data(c, body)
	case packetHeartbeat:
		if len(body) > 0 { // an acknowledgment, which is not answered
			return
		}
		r.heartbeats++
		c.out = append(c.out, r.heartbeat...)
	case packetKick:
		r.crowded.Kicked++
	case packetHandshake:
		if c.state != stateHandshake {
			return
		}
		c.state = stateReady
		c.out = append(c.out, r.ack...)
		r.ready++
		r.setups++
		r.worked = true
		if r.Kind == Storm {
			r.welcome(c, body)
		}
		if r.Kind == Connect {
			r.transport.flush(c)
			if r.measuring {
				r.latency.Add(r.now - c.began)
			}
			r.again(c)
		}
	}
}

func (r *run) data(c *client, body []byte) {
	m, ok := parse(body)
	if !ok || m.failed {
		r.faults.Corrupt++
		return
	}
	if r.Kind == Storm {
		r.told(c, m)
		return
	}
	if r.joined < r.Clients && (r.Join != "" || r.Kind == Idle) {
		r.joined++ // the answer to the client's first request
		return
	}
	if r.Kind == Crowd {
		if m.typ != typePush {
			r.faults.Corrupt++
			return
		}
		r.crowded.Pushes++
		r.crowded.LastPush = r.base.Add(r.now)
		return
	}
	from, number, ok := r.message.check(m.payload)
	if !ok || m.id != 0 && m.id != uint64(number)+firstID {
		r.faults.Corrupt++
		return
	}
	if r.Kind == Broadcast {
		r.delivered(c, from, number)
		return
	}
	if from != c.n {
		r.faults.Corrupt++
		return
	}
	if number-c.want >= c.sent-c.want { // counted as lost, or overtaken
		r.faults.Late++
		return
	}
	r.faults.Lost += int64(number - c.want) // answers come in order, so the earlier ones are lost
	c.want = number + 1
	c.got++
	r.count(c.times[number&r.mask])
	r.next(c)
}

// delivered counts a broadcast that a member of its room received.
func (r *run) delivered(c *client, from, number uint32) {
	i := r.roomOf(c)
	q, members := r.rooms[i], r.Clients/r.Rooms
	if int(from) != i*members {
		r.faults.Corrupt++
		return
	}
	if number-q.want >= q.sent-q.want || number < c.want {
		r.faults.Late++
		return
	}
	c.want = number + 1
	c.got++
	r.count(q.times[number&r.mask])
	if q.counts[number&r.mask]++; q.counts[number&r.mask] < members || number != q.want {
		return
	}
	for q.want != q.sent && q.counts[q.want&r.mask] == members {
		q.want++
	}
	r.nextOf(i)
}

func (r *run) count(sent time.Duration) {
	r.done++
	if r.measuring {
		r.latency.Add(r.now - sent)
	}
}
