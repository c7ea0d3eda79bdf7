package room_test

import (
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/netsim"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

// Range is a room with a target that moves 10 a tick.
type Range struct {
	room.Base[struct {
		Targets          state.Map[int, Target] `state:"history"`
		Hits, Live, Late int
	}]
}

type Target struct{ X int }

type Shot struct {
	room.Input
	X int `json:"x"`
}

func (r *Range) OnCreate() { r.State.Targets.Put(1, &Target{}) }
func (r *Range) Tick()     { r.State.Targets.Get(1).X = int(r.Ticks()) * 10 }

// Shoot counts hits of the target that the player saw, hits of the live one, and shots that are too old.
func (r *Range) Shoot(_ *room.Player, s *Shot) {
	past := r.State.Targets.At(uint64(s.Tick))
	if past.Tick() > uint64(s.Tick) {
		r.State.Late++
		return
	}
	if seen, ok := past.Get(1); ok && seen.X == s.X {
		r.State.Hits++
	}
	if r.State.Targets.Get(1).X == s.X {
		r.State.Live++
	}
}

// TestLagCompensation shoots at what a client sees over a network with a round trip of 200 ms.
func TestLagCompensation(t *testing.T) {
	for _, rates := range [][2]float64{{20, 20}, {60, 60}, {60, 20}, {240, 60}} {
		inBubble(t, func(t *testing.T) {
			kind := room.Define[Range]("range", room.TickRate(rates[0]), room.SendRate(rates[1]), room.Schedulers(schedulers))
			srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(json.NewSerializer()))
			network := netsim.New(1, netsim.Conditions{Latency: 100 * time.Millisecond})
			p := srv.Connect(t, client.WithDialer(network.Dialer(srv.Listener.DialContext)))
			r, err := croom.JoinOrCreate(t.Context(), p.Client, "range", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			seq := 0
			shoot := func(age time.Duration) {
				t.Helper()
				tick, _ := r.Tick()
				x := int(tick) * 10
				time.Sleep(age)
				seq++
				if err := r.Send("Shoot", map[string]any{"seq": seq, "tick": tick, "x": x}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(3*time.Second + 10*time.Millisecond) // between two ticks
			if v := get(r, "targets", "1", "x"); v == "0" {
				t.Fatal("the client sees no target")
			}
			for range 5 {
				shoot(0)
			}
			shoot(250 * time.Millisecond) // 450 ms after the server's tick, and up to one more
			if hits, live, late := get(r, "hits"), get(r, "live"), get(r, "late"); hits != "6" || live != "0" || late != "0" {
				t.Errorf("rates %v: %s hits of what the client saw, %s of the live target, %s late, want 6, 0 and 0", rates, hits, live, late)
			}
			shoot(500 * time.Millisecond)
			if hits, late := get(r, "hits"), get(r, "late"); hits != "6" || late != "1" {
				t.Errorf("rates %v: a shot after 700 ms: %s hits, %s late, want 6 and 1", rates, hits, late)
			}
		})
	}
}
