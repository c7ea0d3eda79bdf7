package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	"github.com/lonng/nano/benchmark/internal/hist"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// A stamp is eight letters that stand for a number. The payload of a client begins with two: the client's number, and
// the message's own or, where it joins, the room's.
const stampLength = 8

func roomOf(payload []byte) string { return string(payload[stampLength : 2*stampLength]) }

var errShortPayload = errors.New("want a payload of 16 bytes or more")

// Note is what typed JSON handlers take.
type Note struct {
	Content string `json:"content"`
}

// Bench offers what clients of the benchmarks ask for.
type Bench struct {
	component.Base
	rooms map[string]*nano.Group
}

// Echo answers with the payload.
func (b *Bench) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// JSON answers with the decoded payload.
func (b *Bench) JSON(s *session.Session, n *Note) error { return s.Response(n) }

// Protobuf answers with the decoded payload.
func (b *Bench) Protobuf(s *session.Session, n *wrapperspb.StringValue) error { return s.Response(n) }

// Ping pushes the payload back.
func (b *Bench) Ping(s *session.Session, data []byte) error { return s.Push(PushRoute, data) }

const groupKey = "group"

// Join puts the session into the room that the payload names.
func (b *Bench) Join(s *session.Session, data []byte) error {
	if len(data) < 2*stampLength {
		return errShortPayload
	}
	g := b.rooms[roomOf(data)]
	if g == nil {
		g = nano.NewGroup(roomOf(data))
		b.rooms[roomOf(data)] = g
	}
	s.Set(groupKey, g)
	if err := g.Add(s); err != nil {
		return err
	}
	return s.Response(data)
}

// Say broadcasts the payload in the session's room.
func (b *Bench) Say(s *session.Session, data []byte) error {
	g, ok := s.Value(groupKey).(*nano.Group)
	if !ok {
		return nano.ErrMemberNotFound
	}
	return g.Broadcast(PushRoute, data)
}

// broadcast pushes numbered broadcasts to every room until ended is closed. A payload is the number 0 and that of the
// broadcast, as stamps, and letters.
func (b *Bench) broadcast(srv *nano.Server, rate float64, ended <-chan struct{}) {
	t := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer t.Stop()
	payload := bytes.Repeat([]byte("x"), broadcastSize)
	for n := uint32(0); ; n++ {
		select {
		case <-ended:
			return
		case <-t.C:
		}
		srv.Invoke(func() {
			stamp(payload, 0)
			stamp(payload[stampLength:], n)
			for _, g := range b.rooms {
				_ = g.Broadcast(PushRoute, payload) // a room may be empty
			}
		})
	}
}

// broadcastSize is the length of the payload of Spec.Rate.
const broadcastSize = 64

func stamp(b []byte, v uint32) {
	for i := range stampLength {
		b[i] = 'a' + byte(v>>(28-4*i))&15
	}
}

// schedulerKey is where a session holds the scheduler of its room.
const schedulerKey = "room"

// Lobby gives sessions the scheduler of their room.
type Lobby struct {
	component.Base
	rooms []*scheduler.Scheduler // none for the server's own
}

// Enter does so. The payload names the room.
func (l *Lobby) Enter(s *session.Session, data []byte) error {
	if len(data) < 2*stampLength {
		return errShortPayload
	}
	if n := len(l.rooms); n > 0 {
		s.Set(schedulerKey, l.rooms[int(data[2*stampLength-1])%n])
	}
	return s.Response(data)
}

// Room is where each message is some work.
type Room struct {
	component.Base
	turns int
}

// Act works and answers with the payload.
func (r *Room) Act(s *session.Session, data []byte) error {
	if spin(r.turns) == 0 {
		return errSpun
	}
	return s.Response(data)
}

var errSpun = errors.New("spin returned 0")

// spin keeps a processor busy: so many turns, and not so much time, of which a process that is not running would have
// its share for nothing. What it returns is never 0.
func spin(turns int) (x uint32) {
	x = 1
	for range turns {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
	}
	return x
}

// turnsIn measures how many turns a spin of d has; it takes the fastest of many tries, which nothing has interrupted.
func turnsIn(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	const turns = 100_000
	least := time.Hour
	for range 100 {
		start := time.Now()
		if spin(turns) != 0 {
			least = min(least, time.Since(start))
		}
	}
	return int(float64(turns) * float64(d) / float64(max(least, 1)))
}

// Delays is how long what was pushed to the logic goroutine waited until it ran.
type Delays struct {
	Count         int64
	P50, P99, Max time.Duration
}

// probe pushes a task to the logic goroutine every millisecond and notes how long it waits.
type probe struct {
	mu     sync.Mutex
	delays *hist.Histogram // mu guards it
}

func (p *probe) run(srv *nano.Server, ended <-chan struct{}) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ended:
			return
		case <-t.C:
		}
		began := time.Now()
		srv.Invoke(func() {
			waited := time.Since(began)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.delays.Add(waited)
		})
	}
}

// take returns the delays since the last call.
func (p *probe) take() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.delays
	p.delays = &hist.Histogram{}
	return Delays{h.Count(), h.Quantile(.5), h.Quantile(.99), h.Max()}
}

// serveNano serves until the process is to end. The question "probe" is answered with the Delays since it was asked
// before; with the first one probing begins.
func serveNano(l net.Listener, s Spec, c *proc.Child, ready func()) error {
	lobby := &Lobby{}
	for range s.Schedulers {
		room := scheduler.New()
		defer room.Close()
		lobby.rooms = append(lobby.rooms, room)
	}
	var placed []component.Option
	if s.Schedulers > 0 {
		placed = append(placed, component.WithSchedulerName(schedulerKey))
	}
	components := &component.Components{}
	bench := &Bench{rooms: map[string]*nano.Group{}}
	components.Register(bench)
	components.Register(lobby)
	components.Register(&Room{turns: turnsIn(s.Work)}, placed...)
	opts := []nano.Option{nano.WithComponents(components)}
	if s.Heartbeat > 0 {
		opts = append(opts, nano.WithHeartbeatInterval(s.Heartbeat))
	}
	if s.Resume {
		opts = append(opts, nano.WithResume(nano.Resume{}))
	}
	if s.Kind == NanoJSON {
		opts = append(opts, nano.WithSerializer(json.NewSerializer()))
	}
	srv := nano.New(opts...)
	if err := srv.Start(); err != nil {
		return err
	}
	p := &probe{delays: &hist.Histogram{}}
	if s.Rate > 0 {
		go bench.broadcast(srv, s.Rate, c.Ended())
	}
	var once sync.Once
	c.Answer("probe", func() any {
		once.Do(func() { go p.run(srv, c.Ended()) })
		return p.take()
	})
	serve := srv.Serve
	if s.Kind == NanoWebSocket || s.Kind == NanoWebSocketUnparked {
		serve = srv.ServeWebSocket
	}
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	ready()
	select {
	case err := <-served:
		return err
	case <-c.Ended():
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = srv.Shutdown(ctx) // the clients may be gone, or not
	return nil
}
