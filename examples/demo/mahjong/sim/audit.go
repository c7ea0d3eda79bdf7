package sim

import (
	"slices"

	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

// audit checks a hand by the definitions of the README and shares no code with the rules.
// It records passed wins, kongs and first turns itself, and computes every option and
// every payment.
type audit struct {
	h       *watch
	c       rules.Config // the settings of the table, independent of the state
	missing []rules.Suit // the chosen missing suits
	acted   []bool       // has discarded
	passed  []int        // the largest fan of a passed win, -1 for none
	claimed bool         // a tile was claimed
	drawn   []rules.Tile // by the player whose turn it is, in this turn
	kong    *made        // the kong that the last draw replaced
	shot    *made        // the same for the discard of the tile that can be claimed
	kongs   []*made
	money   []int // the balance of each seat
	dealer  int   // the next dealer
	won     int
}

// made is a kong and the payment of each seat for it.
type made struct {
	seat, from int
	kind       rules.MeldKind
	paid       []int
	moved      bool // its money went to a winner
}

func newAudit(h *watch, c rules.Config) *audit {
	n := c.Players
	return &audit{h: h, c: c, missing: slices.Repeat([]rules.Suit{rules.NoSuit}, n), acted: make([]bool, n), passed: slices.Repeat([]int{-1}, n), money: make([]int, n), dealer: h.s.Dealer}
}

func (a *audit) pay(from, to, amount int) {
	a.money[from] -= amount
	a.money[to] += amount
}

func (a *audit) worth(fan int) int {
	amount := a.c.Base
	for range min(fan, a.c.Cap) {
		amount *= 2
	}
	return amount
}

// still returns the other seats that still play, in turn order.
func still(s *rules.State, seat int) (seats []int) {
	for i := 1; i < len(s.Seats); i++ {
		if o := (seat + i) % len(s.Seats); !s.Seats[o].Won {
			seats = append(seats, o)
		}
	}
	return seats
}

// fan returns the fan of a seat's hand with a tile added, None for none.
func (a *audit) fan(s *rules.State, seat int, t rules.Tile, at rules.Circumstances) (int, bool) {
	p := &s.Seats[seat]
	hand := p.Hand
	if t != rules.None {
		hand[t]++
	}
	return Best(a.c, hand, p.Melds, a.missing[seat], at)
}

// drawAt returns the circumstances of a win by the draw of the player whose turn it is.
func (a *audit) drawAt(s *rules.State) rules.Circumstances {
	at := rules.Circumstances{SelfDraw: !a.paidAlone(), KongFlower: a.kong != nil}
	at.LastDraw = len(s.Wall) == 0 && len(a.drawn) > 0
	if first := !a.claimed && !a.acted[s.Turn] && a.kong == nil; first {
		at.Heavenly, at.Earthly = s.Turn == s.Dealer, s.Turn != s.Dealer
	}
	return at
}

func (a *audit) paidAlone() bool {
	return a.c.FlowerByDiscarder && a.kong != nil && a.kong.kind == rules.ExposedKong
}

func (a *audit) claimAt(s *rules.State) rules.Circumstances {
	return rules.Circumstances{KongShot: a.shot != nil, RobbedKong: s.Robbing, LastDiscard: len(s.Wall) == 0}
}

// options compares the claims that the state offers with those of the definitions.
func (a *audit) options(s *rules.State) {
	for i := range s.Seats {
		var want rules.Options
		p := &s.Seats[i]
		if i != s.Turn && !p.Won && s.Claimed.Suit() != a.missing[i] {
			fan, wins := a.fan(s, i, s.Claimed, a.claimAt(s))
			switch {
			case wins && fan > a.passed[i]:
				want |= rules.MayWin
			case wins:
				a.h.note("win withheld after a passed one")
			}
			if want != 0 && a.c.LastFourMustWin && len(s.Wall) < 4 {
				want |= rules.MustWin
				a.h.note("win that may not be passed")
			} else if !s.Robbing {
				if p.Hand[s.Claimed] >= 2 {
					want |= rules.MayPong
				}
				if p.Hand[s.Claimed] == 3 && len(s.Wall) > 0 {
					want |= rules.MayKong
				}
			}
		}
		if s.Options[i] != want {
			a.h.r.fault("%s: seat %d has options %04b on %v, want %04b", a.h.where, i, s.Options[i], s.Claimed, want)
		}
	}
}

// acting processes an action, given the state before it.
func (a *audit) acting(s *rules.State, act rules.Action) {
	switch act.Kind {
	case rules.Choose:
		a.missing[act.Seat] = act.Suit
	case rules.Discard:
		a.acted[act.Seat], a.shot, a.kong = true, a.kong, nil
	case rules.KongSelf:
		a.passed[act.Seat] = -1
		if s.Seats[act.Seat].Hand[act.Tile] == 4 {
			a.make(s, rules.ConcealedKong, act.Seat, act.Seat, 2, still(s, act.Seat))
		} else {
			a.shot = nil
		}
	case rules.Win:
		if s.Phase == rules.Turn {
			a.winSelf(s)
		}
	}
}

// make records a kong, its money and the draw of the replacement tile.
func (a *audit) make(s *rules.State, kind rules.MeldKind, seat, from, bases int, payers []int) {
	k := &made{seat: seat, from: from, kind: kind, paid: make([]int, len(s.Seats))}
	for _, o := range payers {
		k.paid[o] = bases * a.c.Base
		a.pay(o, seat, k.paid[o])
	}
	a.kongs = append(a.kongs, k)
	a.kong = k
	a.drawn = append(a.drawn, s.Wall[len(s.Wall)-1])
	a.passed[seat] = -1
}

func (a *audit) winSelf(s *rules.State) {
	fan, ok := a.fan(s, s.Turn, rules.None, a.drawAt(s))
	if !ok {
		a.h.r.fault("%s: seat %d wins without a winning hand", a.h.where, s.Turn)
	}
	amount := a.worth(fan)
	if a.paidAlone() {
		a.pay(a.kong.from, s.Turn, amount)
		a.h.note("kong flower paid by the discarder")
	} else {
		if a.c.SelfDraw == rules.SelfDrawBase {
			amount += a.c.Base
		}
		for _, o := range still(s, s.Turn) {
			a.pay(o, s.Turn, amount)
		}
	}
	if a.won == 0 {
		a.dealer = s.Turn
	}
	a.won++
	a.draws(s, s.Turn)
}

// resolving processes the end of a claim, given the state before it.
func (a *audit) resolving(s *rules.State) {
	var winners []int
	melder := -1
	for _, o := range still(s, s.Turn) {
		switch {
		case s.Options[o] == 0:
			continue
		case s.Claims[o] == rules.Win:
			winners = append(winners, o)
			continue
		case s.Claims[o] != rules.Pass:
			melder = o
		}
		if s.Options[o]&rules.MayWin != 0 {
			fan, _ := a.fan(s, o, s.Claimed, a.claimAt(s))
			a.passed[o] = max(a.passed[o], fan)
		}
	}
	switch {
	case len(winners) > 0:
		a.winClaimed(s, winners)
	case s.Robbing:
		payers := still(s, s.Turn)
		if !slices.Contains(a.drawn, s.Claimed) {
			payers = nil
		}
		a.make(s, rules.AddedKong, s.Turn, s.Turn, 1, payers)
	case melder >= 0:
		a.claimed = true
		a.drawn, a.kong, a.passed[melder] = nil, nil, -1
		if s.Claims[melder] == rules.KongClaim {
			a.make(s, rules.ExposedKong, melder, s.Turn, 2, []int{s.Turn})
		}
	default:
		a.draws(s, s.Turn)
	}
}

func (a *audit) winClaimed(s *rules.State, winners []int) {
	a.claimed = true
	for _, w := range winners {
		fan, ok := a.fan(s, w, s.Claimed, a.claimAt(s))
		if !ok {
			a.h.r.fault("%s: seat %d wins without a winning hand", a.h.where, w)
		}
		a.pay(s.Turn, w, a.worth(fan))
	}
	if s.Robbing && len(winners) > 1 {
		a.h.note("robbed by several")
	}
	if a.shot != nil {
		total := 0
		for _, n := range a.shot.paid {
			total += n
		}
		for i, w := range winners {
			share := total / len(winners)
			if i < total%len(winners) {
				share++
			}
			a.pay(s.Turn, w, share)
		}
		a.shot.moved = true
	}
	if a.won == 0 {
		a.dealer = winners[0]
		if len(winners) > 1 {
			a.dealer = s.Turn
		}
	}
	a.won += len(winners)
	a.draws(s, winners[len(winners)-1])
}

// draws processes the draw of the next player after a seat.
func (a *audit) draws(s *rules.State, behind int) {
	a.kong, a.drawn = nil, nil
	if a.won == len(s.Seats)-1 || len(s.Wall) == 0 {
		return
	}
	a.drawn = []rules.Tile{s.Wall[0]}
	won := func(o int) bool {
		p := &s.Seats[o]
		return p.Won || s.Phase == rules.Turn && o == s.Turn && o == behind && a.h.winning || s.Phase == rules.Claim && s.Options[o] != 0 && s.Claims[o] == rules.Win
	}
	next := (behind + 1) % len(s.Seats)
	for won(next) {
		next = (next + 1) % len(s.Seats)
	}
	a.passed[next] = -1
	a.h.next = next
}

// after compares the state with the audit's records.
func (a *audit) after(s *rules.State) {
	if s.Phase == rules.Claim && len(s.Claims) > 0 && !slices.Contains(s.Has, true) {
		a.options(s)
	}
	if s.Phase == rules.Over && !a.h.settled {
		a.h.settled = true
		if a.won < len(s.Seats)-1 {
			a.settle(s)
		}
		if d := s.NextDealer(); d != a.dealer {
			a.h.r.fault("%s: seat %d deals next, want %d", a.h.where, d, a.dealer)
		}
	}
	if s.Phase == rules.Turn && a.h.next >= 0 && s.Turn != a.h.next {
		a.h.r.fault("%s: it is the turn of seat %d, want %d", a.h.where, s.Turn, a.h.next)
	}
	a.h.next = -1
	if got := s.Totals(); !slices.Equal(got, a.money) {
		a.h.r.fault("%s: the totals are %v, want %v", a.h.where, got, a.money)
		copy(a.money, got)
	}
	for i := range s.Seats {
		if p := &s.Seats[i]; p.Won && p.Order > a.won {
			a.h.r.fault("%s: seat %d is winner %d of %d", a.h.where, i, p.Order, a.won)
		}
	}
}

// settle computes the payments at the end of the wall.
func (a *audit) settle(s *rules.State) {
	best := make([]int, len(s.Seats)) // -2 for a pig, -1 for not ready
	for i := range s.Seats {
		p := &s.Seats[i]
		best[i] = -1
		owned := p.Hand
		for _, m := range p.Melds {
			owned[m.Tile] += 3
			if m.Kind != rules.Pong {
				owned[m.Tile]++
			}
		}
		for t := range rules.Tile(27) {
			if p.Hand[t] > 0 && t.Suit() == a.missing[i] {
				best[i] = -2
				break
			}
			if owned[t] < 4 {
				if fan, ok := a.fan(s, i, t, rules.Circumstances{}); ok {
					best[i] = max(best[i], fan)
				}
			}
		}
	}
	for i := range s.Seats {
		if s.Seats[i].Won || best[i] >= 0 {
			continue
		}
		for _, o := range still(s, i) {
			switch {
			case best[i] == -2 && best[o] != -2:
				a.pay(i, o, a.worth(a.c.Cap))
			case best[i] == -1 && best[o] >= 0:
				a.pay(i, o, a.worth(best[o]))
			}
		}
		for _, k := range a.kongs {
			if k.seat != i || k.moved {
				continue
			}
			for o, n := range k.paid {
				a.pay(i, o, n)
			}
		}
	}
}
