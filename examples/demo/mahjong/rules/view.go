package rules

import "slices"

// View is the part of a hand that one seat, or a spectator, may see.
type View struct {
	Config  Config
	Seat    int // seat of the viewer; -1 for a spectator
	Dealer  int
	Phase   Phase
	Turn    int
	Wall    int // number of remaining tiles
	Shift   int // shift of the exchange; 0 before it
	Claimed Tile
	Robbing bool
	Seats   []SeatView

	// The following fields are the viewer's own.
	Hand     []Tile
	Drawn    Tile
	Given    []Tile
	Received []Tile
	Options  Options
	Kongs    []Tile // tiles with which the viewer may meld a kong on this turn
	MayWin   bool   // by self-draw
	MustWin  bool
	Passed   int

	Payments  []Payment
	WallEnded bool
}

// SeatView is the part of a seat that a viewer may see.
type SeatView struct {
	Tiles    int // number of tiles in the hand
	Hand     []Tile
	Melds    []Meld
	Discards []Tile
	Missing  Suit
	Done     bool // the seat has given tiles, or has chosen a suit
	Won      bool
	Order    int
	WinTile  Tile
	SelfWon  bool
	Score    Score
	Pig      bool
	Ready    bool
}

// View returns the view of a seat. Seat -1 is a spectator, who sees no hidden tiles.
// Winners' hands stay hidden until the hand is over.
func (s *State) View(seat int) *View {
	over := s.Phase == Over
	v := &View{
		Config:    s.Config,
		Seat:      seat,
		Dealer:    s.Dealer,
		Phase:     s.Phase,
		Turn:      s.Turn,
		Wall:      len(s.Wall),
		Claimed:   s.Claimed,
		Robbing:   s.Robbing,
		Drawn:     None,
		Passed:    -1,
		Payments:  slices.Clone(s.Payments),
		WallEnded: s.WallEnded,
	}
	if s.Phase > Exchange {
		v.Shift = s.Shift
	}
	chosen := s.Phase > Missing
	for i := range s.Seats {
		p := &s.Seats[i]
		sv := SeatView{
			Tiles:    p.Hand.Total(),
			Melds:    slices.Clone(p.Melds),
			Discards: slices.Clone(p.Discards),
			Missing:  NoSuit,
			Done:     s.Phase == Exchange && p.HasGiven || s.Phase == Missing && p.HasChosen,
			Won:      p.Won,
			Order:    p.Order,
			WinTile:  p.WinTile,
			SelfWon:  p.SelfWon,
			Pig:      p.Pig,
			Ready:    p.Ready,
		}
		if chosen || i == seat {
			sv.Missing = p.Missing
		}
		if s.Config.HideConcealedKongs && !over && i != seat {
			for k := range sv.Melds {
				if sv.Melds[k].Kind == ConcealedKong {
					sv.Melds[k].Tile = None
				}
			}
		}
		if over {
			sv.Hand = p.Hand.Tiles()
			sv.Score = p.Score
		}
		v.Seats = append(v.Seats, sv)
	}
	if seat < 0 {
		return v
	}
	p := &s.Seats[seat]
	v.Hand = p.Hand.Tiles()
	v.Passed = p.Passed
	if p.HasGiven {
		v.Given = slices.Clone(p.Given[:])
	}
	if s.Phase > Exchange {
		v.Received = slices.Clone(p.Received[:])
	}
	switch {
	case s.Phase == Turn && s.Turn == seat:
		v.Drawn = s.Drawn
		v.Kongs = s.SelfKongs()
		_, v.MayWin = s.SelfDraw()
		v.MustWin = v.MayWin && s.mustWin()
		if v.MustWin {
			v.Kongs = nil
		}
	case s.Phase == Claim && !s.Has[seat]:
		v.Options = s.Options[seat]
	}
	return v
}
