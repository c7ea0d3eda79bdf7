package rules

import (
	"strings"
	"testing"
)

// tiles reads tiles such as "123c 55b": ranks and a letter for the suit.
func tiles(t *testing.T, text string) (c Counts) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		suit := strings.IndexByte("cbd", word[len(word)-1])
		if suit < 0 {
			t.Fatalf("%q has no suit", word)
		}
		for _, r := range word[:len(word)-1] {
			c.Add(Tile(suit*9 + int(r-'1')))
		}
	}
	return c
}

func tile(t *testing.T, text string) Tile {
	t.Helper()
	c := tiles(t, text)
	return c.Tiles()[0]
}

// melds reads melds such as "p5c k1b a2b s9c": a pong, an exposed, an added and a concealed kong.
func melds(t *testing.T, text string) (list []Meld) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		kind := MeldKind(strings.IndexByte("pkas", word[0]))
		list = append(list, Meld{Kind: kind, Tile: tile(t, word[1:])})
	}
	return list
}

func TestFan(t *testing.T) {
	bare := Default()
	bare.NoConcealed, bare.NoSimples = true, true
	for name, test := range map[string]struct {
		hand, melds string
		at          Circumstances
		change      func(*Config)
		fan         int
	}{
		"plain":                           {hand: "123c 456c 789c 123b 55b", fan: 0},
		"pongs":                           {hand: "111c 333c 777b 888b 55b", fan: 1},
		"pure suit":                       {hand: "123c 456c 789c 234c 55c", fan: 2},
		"seven pairs":                     {hand: "11c 33c 55c 77c 22b 44b 66b", fan: 2},
		"dragon seven pairs":              {hand: "1111c 55c 77c 22b 44b 66b", fan: 3},
		"two dragons":                     {hand: "1111c 5555c 22b 44b 66b", fan: 4},
		"pairs beat sets":                 {hand: "112233c 445566c 99b", fan: 2},
		"golden single wait":              {hand: "55b", melds: "p1c p3c p7b p8b", fan: 2},
		"terminals":                       {hand: "123c 789c 123b 789b 99c", fan: 3},
		"terminals for two":               {hand: "123c 789c 123b 789b 99c", change: func(c *Config) { c.TerminalsTwo = true }, fan: 2},
		"pongs of terminals":              {hand: "111c 999c 111b 999b 11d", fan: 4},
		"no terminal in the pair":         {hand: "123c 789c 123b 789b 55c", fan: 0},
		"258 pongs":                       {hand: "222c 555c 888c 222b 55b", fan: 3},
		"258 seven pairs":                 {hand: "22c 55c 88c 22b 55b 88b 22d", fan: 4},
		"root":                            {hand: "1111c 23c 456b 789b 55b", fan: 1},
		"root of a pong":                  {hand: "123c 456b 789b 55b", melds: "p1c", fan: 1},
		"root of a kong":                  {hand: "123c 456b 789b 55b", melds: "k9c", fan: 1},
		"eighteen arhats":                 {hand: "55b", melds: "k1c a3c s7b k8b", fan: 6},
		"concealed":                       {hand: "123c 456c 789c 123b 55b", change: func(c *Config) { c.NoConcealed = false }, fan: 1},
		"concealed with a concealed kong": {hand: "123c 456c 789c 55b", melds: "s2b", change: func(c *Config) { c.NoConcealed = false }, fan: 2},
		"not concealed":                   {hand: "123c 456c 789c 55b", melds: "p2b", change: func(c *Config) { c.NoConcealed = false }, fan: 0},
		"no terminals":                    {hand: "234c 456c 678c 234b 55b", change: func(c *Config) { c.NoSimples = false }, fan: 1},
		"kong flower":                     {hand: "123c 456c 789c 123b 55b", at: Circumstances{SelfDraw: true, KongFlower: true}, fan: 1},
		"kong shot":                       {hand: "123c 456c 789c 123b 55b", at: Circumstances{KongShot: true}, fan: 1},
		"robbed kong":                     {hand: "123c 456c 789c 123b 55b", at: Circumstances{RobbedKong: true}, fan: 1},
		"last draw":                       {hand: "123c 456c 789c 123b 55b", at: Circumstances{SelfDraw: true, LastDraw: true}, fan: 1},
		"last discard":                    {hand: "123c 456c 789c 123b 55b", at: Circumstances{LastDiscard: true}, fan: 1},
		"heavenly":                        {hand: "123c 456c 789c 123b 55b", at: Circumstances{SelfDraw: true, Heavenly: true}, fan: 5},
		"earthly":                         {hand: "123c 456c 789c 123b 55b", at: Circumstances{SelfDraw: true, Earthly: true}, fan: 5},
		"heavenly is off":                 {hand: "123c 456c 789c 123b 55b", at: Circumstances{SelfDraw: true, Heavenly: true}, change: func(c *Config) { c.NoFirstHand = true }, fan: 0},
		"self-draw as fan":                {hand: "123c 456c 789c 123b 55b", at: Circumstances{SelfDraw: true}, change: func(c *Config) { c.SelfDraw = SelfDrawFan }, fan: 1},
		"all add up":                      {hand: "22c", melds: "s5c k8c p2b p5b", at: Circumstances{KongShot: true, LastDiscard: true}, fan: 8},
	} {
		t.Run(name, func(t *testing.T) {
			c := bare
			if test.change != nil {
				test.change(&c)
			}
			s, ok := Evaluate(c, tiles(t, test.hand), melds(t, test.melds), NoSuit, test.at)
			if !ok || s.Fan != test.fan {
				t.Errorf("Evaluate = %v %v, want %d fan", s, ok, test.fan)
			}
			sum := 0
			for _, i := range s.Items {
				sum += i.Fan
			}
			if sum != s.Fan {
				t.Errorf("the items %v sum to %d, want %d", s.Items, sum, s.Fan)
			}
		})
	}
}

func TestNoWin(t *testing.T) {
	for name, test := range map[string]struct {
		hand, melds string
		missing     Suit
	}{
		"no pair":             {hand: "123c 456c 789c 123b 56b", missing: NoSuit},
		"too few tiles":       {hand: "123c 456c 789c 55b", missing: NoSuit},
		"six pairs":           {hand: "11c 33c 55c 77c 22b 44b 68b", missing: NoSuit},
		"pairs and a meld":    {hand: "11c 33c 55c 77c 22b 4b", melds: "p9b", missing: NoSuit},
		"a missing suit tile": {hand: "123c 456c 789c 123b 55b", missing: Bamboos},
	} {
		if s, ok := Evaluate(Default(), tiles(t, test.hand), melds(t, test.melds), test.missing, Circumstances{}); ok {
			t.Errorf("%s: it wins with %v", name, s)
		}
	}
}

func TestWaits(t *testing.T) {
	waits, best := Waits(Default(), tiles(t, "123c 456c 789c 123b 5b"), nil, NoSuit)
	if len(waits) != 1 || waits[0] != tile(t, "5b") || best != 1 { // concealed
		t.Errorf("Waits = %v, %d, want 5b with 1 fan", waits, best)
	}
	// Its owner holds all four of the only tile that would complete the hand.
	if waits, _ := Waits(Default(), tiles(t, "5b 222c 333c 444c"), melds(t, "p5b"), NoSuit); len(waits) != 0 {
		t.Errorf("Waits = %v, want none: all four of 5b are held", waits)
	}
}
