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

// stampLength is the length of a stamp, which is a number written as eight letters. A
// client's payload begins with two stamps: the client's number, and the number of the
// message or, for a join, of the room.
const stampLength = 8

func roomOf(payload []byte) string { return string(payload[stampLength : 2*stampLength]) }

var errShortPayload = errors.New("want a payload of 16 bytes or more")

// Note is the payload of typed JSON handlers.
type Note struct {
	Content string `json:"content"`
}

// Bench is the component that clients of the benchmarks call.
type Bench struct {
	component.Base
	rooms map[string]*nano.Group
}

// Echo answers with the payload.
func (b *Bench) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// JSON responds with the decoded payload.
func (b *Bench) JSON(s *session.Session, n *Note) error { return s.Response(n) }

// Protobuf responds with the decoded payload.
func (b *Bench) Protobuf(s *session.Session, n *wrapperspb.StringValue) error { return s.Response(n) }

// Ping pushes the payload back.
func (b *Bench) Ping(s *session.Session, data []byte) error { return s.Push(PushRoute, data) }

const groupKey = "group"

// Join adds the session to the room that the payload names.
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

// once pushes a broadcast to every room. It runs on the logic goroutine.
func (b *Bench) once() {
	for _, g := range b.rooms {
		_ = g.Broadcast(PushRoute, bytes.Repeat([]byte("x"), broadcastSize)) // a room may be empty
	}
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

// schedulerKey is the key of a session's room scheduler.
const schedulerKey = "room"

// Lobby assigns each session the scheduler of its room.
type Lobby struct {
	component.Base
	rooms []*scheduler.Scheduler // nil means the server's own scheduler
}

// Enter assigns the scheduler of the room that the payload names.
func (l *Lobby) Enter(s *session.Session, data []byte) error {
	if len(data) < 2*stampLength {
		return errShortPayload
	}
	if n := len(l.rooms); n > 0 {
		s.Set(schedulerKey, l.rooms[int(data[2*stampLength-1])%n])
	}
	return s.Response(data)
}

// Room is a component that does some work for each message.
type Room struct {
	component.Base
	turns int
}

// Act works and responds with the payload.
func (r *Room) Act(s *session.Session, data []byte) error {
	if spin(r.turns) == 0 {
		return errSpun
	}
	return s.Response(data)
}

var errSpun = errors.New("spin returned 0")

// spin keeps a processor busy for a number of turns. It does not measure time, because a
// process that is not running would pass time without work. The result is never 0.
func spin(turns int) (x uint32) {
	x = 1
	for range turns {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
	}
	return x
}

// turnsIn returns how many turns of spin take d. It uses the fastest of many tries, which
// was not interrupted.
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

// Delays holds how long tasks waited for the logic goroutine.
type Delays struct {
	Count         int64
	P50, P99, Max time.Duration
}

// probe queues a task on the logic goroutine every millisecond and records its delay.
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

// shutdownTime is the time limit of a graceful shutdown.
const shutdownTime = time.Minute

// serveNano serves until the process is asked to end. It answers "probe" with the Delays
// since the previous question; the first question starts the probe. "broadcast" pushes
// once to all members of all rooms. "shutdown" shuts the server down gracefully and is
// answered with the text of the error, or "".
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
	c.Answer("broadcast", func() any {
		srv.Invoke(bench.once)
		return nil
	})
	c.Answer("shutdown", func() any {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			return err.Error()
		}
		return ""
	})
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
		if err == nil { // after the question "shutdown"
			<-c.Ended()
		}
		return err
	case <-c.Ended():
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = srv.Shutdown(ctx) // clients may still be connected
	return nil
}
