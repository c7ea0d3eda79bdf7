package load

import "time"

// issue sends the next message of a load with a rate. It skips the message if the window
// is full. The rate is lower then, and with Open the message counts as lost.
func (r *run) issue() {
	r.look()
	if r.Kind == Broadcast {
		room := r.turn % len(r.rooms)
		r.turn++
		if q := r.rooms[room]; int(q.sent-q.want) < r.Window {
			r.say(room)
			r.transport.flush(r.sender(room))
		}
		return
	}
	c := r.clients[r.turn%len(r.clients)]
	r.turn++
	at := r.now
	if r.Open {
		at = r.origin + time.Duration(float64(r.issued+1)/r.Rate*float64(time.Second))
		r.lag.Add(r.now - at)
	}
	if int(c.sent-c.want) < r.Window {
		r.fire(c, at)
		r.transport.flush(c)
	} else if r.Open {
		r.faults.Lost++
	}
}

// volley sends a whole window of a client, or of the room whose first client it is. With
// Connect it opens the connection again.
func (r *run) volley(c *client) {
	if r.Kind == Connect {
		r.failed = r.dial(c)
		return
	}
	if r.Kind == Broadcast {
		r.refill(r.roomOf(c))
		return
	}
	r.fill(c)
	r.transport.flush(c)
}

// pause schedules the next volley of c.
func (r *run) pause(c *client) { r.paused = append(r.paused, pause{r.now + r.Pause, c}) }

// next makes a client continue after an answer. The caller flushes.
func (r *run) next(c *client) {
	switch {
	case !r.firing:
	case r.Pause == 0:
		r.fill(c)
	case c.want == c.sent:
		r.pause(c)
	}
}

// nextOf makes the sender of a room continue after a broadcast has reached all members.
func (r *run) nextOf(room int) {
	switch q := r.rooms[room]; {
	case !r.firing:
	case r.Pause == 0:
		r.refill(room)
	case q.want == q.sent:
		r.pause(r.sender(room))
	}
}

// sender returns the client that sends the broadcasts of a room.
func (r *run) sender(room int) *client { return r.clients[room*(r.Clients/r.Rooms)] }

// fill sends messages of c until its window is full. The caller flushes.
func (r *run) fill(c *client) {
	for int(c.sent-c.want) < r.Window {
		r.fire(c, r.now)
	}
}

// fire sends the next message of c, whose latency counts from a time.
func (r *run) fire(c *client, from time.Duration) {
	c.times[c.sent&r.mask] = from
	c.out = r.message.append(c.out, c.n, c.sent)
	c.sent++
}

// refill makes the sender of a room send until its window is full.
func (r *run) refill(room int) {
	for q := r.rooms[room]; int(q.sent-q.want) < r.Window; {
		r.say(room)
	}
	r.transport.flush(r.sender(room))
}

// say makes the sender of a room send a broadcast. The caller flushes.
func (r *run) say(room int) {
	q := r.rooms[room]
	c := r.sender(room)
	q.times[q.sent&r.mask], q.counts[q.sent&r.mask] = r.now, 0
	c.out = r.message.append(c.out, c.n, q.sent)
	q.sent++
}

// overdue counts answers as lost if they have not arrived in time.
func (r *run) overdue() {
	for i, q := range r.rooms {
		for q.want != q.sent && r.now-q.times[q.want&r.mask] > Lost {
			r.faults.Lost += int64(r.Clients/r.Rooms - q.counts[q.want&r.mask])
			q.want++
			r.nextOf(i)
		}
	}
	for _, c := range r.clients {
		if r.Resume && c.state == stateReady && c.resume.late(r.now) {
			r.acknowledge(c)
			r.transport.flush(c)
		}
		if c.times == nil || c.state != stateReady {
			continue
		}
		for c.want != c.sent && r.now-c.times[c.want&r.mask] > Lost {
			r.faults.Lost++
			c.want++
			r.next(c)
		}
		r.transport.flush(c)
	}
}
