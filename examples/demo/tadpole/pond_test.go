package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	serverroom "github.com/lonng/nano/room"
)

// TestMain runs the program itself in a child process of a test.
func TestMain(m *testing.M) {
	if os.Getenv("TADPOLE_RUN") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const tick = time.Second / second

// swimmer is a player with its view of the pond.
type swimmer struct {
	*nanotest.Player
	room *room.Room
	seq  uint32
}

func enter(t *testing.T, srv *nanotest.Server, name string) *swimmer {
	t.Helper()
	p := srv.Connect(t)
	r, err := room.JoinOrCreate(t.Context(), p.Client, "pond", Hello{name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &swimmer{Player: p, room: r}
	pass(1)
	return s
}

// pass lets ticks pass.
func pass(ticks int) {
	time.Sleep(time.Duration(ticks) * tick)
	synctest.Wait()
}

// swim begins a stroke.
func (s *swimmer) swim(t *testing.T, dx, dy float64, ticks int) {
	t.Helper()
	s.seq++
	in := Swim{DX: dx, DY: dy, Ticks: ticks}
	in.Seq = s.seq
	if err := s.room.Send("Swim", in); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// sees returns the tadpoles that the player has, by id.
func (s *swimmer) sees() map[string]map[string]any {
	list := map[string]map[string]any{}
	for id, t := range s.room.State()["tadpoles"].(map[string]any) {
		list[id] = t.(map[string]any)
	}
	return list
}

// of returns the tadpole of another player, or of itself, as the player sees it.
func (s *swimmer) of(other *swimmer) map[string]any {
	return s.sees()[strconv.FormatUint(uint64(other.room.Player()), 10)]
}

func at(tadpole map[string]any) (x, y float64) { return tadpole["x"].(float64), tadpole["y"].(float64) }

// on runs f with the pond.
func on(t *testing.T, s *swimmer, f func(*Pond)) {
	t.Helper()
	if err := ponds.Do(t.Context(), s.room.ID(), f); err != nil {
		t.Fatal(err)
	}
}

// The area of interest is at most a tenth of the pond.
func TestSightIsATenth(t *testing.T) {
	const far = sight * 1.08 // a view keeps a tadpole to this distance
	if part := far * far / (radius * radius); part > 0.1 {
		t.Errorf("a player sees %.3f of the pond, want a tenth at most", part)
	}
}

// A player swims from the center to the shore and along it, among 1,000 tadpoles that are
// spread evenly. It has those within sight at each place, and no others.
func TestAreaOfInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options()...)
		ann := enter(t, srv, "ann")
		const n = 1000
		type spot struct{ x, y float64 }
		spots := map[string]spot{}
		on(t, ann, func(p *Pond) {
			for i := range n {
				sin, cos := math.Sincos(float64(i) * math.Pi * (3 - math.Sqrt(5)))
				r := radius * math.Sqrt((float64(i)+0.5)/n)
				id := serverroom.PlayerID(1000 + i)
				p.State.Tadpoles.Put(id, &Tadpole{Name: "other", X: float32(r * cos), Y: float32(r * sin)})
				spots[strconv.Itoa(int(id))] = spot{r * cos, r * sin}
			}
		})
		pass(1)
		entered, left := 0, 0
		before := map[string]map[string]any{}
		for step := range 12 {
			sees := ann.sees()
			x, y := at(ann.of(ann))
			for id, s := range spots {
				distance := math.Hypot(s.x-x, s.y-y)
				if _, seen := sees[id]; seen && distance > sight*1.08+1 || !seen && distance < sight-1 {
					t.Errorf("step %d: at %.0f, %.0f a tadpole at a distance of %.0f is seen: %v", step, x, y, distance, seen)
				}
			}
			if len(sees) > n/10 || len(sees) < 10 {
				t.Errorf("step %d: at %.0f, %.0f the player has %d of %d tadpoles, want 10 to a tenth", step, x, y, len(sees), n)
			}
			for id := range sees {
				if before[id] == nil {
					entered++
				}
			}
			for id := range before {
				if sees[id] == nil {
					left++
				}
			}
			before = sees
			if step < 7 {
				ann.swim(t, 1, 0, 40)
			} else {
				ann.swim(t, 0, 1, 40) // along the shore
			}
			pass(40)
		}
		if entered < 150 || left < 100 {
			t.Errorf("%d tadpoles came into sight and %d left it, want many", entered, left)
		}
		if err := ann.room.Err(); err != nil {
			t.Error(err)
		}
	})
}

func TestSwim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options()...)
		ann, bob := enter(t, srv, "ann"), enter(t, srv, "bob")
		put := func(x, y float32) {
			on(t, ann, func(p *Pond) {
				*p.State.Tadpoles.Get(serverroom.PlayerID(ann.room.Player())) = Tadpole{X: x, Y: y}
				*p.State.Tadpoles.Get(serverroom.PlayerID(bob.room.Player())) = Tadpole{X: x, Y: y}
			})
			pass(1)
		}
		want := func(what string, x, y float64) {
			t.Helper()
			for _, s := range []*swimmer{ann, bob} {
				if gotX, gotY := at(s.of(ann)); math.Abs(gotX-x) > 0.3 || math.Abs(gotY-y) > 0.3 {
					t.Errorf("%s: ann is at %v, %v, want %v, %v", what, gotX, gotY, x, y)
				}
			}
		}
		for _, c := range []struct {
			what   string
			dx, dy float64
			ticks  int
			x, y   float64 // after 5 ticks
		}{
			{"one tick", 1, 0, 1, speed, 0},
			{"one tick by default", 0, 1, 0, 0, speed},
			{"three ticks", 0, -0.5, 3, 0, -1.5 * speed},
			{"longer than the test", -1, 0, 1000, -5 * speed, 0},
			{"too strong", 30, 40, 1, 0.6 * speed, 0.8 * speed},
			{"huge", 1e300, 0, 1, speed, 0},
			{"rest", 0, 0, 40, 0, 0},
		} {
			put(0, 0)
			ann.swim(t, c.dx, c.dy, c.ticks)
			pass(5)
			want(c.what, c.x, c.y)
		}

		put(0, 0)
		ann.swim(t, 1, 0, 1000)
		pass(60)
		want("a stroke ends after 2 s", 2*second*speed, 0)

		put(0, 0)
		for range 5 {
			ann.swim(t, 1, 0, 1)
		}
		pass(1)
		want("strokes that were held back", 5*speed, 0)
		put(0, 0)
		for range 10 {
			for range 20 {
				ann.swim(t, 1, 0, 1)
			}
			pass(1)
		}
		want("too many strokes", (second+9)*speed, 0)

		put(radius-5, 0)
		ann.swim(t, 1, 0, 1)
		pass(1)
		if x, y := at(ann.of(ann)); math.Abs(math.Hypot(x, y)-radius) > 0.3 {
			t.Errorf("at the shore ann is at %v, %v", x, y)
		}
		if _, ack := ann.room.Tick(); ack != ann.seq {
			t.Errorf("the state contains stroke %d, want %d", ack, ann.seq)
		}
	})
}

func TestSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options()...)
		ann, bob := enter(t, srv, "ann"), enter(t, srv, "bob")
		say := func(text string) error { return ann.room.Request(t.Context(), "Say", Words{text}, nil) }
		if err := say(" hello,\n\x07\x00 pond \u202e 👩‍👧 "); err != nil {
			t.Fatal(err)
		}
		pass(1)
		if got := bob.of(ann)["says"]; got != "hello, pond 👩‍👧" {
			t.Errorf("bob reads %q", got)
		}
		var e *client.Error
		if err := say("too soon"); !errors.As(err, &e) || e.Code != "PAUSE" {
			t.Errorf("a second sentence at once = %v, want PAUSE", err)
		}
		pass(second)
		if err := say(strings.Repeat("蝌", 200)); err != nil {
			t.Fatal(err)
		}
		pass(1)
		late := enter(t, srv, "late") // sees words that were said before it came
		if got := late.of(ann)["says"]; got != strings.Repeat("蝌", 80) {
			t.Errorf("a player who comes later reads %q, want 80 characters", got)
		}
		pass(6*second - 4)
		if got := bob.of(ann)["says"]; got == "" {
			t.Error("the words are gone before 6 s")
		}
		pass(4)
		if got := bob.of(ann)["says"]; got != "" {
			t.Errorf("bob still reads %q", got)
		}
	})
}

func TestJoinInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options()...)
		ann := enter(t, srv, "  Ann \t of   the long name ")
		ann.swim(t, 0, 1, 40)
		pass(10)
		bob := enter(t, srv, "")
		x, y := at(ann.of(ann))
		if gotX, gotY := at(bob.of(ann)); gotX != x || gotY != y {
			t.Errorf("bob sees ann at %v, %v, want %v, %v", gotX, gotY, x, y)
		}
		if got := fmt.Sprint(bob.of(ann)["name"], "/", bob.of(bob)["name"]); got != "Ann of the long/Tadpole" {
			t.Errorf("the names are %q", got)
		}
		pass(second)
		if n, _ := ann.room.Get("swimmers"); n != int64(2) {
			t.Errorf("%v swimmers, want 2", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := bob.room.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		pass(second)
		if n, _ := ann.room.Get("swimmers"); n != int64(1) || ann.of(bob) != nil {
			t.Errorf("%v swimmers and %v after bob has left", n, ann.of(bob))
		}
		if _, err := room.Spectate(t.Context(), srv.Connect(t).Client, ann.room.ID()); err == nil {
			t.Error("a spectator would see the whole pond")
		}
	})
}

// A page that lost its connection returns to its tadpole.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options()...)
		ann, bob := enter(t, srv, "ann"), enter(t, srv, "bob")
		ann.Drop()
		pass(5 * second)
		if bob.of(ann) == nil {
			t.Fatal("the tadpole is gone while its page may come back")
		}
		bob.swim(t, 1, 0, 5)
		pass(10)
		ann.Return()
		pass(2)
		x, y := at(bob.of(bob))
		if gotX, gotY := at(ann.of(bob)); gotX != x || gotY != y || !ann.room.Synced() {
			t.Errorf("after the return ann sees bob at %v, %v, want %v, %v", gotX, gotY, x, y)
		}
	})
}

// The server is short: the game, its options and its pages.
func TestServerLength(t *testing.T) {
	source, err := os.ReadFile("pond.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte("\n")); n > 150 {
		t.Errorf("pond.go has %d lines, want 150 at most", n)
	}
}
