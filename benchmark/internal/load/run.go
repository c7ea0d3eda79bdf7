// Long: one event loop with the state of its clients, which all cases share.

package load

import (
	"bytes"
	"fmt"
	"time"

	"github.com/lonng/nano/benchmark/internal/hist"
	"github.com/lonng/nano/benchmark/internal/proc"
)

// The states of a client.
const (
	stateClosed = iota
	stateUpgrade
	stateHandshake
	stateReady
)

// client is one connection.
type client struct {
	n     uint32 // its number
	state int
	out   []byte // to be sent
	rest  []byte // the incomplete end of the received bytes
	began time.Duration

	sent  uint32          // the number of the next message
	want  uint32          // number of the next answer or broadcast
	times []time.Duration // send times of the messages in flight, by number
	got   int64           // answers in the measured time

	resume  resumption
	absence absence
	conn    link
}

// room holds the broadcasts of one sender.
type room struct {
	sent, want uint32
	times      []time.Duration
	counts     []int // number of deliveries, by broadcast
}

// transport connects clients and carries bytes. run calls it, and it calls run back on
// the same goroutine.
type transport interface {
	dial(c *client) error // connected or gone is called afterwards
	flush(c *client)      // sends c.out
	close(c *client)      // closes the connection
	// wait calls connected, received and gone for past events. It returns after an event,
	// or after d at the latest.
	wait(d time.Duration) error
	end()
}

// parallel is the number of connections that are made at once.
const parallel = 200

// run is one run of a load.
type run struct {
	Spec
	transport transport
	base      time.Time
	now       time.Duration // since base; updated after each wait and read
	mask      uint32

	clients []*client
	rooms   []*room
	message template
	join    template

	handshake, ack, heartbeat []byte

	ready, joined int // numbers of clients
	setups        int64
	firing        bool // new messages are sent as answers arrive
	redial        bool // closed connections are opened again
	worked        bool // at least one handshake has completed
	measuring     bool
	failed        error // the error that ends the run

	issued   int64 // messages that Rate asked for
	turn     int   // the client that sends the next message
	lastLook time.Duration

	latency    hist.Histogram
	done       int64
	heartbeats int64
	faults     Faults

	// Of a Storm.
	cutAt  time.Duration // when the connections were cut
	away   int           // clients
	newest uint32        // one more than the number of the newest broadcast that any client got
	missed int64
}

// Run puts a load on a server. It calls begin and end at the start and the end of the
// measured time. The load continues for some time after that, so the server is under load
// until the last measurement.
func Run(s Spec, begin, end func()) (Result, error) {
	if err := s.check(); err != nil {
		return Result{}, err
	}
	r := &run{Spec: s, base: time.Now(), mask: uint32(s.Window - 1)}
	r.prepare()
	t, err := newTransport(r)
	if err != nil {
		return Result{}, err
	}
	defer t.end()
	r.transport = t
	return r.run(begin, end)
}

func (r *run) prepare() {
	typ := byte(typeRequest)
	if r.Kind == Push || r.Kind == Broadcast {
		typ = typeNotify
	}
	r.message = newTemplate(typ, r.Route, r.Codec, r.Size, r.WebSocket)
	r.join = newTemplate(typeRequest, r.Join, Raw, 2*stampLength, r.WebSocket)
	hello := `{"sys":{"type":"bench","version":"1"},"user":{}}`
	if r.Resume {
		hello = `{"sys":{"type":"bench","version":"1","resume":{}},"user":{}}`
	}
	r.handshake = r.frame(packet(packetHandshake, []byte(hello)))
	r.ack = r.frame(packet(packetAck, nil))
	r.heartbeat = r.frame(packet(packetHeartbeat, nil))
	for i := range r.Clients {
		c := &client{n: uint32(i)}
		if r.Kind == Echo || r.Kind == Push || r.Kind == Idle {
			c.times = make([]time.Duration, r.Window)
		}
		r.clients = append(r.clients, c)
	}
	if r.Kind == Broadcast {
		for range r.Rooms {
			r.rooms = append(r.rooms, &room{times: make([]time.Duration, r.Window), counts: make([]int, r.Window)})
		}
	}
}

func (r *run) frame(p []byte) []byte {
	if r.WebSocket {
		return wsFrame(p)
	}
	return p
}

func (r *run) look() { r.now = time.Since(r.base) }

func (r *run) run(begin, end func()) (Result, error) {
	if err := r.connect(); err != nil {
		return Result{}, err
	}
	r.look()
	setup := r.now
	r.start()
	if err := r.spin(r.Warm); err != nil {
		return Result{}, err
	}
	begin()
	r.look()
	r.reset()
	from, cpu := r.now, proc.CPUTime()
	measure := func() error { return r.spin(r.Duration) }
	if r.Kind == Storm {
		measure = r.storm
	}
	if err := measure(); err != nil {
		return Result{}, err
	}
	r.look()
	r.measuring = false
	end()
	res := Result{
		Clients: r.Clients, Setup: setup, Took: r.now - from, Done: r.done,
		P50: r.latency.Quantile(.5), P99: r.latency.Quantile(.99), Max: r.latency.Max(),
		Heartbeats: r.heartbeats, Missed: r.missed, CPU: proc.CPUTime() - cpu, Faults: r.faults,
	}
	if r.Kind == Connect {
		res.Done = r.setups
	} else if r.Kind != Idle && r.Kind != Storm && r.Duration >= Lost {
		for _, c := range r.clients {
			if c.got == 0 {
				res.Stuck++
			}
		}
	}
	if err := r.spin(100 * time.Millisecond); err != nil {
		return Result{}, err
	}
	r.redial = false
	for _, c := range r.clients {
		r.close(c)
	}
	return res, nil
}

// connect opens all connections, and makes clients join their rooms if there are any.
// With the kind Connect it only starts.
func (r *run) connect() error {
	if r.Kind == Connect {
		r.redial = true
		for _, c := range r.clients {
			if err := r.dial(c); err != nil {
				return err
			}
		}
		return nil
	}
	next := 0
	r.look()
	began := r.now
	// may reports whether the rate allows another one.
	may := func(next int) bool { return r.Connects == 0 || float64(next) < (r.now-began).Seconds()*r.Connects }
	err := r.until(r.patience(), "connected", func() (int, error) {
		for next < r.Clients && next-r.ready < parallel && may(next) {
			if err := r.dial(r.clients[next]); err != nil {
				return 0, err
			}
			next++
		}
		return r.ready, nil
	})
	if err != nil || r.Join == "" && r.Kind != Idle {
		return err
	}
	next, began = 0, r.now
	return r.until(r.patience(), "answered", func() (int, error) {
		for ; next < r.Clients && next-r.joined < parallel && may(next); next++ {
			c := r.clients[next]
			if r.Join != "" {
				c.out = r.join.append(c.out, c.n, uint32(r.roomOf(c)))
			} else {
				c.out = r.message.append(c.out, c.n, 0)
			}
			r.transport.flush(c)
		}
		return r.joined, nil
	})
}

// patience returns the time limit for connecting all clients.
func (r *run) patience() time.Duration {
	d := time.Minute
	if r.Connects > 0 {
		d += time.Duration(float64(r.Clients) / r.Connects * float64(time.Second))
	}
	return d
}

// roomOf returns the room number of a client.
func (r *run) roomOf(c *client) int { return int(c.n) / max(r.Clients/max(r.Rooms, 1), 1) }

// until waits until progress has reached the number of clients.
func (r *run) until(d time.Duration, what string, progress func() (int, error)) error {
	r.look()
	deadline := r.now + d
	for {
		n, err := progress()
		if err != nil || n >= r.Clients {
			return err
		}
		if err := r.transport.wait(20 * time.Millisecond); err != nil {
			return err
		}
		r.look()
		switch {
		case r.failed != nil:
			return r.failed
		case r.faults.Closed > 0:
			return fmt.Errorf("the server closed a connection when %d of %d were %s", n, r.Clients, what)
		case r.now > deadline:
			return fmt.Errorf("only %d of %d clients were %s in %v", n, r.Clients, what, d)
		}
	}
}

// start sends messages until every window is full.
func (r *run) start() {
	r.firing = r.Rate == 0 && (r.Kind == Echo || r.Kind == Push || r.Kind == Broadcast)
	if !r.firing {
		return
	}
	if r.Kind == Broadcast {
		for i := range r.rooms {
			r.refill(i)
		}
		return
	}
	for _, c := range r.clients {
		r.fill(c)
		r.transport.flush(c)
	}
}

// reset starts the measured time.
func (r *run) reset() {
	r.latency = hist.Histogram{}
	r.done, r.heartbeats, r.setups = 0, 0, 0
	r.faults = Faults{Closed: r.faults.Closed}
	for _, c := range r.clients {
		c.got = 0
	}
	r.measuring = true
}

// spin runs the load for d.
func (r *run) spin(d time.Duration) error {
	r.look()
	until := r.now + d
	origin := r.now
	r.issued = 0
	step := 20 * time.Millisecond
	if r.Rate > 0 {
		step = time.Millisecond
	}
	for r.now < until {
		if err := r.transport.wait(min(step, until-r.now)); err != nil {
			return err
		}
		r.look()
		if r.failed != nil {
			return r.failed
		}
		if r.Rate > 0 {
			for due := int64((r.now - origin).Seconds() * r.Rate); r.issued < due; r.issued++ {
				r.issue()
			}
		}
		if r.now-r.lastLook > Lost/10 {
			r.lastLook = r.now
			r.overdue()
		}
	}
	return nil
}

// issue sends the next message of a load with a rate. It skips the message if the window
// is full, so the rate is lower then.
func (r *run) issue() {
	r.look()
	if r.Kind == Broadcast {
		room := r.turn % len(r.rooms)
		r.turn++
		if q := r.rooms[room]; int(q.sent-q.want) < r.Window {
			r.say(room)
		}
		return
	}
	c := r.clients[r.turn%len(r.clients)]
	r.turn++
	if int(c.sent-c.want) < r.Window {
		r.fire(c)
		r.transport.flush(c)
	}
}

// fill sends messages of c until its window is full. The caller flushes.
func (r *run) fill(c *client) {
	for int(c.sent-c.want) < r.Window {
		r.fire(c)
	}
}

func (r *run) fire(c *client) {
	c.times[c.sent&r.mask] = r.now
	c.out = r.message.append(c.out, c.n, c.sent)
	c.sent++
}

// refill makes the sender of a room send until its window is full.
func (r *run) refill(room int) {
	for q := r.rooms[room]; int(q.sent-q.want) < r.Window; {
		r.say(room)
	}
}

// say makes the first client of a room send a broadcast.
func (r *run) say(room int) {
	q := r.rooms[room]
	c := r.clients[room*(r.Clients/r.Rooms)]
	q.times[q.sent&r.mask], q.counts[q.sent&r.mask] = r.now, 0
	c.out = r.message.append(c.out, c.n, q.sent)
	q.sent++
	r.transport.flush(c)
}

// overdue counts answers as lost if they have not arrived in time.
func (r *run) overdue() {
	for i, q := range r.rooms {
		for q.want != q.sent && r.now-q.times[q.want&r.mask] > Lost {
			r.faults.Lost += int64(r.Clients/r.Rooms - q.counts[q.want&r.mask])
			q.want++
		}
		if r.firing {
			r.refill(i)
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
		}
		if r.firing {
			r.fill(c)
			r.transport.flush(c)
		}
	}
}

func (r *run) dial(c *client) error {
	r.look()
	c.began = r.now
	c.out, c.rest = c.out[:0], c.rest[:0]
	return r.transport.dial(c)
}

func (r *run) close(c *client) {
	if c.state == stateReady {
		r.ready--
	}
	c.state = stateClosed
	r.transport.close(c)
}

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
	r.again(c)
}

// again closes a connection, and opens it again if the load requires that.
func (r *run) again(c *client) {
	r.close(c)
	if r.redial && r.failed == nil {
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
		if len(body) > 0 { // an acknowledgement, which is not answered
			return
		}
		r.heartbeats++
		c.out = append(c.out, r.heartbeat...)
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
	if r.firing {
		r.fill(c)
	}
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
	if r.firing {
		r.refill(i)
	}
}

func (r *run) count(sent time.Duration) {
	r.done++
	if r.measuring {
		r.latency.Add(r.now - sent)
	}
}
