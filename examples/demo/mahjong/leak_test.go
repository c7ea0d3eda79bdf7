package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/client/room"
	"github.com/lonng/nano/examples/demo/mahjong/bot"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/examples/demo/mahjong/sim"
)

// viewer is the seat whose bytes are compared.
const viewer = 0

// script is a recorded hand: the tiles in the order of the deal, and the actions of each
// seat.
type script struct {
	config  rules.Config
	dealer  int
	shift   int
	deck    []rules.Tile
	given   [][3]int         // the positions in the deck of the tiles that each seat gives away
	actions []rules.Action   // of the seats whose turn it is
	claims  [][]rules.Action // the answers to each tile that can be claimed
	seen    []string         // what the viewer may know after each visible step, as visible defines it
	lines   [][]rules.Action // actions of each seat in order, including passes
}

// deal returns the first state of a hand with the given deck.
func (sc *script) deal() *rules.State {
	s, err := rules.New(sc.config, sc.dealer, [32]byte{})
	if err != nil {
		panic(err) // the settings are those of the simulation
	}
	rest := slices.Clone(sc.deck)
	for i := range s.Seats {
		p := &s.Seats[i]
		n := p.Hand.Total()
		p.Hand = rules.Counts{}
		p.Hand.Add(rest[:n]...)
		rest = rest[n:]
	}
	s.Wall, s.Shift = rest, sc.shift
	return s
}

// visible returns what the viewer may know by the rules of the game. It shares no code
// with rules.View.
func visible(s *rules.State) string {
	own := &s.Seats[viewer]
	var b []byte
	add := func(list ...int) {
		for _, n := range list {
			b = append(b, byte(n), byte(n>>8))
		}
	}
	flags := func(list ...bool) {
		for _, on := range list {
			if on {
				b = append(b, '+')
			} else {
				b = append(b, '-')
			}
		}
	}
	add(int(s.Phase), s.Turn, len(s.Wall), int(s.Claimed), len(s.Payments))
	flags(s.Robbing, s.WallEnded)
	for _, p := range s.Payments {
		add(p.From, p.To, p.Amount, int(p.Reason))
	}
	b = append(b, own.Hand[:]...)
	for _, t := range own.Given {
		add(int(t))
	}
	if s.Phase > rules.Exchange {
		add(s.Shift, int(own.Received[0]), int(own.Received[1]), int(own.Received[2]))
	}
	if s.Phase == rules.Turn && s.Turn == viewer {
		add(int(s.Drawn))
	}
	if s.Phase == rules.Claim {
		add(int(s.Options[viewer]))
	}
	for i := range s.Seats {
		p := &s.Seats[i]
		for _, m := range p.Melds {
			t := m.Tile
			if s.Config.HideConcealedKongs && i != viewer && m.Kind == rules.ConcealedKong {
				t = rules.None
			}
			add(int(m.Kind), int(t), m.From)
		}
		for _, t := range p.Discards {
			add(int(t))
		}
		add(p.Order, int(p.WinTile), p.Hand.Total())
		flags(p.HasGiven, p.HasChosen, p.Won, p.SelfWon)
		if s.Phase > rules.Missing || i == viewer {
			add(int(p.Missing))
		}
	}
	return string(b)
}

// record plays a hand with bots.
func record(hand uint64) *script {
	c := sim.Config(hand)
	c.Hands = 4
	s, err := rules.New(c, int(hand%uint64(c.Players)), [32]byte{byte(hand), byte(hand >> 8), 77})
	if err != nil {
		panic(err) // the settings are those of the simulation
	}
	sc := &script{config: c, dealer: s.Dealer, shift: s.Shift, given: make([][3]int, c.Players)}
	begin := make([]int, c.Players)
	for i := range s.Seats {
		begin[i] = len(sc.deck)
		sc.deck = append(sc.deck, s.Seats[i].Hand.Tiles()...)
	}
	sc.deck = append(sc.deck, s.Wall...)
	bots := make([]*bot.Bot, c.Players)
	for i := range bots {
		bots[i] = bot.New(hand*8 + uint64(i))
	}
	var answers []rules.Action
	for s.Phase != rules.Over {
		waiting := s.Waiting()
		if len(waiting) == 0 {
			sc.claims = append(sc.claims, answers)
			answers = nil
			_ = s.Resolve() // it fails if a seat has not answered
			continue
		}
		seat := waiting[0]
		a := bots[seat].Act(s.View(seat))
		if a.Kind == rules.Give {
			used := map[int]bool{}
			for k, t := range a.Tiles {
				for at := begin[seat]; ; at++ {
					if sc.deck[at] == t && !used[at] {
						used[at], sc.given[seat][k] = true, at
						break
					}
				}
			}
		}
		if s.Phase == rules.Claim {
			answers = append(answers, a)
		} else {
			sc.actions = append(sc.actions, a)
		}
		if err := s.Apply(a); err != nil {
			panic(err) // a bot plays by the rules
		}
	}
	return sc
}

// rerun plays the actions with the deck of sc. It adapts hidden actions: a seat with
// other options than before passes. It returns false if a visible action is impossible,
// or if the viewer sees a difference from want.
func (sc *script) rerun(want []string) bool {
	s := sc.deal()
	sc.seen, sc.lines = nil, make([][]rules.Action, len(s.Seats))
	apply := func(a rules.Action) bool {
		if s.Apply(a) != nil {
			return false
		}
		sc.lines[a.Seat] = append(sc.lines[a.Seat], a)
		return true
	}
	rest, tiles := sc.actions, sc.claims
	for s.Phase != rules.Over {
		now := visible(s)
		if n := len(sc.seen); want != nil && (n >= len(want) || want[n] != now) {
			return false
		}
		sc.seen = append(sc.seen, now)
		if s.Phase != rules.Claim {
			if len(rest) == 0 {
				return false
			}
			a := rest[0]
			rest = rest[1:]
			if a.Kind == rules.Give {
				for k, at := range sc.given[a.Seat] {
					a.Tiles[k] = sc.deck[at]
				}
			}
			if !apply(a) {
				return false
			}
			continue
		}
		if len(tiles) == 0 {
			return false
		}
		claims := map[int]rules.Action{}
		for _, a := range tiles[0] {
			claims[a.Seat] = a
		}
		tiles = tiles[1:]
		for _, seat := range s.Waiting() {
			a, ok := claims[seat]
			if !ok {
				a = rules.Action{Seat: seat, Kind: rules.Pass}
			}
			if !apply(a) {
				return false
			}
			delete(claims, seat)
		}
		for _, a := range claims {
			if a.Kind != rules.Pass {
				return false
			}
		}
		if s.Resolve() != nil {
			return false
		}
	}
	return len(rest) == 0 && (want == nil || len(sc.seen) == len(want))
}

// tries is the number of tile exchanges that are tried for a hand.
const tries = 300

// permuted returns the hand with exchanged tiles that are hidden from the viewer.
// Everything visible stays the same.
func (sc *script) permuted(rng *rand.Rand) (other *script, exchanged int) {
	p := *sc
	p.deck = slices.Clone(sc.deck)
	for range tries {
		i, j := rng.IntN(len(p.deck)), rng.IntN(len(p.deck))
		if p.deck[i] == p.deck[j] {
			continue
		}
		p.deck[i], p.deck[j] = p.deck[j], p.deck[i]
		if p.rerun(sc.seen) {
			exchanged++
			continue
		}
		p.deck[i], p.deck[j] = p.deck[j], p.deck[i]
	}
	if !p.rerun(sc.seen) {
		panic("the last deck that fitted fits no more")
	}
	return &p, exchanged
}

// line plays the script's actions for a seat. leak, if not nil, gets the whole table,
// which a real player never sees.
type line struct {
	t       *Table
	actions []rules.Action
	leak    func(*Table, *rules.View)
}

func (l *line) Act(v *rules.View) rules.Action {
	if l.leak != nil && v.Seat != viewer {
		l.leak(l.t, v)
	}
	a := l.actions[0]
	l.actions = l.actions[1:]
	return a
}

// wire plays a script on a server. It returns the messages to the viewer and to a
// spectator until the hand is shown.
func (sc *script) wire(t *testing.T, leak func(*Table, *rules.View)) (streams [2][][]byte) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		h.app.deal = func(rules.Config, int, [32]byte) (*rules.State, error) { return sc.deal(), nil }
		var mu sync.Mutex
		var ends [2]int
		connect := func(i int) *guest {
			g := &guest{t: t}
			g.Player = h.Connect(t, client.WithInbound(func(m *client.Message) error {
				mu.Lock()
				defer mu.Unlock()
				if m.Type == client.Push {
					streams[i] = append(streams[i], append([]byte(m.Route+" "), m.Data...))
				}
				return nil
			}))
			g.must(g.Player.Request(t.Context(), "lobby.login", loginRequest{fmt.Sprint("guest", i), ""}, &g.loginReply))
			return g
		}
		until := func(i int, r *room.Room) {
			r.OnChange(func() {
				stage, _ := r.Get("stage")
				mu.Lock()
				defer mu.Unlock()
				if ends[i] == 0 && fmt.Sprint(stage) == fmt.Sprint(uint8(Between)) {
					ends[i] = len(streams[i])
				}
			})
		}
		player, spectator := connect(0), connect(1)
		var f found
		player.must(player.ask("lobby.create", sc.config, &f))
		h.table(func(table *Table) {
			delete(h.app.codes, table.State.Code)
			table.State.Code = "SECRET" // the code of a table is random
			h.app.codes["SECRET"] = table
			table.dealer = sc.dealer
			for i := range table.bots {
				table.bots[i] = &line{table, slices.Clone(sc.lines[i]), leak}
			}
		})
		player.sit(f.ID)
		until(0, player.Room)
		watch, err := room.Spectate(t.Context(), spectator.Player.Client, f.ID)
		spectator.must(err)
		until(1, watch)
		player.must(player.do("Auto", AutoRequest{true}))
		player.must(player.do("Fill", nil))
		player.must(player.do("Ready", nil))
		for range 1000 {
			time.Sleep(time.Second)
			synctest.Wait()
			mu.Lock()
			done := ends[0] > 0 && ends[1] > 0
			mu.Unlock()
			if done {
				break
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range streams {
			if ends[i] == 0 {
				t.Fatal("the hand does not end")
			}
			streams[i] = streams[i][:ends[i]-1]
		}
	})
	return streams
}

// differ returns the index of the first message that differs between two plays, or -1.
func differ(a, b [][]byte) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || !bytes.Equal(a[i], b[i]) {
			return i
		}
	}
	return -1
}

// leakHands is the number of hands that TestHiddenTilesStayHidden plays.
var leakHands = uint64(1000)

// Each hand is played twice over the network, the second time with exchanged hidden
// tiles. The bytes to the player and to a spectator must be equal until the hand is over.
func TestHiddenTilesStayHidden(t *testing.T) {
	hands := leakHands
	if testing.Short() {
		hands = 25
	}
	exchanged, messages := 0, 0
	for hand := range hands {
		sc := record(hand)
		if !sc.rerun(nil) {
			t.Fatalf("hand %d: its own actions do not fit", hand)
		}
		other, n := sc.permuted(rand.New(rand.NewPCG(hand, 1)))
		exchanged += n
		a, b := sc.wire(t, nil), other.wire(t, nil)
		for i, who := range []string{"player", "spectator"} {
			messages += len(a[i])
			if at := differ(a[i], b[i]); at >= 0 {
				t.Fatalf("hand %d: message %d of %d to the %s differs after %d exchanges", hand, at, len(a[i]), who, n)
			}
		}
	}
	t.Logf("%d hands, %d exchanges of hidden tiles, %d messages", hands, exchanged, messages)
	if exchanged < 10*int(hands) {
		t.Errorf("%d exchanges in %d hands, want 10 each: the test compares nothing", exchanged, hands)
	}
}

// A leak of any kind must change the bytes.
func TestPlantedLeaks(t *testing.T) {
	for name, leak := range map[string]func(*Table, *rules.View){
		"a hand": func(t *Table, v *rules.View) { t.State.Seats[v.Seat].Hand = numbers(v.Hand) },
		"one tile of a hand": func(t *Table, v *rules.View) {
			if len(v.Hand) > 0 {
				t.State.Seats[v.Seat].WinTile = uint8(v.Hand[0])
			}
		},
		"that another may claim": func(t *Table, v *rules.View) {
			if v.Options != 0 {
				t.State.Step++
			}
		},
		"a hand in the fields of the player": func(t *Table, v *rules.View) {
			if m := t.State.Mine.Get(t.players[viewer]); m != nil {
				m.Waits = numbers(v.Hand)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for hand := range uint64(40) {
				sc := record(hand)
				sc.rerun(nil)
				other, _ := sc.permuted(rand.New(rand.NewPCG(hand, 1)))
				if a, b := sc.wire(t, leak), other.wire(t, leak); differ(a[0], b[0]) >= 0 {
					return
				}
			}
			t.Error("no byte differs in 40 hands, want a difference")
		})
	}
}
