package main

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/netsim"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// join starts a server, and joins a room over a network.
func join(t *testing.T, c netsim.Conditions) (*netsim.Network, *croom.Room) {
	t.Helper()
	srv := nanotest.Start(t, options(ranges())...)
	network := netsim.New(7, c)
	p := srv.Connect(t, client.WithDialer(network.Dialer(srv.Listener.DialContext)), client.WithReconnect(client.Reconnect{}))
	r, err := croom.JoinOrCreate(t.Context(), p.Client, "lab", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return network, r
}

// number returns a number of the state.
func number(t *testing.T, r *croom.Room, path ...string) float64 {
	t.Helper()
	v, ok := r.Get(path...)
	switch v := v.(type) {
	case float64:
		return v
	case int64:
		return float64(v)
	}
	t.Fatalf("%v = %v, %v, want a number", path, v, ok)
	return 0
}

// shoot shoots at a target as the client sees it, some time after it saw it.
func shoot(t *testing.T, r *croom.Room, target int, after time.Duration) (res Result) {
	t.Helper()
	synctest.Wait()
	tick, _ := r.Tick()
	at := fmt.Sprint(target % targets)
	s := &Shot{X: float32(number(t, r, "targets", at, "x")), Y: float32(number(t, r, "targets", at, "y")), Seen: float64(tick)}
	time.Sleep(after)
	if err := r.Request(t.Context(), "Shoot", s, &res); err != nil {
		t.Fatal(err)
	}
	return res
}

func TestHits(t *testing.T) {
	for _, test := range []struct {
		conditions      netsim.Conditions
		after           time.Duration
		with, low, high int // hits of 100 with compensation, and bounds of those without
	}{
		{netsim.Conditions{}, 0, 100, 100, 100},
		{netsim.Conditions{Latency: 80 * time.Millisecond}, 0, 100, 0, 40},
		{netsim.Conditions{Latency: 80 * time.Millisecond, Jitter: 30 * time.Millisecond}, 50 * time.Millisecond, 100, 0, 40},
		{netsim.Conditions{Latency: 100 * time.Millisecond}, 400 * time.Millisecond, 0, 0, 30},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, r := join(t, test.conditions)
			time.Sleep(2 * time.Second)
			with, without, late := 0, 0, 0
			for i := range 100 {
				res := shoot(t, r, i, test.after)
				if res.With {
					with++
				}
				if res.Without {
					without++
				}
				if res.Late {
					late++
				}
				time.Sleep(130 * time.Millisecond)
			}
			if with < test.with || test.with == 0 && with > 0 || without < test.low || without > test.high {
				t.Errorf("%+v: %d hits with compensation and %d without, want %d, and %d to %d", test.conditions, with, without, test.with, test.low, test.high)
			}
			if want := test.with == 0; (late == 100) != want || (late == 0) == want {
				t.Errorf("%+v: %d shots are too late", test.conditions, late)
			}
		})
	}
}

// TestShotsBetweenTicks checks the fraction of a tick, and numbers that no page sends.
func TestShotsBetweenTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := join(t, netsim.Conditions{})
		time.Sleep(2*time.Second + 10*time.Millisecond)
		hits := 0
		for range 20 {
			tick, _ := r.Tick()
			x, y := number(t, r, "targets", "0", "x"), number(t, r, "targets", "0", "y")
			time.Sleep(time.Second / tickRate)
			nx, ny := number(t, r, "targets", "0", "x"), number(t, r, "targets", "0", "y")
			var res Result
			// 15 units beside the middle, so that an error of half a tick misses
			d := math.Hypot(nx-x, ny-y)
			s := &Shot{X: float32((x+nx)/2 + (nx-x)/d*15), Y: float32((y+ny)/2 + (ny-y)/d*15), Seen: float64(tick) + 0.5}
			if err := r.Request(t.Context(), "Shoot", s, &res); err != nil {
				t.Fatal(err)
			}
			if res.With {
				hits++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if hits != 20 {
			t.Errorf("%d of 20 shots between two ticks hit", hits)
		}
		for _, seen := range []float64{-1e300, 1e300, 0} {
			var res Result
			if err := r.Request(t.Context(), "Shoot", &Shot{Seen: seen, X: -99, Y: -99}, &res); err != nil || res.With || res.Without || res.Late != (seen <= 0) {
				t.Errorf("a shot of tick %v = %+v, %v", seen, res, err)
			}
		}
	})
}

// TestSteer checks that the ship moves by the inputs and the wind, also over a network that loses messages and cuts.
func TestSteer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, r := join(t, netsim.Conditions{Latency: 50 * time.Millisecond, Loss: 0.05})
		for seq := range 40 {
			if err := r.Send("Steer", map[string]any{"seq": seq + 1, "dx": 9, "dy": -1}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second / tickRate)
			if seq == 20 {
				network.Cut()
			}
		}
		time.Sleep(10 * time.Second)
		id := fmt.Sprint(r.Player())
		if _, ack := r.Tick(); ack != 40 {
			t.Errorf("%d inputs ran, want 40", ack)
		}
		x, y := number(t, r, "ships", id, "x"), number(t, r, "ships", id, "y")
		if x < width/2+40*shipSpeed-500 || x > width || y < 0 || y > height {
			t.Errorf("the ship is at %v, %v", x, y)
		}
	})
}

func TestMove(t *testing.T) {
	for _, test := range [][4]float32{{100, 8, 108, 8}, {20, -8, radius, 8}, {width - 20, 8, width - radius, -8}} {
		if x, v := move(test[0], test[1], width); x != test[2] || v != test[3] {
			t.Errorf("move(%v, %v) = %v, %v, want %v, %v", test[0], test[1], x, v, test[2], test[3])
		}
	}
}
