package rules

// Pattern is one item of a win: a kind of hand or a bonus, worth some fan.
type Pattern uint8

// These are the patterns. The fan of all patterns of a win add up.
const (
	Pongs         Pattern = iota // four pongs or kongs and a pair: 1
	PureSuit                     // one suit: 2
	SevenPairs                   // seven pairs: 2
	DragonPairs                  // seven pairs of which two are the same, its root included: 3
	GoldenWait                   // four melds and a single wait: 1, beside Pongs
	Terminals                    // a 1 or 9 in every set and in the pair: 3, or 2 as an option
	All258                       // pongs or seven pairs of 2, 5 and 8 only: 2
	Root                         // four of a kind in hand and melds: 1 each
	Concealed                    // no melds except concealed kongs: 1
	Simples                      // no 1 and no 9: 1
	KongFlower                   // self-draw of the tile after a kong: 1
	KongShot                     // win on the discard after a kong: 1
	RobbedKong                   // win on the tile of an added kong: 1
	LastDraw                     // self-draw of the last tile: 1
	LastDiscard                  // win on the discard after the last tile was drawn: 1
	Heavenly                     // the dealer wins with the first tiles: 5
	Earthly                      // another player wins with the first draw, before any meld: 5
	SelfDrawPoint                // self-draw, if it counts as fan: 1
	patterns
)

var patternNames = [patterns]string{
	"pongs", "pure suit", "seven pairs", "dragon seven pairs", "golden single wait", "terminals", "258", "root", "concealed hand",
	"no terminals", "kong flower", "kong shot", "robbed kong", "last draw", "last discard", "heavenly hand", "earthly hand", "self-draw as fan",
}

// String returns the name of the pattern.
func (p Pattern) String() string { return patternNames[p] }

// AllPatterns returns every pattern.
func AllPatterns() []Pattern {
	list := make([]Pattern, patterns)
	for i := range list {
		list[i] = Pattern(i)
	}
	return list
}

// Item is a pattern of a win with its fan.
type Item struct {
	Pattern Pattern
	Fan     int
}

// Score is the value of a winning hand.
type Score struct {
	Fan   int // of all items; it may be above the cap
	Items []Item
}

func (s *Score) add(p Pattern, fan int) {
	s.Items = append(s.Items, Item{p, fan})
	s.Fan += fan
}

// Circumstances are the properties of a win beyond the hand itself.
type Circumstances struct {
	SelfDraw    bool
	KongFlower  bool
	KongShot    bool
	RobbedKong  bool
	LastDraw    bool
	LastDiscard bool
	Heavenly    bool
	Earthly     bool
}

// Evaluate returns the score of a hand that contains the winning tile, with the largest fan that its tiles allow. It
// reports false if the hand does not win. A hand with a tile of the missing suit never wins.
func Evaluate(c Config, hand Counts, melds []Meld, missing Suit, at Circumstances) (Score, bool) {
	if hand.suit(missing) > 0 || hand.Total() != 14-3*len(melds) {
		return Score{}, false
	}
	shape, ok := bestShape(c, &hand, melds)
	if !ok {
		return Score{}, false
	}
	var s Score
	roots := roots(&hand, melds)
	switch {
	case shape.pairs && roots > 0:
		s.add(DragonPairs, 3)
		roots--
	case shape.pairs:
		s.add(SevenPairs, 2)
	}
	if shape.pongs {
		s.add(Pongs, 1)
		if len(melds) == 4 {
			s.add(GoldenWait, 1)
		}
	}
	if shape.terminals {
		s.add(Terminals, c.terminalFan())
	}
	all := all(&hand, melds)
	if (shape.pongs || shape.pairs) && only258(&all) {
		s.add(All258, 2)
	}
	if pure(&all) {
		s.add(PureSuit, 2)
	}
	if roots > 0 {
		s.add(Root, roots)
	}
	if !c.NoConcealed && concealed(melds) {
		s.add(Concealed, 1)
	}
	if !c.NoSimples && simples(&all) {
		s.add(Simples, 1)
	}
	for _, bonus := range []struct {
		has     bool
		pattern Pattern
		fan     int
	}{
		{at.KongFlower, KongFlower, 1},
		{at.KongShot, KongShot, 1},
		{at.RobbedKong, RobbedKong, 1},
		{at.LastDraw, LastDraw, 1},
		{at.LastDiscard, LastDiscard, 1},
		{at.Heavenly && !c.NoFirstHand, Heavenly, 5},
		{at.Earthly && !c.NoFirstHand, Earthly, 5},
		{at.SelfDraw && c.SelfDraw == SelfDrawFan, SelfDrawPoint, 1},
	} {
		if bonus.has {
			s.add(bonus.pattern, bonus.fan)
		}
	}
	return s, true
}

func (c Config) terminalFan() int {
	if c.TerminalsTwo {
		return 2
	}
	return 3
}

// shape describes how the tiles of a winning hand are grouped, as far as the fan depends
// on it.
type shape struct {
	pairs     bool // seven pairs
	pongs     bool // all sets are pongs or kongs
	terminals bool // a terminal in every set and in the pair
}

// fan returns the fan of the shape alone, to choose among several.
func (s shape) fan(c Config, hand *Counts, melds []Meld) int {
	n := 0
	all := all(hand, melds)
	if s.pairs {
		n += 2 // with a root it is 3, but one root less
	}
	if s.pongs {
		n++
		if len(melds) == 4 {
			n++
		}
	}
	if s.terminals {
		n += c.terminalFan()
	}
	if (s.pongs || s.pairs) && only258(&all) {
		n += 2
	}
	return n
}

// bestShape returns the shape with the most fan.
func bestShape(c Config, hand *Counts, melds []Meld) (best shape, ok bool) {
	most := -1
	consider := func(s shape) {
		if f := s.fan(c, hand, melds); f > most {
			best, most = s, f
		}
	}
	if len(melds) == 0 && sevenPairs(hand) {
		consider(shape{pairs: true})
	}
	g := grouping{terminals: true, pongs: true}
	for _, m := range melds {
		g.terminals = g.terminals && terminal(m.Tile)
	}
	rest := *hand
	g.each(&rest, 0, false, consider)
	return best, most >= 0
}

func sevenPairs(hand *Counts) bool {
	for _, n := range hand {
		if n%2 != 0 {
			return false
		}
	}
	return true
}

func terminal(t Tile) bool { return t%9 == 0 || t%9 == 8 }

// grouping holds the properties of the sets that were split off a hand.
type grouping struct{ terminals, pongs bool }

// each calls f for every way to split rest into sets and one pair, from the kind at on.
func (g grouping) each(rest *Counts, at Tile, paired bool, f func(shape)) {
	for at < kinds && rest[at] == 0 {
		at++
	}
	if at == kinds {
		if paired {
			f(shape{pongs: g.pongs, terminals: g.terminals})
		}
		return
	}
	if rest[at] >= 2 && !paired {
		rest[at] -= 2
		grouping{g.terminals && terminal(at), g.pongs}.each(rest, at, true, f)
		rest[at] += 2
	}
	if rest[at] >= 3 {
		rest[at] -= 3
		grouping{g.terminals && terminal(at), g.pongs}.each(rest, at, paired, f)
		rest[at] += 3
	}
	if at%9 <= 6 && rest[at+1] > 0 && rest[at+2] > 0 {
		rest[at]--
		rest[at+1]--
		rest[at+2]--
		grouping{g.terminals && (terminal(at) || terminal(at+2)), false}.each(rest, at, paired, f)
		rest[at]++
		rest[at+1]++
		rest[at+2]++
	}
}

// all returns the tiles of hand and melds.
func all(hand *Counts, melds []Meld) Counts {
	c := *hand
	for _, m := range melds {
		c[m.Tile] += uint8(m.size())
	}
	return c
}

// roots returns the number of kinds of which the player has four tiles.
func roots(hand *Counts, melds []Meld) (n int) {
	all := all(hand, melds)
	for _, k := range all {
		if k == copies {
			n++
		}
	}
	return n
}

func pure(c *Counts) bool {
	suits := 0
	for s := Characters; s <= Dots; s++ {
		if c.suit(s) > 0 {
			suits++
		}
	}
	return suits == 1
}

func only258(c *Counts) bool {
	for t, n := range c {
		if n > 0 && t%9%3 != 1 {
			return false
		}
	}
	return true
}

func simples(c *Counts) bool {
	for t, n := range c {
		if n > 0 && terminal(Tile(t)) {
			return false
		}
	}
	return true
}

func concealed(melds []Meld) bool {
	for _, m := range melds {
		if m.Kind != ConcealedKong {
			return false
		}
	}
	return true
}

// Waits returns the kinds that complete the hand. It also returns the largest fan among
// them, without the bonuses of draw, kong and last tile. A kind of which the player has
// all four is not a wait.
func Waits(c Config, hand Counts, melds []Meld, missing Suit) (waits []Tile, best int) {
	best = -1
	held := all(&hand, melds)
	for t := range Tile(kinds) {
		if held[t] == copies || t.Suit() == missing {
			continue
		}
		hand[t]++
		if s, ok := Evaluate(c, hand, melds, missing, Circumstances{}); ok {
			waits = append(waits, t)
			best = max(best, s.Fan)
		}
		hand[t]--
	}
	return waits, best
}
