package rules

import (
	"slices"
	"testing"
)

func deal(t *testing.T, c Config, seed byte) *State {
	t.Helper()
	s, err := New(c, 0, [32]byte{seed})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// give lets every seat give its first three tiles of a suit of which it has three.
func give(t *testing.T, s *State) {
	t.Helper()
	for i := range s.Seats {
		var three [3]Tile
		for suit := range Suit(3) {
			if s.Seats[i].Hand.suit(suit) < 3 {
				continue
			}
			list := s.Seats[i].Hand.Tiles()
			k := slices.IndexFunc(list, func(t Tile) bool { return t.Suit() == suit })
			copy(three[:], list[k:])
			break
		}
		if err := s.Apply(Action{Seat: i, Kind: Give, Tiles: three}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeal(t *testing.T) {
	for _, test := range []struct{ players, suits, tiles int }{{4, 3, 108}, {3, 3, 108}, {3, 2, 72}} {
		c := Default()
		c.Players, c.Suits = test.players, test.suits
		s := deal(t, c, 1)
		n := len(s.Wall)
		for i := range s.Seats {
			n += s.Seats[i].Hand.Total()
		}
		if n != test.tiles || s.Seats[0].Hand.Total() != 14 || s.Seats[1].Hand.Total() != 13 {
			t.Errorf("%d players, %d suits: %d tiles, want %d; 14 for the dealer and 13 for the others", test.players, test.suits, n, test.tiles)
		}
		give(t, s)
		if want := map[int]Phase{3: Missing, 2: Turn}[test.suits]; s.Phase != want {
			t.Errorf("%d suits: phase %d after the exchange, want %d", test.suits, s.Phase, want)
		}
	}
	a, b := deal(t, Default(), 1), deal(t, Default(), 1)
	if !slices.Equal(a.Wall, b.Wall) {
		t.Error("one seed makes two walls")
	}
	if b = deal(t, Default(), 2); slices.Equal(a.Wall, b.Wall) {
		t.Error("two seeds make one wall")
	}
}

func TestExchange(t *testing.T) {
	for _, players := range []int{3, 4} {
		seen := map[int]bool{}
		for seed := range byte(60) {
			c := Default()
			c.Players = players
			s := deal(t, c, seed)
			give(t, s)
			seen[s.Shift] = true
			for i := range s.Seats {
				if to := (i + s.Shift) % players; s.Seats[to].Received != s.Seats[i].Given {
					t.Fatalf("seat %d gave %v, seat %d received %v", i, s.Seats[i].Given, to, s.Seats[to].Received)
				}
			}
		}
		// With three players, 1 is the next and 2 the previous.
		if len(seen) != players-1 || seen[0] {
			t.Errorf("%d players: shifts %v, want 1 to %d", players, seen, players-1)
		}
	}
}

func TestExchangeOfOneSuit(t *testing.T) {
	mixed := func(s *State) (three [3]Tile) {
		list := s.Seats[0].Hand.Tiles()
		three = [3]Tile{list[0], list[1], list[len(list)-1]}
		if three[0].Suit() == three[2].Suit() {
			t.Fatal("the hand has one suit, choose another seed")
		}
		return three
	}
	s := deal(t, Default(), 1)
	if err := s.Apply(Action{Kind: Give, Tiles: mixed(s)}); err == nil {
		t.Error("three tiles of two suits are given, want an error")
	}
	c := Default()
	c.ExchangeAny = true
	s = deal(t, c, 1)
	if err := s.Apply(Action{Kind: Give, Tiles: mixed(s)}); err != nil {
		t.Errorf("any three tiles are an option: %v", err)
	}
	if err := s.Apply(Action{Kind: Give, Tiles: mixed(s)}); err == nil {
		t.Error("a seat gives twice, want an error")
	}
}

func TestMissingSuit(t *testing.T) {
	s := deal(t, Default(), 1)
	give(t, s)
	for i := range 3 {
		if err := s.Apply(Action{Seat: i, Kind: Choose, Suit: Dots}); err != nil {
			t.Fatal(err)
		}
	}
	if v := s.View(3); v.Seats[0].Missing != NoSuit || !v.Seats[0].Done {
		t.Errorf("before all have chosen another sees %+v, want a hidden suit", v.Seats[0])
	}
	if v := s.View(0); v.Seats[0].Missing != Dots {
		t.Error("a player does not see the own missing suit")
	}
	if err := s.Apply(Action{Seat: 3, Kind: Choose, Suit: NoSuit}); err == nil {
		t.Error("no suit is chosen, want an error")
	}
	if err := s.Apply(Action{Seat: 3, Kind: Choose, Suit: Bamboos}); err != nil {
		t.Fatal(err)
	}
	if v := s.View(3); v.Seats[0].Missing != Dots || s.Phase != Turn {
		t.Error("when all have chosen, the suits are not shown")
	}
}

// The circumstances of the first draws.
func TestFirstHand(t *testing.T) {
	begin := func(hands ...string) *State {
		s := game{hands: hands, wall: "1d 5b 1c 1c"}.start(t)
		s.Untouched = true
		for i := range s.Seats {
			s.Seats[i].Acted = false
		}
		return s
	}
	s := begin(plain+" 5b", junk, junk, junk)
	if at := s.DrawCircumstances(); !at.Heavenly || at.Earthly {
		t.Errorf("the dealer's first turn: %+v, want heavenly", at)
	}
	play(t, s, "0d5b 1d1d")
	if at := s.DrawCircumstances(); at.Heavenly || !at.Earthly {
		t.Errorf("the first draw of seat 2: %+v, want earthly", at)
	}
	s = begin(junk+" 5b", junk, twins, junk)
	play(t, s, "0d5b 2p 2d9d")
	if at := s.DrawCircumstances(); at.Earthly {
		t.Errorf("the first draw after a pong: %+v, want no earthly hand", at)
	}
	s = begin(quad+" 5b", junk, junk, junk)
	play(t, s, "0K9d")
	if at := s.DrawCircumstances(); at.Heavenly {
		t.Errorf("the dealer has drawn: %+v, want no heavenly hand", at)
	}
}

func TestVisible(t *testing.T) {
	s := game{hands: []string{quad + " 5b", plain, junk, junk}, wall: "1d 1d 1d"}.start(t)
	play(t, s, "0K9d 0d5b 1w")
	for _, seat := range []int{-1, 2} {
		v := s.View(seat)
		if w := v.Seats[1]; w.Hand != nil || w.Score.Items != nil || w.WinTile != tile(t, "5b") {
			t.Errorf("seat %d sees the winner as %+v, want the winning tile alone", seat, w)
		}
		if m := v.Seats[0].Melds[0]; m.Tile != tile(t, "9d") {
			t.Errorf("seat %d sees the concealed kong as %v, want 9d", seat, m)
		}
		if seat < 0 && v.Hand != nil {
			t.Errorf("a spectator sees the hand %v", v.Hand)
		}
	}
	s.Config.HideConcealedKongs = true
	if m := s.View(2).Seats[0].Melds[0]; m.Tile != None {
		t.Errorf("a concealed kong that is hidden shows as %v", m)
	}
	if m := s.View(0).Seats[0].Melds[0]; m.Tile != tile(t, "9d") {
		t.Errorf("its owner sees the hidden concealed kong as %v, want 9d", m)
	}
	s.Phase = Over
	if v := s.View(-1); v.Seats[1].Hand == nil || v.Seats[0].Melds[0].Tile == None || v.Seats[1].Score.Items == nil && v.Seats[1].Score.Fan > 0 {
		t.Errorf("after the hand a spectator sees %+v, want everything", v.Seats)
	}
}

func TestSettings(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"players":            func(c *Config) { c.Players = 5 },
		"suits":              func(c *Config) { c.Suits = 1 },
		"two suits for four": func(c *Config) { c.Suits = 2 },
		"base":               func(c *Config) { c.Base = 0 },
		"large base":         func(c *Config) { c.Base = 1 << 40 },
		"cap":                func(c *Config) { c.Cap = 6 },
		"hands":              func(c *Config) { c.Hands = 5 },
		"self-draw":          func(c *Config) { c.SelfDraw = 9 },
	} {
		c := Default()
		change(&c)
		if c.Check() == nil {
			t.Errorf("%s: Check() = nil, want an error", name)
		}
		if _, err := New(c, 0, [32]byte{}); err == nil {
			t.Errorf("%s: New = nil, want an error", name)
		}
	}
	if c := Default(); c.Check() != nil || c.Cap != 4 || c.SelfDraw != SelfDrawBase || c.NoConcealed || c.NoSimples || c.NoFirstHand || c.FlowerByDiscarder || c.HideConcealedKongs {
		t.Errorf("the defaults are %+v", c)
	}
}
