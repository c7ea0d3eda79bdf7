package load

import (
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
	n     uint32 // number of the client
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

	origin   time.Duration // when the schedule of Rate began
	issued   int64         // messages that Rate asked for
	turn     int           // the client that sends the next message
	paused   []pause       // by time
	held     bool          // paused clients stay paused
	lastLook time.Duration

	latency    hist.Histogram
	lag        hist.Histogram
	done       int64
	heartbeats int64
	faults     Faults

	crowded Crowded // of a Crowd

	// Of a Storm.
	cutAt  time.Duration // when the connections were cut
	away   int           // clients
	newest uint32        // one more than the number of the newest broadcast that any client got
	missed int64
}

// pause is a client that sends its next window at a time, or that of its room.
type pause struct {
	until time.Duration
	c     *client
}

// Run puts a load on a server. It calls begin and end at the start and the end of the
// measured time. The load continues for some time after that, so the server is under load
// until the last measurement.
func Run(s Spec, begin, end func()) (Result, error) {
	r, err := newRun(s)
	if err != nil {
		return Result{}, err
	}
	defer r.transport.end()
	return r.run(begin, end)
}

// newRun returns a run whose clients are not connected. The caller ends its transport.
func newRun(s Spec) (r *run, err error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	r = &run{Spec: s, base: time.Now(), mask: uint32(s.Window - 1)}
	r.prepare()
	r.transport, err = newTransport(r)
	return r, err
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
	if err := r.rest(); err != nil {
		return Result{}, err
	}
	begin()
	if err := r.rest(); err != nil {
		return Result{}, err
	}
	r.held = false
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
	if err := r.rest(); err != nil {
		return Result{}, err
	}
	r.look()
	r.measuring = false
	end()
	res := Result{
		Clients: r.Clients, Setup: setup, Took: r.now - from, Done: r.done,
		P50: r.latency.Quantile(.5), P99: r.latency.Quantile(.99), Max: r.latency.Max(), Lag: r.lag.Quantile(.99),
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
	hold := 2 * holdTime
	if r.Kind == Idle {
		hold = idleHoldTime
	}
	if err := r.spin(hold); err != nil {
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

// holdTime is how long a load with pauses waits before and after the start of the
// measured time, and before and after its end. The server's usage is read in these waits.
const holdTime = 50 * time.Millisecond

// idleHoldTime is how long connections of the kind Idle stay open after the measured time.
// Until then the server has to measure its memory, which takes two garbage collections.
const idleHoldTime = 3 * time.Second

// rest holds back the next windows of a load with pauses, and gives those in flight time to
// be answered.
func (r *run) rest() error {
	if r.Pause == 0 {
		return nil
	}
	r.held = true
	return r.spin(holdTime)
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
	r.latency, r.lag = hist.Histogram{}, hist.Histogram{}
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
	r.origin, r.issued = r.now, 0
	step := 20 * time.Millisecond
	switch {
	case r.Open || r.Pause > 0:
		step = 0 // sleeping is not precise enough
	case r.Rate > 0:
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
			for due := int64((r.now - r.origin).Seconds() * r.Rate); r.issued < due; r.issued++ {
				r.issue()
			}
		}
		for !r.held && len(r.paused) > 0 && r.paused[0].until <= r.now {
			c := r.paused[0].c
			r.paused = append(r.paused[:0], r.paused[1:]...)
			r.volley(c)
		}
		if r.now-r.lastLook > Lost/10 {
			r.lastLook = r.now
			r.overdue()
		}
	}
	return nil
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
