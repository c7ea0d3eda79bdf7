package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Hands of 13 tiles for the tests of a whole table.
const (
	junk   = "147c 147b 147d 25c 8b 9d" // no pair, and far from ready
	plain  = "123c 456c 789c 123b 5b"   // ready for 5b, 0 fan
	pongs  = "111c 333c 777b 888b 5b"   // ready for 5b, 1 fan
	huge   = "1111c 5555c 77c 88c 2c"   // ready for 2c, 6 fan
	triple = "555b 147c 28d 147d 25c"   // three of 5b
	twins  = "55b 147c 28d 147d 25c 9d" // two of 5b
	choice = "123c 789c 123b 99b 78b"   // ready for 6b with 0 fan and 9b with 3
	full   = "5b 222c 333c 444c"        // with a pong of 5b: its owner holds all that it waits for
	kong   = "555b 123c 456c 789c 1b"   // a kong of 5b leaves it ready for 1b, with a root
	quad   = "9999d 147c 147b 25c 8b"   // a concealed kong of 9d
)

// game is a table in the middle of a hand, at the turn of seat 0.
type game struct {
	hands   []string // seat 0 has one tile more
	melds   []string
	missing string // a letter for each seat, - for none
	drawn   string // of seat 0
	wall    string // in order; kongs draw from its end
	change  func(*Config)
}

func ordered(t *testing.T, text string) (list []Tile) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		c := tiles(t, word)
		list = append(list, c.Tiles()...)
	}
	return list
}

func (g game) start(t *testing.T) *State {
	t.Helper()
	c := Default()
	c.Base, c.NoConcealed, c.NoSimples, c.Players = 10, true, true, len(g.hands)
	if g.change != nil {
		g.change(&c)
	}
	s, err := New(c, 0, [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	s.Phase, s.Untouched, s.Wall = Turn, false, ordered(t, g.wall)
	for i := range s.Seats {
		p := &s.Seats[i]
		p.Hand = tiles(t, g.hands[i])
		if g.melds != nil {
			p.Melds = melds(t, g.melds[i])
		}
		if g.missing != "" && g.missing[i] != '-' {
			p.Missing = Suit(strings.IndexByte("cbd", g.missing[i]))
		}
		p.Acted = true
	}
	if g.drawn != "" {
		s.Drawn = tile(t, g.drawn)
		s.Draws = []Tile{s.Drawn}
	}
	return s
}

var letters = map[byte]Kind{'d': Discard, 'K': KongSelf, 'w': Win, 'k': KongClaim, 'p': PongClaim, '-': Pass}

// play applies actions such as 0d5b: a seat, a letter and a tile. Claims are resolved when all have answered.
func play(t *testing.T, s *State, script string) {
	t.Helper()
	for word := range strings.FieldsSeq(script) {
		a := Action{Seat: int(word[0] - '0'), Kind: letters[word[1]]}
		if len(word) > 2 {
			a.Tile = tile(t, word[2:])
		}
		if err := s.Apply(a); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		if s.Phase == Claim && len(s.Waiting()) == 0 {
			if err := s.Resolve(); err != nil {
				t.Fatalf("%s: %v", word, err)
			}
		}
	}
}

// Every payment of the rules. The base is 10 and the cap 4 fan.
func TestPayments(t *testing.T) {
	for name, test := range map[string]struct {
		game
		script string
		totals []int
	}{
		"discard":           {game{hands: []string{junk + " 5b", plain, junk, junk}, wall: "1c 1c"}, "0d5b 1w", []int{-10, 10, 0, 0}},
		"fan doubles":       {game{hands: []string{junk + " 5b", pongs, junk, junk}, wall: "1c 1c"}, "0d5b 1w", []int{-20, 20, 0, 0}},
		"cap":               {game{hands: []string{junk + " 2c", huge, junk, junk}, wall: "1d 1d"}, "0d2c 1w", []int{-160, 160, 0, 0}},
		"cap 3":             {game{hands: []string{junk + " 2c", huge, junk, junk}, wall: "1d 1d", change: func(c *Config) { c.Cap = 3 }}, "0d2c 1w", []int{-80, 80, 0, 0}},
		"cap 5":             {game{hands: []string{junk + " 2c", huge, junk, junk}, wall: "1d 1d", change: func(c *Config) { c.Cap = 5 }}, "0d2c 1w", []int{-320, 320, 0, 0}},
		"self-draw":         {game{hands: []string{plain + " 5b", junk, junk, junk}, drawn: "5b", wall: "1c 1c"}, "0w", []int{60, -20, -20, -20}},
		"self-draw capped":  {game{hands: []string{huge + " 2c", junk, junk, junk}, drawn: "2c", wall: "1d 1d"}, "0w", []int{510, -170, -170, -170}},
		"self-draw fan":     {game{hands: []string{plain + " 5b", junk, junk, junk}, drawn: "5b", wall: "1c 1c", change: func(c *Config) { c.SelfDraw = SelfDrawFan }}, "0w", []int{60, -20, -20, -20}},
		"self-draw fan cap": {game{hands: []string{huge + " 2c", junk, junk, junk}, drawn: "2c", wall: "1d 1d", change: func(c *Config) { c.SelfDraw = SelfDrawFan }}, "0w", []int{480, -160, -160, -160}},
		"self-draw none":    {game{hands: []string{plain + " 5b", junk, junk, junk}, drawn: "5b", wall: "1c 1c", change: func(c *Config) { c.SelfDraw = SelfDrawNone }}, "0w", []int{30, -10, -10, -10}},
		"winners do not pay": {game{hands: []string{junk + " 5b", plain, plain, junk}, wall: "5b 1c 1c"},
			"0d5b 1w 2- 2w", []int{-30, 10, 40, -20}},
		"exposed kong":        {game{hands: []string{junk + " 5b", triple, junk, junk}, wall: "1c 1c"}, "0d5b 1k", []int{-20, 20, 0, 0}},
		"added kong":          {game{hands: []string{"147c 147b 25c 8b 9d 5b", junk, junk, junk}, melds: []string{"p5b", "", "", ""}, drawn: "5b", wall: "1c 1c"}, "0K5b", []int{30, -10, -10, -10}},
		"added kong kept":     {game{hands: []string{"147c 147b 25c 8b 9d 5b", junk, junk, junk}, melds: []string{"p5b", "", "", ""}, drawn: "9d", wall: "1c 1c"}, "0K5b", []int{0, 0, 0, 0}},
		"added after another": {game{hands: []string{"9999d 147b 25c 8b 5b", junk, junk, junk}, melds: []string{"p5b", "", "", ""}, drawn: "5b", wall: "1c 1c 1c"}, "0K9d 0K5b", []int{90, -30, -30, -30}},
		"concealed kong":      {game{hands: []string{quad + " 1d", junk, junk, junk}, wall: "1c 1c"}, "0K9d", []int{60, -20, -20, -20}},
		"kong of those in":    {game{hands: []string{junk + " 5b", plain, quad, junk}, wall: "1d 1c 1c"}, "0d5b 1w 2K9d", []int{-30, 10, 40, -20}},
		"robbed kong":         {game{hands: []string{"147c 147b 25c 8b 9d 5b", plain, junk, junk}, melds: []string{"p5b", "", "", ""}, drawn: "5b", wall: "1c 1c"}, "0K5b 1w", []int{-20, 20, 0, 0}},
		"robbed by two":       {game{hands: []string{"147c 147b 25c 8b 9d 5b", plain, pongs, junk}, melds: []string{"p5b", "", "", ""}, drawn: "5b", wall: "1c 1c"}, "0K5b 1w 2w", []int{-60, 20, 40, 0}},
		"robbing passed":      {game{hands: []string{"147c 147b 25c 8b 9d 5b", plain, junk, junk}, melds: []string{"p5b", "", "", ""}, drawn: "5b", wall: "1c 1c"}, "0K5b 1-", []int{30, -10, -10, -10}},
		"kong shot":           {game{hands: []string{quad + " 5b", plain, junk, junk}, wall: "1d 1d 1d"}, "0K9d 0d5b 1w", []int{-20, 60, -20, -20}},
		"kong shot shared": {game{hands: []string{"147c 147b 25c 8b 9d 9c", plain, plain, junk}, melds: []string{"p9c", "", "", ""}, drawn: "9c", wall: "1d 1d 5b",
			change: func(c *Config) { c.Base = 1 }}, "0K9c 0d5b 1w 2w", []int{-4, 3, 2, -1}},
		"kong shot, the last kong only": {game{hands: []string{"9999d 8888d 5b 147c 25c", plain, junk, junk}, wall: "1d 1d 1d 1d"}, "0K9d 0K8d 0d5b 1w", []int{40, 40, -40, -40}},
		"kong flower":                   {game{hands: []string{junk + " 5b", kong, junk, junk}, wall: "9c 9c 1b"}, "0d5b 1k 1w", []int{-70, 170, -50, -50}},
		"kong flower, paid by the discarder": {game{hands: []string{junk + " 5b", kong, junk, junk}, wall: "9c 9c 1b", change: func(c *Config) { c.FlowerByDiscarder = true }},
			"0d5b 1k 1w", []int{-60, 60, 0, 0}},
		"pig":                               {game{hands: []string{junk + " 9d", junk, junk, junk}, missing: "---d"}, "0d9d", []int{160, 160, 160, -480}},
		"two pigs":                          {game{hands: []string{junk + " 9d", junk, junk, junk}, missing: "--cd"}, "0d9d", []int{320, 320, -320, -320}},
		"pig pays no more":                  {game{hands: []string{junk + " 9d", choice, junk, junk}, missing: "---d"}, "0d9d", []int{80, 320, 80, -480}},
		"not ready":                         {game{hands: []string{junk + " 9d", choice, junk, junk}}, "0d9d", []int{-80, 240, -80, -80}},
		"all four are held":                 {game{hands: []string{junk + " 9d", full, plain, junk}, melds: []string{"", "p5b", "", ""}}, "0d9d", []int{-10, -10, 30, -10}},
		"kong money is returned":            {game{hands: []string{quad + " 1d", junk, junk, junk}, wall: "1d"}, "0K9d 0d1d", []int{0, 0, 0, 0}},
		"a pig returns kong money":          {game{hands: []string{quad + " 1b", junk, junk, junk}, missing: "b---", wall: "1d"}, "0K9d 0d1b", []int{-480, 160, 160, 160}},
		"ready keeps kong money":            {game{hands: []string{"9999d 123c 456c 78c 5b 1d", junk, junk, junk}, wall: "5b", change: func(c *Config) { c.Base = 1 }}, "0K9d 0d1d", []int{12, -4, -4, -4}},
		"transferred money is not returned": {game{hands: []string{quad + " 5b", plain, junk, junk}, wall: "3d 1d"}, "0K9d 0d5b 1w 2d3d", []int{-20, 60, -20, -20}},
		"winners are exempt": {game{hands: []string{junk + " 5b", kong, junk, junk}, wall: "1b", change: func(c *Config) { c.SelfDraw = SelfDrawNone }},
			"0d5b 1k 1w", []int{-100, 260, -80, -80}},
		"three players": {game{hands: []string{plain + " 5b", junk, junk}, drawn: "5b", wall: "1c 1c"}, "0w", []int{40, -20, -20}},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.start(t)
			play(t, s, test.script)
			if got := s.Totals(); !slices.Equal(got, test.totals) {
				t.Errorf("%s: totals %v, want %v; payments %v", test.script, got, test.totals, s.Payments)
			}
		})
	}
}

// options returns what each seat may claim, as letters.
func options(s *State) string {
	text := make([]string, len(s.Seats))
	for i, o := range s.Options {
		for j, letter := range []string{"w", "k", "p", "!"} {
			if o>>j&1 == 1 {
				text[i] += letter
			}
		}
		if text[i] == "" {
			text[i] = "-"
		}
	}
	return strings.Join(text, " ")
}

// What players may claim after the last discard of a script.
func TestOptions(t *testing.T) {
	must := func(c *Config) { c.LastFourMustWin = true }
	for name, test := range map[string]struct {
		game
		script, last, want string
	}{
		"win, kong and pong":         {game{hands: []string{junk + " 5b", plain, triple, junk}, wall: "1c 1c 1c"}, "", "0d5b", "- w kp -"},
		"no claim of the discarder":  {game{hands: []string{twins + " 5b", junk, junk, junk}, wall: "1c 1c"}, "", "0d5b", "- - - -"},
		"missing suit":               {game{hands: []string{junk + " 5b", plain, triple, twins}, missing: "-bbb", wall: "1c 1c"}, "", "0d5b", "- - - -"},
		"no kong of an empty wall":   {game{hands: []string{junk + " 5b", junk, triple, junk}}, "", "0d5b", "- - p -"},
		"passed win":                 {game{hands: []string{junk + " 5b", junk, plain, junk}, wall: "5b 1c 1c"}, "0d5b 2-", "1d5b", "- - - -"},
		"passed win, for more":       {game{hands: []string{junk + " 5b", quad, plain, junk}, wall: "5b 1c 1c 1c 1d"}, "0d5b 2- 1K9d", "1d5b", "- - w -"},
		"passed win, after a draw":   {game{hands: []string{junk + " 5b", plain, junk, junk}, wall: "1d 5b 1c"}, "0d5b 1- 1d1d", "2d5b", "- w - -"},
		"passed win, after a pong":   {game{hands: []string{junk + " 2c", junk, "22c 33c 789c 123b 567b", junk}, wall: "3c 3c 3c"}, "0d2c 2p 2d9c 3d1c 0d1c", "1d3c", "- - p -"},
		"the last four must win":     {game{hands: []string{junk + " 5b", plain, junk, junk}, wall: "1c 1c 1c", change: must}, "", "0d5b", "- w! - -"},
		"the last five may pass":     {game{hands: []string{junk + " 5b", plain, junk, junk}, wall: "1c 1c 1c 1c", change: must}, "", "0d5b", "- w - -"},
		"winners do not claim":       {game{hands: []string{junk + " 5b", plain, plain, junk}, wall: "5b 1c 1c"}, "0d5b 1w 2-", "2d5b", "- - - -"},
		"a robbed kong offers wins":  {game{hands: []string{"147c 147b 25c 8b 9d 5b", plain, junk, junk}, melds: []string{"p5b", "", "", ""}, wall: "1c 1c"}, "", "0K5b", "- w - -"},
		"a concealed kong is no win": {game{hands: []string{"5555b 147c 25c 8b 9d 147d", plain, junk, junk}, wall: "1c 1c"}, "", "0K5b", "- - - -"},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.start(t)
			play(t, s, test.script)
			a := Action{Seat: int(test.last[0] - '0'), Kind: letters[test.last[1]], Tile: tile(t, test.last[2:])}
			if err := s.Apply(a); err != nil {
				t.Fatalf("%s: %v", test.last, err)
			}
			if got := options(s); got != test.want {
				t.Errorf("%s %s: options %q, want %q", test.script, test.last, got, test.want)
			}
		})
	}
}

// The course of a hand: whose turn it is after a script, whether the hand is over, and the next dealer.
func TestCourse(t *testing.T) {
	for name, test := range map[string]struct {
		game
		script string
		turn   int
		phase  Phase
		dealer int
	}{
		"the next player draws":         {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c 1c"}, "0d5b", 1, Turn, 0},
		"behind the winner":             {game{hands: []string{junk + " 5b", junk, plain, junk}, wall: "1c 1c"}, "0d5b 2w", 3, Turn, 2},
		"behind the last winner":        {game{hands: []string{junk + " 5b", plain, plain, junk}, wall: "1c 1c"}, "0d5b 1w 2w", 3, Turn, 0},
		"winners are passed over":       {game{hands: []string{junk + " 5b", plain, junk, junk}, wall: "1c 3d 6d 1d"}, "0d5b 1w 2d1c 3d3d 0d6d", 2, Turn, 1},
		"win before kong":               {game{hands: []string{junk + " 5b", triple, plain, junk}, wall: "1c 1c"}, "0d5b 1k 2w", 3, Turn, 2},
		"pong takes the turn":           {game{hands: []string{junk + " 5b", junk, junk, twins}, wall: "1c 1c"}, "0d5b 3p", 3, Turn, 0},
		"one player is left":            {game{hands: []string{junk + " 5b", plain, plain, plain}, wall: "1c 1c"}, "0d5b 1w 2w 3w", 0, Over, 0},
		"the wall ends":                 {game{hands: []string{junk + " 5b", junk, junk, junk}}, "0d5b", 0, Over, 0},
		"the first winner deals":        {game{hands: []string{junk + " 5b", junk, junk, plain}, wall: "5b 1c 1c"}, "0d5b 3w", 0, Turn, 3},
		"a self-drawn first win deals":  {game{hands: []string{junk + " 1d", plain, junk, junk}, wall: "5b 1c"}, "0d1d 1w", 2, Turn, 1},
		"the discarder of several wins": {game{hands: []string{junk + " 1d", junk, plain, plain}, wall: "5b 1c 1c"}, "0d1d 1d5b 2w 3w", 0, Turn, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.start(t)
			play(t, s, test.script)
			if s.Turn != test.turn && test.phase != Over || s.Phase != test.phase || s.NextDealer() != test.dealer {
				t.Errorf("%s: turn %d phase %d dealer %d, want %d %d %d", test.script, s.Turn, s.Phase, s.NextDealer(), test.turn, test.phase, test.dealer)
			}
		})
	}
}

// What the rules refuse.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		game
		action Action
	}{
		"another's turn":           {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c"}, Action{Seat: 1, Kind: Discard, Tile: 0}},
		"no such tile":             {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c"}, Action{Kind: Discard, Tile: 7}},
		"no tile at all":           {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c"}, Action{Kind: Discard, Tile: 200}},
		"no such seat":             {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c"}, Action{Seat: 9, Kind: Discard}},
		"missing suit goes first":  {game{hands: []string{junk + " 5b", junk, junk, junk}, missing: "c---", wall: "1c"}, Action{Kind: Discard, Tile: 9}},
		"no win":                   {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c"}, Action{Kind: Win}},
		"no win with missing suit": {game{hands: []string{plain + " 5b", junk, junk, junk}, missing: "b---", wall: "1c"}, Action{Kind: Win}},
		"no kong":                  {game{hands: []string{junk + " 5b", junk, junk, junk}, wall: "1c"}, Action{Kind: KongSelf, Tile: 13}},
		"no kong of missing suit":  {game{hands: []string{quad + " 5b", junk, junk, junk}, missing: "d---", wall: "1c"}, Action{Kind: KongSelf, Tile: 26}},
		"no kong of an empty wall": {game{hands: []string{quad + " 5b", junk, junk, junk}}, Action{Kind: KongSelf, Tile: 26}},
		"the last four must win":   {game{hands: []string{plain + " 5b", junk, junk, junk}, wall: "1c 1c 1c", change: func(c *Config) { c.LastFourMustWin = true }}, Action{Kind: Discard, Tile: 13}},
		"a claim out of time":      {game{hands: []string{junk + " 5b", triple, junk, junk}, wall: "1c"}, Action{Seat: 1, Kind: PongClaim}},
		"an exchange out of time":  {game{hands: []string{junk + " 5b", triple, junk, junk}, wall: "1c"}, Action{Kind: Give}},
		"a choice out of time":     {game{hands: []string{junk + " 5b", triple, junk, junk}, wall: "1c"}, Action{Kind: Choose}},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.start(t)
			before := fmt.Sprintf("%+v", s)
			if err := s.Apply(test.action); err == nil {
				t.Errorf("Apply(%+v) = nil, want an error", test.action)
			}
			if after := fmt.Sprintf("%+v", s); after != before {
				t.Errorf("a refused action changed the state:\n%s\n%s", before, after)
			}
		})
	}
}
