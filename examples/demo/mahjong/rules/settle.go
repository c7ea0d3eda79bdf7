package rules

// winSelf is a win by self-draw of the player at Turn.
func (s *State) winSelf(score Score) {
	seat := s.Turn
	amount := s.Config.pay(score.Fan)
	if s.paidByDiscarder() {
		s.pay(s.Kongs[s.AfterKong].From, seat, amount, ForWin, -1)
	} else {
		if s.Config.SelfDraw == SelfDrawBase {
			amount += s.Config.Base
		}
		s.others(seat, func(o int) { s.pay(o, seat, amount, ForWin, -1) })
	}
	p := &s.Seats[seat]
	p.SelfWon = true
	s.won(seat, s.Drawn, score)
	if s.FirstWin < 0 {
		s.FirstWin = seat
	}
	s.next(seat)
}

// winClaimed is a win of one or several players on the claimed tile.
func (s *State) winClaimed(winners []int) {
	payer, t := s.Turn, s.Claimed
	s.Untouched = false
	for _, w := range winners {
		score, _ := s.ClaimScore(w)
		s.pay(payer, w, s.Config.pay(score.Fan), ForWin, -1)
		s.won(w, t, score)
	}
	if s.Robbing {
		p := &s.Seats[payer]
		p.Hand[t]--
		p.Discards = append(p.Discards, t) // all winners share the tile there
	}
	if s.ShotKong >= 0 {
		s.transfer(s.ShotKong, winners)
	}
	if s.FirstWin < 0 {
		s.FirstWin = winners[0]
		if len(winners) > 1 {
			s.FirstWin = payer
		}
	}
	s.Claimed, s.Robbing = None, false
	s.next(winners[len(winners)-1])
}

func (s *State) won(seat int, t Tile, score Score) {
	s.Winners++
	p := &s.Seats[seat]
	p.Won, p.Order, p.WinTile, p.Score = true, s.Winners, t, score
}

// transfer passes the money of a kong to the winners on the next discard. They share it,
// and the first winner in turn order gets the remainder.
func (s *State) transfer(kong int, winners []int) {
	total := 0
	for _, p := range s.Payments {
		if p.Kong == kong {
			total += p.Amount
		}
	}
	k := &s.Kongs[kong]
	k.Transferred = true
	each, rest := total/len(winners), total%len(winners)
	for i, w := range winners {
		amount := each
		if i < rest {
			amount++
		}
		s.pay(k.Seat, w, amount, ForTransfer, -1)
	}
}

// endOfWall settles a hand whose wall has ended while several players are still in.
func (s *State) endOfWall() {
	s.Phase, s.WallEnded = Over, true
	best := make([]int, len(s.Seats))
	for i := range s.Seats {
		p := &s.Seats[i]
		if p.Won {
			continue
		}
		p.Pig = p.Hand.suit(p.Missing) > 0
		if !p.Pig {
			var waits []Tile
			waits, best[i] = Waits(s.Config, p.Hand, p.Melds, p.Missing)
			p.Ready = len(waits) > 0
		}
	}
	paid := len(s.Payments)
	for i := range s.Seats {
		p := &s.Seats[i]
		if p.Won || p.Ready {
			continue
		}
		s.others(i, func(o int) {
			other := &s.Seats[o]
			switch {
			case p.Pig && !other.Pig:
				s.pay(i, o, s.Config.pay(s.Config.Cap), ForPig, -1)
			case !p.Pig && other.Ready:
				s.pay(i, o, s.Config.pay(best[o]), ForNotReady, -1)
			}
		})
		for _, m := range s.Payments[:paid] {
			if m.Kong >= 0 && m.To == i && !s.Kongs[m.Kong].Transferred {
				s.pay(i, m.From, m.Amount, ForReturn, -1)
			}
		}
	}
}
