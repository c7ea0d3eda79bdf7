package rules

import "fmt"

// offer sets the options of every player for the claimed tile.
func (s *State) offer() {
	s.Phase = Claim
	for i := range s.Seats {
		s.Options[i], s.Has[i] = 0, false
	}
	s.others(s.Turn, func(o int) { s.Options[o] = s.optionsOf(o) })
}

func (s *State) optionsOf(seat int) (o Options) {
	p := &s.Seats[seat]
	if s.Claimed.Suit() == p.Missing {
		return 0
	}
	if score, ok := s.ClaimScore(seat); ok && score.Fan > p.Passed {
		o = MayWin
		if s.mustWin() {
			return MayWin | MustWin
		}
	}
	if s.Robbing {
		return o
	}
	if p.Hand[s.Claimed] >= 2 {
		o |= MayPong
	}
	if p.Hand[s.Claimed] == 3 && len(s.Wall) > 0 {
		o |= MayKong
	}
	return o
}

// ClaimScore returns the score of a seat's win on the claimed tile, if there is one.
func (s *State) ClaimScore(seat int) (Score, bool) {
	if !s.Claimed.valid() {
		return Score{}, false
	}
	p := &s.Seats[seat]
	hand := p.Hand
	hand[s.Claimed]++
	return Evaluate(s.Config, hand, p.Melds, p.Missing, s.ClaimCircumstances())
}

// ClaimCircumstances returns the circumstances of a win on the claimed tile.
func (s *State) ClaimCircumstances() Circumstances {
	return Circumstances{
		KongShot:    s.ShotKong >= 0,
		RobbedKong:  s.Robbing,
		LastDiscard: len(s.Wall) == 0,
	}
}

func (s *State) claim(a Action) error {
	o := s.Options[a.Seat]
	if o == 0 || s.Has[a.Seat] {
		return fmt.Errorf("%w: the seat has nothing to claim", ErrSeat)
	}
	allowed := false
	switch a.Kind {
	case Win:
		allowed = o&MayWin != 0
	case KongClaim:
		allowed = o&MayKong != 0
	case PongClaim:
		allowed = o&MayPong != 0
	case Pass:
		allowed = o&MustWin == 0
	}
	if !allowed {
		return fmt.Errorf("%w: the tile does not offer this claim", ErrOption)
	}
	s.Has[a.Seat], s.Claims[a.Seat] = true, a.Kind
	return nil
}

// Resolve ends the phase Claim when no player has to answer. All wins come first, then a
// kong or a pong, and then the next player draws. It is a separate step even without
// options, because otherwise the timing would reveal the hands of the others.
func (s *State) Resolve() error {
	if s.Phase != Claim {
		return fmt.Errorf("%w: no tile is claimed", ErrPhase)
	}
	if w := s.Waiting(); len(w) > 0 {
		return fmt.Errorf("%w: seat %d has not answered", ErrPhase, w[0])
	}
	s.resolve()
	return nil
}

func (s *State) resolve() {
	var winners []int
	melder := -1
	s.others(s.Turn, func(o int) {
		switch {
		case s.Options[o] == 0:
		case s.Claims[o] == Win:
			winners = append(winners, o)
		default:
			if s.Options[o]&MayWin != 0 {
				score, _ := s.ClaimScore(o)
				s.Seats[o].Passed = max(s.Seats[o].Passed, score.Fan)
			}
			if s.Claims[o] != Pass {
				melder = o
			}
		}
	})
	for i := range s.Options {
		s.Options[i], s.Has[i] = 0, false
	}
	switch {
	case len(winners) > 0:
		s.winClaimed(winners)
	case s.Robbing:
		s.Phase = Turn
		s.addKong()
	case melder >= 0:
		s.meld(melder, s.Claims[melder])
	default:
		s.Claimed = None
		s.next(s.Turn)
	}
}

// meld gives the claimed discard to a seat as a pong or a kong.
func (s *State) meld(seat int, kind Kind) {
	from, t := s.Turn, s.Claimed
	s.Claimed = None
	s.Untouched = false
	d := &s.Seats[from].Discards
	*d = (*d)[:len(*d)-1]
	p := &s.Seats[seat]
	p.Passed = -1
	s.Turn, s.Draws = seat, nil
	if kind == PongClaim {
		p.Hand[t] -= 2
		p.Melds = append(p.Melds, Meld{Pong, t, from})
		s.Phase, s.Drawn, s.Fresh, s.AfterKong = Turn, None, false, -1
		return
	}
	p.Hand[t] -= 3
	p.Melds = append(p.Melds, Meld{ExposedKong, t, from})
	s.madeKong(ExposedKong, from, 2*s.Config.Base, true)
}
