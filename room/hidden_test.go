package room_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

// Salon is a card game with every way to hide something from a player.
type Salon struct {
	room.Base[struct {
		Turn  int
		Stock []uint8 `state:"level=2"`
		Seats state.Map[room.PlayerID, Guest]
		Plain map[room.PlayerID]*Guest
	}]
	near, leak bool
	secret     int // never sent
}

type Guest struct {
	Name   string
	X, Y   float32 `state:"q=0.1"`
	Hand   []uint8 `state:"owner"`
	Bank   int     `state:"owner"`
	Orders string  `state:"level=2"`
}

// Act is the message of a player: a visible part, and one that the others must not see.
type Act struct {
	X, Y  float32
	Cards []uint8
	Coins int
	Tells int // replies to the player alone
}

func (s *Salon) OnJoin(p *room.Player, o *JoinOptions) {
	g := &Guest{Name: o.Name}
	s.State.Seats.Put(p.ID, g)
	if s.State.Plain == nil {
		s.State.Plain = map[room.PlayerID]*Guest{}
	}
	s.State.Plain[p.ID] = &Guest{Name: o.Name}
}

func (s *Salon) OnLeave(p *room.Player) {
	s.State.Seats.Delete(p.ID)
	delete(s.State.Plain, p.ID)
}

func (s *Salon) Act(p *room.Player, a *Act) {
	s.State.Turn++
	s.secret += a.Coins
	s.State.Stock = append(s.State.Stock[:0], uint8(s.secret))
	for _, g := range []*Guest{s.State.Seats.Get(p.ID), s.State.Plain[p.ID]} {
		g.X, g.Y = a.X, a.Y
		g.Hand, g.Bank = a.Cards, g.Bank+a.Coins
		g.Orders = fmt.Sprint(s.secret % 3)
	}
	for range a.Tells {
		_ = p.Send("onTold", a)
	}
	if s.leak {
		s.State.Turn = s.secret
	}
}

// Coins is a message without a visible part.
type Coins struct{ N int }

func (s *Salon) Hide(p *room.Player, c *Coins) {
	s.secret += c.N
	s.State.Seats.Get(p.ID).Bank += c.N
	_ = p.Send("onTold", c)
}

func (s *Salon) View(p *room.Player, v *state.View) {
	if g := s.State.Seats.Get(p.ID); s.near && g != nil {
		v.Near(&s.State.Seats, g.X, g.Y, 30)
		v.Near(&s.State.Plain, g.X, g.Y, 30)
	}
}

// salonGame is one play of a game. Plays with the same seed differ only in what is hidden
// from the first player and from the spectator.
type salonGame struct {
	seed, hidden uint64
	rate         float64
	near, leak   bool
}

// play returns the pushes to the first player and to the spectator, each with its time,
// and the hand of another player at the end.
func (g salonGame) play(t *testing.T) (got [2][]string, other string) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		pub, priv := rand.New(rand.NewPCG(g.seed, 1)), rand.New(rand.NewPCG(g.seed, g.hidden))
		kind := room.Define[Salon]("salon", room.TickRate(g.rate), room.Hold(time.Minute))
		srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(jsons.NewSerializer()), nano.WithResume(nano.Resume{}))
		kind = kind.On(srv.Server)
		info, err := kind.Create(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := kind.Do(t.Context(), info.ID, func(s *Salon) { s.near, s.leak = g.near, g.leak }); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		recorder := func(i int) client.Option {
			return client.WithInbound(func(m *client.Message) error {
				mu.Lock()
				defer mu.Unlock()
				if m.Type == client.Push {
					got[i] = append(got[i], fmt.Sprintf("%v %s %x", time.Since(began), m.Route, m.Data))
				}
				return nil
			})
		}
		const players = 4
		var list []*nanotest.Player
		var rooms []*croom.Room
		for i := range players {
			var opts []client.Option
			if i == 0 {
				opts = append(opts, recorder(0))
			}
			p := srv.Connect(t, opts...)
			r, err := croom.Join(t.Context(), p.Client, info.ID, JoinOptions{fmt.Sprint("guest ", i)})
			if err != nil {
				t.Fatal(err)
			}
			list, rooms = append(list, p), append(rooms, r)
		}
		watcher := srv.Connect(t, recorder(1))
		if _, err := croom.Spectate(t.Context(), watcher.Client, info.ID); err != nil {
			t.Fatal(err)
		}
		away := false
		for step := range 80 {
			i := pub.IntN(players)
			a := Act{X: pub.Float32() * 80, Y: pub.Float32() * 80}
			hide := priv
			if i == 0 {
				hide = pub
			}
			for range hide.IntN(4) {
				a.Cards = append(a.Cards, uint8(hide.IntN(52)))
			}
			a.Coins, a.Tells = hide.IntN(100), hide.IntN(3)
			if i != 0 || !away {
				if err := rooms[i].Send("Act", a); err != nil {
					t.Fatal(err)
				}
			}
			for range priv.IntN(3) { // the others do more or less in secret
				if err := rooms[1+priv.IntN(players-1)].Send("Hide", Coins{priv.IntN(100)}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(70 * time.Millisecond)
			synctest.Wait()
			if step%25 == 20 { // a snapshot after the return
				list[0].Drop()
				away = true
			}
			if step%25 == 24 {
				list[0].Return()
				away = false
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		other = text(rooms[1])
		mu.Lock()
		defer mu.Unlock()
		got = [2][]string{slices.Clone(got[0]), slices.Clone(got[1])}
	})
	return got, other
}

// Each game is played twice. In the second play, what the other players hold, plan and do
// in secret is different. The first player and the spectator get the same bytes at the
// same times.
func TestHiddenFieldsCauseNoMessages(t *testing.T) {
	for seed := range uint64(8) {
		g := salonGame{seed: seed, hidden: 100, rate: []float64{0, 20}[seed%2], near: seed%4 >= 2}
		first, hand := g.play(t)
		g.hidden = 200
		second, otherHand := g.play(t)
		if hand == otherHand {
			t.Errorf("seed %d: the hidden fields are equal in both plays", seed)
		}
		for i, who := range []string{"player", "spectator"} {
			if len(first[i]) < 20 {
				t.Errorf("seed %d: the %s got %d messages, want more to look at", seed, who, len(first[i]))
			}
			for n := range max(len(first[i]), len(second[i])) {
				if n >= len(first[i]) || n >= len(second[i]) || first[i][n] != second[i][n] {
					t.Errorf("seed %d: message %d of %d and %d to the %s differs: %v, with other hidden values %v",
						seed, n, len(first[i]), len(second[i]), who, first[i][n:min(n+1, len(first[i]))], second[i][n:min(n+1, len(second[i]))])
					break
				}
			}
		}
		g.leak = true
		leaked, _ := g.play(t)
		g.hidden = 100
		if other, _ := g.play(t); slices.Equal(leaked[0], other[0]) || slices.Equal(leaked[1], other[1]) {
			t.Errorf("seed %d: a hidden number in a visible field changes no byte", seed)
		}
	}
}
