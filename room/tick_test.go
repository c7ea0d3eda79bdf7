package room_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

// Race is a room with ticks and inputs.
type Race struct {
	room.Base[struct {
		Cars  state.Map[room.PlayerID, Car]
		Dice  int
		Blob  string
		Ticks int
	}]
	fail, grow bool
}

type Car struct{ X int }

type Steer struct {
	room.Input
	DX int `json:"dx"`
}

type Setting struct {
	Fail  bool          `json:"fail"`
	Grow  bool          `json:"grow"`
	Sleep time.Duration `json:"sleep"`
}

func (r *Race) OnJoin(p *room.Player)          { r.State.Cars.Put(p.ID, &Car{}) }
func (r *Race) Steer(p *room.Player, m *Steer) { r.State.Cars.Get(p.ID).X += m.DX }
func (r *Race) Set(_ *room.Player, m *Setting) { r.fail, r.grow = m.Fail, m.Grow; time.Sleep(m.Sleep) }
func (r *Race) Tick() {
	r.State.Ticks = int(r.Ticks())
	r.State.Dice = r.Rand().IntN(1 << 30)
	if r.grow {
		r.State.Blob = strings.Repeat("x", 20<<10+int(r.Ticks()))
	}
	if r.fail {
		panic("engine")
	}
}

func newRace(t *testing.T, opts ...room.Option) (*nanotest.Server, *room.Kind[Race]) {
	kind := room.Define[Race]("race", append([]room.Option{room.TickRate(10), room.Schedulers(schedulers)}, opts...)...)
	srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(json.NewSerializer()))
	return srv, kind.On(srv.Server)
}

func race(t *testing.T, srv *nanotest.Server) (*nanotest.Player, *croom.Room) {
	t.Helper()
	p := srv.Connect(t)
	r, err := croom.JoinOrCreate(t.Context(), p.Client, "race", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, r
}

func get(r *croom.Room, path ...string) string {
	v, _ := r.Get(path...)
	return fmt.Sprint(v)
}

func TestInputsAreAcknowledged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := newRace(t, room.Inputs(3))
		_, r := race(t, srv)
		time.Sleep(time.Second)
		for seq := range 3 {
			if err := r.Send("Steer", map[string]any{"seq": seq + 1, "dx": 1}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if x := get(r, "cars", "1", "x"); x != "0" {
			t.Errorf("x = %s before the tick, want 0: an input waits for it", x)
		}
		time.Sleep(150 * time.Millisecond)
		if _, ack := r.Tick(); ack != 3 || get(r, "cars", "1", "x") != "3" {
			t.Errorf("ack %d, x %s after the tick, want 3 and 3", ack, get(r, "cars", "1", "x"))
		}
		for seq := range 5 {
			if err := r.Send("Steer", map[string]any{"seq": seq + 4, "dx": 10}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(150 * time.Millisecond)
		if _, ack := r.Tick(); ack != 8 || get(r, "cars", "1", "x") != "33" {
			t.Errorf("ack %d, x %s, want 8 and 33: the oldest 2 inputs of 5 were dropped", ack, get(r, "cars", "1", "x"))
		}
		if s := kind.Stats()[0]; s.InputsDropped != 2 {
			t.Errorf("InputsDropped = %d, want 2", s.InputsDropped)
		}
	})
}

// A client that answers each state after 30 ms has a round trip of 30 ms.
func TestRTT(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := newRace(t)
		_, r := race(t, srv)
		rtt := func() (d time.Duration) {
			synctest.Wait()
			if err := kind.Do(t.Context(), r.ID(), func(race *Race) { d = race.Player(1).RTT() }); err != nil {
				t.Fatal(err)
			}
			return d
		}
		answer := func(after time.Duration) {
			time.Sleep(after)
			tick, _ := r.Tick()
			for range 2 { // the second one is equal
				if err := r.Send("Steer", map[string]any{"seq": tick, "tick": tick}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(90*time.Millisecond - after)
		}
		time.Sleep(100 * time.Millisecond) // at a tick from here on
		synctest.Wait()
		if got := rtt(); got != 0 {
			t.Errorf("RTT = %v before the first input, want 0", got)
		}
		answer(50 * time.Millisecond)
		answer(30 * time.Millisecond)
		answer(70 * time.Millisecond)
		if got := rtt(); got < 30*time.Millisecond || got > 31*time.Millisecond {
			t.Errorf("RTT = %v, want 30 ms", got)
		}
		for range 16 {
			answer(60 * time.Millisecond)
		}
		if got := rtt(); got < 60*time.Millisecond || got > 61*time.Millisecond {
			t.Errorf("RTT = %v after 16 more inputs, want 60 ms", got)
		}
		for _, tick := range []uint32{0, 1 << 31, 3} { // none, one from the future, and an old one
			if err := r.Send("Steer", map[string]any{"seq": 1000, "tick": tick}); err != nil {
				t.Fatal(err)
			}
		}
		if got := rtt(); got < 60*time.Millisecond || got > 61*time.Millisecond {
			t.Errorf("RTT = %v after ticks that are not known, want 60 ms", got)
		}
	})
}

func TestRandIsSeeded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var seen [3]string
		for i := range seen {
			seed := [32]byte{byte(i / 2)}
			srv, _ := newRace(t, room.Seed(seed))
			_, r := race(t, srv)
			time.Sleep(time.Second + time.Millisecond)
			synctest.Wait()
			seen[i] = get(r, "ticks") + " " + get(r, "dice")
		}
		if seen[0] != seen[1] || seen[0] == seen[2] {
			t.Errorf("dice = %q, want the first two equal and the third not", seen)
		}
	})
}

func TestTicksThatPanicCloseTheRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := newRace(t)
		_, r := race(t, srv)
		time.Sleep(50 * time.Millisecond) // between two ticks
		for _, fail := range []bool{true, false, true} {
			if err := r.Request(t.Context(), "Set", Setting{Fail: fail}, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(900 * time.Millisecond)
		}
		if s := kind.Stats(); len(s) != 1 || s[0].Panics != 18 {
			t.Fatalf("Stats = %+v, want one room with 18 panics", s)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if len(kind.Stats()) != 0 || r.Reason() != "panic" {
			t.Errorf("%d rooms, reason %q, want none and panic", len(kind.Stats()), r.Reason())
		}
		if st := srv.Stats(); st.Panics != 19 || st.Rooms.Panics != 19 {
			t.Errorf("the server counts %d panics, %d of them of rooms, want 19 after the end of the room", st.Panics, st.Rooms.Panics)
		}
	})
}

func TestLateTicksAreSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := newRace(t, room.CatchUp(2))
		_, r := race(t, srv)
		time.Sleep(time.Second + time.Millisecond)
		if err := r.Request(t.Context(), "Set", Setting{Sleep: time.Second}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		s := kind.Stats()[0]
		if s.Ticks != 13 || s.Skipped != 7 || s.LagP99 < time.Second/2 || s.LagP50 > time.Millisecond {
			t.Errorf("ticks %d, skipped %d, lag %v and %v, want 13, 7, about nothing and a second", s.Ticks, s.Skipped, s.LagP50, s.LagP99)
		}
	})
}

// slowConn does not read while its gate is closed.
type slowConn struct {
	net.Conn
	gate atomic.Pointer[chan struct{}]
}

func (c *slowConn) Read(b []byte) (int, error) {
	if g := c.gate.Load(); g != nil {
		<-*g
	}
	return c.Conn.Read(b)
}

// A client that does not read skips patches and stays connected. Later it gets a
// snapshot.
func TestSlowClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := newRace(t)
		conn := &slowConn{}
		p, err := client.Dial(t.Context(), "pond:1", client.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			var err error
			conn.Conn, err = srv.Listener.DialContext(ctx, network, addr)
			return conn, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		r, err := croom.JoinOrCreate(t.Context(), p, "race", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, fast := race(t, srv)
		if err := r.Request(t.Context(), "Set", Setting{Grow: true}, nil); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		conn.gate.Store(&gate)
		time.Sleep(6 * time.Second) // more than the server would keep for the client
		conn.gate.Store(nil)
		close(gate)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if n := kind.Stats()[0].SlowClients; n < 50 {
			t.Errorf("%d patches were skipped, want 50 or more", n)
		}
		if got, want := text(r), text(fast); got != want || r.Err() != nil || !r.Synced() {
			t.Errorf("the slow client sees %.100s (%v), want %.100s", got, r.Err(), want)
		}
	})
}

// Seats are never overbooked, for any actions of clients.
func TestSeatsAreNeverOverbooked(t *testing.T) {
	const seats = 7
	clients := 1000
	if testing.Short() {
		clients = 150
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t, room.Schedulers(2), room.Seats(seats), room.Hold(2*time.Second), room.Empty(time.Second))
		done := make(chan struct{})
		for i := range clients {
			go func() {
				defer func() { done <- struct{}{} }()
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				uid := int64(1 + rng.IntN(clients*2/3)) // some users log in twice
				for range 4 {
					p := l.connect(uid)
					for range 3 {
						r, err := croom.JoinOrCreate(t.Context(), p.Client, "pond", JoinOptions{"x"}, nil)
						if err != nil {
							if c := code(err); c != "ROOM-FULL" && c != "ROOM-LOCKED" && c != "ROOM-JOINED" {
								t.Errorf("join = %v", err)
							}
							continue
						}
						time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
						switch rng.IntN(4) {
						case 0:
							_ = r.Leave(t.Context())
						case 1:
							_ = l.Kind.Reserve(r.ID(), int64(1+rng.IntN(clients)))
						case 2:
							_ = r.Send("Jump", Step{1})
						}
					}
					_ = p.Close()
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				}
			}()
		}
		for n := 0; n < clients; {
			select {
			case <-done:
				n++
			case <-time.After(100 * time.Millisecond):
				for _, info := range l.infos() {
					players := 0
					_ = l.Kind.Do(t.Context(), info.ID, func(p *Pond) { players = len(p.Players()) }) // 0 if it has closed
					if info.Players > seats || players > seats {
						t.Errorf("room %s: %d players, %d taken of %d seats", info.ID, players, info.Players, seats)
					}
				}
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if left := l.infos(); len(left) != 0 {
			t.Errorf("%d rooms are left, want none: the first is %+v", len(left), left[0])
		}
	})
}

type notARoom struct{ X int }

type badRoom struct {
	room.Base[struct{ F func() }]
}

func (*badRoom) Tick()                                  {}
func (*badRoom) OnJoin(int)                             {}
func (*badRoom) OnDrop(*room.Player, int)               {}
func (*badRoom) Say(*room.Player, string)               {}
func (*badRoom) Two(*room.Player, *Step) (int, int)     { return 0, 0 }
func (*badRoom) In(*room.Player, *Steer) (*Step, error) { return nil, nil }
func (*badRoom) Lock(*room.Player, *Step)               {}

// All faults of a kind are reported together when a server starts.
func TestFaults(t *testing.T) {
	for err, wants := range map[error][]string{
		nano.New(room.Define[notARoom]("x").Option()).Start(): {"does not embed room.Base"},
		nano.New(room.Define[badRoom]("bad", room.Seats(0), room.SendRate(5)).Option()).Start(): {
			"Seats(0)", "SendRate(5)", "method Tick needs a TickRate", "method OnJoin", "method OnDrop", "method Say", "method Two", "method In", "method Lock", "state.F"},
		nano.New(room.Define[Pond]("room").Option()).Start(): {"the name is reserved for the routes of all rooms"},
	} {
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Start = %v\nwant %q in it", err, want)
			}
		}
	}
	option := room.Define[Pond]("pond").Option()
	nanotest.Start(t, option)
	if err := nano.New(option).Start(); err == nil || !strings.Contains(err.Error(), "two servers") {
		t.Errorf("Start of a second server with one Option = %v, want an error", err)
	}
}

// Several kinds share the routes room.*, and a kind without On finds the only server.
func TestTwoKindsOnOneServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pond, races := room.Define[Pond]("pond"), room.Define[Race]("race", room.TickRate(10))
		if _, err := pond.Create(t.Context(), nil); err != room.ErrNoServer {
			t.Errorf("Create without a server = %v, want ErrNoServer", err)
		}
		srv := nanotest.Start(t, pond.Option(), races.Option(), nano.WithSerializer(json.NewSerializer()))
		info, err := pond.Create(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := croom.Join(t.Context(), srv.Connect(t).Client, info.ID, JoinOptions{"ann"})
		if err != nil {
			t.Fatal(err)
		}
		_, b := race(t, srv)
		if err := b.Request(t.Context(), "Set", Setting{}, nil); err != nil {
			t.Error(err)
		}
		if err := a.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Error(err)
		}
		nanotest.Start(t, pond.Option())
		if _, err := pond.Create(t.Context(), nil); err != room.ErrServers {
			t.Errorf("Create with two servers = %v, want ErrServers", err)
		}
	})
}
