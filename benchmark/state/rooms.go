package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

// The end-to-end cases: players in one room at 20 Hz on an area of 1,000 by 1,000, over real sockets. Each player sees about
// 54 others and sends an input twice a second. The servers have one processor, the clients have the others.

// roomCase is one end-to-end case.
type roomCase struct {
	name string
	spec roomSpec
}

type roomSpec struct {
	WebSocket bool    `json:"webSocket"`
	Gate      bool    `json:"gate"` // the clients connect to a gate, and a backend has the room
	Players   int     `json:"players"`
	Radius    float32 `json:"radius"`
	Addr      string  `json:"addr"` // for the clients: of their server; for a gate: of the backend
}

var roomCases = []roomCase{
	{"1,000 players in a room, TCP", roomSpec{Players: 1000, Radius: 136}},
	{"1,000 players in a room, WebSocket", roomSpec{Players: 1000, Radius: 136, WebSocket: true}},
	{"1,000 players in a room, through a gate", roomSpec{Players: 1000, Radius: 136, Gate: true}},
}

// These are the limits of an end-to-end case.
const (
	coreBar = 0.25 // of a processor, for the server with the room
	rateBar = 5.0  // KiB per second and client
)

// crowdRoom is the room of the end-to-end cases.
type crowdRoom struct {
	room.Base[struct {
		Players state.Map[room.PlayerID, stepEntity]
	}]
	moves []move // by player
}

type move struct{ dx, dy float32 }

// Steer is an input: the speed for the next ticks.
type Steer struct {
	room.Input
	DX float32 `json:"dx"`
	DY float32 `json:"dy"`
}

const areaSize = 1000

func (c *crowdRoom) OnJoin(p *room.Player) {
	rng := c.Rand()
	c.State.Players.Put(p.ID, &stepEntity{
		Name: fmt.Sprint("player ", p.ID), X: rng.Float32() * areaSize, Y: rng.Float32() * areaSize,
	})
	for len(c.moves) <= int(p.ID) {
		c.moves = append(c.moves, move{rng.Float32()*10 - 5, rng.Float32()*10 - 5})
	}
}

func (c *crowdRoom) Steer(p *room.Player, m *Steer) { c.moves[p.ID] = move{m.DX, m.DY} }

func (c *crowdRoom) Tick() {
	for id, e := range c.State.Players.All() {
		m := &c.moves[id]
		e.X, e.Y = e.X+m.dx, e.Y+m.dy
		if e.X < 0 || e.X > areaSize {
			m.dx = -m.dx
		}
		if e.Y < 0 || e.Y > areaSize {
			m.dy = -m.dy
		}
	}
}

// sight is how far the players of this process see.
var sight float32

func (c *crowdRoom) View(p *room.Player, v *state.View) {
	if e := c.State.Players.Get(p.ID); e != nil {
		v.Near(&c.State.Players, e.X, e.Y, sight)
	}
}

// roomResult holds the counters of a server.
type roomResult struct {
	BytesOut    int64
	LagP99      time.Duration
	Skipped     int64
	Players     int
	Calibration float64
}

// roomServer is the process with the room.
func roomServer(c *proc.Child) error {
	var s roomSpec
	if err := c.Spec(&s); err != nil {
		return err
	}
	sight = s.Radius
	kind := room.Define[crowdRoom]("crowd", room.Seats(s.Players), room.TickRate(20))
	opts := []nano.Option{kind.Option(), nano.WithSerializer(json.NewSerializer()), quiet()}
	if s.Gate {
		opts = append(opts, nano.WithCluster())
	}
	srv := nano.New(opts...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.Answer("figures", func() any {
		r := roomResult{BytesOut: srv.Stats().BytesOut}
		for _, one := range kind.Stats() {
			r.LagP99, r.Skipped, r.Players = one.LagP99, one.Skipped, one.Players
		}
		return r
	})
	c.Answer("calibration", func() any { return calibrate() })
	if !s.Gate {
		serve := srv.Serve
		if s.WebSocket {
			serve = srv.ServeWebSocket
		}
		return serveRoom(c, srv, l, serve)
	}
	if err := srv.StartCluster(l); err != nil {
		return err
	}
	c.Say("ready", l.Addr().String())
	<-c.Ended()
	shutdown(srv)
	return nil
}

// roomGate is the process between the clients and the process with the room.
func roomGate(c *proc.Child) error {
	var s roomSpec
	if err := c.Spec(&s); err != nil {
		return err
	}
	srv := nano.New(nano.WithSeeds(s.Addr), nano.WithSerializer(json.NewSerializer()), quiet())
	peers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := srv.StartCluster(peers); err != nil {
		return err
	}
	if m := srv.Members(); len(m) != 1 || !m[0].Up {
		return fmt.Errorf("want one other node that is up, got %v", m)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.Answer("figures", func() any { return roomResult{BytesOut: srv.Stats().BytesOut} })
	return serveRoom(c, srv, l, srv.Serve)
}

// serveRoom serves clients until the parent ends the process.
func serveRoom(c *proc.Child, srv *nano.Server, l net.Listener, serve func(net.Listener) error) error {
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	c.Say("ready", l.Addr().String())
	select {
	case err := <-served:
		return err
	case <-c.Ended():
	}
	shutdown(srv)
	return nil
}

// shutdown stops a server whose process ends.
func shutdown(srv *nano.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = srv.Shutdown(ctx) // clients may still be connected
}

func quiet() nano.Option { return nano.WithSlog(slog.New(slog.DiscardHandler)) }

// roomClients is the process with the players.
func roomClients(c *proc.Child) error {
	var s roomSpec
	if err := c.Spec(&s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	addr := s.Addr
	if s.WebSocket {
		addr = "ws://" + addr
	}
	var players []*client.Client
	for range s.Players {
		p, err := client.Dial(ctx, addr, client.WithFallback(func(*client.Message) {}))
		if err != nil {
			return err
		}
		if err := p.Request(ctx, "room.joinOrCreate", []byte(`{"kind":"crowd"}`), nil); err != nil {
			return err
		}
		players = append(players, p)
	}
	c.Say("joined", len(players))
	const every = 10 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	each := max(1, len(players)*int(every)/int(500*time.Millisecond))
	for seq, at := uint32(1), 0; ; {
		select {
		case <-c.Ended():
			return nil
		case <-ticker.C:
		}
		for range each {
			in := Steer{Input: room.Input{Seq: seq}, DX: rand.Float32()*10 - 5, DY: rand.Float32()*10 - 5}
			if err := players[at].Notify("crowd.Steer", in); err != nil {
				return err
			}
			if at++; at == len(players) {
				at, seq = 0, seq+1
			}
		}
	}
}

// rooms runs the end-to-end cases and returns how many figures fall short.
func (b *bench) rooms(ctx context.Context, out io.Writer, list []roomCase, settle, span time.Duration) (missed int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	fmt.Fprintf(out, "\n%-40s %12s %12s %12s %14s %8s\n",
		"end to end, 20 Hz, bars 0.25 and 5.00", "processor", "of the gate", "KiB/s each", "tick lag p99", "skipped")
	for _, c := range list {
		var best roomRow
		for attempt := 0; attempt == 0 || b.again(attempt); attempt++ {
			fmt.Fprintf(b.progress, "%s, attempt %d\n", c.name, attempt+1)
			r, err := b.room(ctx, c.spec, settle, span)
			if timeIsUp(ctx) {
				break
			}
			if err != nil {
				return missed, fmt.Errorf("%s: %w", c.name, err)
			}
			if best.core == 0 || best.noisy && !r.noisy || best.noisy == r.noisy && r.core < best.core {
				best = r
			}
			if !best.noisy && best.missed() == 0 {
				break
			}
		}
		if best.core == 0 {
			missed += unmeasured(out, c.name)
			continue
		}
		fmt.Fprintln(out, best.line(c.name))
		missed += best.missed()
	}
	return missed, nil
}

// roomRow is the outcome of an end-to-end case.
type roomRow struct {
	core    float64 // processors that the server with the room took
	gate    float64 // processors that the gate took, 0 without one
	rate    float64 // KiB per second and client
	lag     time.Duration
	skipped int64
	noisy   bool
}

// missed returns how many figures fall short. The bytes are the same on a busy machine.
func (r roomRow) missed() (n int) {
	if r.core > coreBar && !r.noisy {
		n++
	}
	if r.rate > rateBar {
		n++
	}
	return n
}

func (r roomRow) line(name string) string {
	gate := ""
	if r.gate > 0 {
		gate = fmt.Sprintf("%.3f", r.gate)
	}
	line := fmt.Sprintf("%-40s %12.3f %12s %12.2f %14s %8d", name, r.core, gate, r.rate, r.lag, r.skipped)
	if r.noisy {
		line += "  noisy"
	}
	if r.missed() > 0 {
		line += "  SHORT"
	}
	return line
}

// room measures one case once: the time span after the players have joined and some time to settle.
func (b *bench) room(ctx context.Context, s roomSpec, settle, span time.Duration) (row roomRow, err error) {
	server, err := proc.Start("room server", s, b.cpu)
	if err != nil {
		return row, err
	}
	defer server.End()
	if err := server.Await(ctx, "ready", &s.Addr); err != nil {
		return row, err
	}
	door := server // the process that the clients are connected to
	if s.Gate {
		if door, err = proc.Start("room gate", s, b.cpu); err != nil {
			return row, err
		}
		defer door.End()
		if err := door.Await(ctx, "ready", &s.Addr); err != nil {
			return row, err
		}
	}
	clients, err := proc.Start("room clients", s, others(b.cpu))
	if err != nil {
		return row, err
	}
	defer clients.End()
	if err := clients.Await(ctx, "joined", nil); err != nil {
		return row, err
	}
	if err := sleep(ctx, settle); err != nil {
		return row, err
	}
	before, err := look(ctx, server, door)
	if err != nil {
		return row, err
	}
	if err := sleep(ctx, span); err != nil {
		return row, err
	}
	after, err := look(ctx, server, door)
	if err != nil {
		return row, err
	}
	if after.Players != s.Players {
		return row, fmt.Errorf("%d players are left of %d", after.Players, s.Players)
	}
	if err := clients.Failed(); err != nil {
		return row, err
	}
	clients.End()
	var calibration float64
	if err := server.Ask(ctx, "calibration", &calibration); err != nil {
		return row, err
	}
	took := after.at.Sub(before.at).Seconds()
	row = roomRow{
		core: (after.cpu - before.cpu).Seconds() / took,
		rate: float64(after.BytesOut-before.BytesOut) / 1024 / took / float64(s.Players),
		lag:  after.LagP99, skipped: after.Skipped - before.Skipped,
		noisy: b.deviates("go", result{Calibration: calibration}),
	}
	if s.Gate {
		row.gate = (after.doorCPU - before.doorCPU).Seconds() / took
	}
	return row, nil
}

// moment holds the counters of the servers at one time.
type moment struct {
	roomResult // with the bytes that the door has written to clients
	at         time.Time
	cpu        time.Duration
	doorCPU    time.Duration
}

func look(ctx context.Context, server, door *proc.Process) (m moment, err error) {
	used, err := server.Usage(ctx, false)
	if err != nil {
		return m, err
	}
	m.at, m.cpu = time.Now(), used.CPU
	if used, err = door.Usage(ctx, false); err != nil {
		return m, err
	}
	m.doorCPU = used.CPU
	if err := server.Ask(ctx, "figures", &m.roomResult); err != nil {
		return m, err
	}
	var out roomResult
	if err := door.Ask(ctx, "figures", &out); err != nil {
		return m, err
	}
	m.BytesOut = out.BytesOut
	return m, nil
}

// others returns the processors of the machine that are not in list, all if there are no others.
func others(list []int) (rest []int) {
	for _, cpu := range proc.CPUs() {
		taken := false
		for _, c := range list {
			taken = taken || c == cpu
		}
		if !taken {
			rest = append(rest, cpu)
		}
	}
	return rest
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func selectedRooms(words string) (list []roomCase) {
	for _, c := range roomCases {
		for word := range strings.SplitSeq(words, ",") {
			if strings.Contains(c.name, word) {
				list = append(list, c)
				break
			}
		}
	}
	return list
}
