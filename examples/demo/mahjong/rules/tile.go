package rules

import "fmt"

// Tile is one of the 27 kinds: 0 to 8 are the characters 1 to 9, 9 to 17 the bamboos, 18 to 26 the dots. There are four
// tiles of each kind.
type Tile uint8

// None represents no tile, or a tile that a player cannot see.
const None Tile = 255

const (
	kinds  = 27
	copies = 4
)

// Suit is one of the three suits.
type Suit uint8

// These are the suits. NoSuit is the missing suit of a player who has not chosen one, and
// in games without a missing suit.
const (
	Characters Suit = 0
	Bamboos    Suit = 1
	Dots       Suit = 2
	NoSuit     Suit = 255
)

// Suit returns the suit of the tile.
func (t Tile) Suit() Suit { return Suit(t / 9) }

// Rank returns the number on the tile, 1 to 9.
func (t Tile) Rank() int { return int(t%9) + 1 }

func (t Tile) valid() bool { return t < kinds }

// String returns the rank and a letter for the suit, as in 5d.
func (t Tile) String() string {
	if !t.valid() {
		return "--"
	}
	return fmt.Sprintf("%d%c", t.Rank(), "cbd"[t.Suit()])
}

// Counts is a multiset of tiles: the number of tiles of each kind.
type Counts [kinds]uint8

// Add adds tiles.
func (c *Counts) Add(tiles ...Tile) {
	for _, t := range tiles {
		c[t]++
	}
}

// Total returns the number of tiles.
func (c *Counts) Total() int {
	n := 0
	for _, k := range c {
		n += int(k)
	}
	return n
}

// Tiles returns the tiles in order.
func (c *Counts) Tiles() []Tile {
	tiles := make([]Tile, 0, c.Total())
	for t, n := range c {
		for range n {
			tiles = append(tiles, Tile(t))
		}
	}
	return tiles
}

// suit returns the number of tiles of a suit.
func (c *Counts) suit(s Suit) int {
	if s > Dots {
		return 0
	}
	n := 0
	for _, k := range c[s*9 : s*9+9] {
		n += int(k)
	}
	return n
}

// MeldKind is the kind of a meld.
type MeldKind uint8

// These are the kinds of melds.
const (
	Pong          MeldKind = iota // three tiles, one of them another player's discard
	ExposedKong                   // four tiles, one of them another player's discard
	AddedKong                     // a pong and the fourth tile
	ConcealedKong                 // four tiles from the wall
)

// Meld is three or four tiles of one kind that a player has laid down.
type Meld struct {
	Kind MeldKind
	Tile Tile
	From int // the seat whose discard completed a pong or an exposed kong; the owner's own otherwise
}

func (m Meld) kong() bool { return m.Kind != Pong }

func (m Meld) size() int {
	if m.kong() {
		return 4
	}
	return 3
}
