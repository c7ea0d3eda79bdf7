package bot

import (
	"math/rand/v2"

	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

// Style is a preference of a bot.
type Style int

// These are the styles.
const (
	Balanced Style = iota
	OneSuit        // collects one suit
	Pairs          // collects pairs
	Melds          // melds whenever it can
	Outside        // collects terminals
	styles
)

// Bot plays for one seat. Its decisions depend only on the view and on its random source.
type Bot struct {
	style Style
	rng   *rand.Rand
}

// New returns a bot. Bots with the same seed make the same decisions.
func New(seed uint64) *Bot {
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	return &Bot{style: Style(rng.IntN(int(styles))), rng: rng}
}

// Act returns the bot's action for a view in which its seat must act.
func (b *Bot) Act(v *rules.View) rules.Action {
	a := rules.Action{Seat: v.Seat}
	var hand rules.Counts
	hand.Add(v.Hand...)
	switch v.Phase {
	case rules.Exchange:
		a.Kind, a.Tiles = rules.Give, b.give(&hand, v)
	case rules.Missing:
		a.Kind, a.Suit = rules.Choose, fewest(&hand)
	case rules.Claim:
		a.Kind = b.claim(&hand, v)
	default:
		switch {
		case v.MayWin && (v.MustWin || b.rng.IntN(200) > 0):
			a.Kind = rules.Win
		case len(v.Kongs) > 0 && b.rng.IntN(10) > 0:
			a.Kind, a.Tile = rules.KongSelf, v.Kongs[b.rng.IntN(len(v.Kongs))]
		default:
			a.Kind, a.Tile = rules.Discard, b.discard(&hand, v)
		}
	}
	return a
}

// fewest returns the suit with the fewest tiles.
func fewest(hand *rules.Counts) rules.Suit {
	best, n := rules.Characters, 100
	for s := rules.Characters; s <= rules.Dots; s++ {
		if k := suit(hand, s); k < n {
			best, n = s, k
		}
	}
	return best
}

func suit(hand *rules.Counts, s rules.Suit) (n int) {
	for _, k := range hand[int(s)*9 : int(s)*9+9] {
		n += int(k)
	}
	return n
}

// give returns three tiles of the smallest suit that has three.
func (b *Bot) give(hand *rules.Counts, v *rules.View) (tiles [3]rules.Tile) {
	best, n := rules.Characters, 100
	for s := rules.Suit(0); int(s) < v.Config.Suits; s++ {
		if k := suit(hand, s); k >= 3 && k < n {
			best, n = s, k
		}
	}
	rest := *hand
	for i := range tiles {
		tiles[i] = b.worst(&rest, v, func(t rules.Tile) bool { return t.Suit() == best })
		rest[tiles[i]]--
	}
	return tiles
}

func (b *Bot) discard(hand *rules.Counts, v *rules.View) rules.Tile {
	missing := v.Seats[v.Seat].Missing
	if missing <= rules.Dots && suit(hand, missing) > 0 {
		return b.worst(hand, v, func(t rules.Tile) bool { return t.Suit() == missing })
	}
	return b.worst(hand, v, func(rules.Tile) bool { return true })
}

// worst returns the least useful tile that may be discarded.
func (b *Bot) worst(hand *rules.Counts, v *rules.View, may func(rules.Tile) bool) rules.Tile {
	worst, least := rules.None, 1<<30
	for i, n := range hand {
		t := rules.Tile(i)
		if n == 0 || !may(t) {
			continue
		}
		if u := 16*b.use(hand, v, t) + b.rng.IntN(16); u < least {
			worst, least = t, u
		}
	}
	return worst
}

// use estimates the value of a tile for the hand.
func (b *Bot) use(hand *rules.Counts, v *rules.View, t rules.Tile) int {
	at := func(d int) int {
		r := t.Rank() + d
		if r < 1 || r > 9 {
			return 0
		}
		return int(hand[int(t)+d])
	}
	u := 0
	n := int(hand[t])
	switch n {
	case 2:
		u += 8
	case 3:
		u += 20
	case 4:
		u += 24
	}
	if b.style == Pairs && len(v.Seats[v.Seat].Melds) == 0 {
		return u
	}
	if at(-1) > 0 && at(1) > 0 || at(-2) > 0 && at(-1) > 0 || at(1) > 0 && at(2) > 0 {
		u += 12
	}
	if at(-1) > 0 || at(1) > 0 {
		u += 5
	} else if at(-2) > 0 || at(2) > 0 {
		u += 3
	}
	if r := t.Rank(); r == 1 || r == 9 {
		u--
		if b.style == Outside {
			u += 8
		}
	}
	switch b.style {
	case OneSuit:
		u += 2 * suit(hand, t.Suit())
	case Melds:
		u += 4 * n
	}
	return u
}

func (b *Bot) claim(hand *rules.Counts, v *rules.View) rules.Kind {
	o := v.Options
	if o&rules.MayWin != 0 && (o&rules.MustWin != 0 || b.rng.IntN(30) > 0) {
		return rules.Win
	}
	if o&rules.MayKong != 0 && b.rng.IntN(10) > 0 {
		return rules.KongClaim
	}
	if o&rules.MayPong != 0 && b.rng.IntN(10) < b.eager(hand, v) {
		return rules.PongClaim
	}
	return rules.Pass
}

// eager returns the number of times out of ten that the bot claims a pong.
func (b *Bot) eager(hand *rules.Counts, v *rules.View) int {
	switch b.style {
	case Melds:
		return 10
	case Pairs:
		pairs := 0
		for _, n := range hand {
			pairs += int(n / 2)
		}
		if pairs >= 4 && len(v.Seats[v.Seat].Melds) == 0 {
			return 0
		}
	case OneSuit:
		if suit(hand, v.Claimed.Suit()) < 5 {
			return 1
		}
	}
	return 6
}
