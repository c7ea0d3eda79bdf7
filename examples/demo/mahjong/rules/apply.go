package rules

import (
	"errors"
	"fmt"
	"slices"
)

// These errors are returned by Apply, wrapped with a text that says what was expected.
var (
	ErrPhase  = errors.New("rules: not the time for this action")
	ErrSeat   = errors.New("rules: not the turn of this seat")
	ErrTile   = errors.New("rules: not a tile for this action")
	ErrOption = errors.New("rules: not an option")
)

// Apply applies a player's action. On an error the state is unchanged.
func (s *State) Apply(a Action) error {
	if a.Seat < 0 || a.Seat >= len(s.Seats) {
		return fmt.Errorf("%w: seat %d, want 0 to %d", ErrSeat, a.Seat, len(s.Seats)-1)
	}
	switch s.Phase {
	case Exchange:
		return s.give(a)
	case Missing:
		return s.choose(a)
	case Turn:
		return s.act(a)
	case Claim:
		return s.claim(a)
	}
	return fmt.Errorf("%w: the hand is over", ErrPhase)
}

func (s *State) give(a Action) error {
	p := &s.Seats[a.Seat]
	if a.Kind != Give || p.HasGiven {
		return fmt.Errorf("%w: want three tiles from each player, once", ErrPhase)
	}
	hand := p.Hand
	for _, t := range a.Tiles {
		if !t.valid() || hand[t] == 0 {
			return fmt.Errorf("%w: the hand has no further %v", ErrTile, t)
		}
		hand[t]--
		if !s.Config.ExchangeAny && t.Suit() != a.Tiles[0].Suit() {
			return fmt.Errorf("%w: the three tiles are of one suit", ErrTile)
		}
	}
	p.Hand, p.Given, p.HasGiven = hand, a.Tiles, true
	for i := range s.Seats {
		if !s.Seats[i].HasGiven {
			return nil
		}
	}
	for i := range s.Seats {
		to := &s.Seats[(i+s.Shift)%len(s.Seats)]
		to.Received = s.Seats[i].Given
		to.Hand.Add(to.Received[:]...)
	}
	s.Phase = Missing
	if !s.Config.missing() {
		s.Phase = Turn
	}
	return nil
}

func (s *State) choose(a Action) error {
	p := &s.Seats[a.Seat]
	if a.Kind != Choose || p.HasChosen {
		return fmt.Errorf("%w: want a missing suit from each player, once", ErrPhase)
	}
	if a.Suit > Dots {
		return fmt.Errorf("%w: suit %d, want 0 to 2", ErrTile, a.Suit)
	}
	p.Missing, p.HasChosen = a.Suit, true
	if !slices.ContainsFunc(s.Seats, func(p Seat) bool { return !p.HasChosen }) {
		s.Phase = Turn
	}
	return nil
}

// act is an action of the player whose turn it is.
func (s *State) act(a Action) error {
	if a.Seat != s.Turn {
		return fmt.Errorf("%w: it is the turn of seat %d", ErrSeat, s.Turn)
	}
	p := &s.Seats[a.Seat]
	score, wins := s.selfDraw()
	if wins && a.Kind != Win && s.mustWin() {
		return fmt.Errorf("%w: with the last four tiles a win may not be passed", ErrOption)
	}
	switch a.Kind {
	case Win:
		if !wins {
			return fmt.Errorf("%w: the hand does not win", ErrOption)
		}
		s.winSelf(score)
		return nil
	case KongSelf:
		if !slices.Contains(s.SelfKongs(), a.Tile) {
			return fmt.Errorf("%w: no kong of %v", ErrOption, a.Tile)
		}
		s.kongSelf(a.Tile)
		return nil
	case Discard:
		if !a.Tile.valid() || p.Hand[a.Tile] == 0 {
			return fmt.Errorf("%w: the hand has no %v", ErrTile, a.Tile)
		}
		if p.Hand.suit(p.Missing) > 0 && a.Tile.Suit() != p.Missing {
			return fmt.Errorf("%w: tiles of the missing suit are discarded first", ErrTile)
		}
		s.discard(a.Tile)
		return nil
	}
	return fmt.Errorf("%w: want a discard, a kong or a win", ErrPhase)
}

// mustWin reports whether the player must not pass a win.
func (s *State) mustWin() bool { return s.Config.LastFourMustWin && len(s.Wall) < 4 }

// SelfDraw returns the score of a win by self-draw, if the player whose turn it is has one.
func (s *State) SelfDraw() (Score, bool) {
	if s.Phase != Turn {
		return Score{}, false
	}
	return s.selfDraw()
}

func (s *State) selfDraw() (Score, bool) {
	if !s.Fresh {
		return Score{}, false
	}
	p := &s.Seats[s.Turn]
	return Evaluate(s.Config, p.Hand, p.Melds, p.Missing, s.DrawCircumstances())
}

// DrawCircumstances returns the circumstances of a win by self-draw on this turn.
func (s *State) DrawCircumstances() Circumstances {
	first := s.Untouched && !s.Seats[s.Turn].Acted && s.AfterKong < 0
	return Circumstances{
		SelfDraw:   !s.paidByDiscarder(),
		KongFlower: s.AfterKong >= 0,
		LastDraw:   len(s.Wall) == 0 && s.Drawn != None,
		Heavenly:   first && s.Turn == s.Dealer,
		Earthly:    first && s.Turn != s.Dealer,
	}
}

// paidByDiscarder reports whether a win on this turn is a kong flower that the discarder
// of the kong's tile pays alone.
func (s *State) paidByDiscarder() bool {
	return s.Config.FlowerByDiscarder && s.AfterKong >= 0 && s.Kongs[s.AfterKong].Meld == ExposedKong
}

// SelfKongs returns the tiles with which the player whose turn it is may meld a concealed
// or an added kong.
func (s *State) SelfKongs() []Tile {
	if s.Phase != Turn || !s.Fresh || len(s.Wall) == 0 {
		return nil
	}
	p := &s.Seats[s.Turn]
	var tiles []Tile
	for t, n := range p.Hand {
		if n == copies && Tile(t).Suit() != p.Missing {
			tiles = append(tiles, Tile(t))
		}
	}
	for _, m := range p.Melds {
		if m.Kind == Pong && p.Hand[m.Tile] == 1 {
			tiles = append(tiles, m.Tile)
		}
	}
	return tiles
}

func (s *State) kongSelf(t Tile) {
	p := &s.Seats[s.Turn]
	p.Passed = -1
	if p.Hand[t] == copies {
		p.Hand[t] = 0
		p.Melds = append(p.Melds, Meld{ConcealedKong, t, s.Turn})
		s.madeKong(ConcealedKong, s.Turn, 2*s.Config.Base, true)
		return
	}
	// An added kong may be robbed before it is made.
	s.Claimed, s.Robbing, s.ShotKong = t, true, -1
	s.offer()
}

// addKong completes an added kong that was not robbed.
func (s *State) addKong() {
	t := s.Claimed
	s.Claimed, s.Robbing = None, false
	p := &s.Seats[s.Turn]
	p.Hand[t]--
	i := slices.IndexFunc(p.Melds, func(m Meld) bool { return m.Tile == t })
	p.Melds[i].Kind = AddedKong
	s.madeKong(AddedKong, s.Turn, s.Config.Base, slices.Contains(s.Draws, t))
}

// madeKong records a kong of the player at Turn and draws the replacement tile. The
// kong's money comes from each player still in, unless the kong is exposed.
func (s *State) madeKong(kind MeldKind, from, amount int, paid bool) {
	k := len(s.Kongs)
	s.Kongs = append(s.Kongs, Kong{Seat: s.Turn, Meld: kind, From: from})
	switch {
	case !paid:
	case kind == ExposedKong:
		s.pay(from, s.Turn, amount, ForExposedKong, k)
	default:
		why := ForAddedKong
		if kind == ConcealedKong {
			why = ForConcealedKong
		}
		s.others(s.Turn, func(o int) { s.pay(o, s.Turn, amount, why, k) })
	}
	last := len(s.Wall) - 1
	t := s.Wall[last]
	s.Wall = s.Wall[:last]
	s.drew(t)
	s.AfterKong = k
}

func (s *State) discard(t Tile) {
	p := &s.Seats[s.Turn]
	p.Hand[t]--
	p.Discards = append(p.Discards, t)
	p.Acted = true
	s.Claimed, s.Robbing, s.ShotKong = t, false, s.AfterKong
	s.offer()
}

// drew gives the player at Turn a tile.
func (s *State) drew(t Tile) {
	p := &s.Seats[s.Turn]
	p.Hand.Add(t)
	p.Passed = -1
	s.Draws = append(s.Draws, t)
	s.Phase, s.Drawn, s.Fresh, s.AfterKong = Turn, t, true, -1
}

// next makes the next player after seat who still plays draw a tile, or ends the hand.
func (s *State) next(seat int) {
	if s.Winners == len(s.Seats)-1 {
		s.Phase = Over
		return
	}
	if len(s.Wall) == 0 {
		s.endOfWall()
		return
	}
	for {
		seat = (seat + 1) % len(s.Seats)
		if s.in(seat) {
			break
		}
	}
	t := s.Wall[0]
	s.Wall = s.Wall[1:]
	s.Turn, s.Draws = seat, nil
	s.drew(t)
}
