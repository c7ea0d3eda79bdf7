package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Phase is the phase of a hand.
type Phase uint8

// These are the phases of a hand, in order. Turn and Claim alternate.
const (
	Exchange Phase = iota // every player gives three tiles away
	Missing               // every player chooses a missing suit
	Turn                  // the player at State.Turn discards, melds a kong or wins
	Claim                 // players with options claim the tile of State.Turn, or pass; then State.Resolve
	Over
)

// Kind is the kind of an action.
type Kind uint8

// These are the kinds of actions.
const (
	Give     Kind = iota // the three tiles of the exchange
	Choose               // the missing suit
	Discard              // a tile
	KongSelf             // a concealed or an added kong of a tile
	Win                  // by self-draw, or on the tile that can be claimed
	KongClaim
	PongClaim
	Pass
)

// Action is an action of a player.
type Action struct {
	Seat  int
	Kind  Kind
	Tile  Tile    // tile of Discard and KongSelf
	Tiles [3]Tile // tiles of Give
	Suit  Suit    // suit of Choose
}

// Options are the kinds of claims that a player may make, as bits.
type Options uint8

// These are the claims.
const (
	MayWin Options = 1 << iota
	MayKong
	MayPong
	MustWin // the player may not pass
)

// Seat is one player's part of a hand.
type Seat struct {
	Hand     Counts
	Melds    []Meld
	Discards []Tile // discards that were not claimed, and those that were won
	Missing  Suit

	Given     [3]Tile // tiles given in the exchange
	Received  [3]Tile
	HasGiven  bool
	HasChosen bool
	Acted     bool // has discarded a tile

	Won     bool
	Order   int  // order among the winners, from 1; 0 for none
	WinTile Tile // None before a win, and after a heavenly hand
	SelfWon bool // the winning tile is in the hand
	Score   Score

	Passed int // the largest fan of a win that was passed since the last draw, pong or kong; -1 for none
	Pig    bool
	Ready  bool // ready at the end of the wall
}

// Reason is the reason of a payment.
type Reason uint8

// These are the reasons of payments.
const (
	ForWin Reason = iota
	ForExposedKong
	ForAddedKong
	ForConcealedKong
	ForPig       // a flower pig pays
	ForNotReady  // a player who is not ready pays one who is
	ForReturn    // kong money that is given back
	ForTransfer  // kong money that goes to the winner on the next discard
	reasonsCount // the number of reasons
)

var reasonNames = [reasonsCount]string{
	"win", "exposed kong", "added kong", "concealed kong", "flower pig", "not ready", "kong money returned", "kong money transferred",
}

// String returns the name of the reason.
func (r Reason) String() string { return reasonNames[r] }

// Payment is a payment between players.
type Payment struct {
	From, To int
	Amount   int
	Reason   Reason
	Kong     int // of kong money: the index of the kong in State.Kongs; -1 otherwise
}

// Kong is a kong that was made, with its money.
type Kong struct {
	Seat        int
	Meld        MeldKind
	From        int // who discarded the tile of an exposed kong; the owner otherwise
	Transferred bool
}

// State is a hand. Its fields are for reading; [State.Apply] changes them.
type State struct {
	Config Config
	Dealer int
	Seats  []Seat
	Wall   []Tile // the remaining tiles, the next one first; kongs are replaced from the end
	Shift  int    // shift of the exchange: how many seats further a tile goes

	Phase Phase
	Turn  int    // whose turn it is, or whose tile can be claimed
	Drawn Tile   // the tile that the player at Turn has drawn; None after a pong, and for the dealer's first turn
	Fresh bool   // the player at Turn has drawn a tile, or is the dealer at the first turn
	Draws []Tile // the tiles that the player at Turn has drawn on this turn: several after kongs

	Claimed Tile      // the tile that can be claimed
	Robbing bool      // it is the tile of an added kong
	Options []Options // options of each seat in Claim
	Claims  []Kind    // answers of the seats with options
	Has     []bool    // whether each seat has answered

	AfterKong int  // the index of the kong after which the tile was drawn, -1 for none
	ShotKong  int  // the same index for the discard that can be claimed
	Untouched bool // no tile was claimed yet

	Kongs     []Kong
	Payments  []Payment
	Winners   int
	FirstWin  int // the next dealer by the first win; -1 before a win
	WallEnded bool
}

// New deals a hand. The seed determines the wall and the dice: the same seed gives the
// same hand. The config must be valid, and dealer must be the seat of a player.
func New(c Config, dealer int, seed [32]byte) (*State, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if dealer < 0 || dealer >= c.Players {
		return nil, fmt.Errorf("rules: dealer %d, want 0 to %d", dealer, c.Players-1)
	}
	rng := rand.New(rand.NewChaCha8(seed))
	wall := make([]Tile, 0, c.tiles())
	for t := range Tile(c.Suits * 9) {
		wall = append(wall, t, t, t, t)
	}
	rng.Shuffle(len(wall), func(i, j int) { wall[i], wall[j] = wall[j], wall[i] })
	dice := rng.IntN(6) + rng.IntN(6)
	s := &State{
		Config:    c,
		Dealer:    dealer,
		Seats:     make([]Seat, c.Players),
		Wall:      wall,
		Shift:     1 + dice%(c.Players-1), // next, opposite or previous; with three players never opposite
		Turn:      dealer,
		Drawn:     None,
		Fresh:     true,
		Claimed:   None,
		Options:   make([]Options, c.Players),
		Claims:    make([]Kind, c.Players),
		Has:       make([]bool, c.Players),
		AfterKong: -1,
		ShotKong:  -1,
		Untouched: true,
		FirstWin:  -1,
	}
	for i := range s.Seats {
		p := &s.Seats[i]
		n := 13
		if i == dealer {
			n = 14
		}
		p.Hand.Add(s.Wall[:n]...)
		s.Wall = s.Wall[n:]
		p.Missing, p.WinTile, p.Passed = NoSuit, None, -1
	}
	return s, nil
}

// Clone returns a deep copy of s.
func (s *State) Clone() *State {
	n := *s
	n.Seats = slices.Clone(s.Seats)
	for i := range n.Seats {
		p := &n.Seats[i]
		p.Melds = slices.Clone(p.Melds)
		p.Discards = slices.Clone(p.Discards)
		p.Score.Items = slices.Clone(p.Score.Items)
	}
	n.Wall = slices.Clone(s.Wall)
	n.Draws = slices.Clone(s.Draws)
	n.Options = slices.Clone(s.Options)
	n.Claims = slices.Clone(s.Claims)
	n.Has = slices.Clone(s.Has)
	n.Kongs = slices.Clone(s.Kongs)
	n.Payments = slices.Clone(s.Payments)
	return &n
}

// Totals returns what each seat has won or lost in this hand. The sum is zero.
func (s *State) Totals() []int {
	totals := make([]int, len(s.Seats))
	for _, p := range s.Payments {
		totals[p.From] -= p.Amount
		totals[p.To] += p.Amount
	}
	return totals
}

// NextDealer returns the dealer of the next hand. It is the first winner, or the
// discarder if several players won first on one tile. Without a winner the dealer stays.
func (s *State) NextDealer() int {
	if s.FirstWin < 0 {
		return s.Dealer
	}
	return s.FirstWin
}

// Waiting returns the seats that have to act.
func (s *State) Waiting() []int {
	var seats []int
	for i := range s.Seats {
		p := &s.Seats[i]
		switch s.Phase {
		case Exchange:
			if p.HasGiven {
				continue
			}
		case Missing:
			if p.HasChosen {
				continue
			}
		case Turn:
			if i != s.Turn {
				continue
			}
		case Claim:
			if s.Options[i] == 0 || s.Has[i] {
				continue
			}
		case Over:
			continue
		}
		seats = append(seats, i)
	}
	return seats
}

// in reports whether a seat still plays.
func (s *State) in(seat int) bool { return !s.Seats[seat].Won }

// others calls f for every other seat that still plays, in turn order.
func (s *State) others(seat int, f func(other int)) {
	for i := 1; i < len(s.Seats); i++ {
		if o := (seat + i) % len(s.Seats); s.in(o) {
			f(o)
		}
	}
}

func (s *State) pay(from, to, amount int, why Reason, kong int) {
	if amount > 0 && from != to {
		s.Payments = append(s.Payments, Payment{from, to, amount, why, kong})
	}
}
