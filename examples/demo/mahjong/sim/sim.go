package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/examples/demo/mahjong/bot"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

// maxActions is the maximum number of actions of a hand. A hand with more actions is
// stuck.
const maxActions = 2000

// allRows is the number of hands in which every row of the rules must occur. The rarest
// row occurs more often than once in 100,000 hands.
const allRows = 1_000_000

// Report is the result of a simulation.
type Report struct {
	Hands  int
	Won    int            // hands with a winner
	Rows   map[string]int // how often each row of the rules occurred, by name
	Faults []string       // the first errors
	faults int
	plant  func(s *rules.State, a *rules.Action) // changes a state after each step to break a rule, for tests; a is nil after resolved claims
}

// Config returns the settings of hand number i. Over many hands, every setting occurs.
func Config(hand uint64) rules.Config {
	c := rules.Default()
	bit := func(n int) bool { return hand>>n&1 == 1 }
	if hand%5 == 4 {
		c.Players = 3
		if hand%10 == 9 {
			c.Suits = 2
		}
	}
	c.Base = 1 + int(hand%3)
	c.Cap = 3 + int(hand/3%3)
	c.SelfDraw = rules.SelfDrawBonus(hand / 9 % 3)
	c.ExchangeAny = bit(4)
	c.TerminalsTwo = bit(5)
	c.NoConcealed = bit(6)
	c.NoSimples = bit(7)
	c.FlowerByDiscarder = bit(8)
	c.LastFourMustWin = bit(9)
	c.HideConcealedKongs = bit(10)
	c.NoFirstHand = hand%16 == 15
	return c
}

// seedOf returns the seed of a hand.
func seedOf(seed, hand uint64) (b [32]byte) {
	binary.LittleEndian.PutUint64(b[:], seed)
	binary.LittleEndian.PutUint64(b[8:], hand)
	return b
}

// Run plays hands with bots on all processors. The same seed gives the same hands.
func Run(hands int, seed uint64) *Report { return run(hands, seed, nil) }

func run(hands int, seed uint64, plant func(*rules.State, *rules.Action)) *Report {
	total := &Report{Hands: hands, Rows: map[string]int{}}
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			part := &Report{Rows: map[string]int{}, plant: plant}
			for {
				n := next.Add(1) - 1
				if n >= int64(hands) || plant != nil && part.faults > 0 {
					break
				}
				part.play(seed, uint64(n))
			}
			mu.Lock()
			defer mu.Unlock()
			total.merge(part)
		})
	}
	wg.Wait()
	if total.Won*2 < hands {
		total.fault("only %d of %d hands have a winner, want at least half", total.Won, hands)
	}
	if hands >= allRows {
		for _, row := range Rows() {
			if total.Rows[row] == 0 {
				total.fault("the row %q never occurred", row)
			}
		}
	}
	return total
}

func (r *Report) merge(o *Report) {
	r.Won += o.Won
	r.faults += o.faults
	r.Faults = append(r.Faults, o.Faults...)
	for name, n := range o.Rows {
		r.Rows[name] += n
	}
}

func (r *Report) fault(format string, args ...any) {
	r.faults++
	if len(r.Faults) < 10 {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// FaultCount returns the number of faults.
func (r *Report) FaultCount() int { return r.faults }

// Print writes the report. Its last line counts the faults.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%d hands, %d with a winner (%.1f %%)\n", r.Hands, r.Won, 100*float64(r.Won)/float64(max(r.Hands, 1)))
	for _, row := range Rows() {
		fmt.Fprintf(w, "%10d  %s\n", r.Rows[row], row)
	}
	slices.Sort(r.Faults)
	for _, f := range r.Faults {
		fmt.Fprintln(w, "fault:", f)
	}
	fmt.Fprintf(w, "%d faults\n", r.faults)
}

// play plays one hand.
func (r *Report) play(seed, hand uint64) {
	c := Config(hand)
	s, err := rules.New(c, int(hand%uint64(c.Players)), seedOf(seed, hand))
	if err != nil {
		r.fault("hand %d: %v", hand, err)
		return
	}
	bots := make([]*bot.Bot, c.Players)
	for i := range bots {
		bots[i] = bot.New(seed ^ hand<<3 ^ uint64(i))
	}
	before := r.faults
	defer func() {
		if p := recover(); p != nil {
			r.fault("seed %d hand %d: panic: %v", seed, hand, p)
		}
	}()
	h := &watch{r: r, s: s, where: fmt.Sprintf("seed %d hand %d", seed, hand), next: -1}
	h.audit = newAudit(h, c)
	h.check()
	for actions := 0; s.Phase != rules.Over; actions++ {
		waiting := s.Waiting()
		if len(waiting) == 0 && s.Phase == rules.Claim {
			h.audit.resolving(s)
			if err := s.Resolve(); err != nil {
				r.fault("%s: %v", h.where, err)
				return
			}
			h.after(nil)
			continue
		}
		if len(waiting) == 0 || actions == maxActions {
			r.fault("%s: stuck in phase %d", h.where, s.Phase)
			return
		}
		seat := waiting[0]
		a := bots[seat].Act(s.View(seat))
		h.before(a)
		h.winning = a.Kind == rules.Win
		h.audit.acting(s, a)
		if err := s.Apply(a); err != nil {
			r.fault("%s: seat %d: %v", h.where, seat, err)
			return
		}
		h.after(&a)
		if r.faults > before {
			return // states after an error are not checked
		}
	}
	h.end()
}

// watch checks the states of one hand, and records which rows of the rules occur.
type watch struct {
	r     *Report
	s     *rules.State
	where string
	paid  int // recorded payments
	robs  bool

	audit   *audit
	next    int  // the seat that has to draw now, -1 for any
	winning bool // the action is a win
	settled bool
}

// after checks the state after an action. The action is nil for the end of a claim.
func (h *watch) after(a *rules.Action) {
	if h.r.plant != nil {
		h.r.plant(h.s, a)
	}
	h.audit.after(h.s)
	h.check()
}

func (h *watch) note(row string) { h.r.Rows[row]++ }

// before compares both evaluations of all hands that the action may complete.
func (h *watch) before(a rules.Action) {
	s := h.s
	p := &s.Seats[a.Seat]
	switch a.Kind {
	case rules.Discard:
		if s.Phase == rules.Turn && s.Fresh {
			h.compare(p, p.Hand, s.DrawCircumstances())
		}
		for i := range s.Seats {
			if o := &s.Seats[i]; i != a.Seat && !o.Won && a.Tile.Suit() != o.Missing {
				hand := o.Hand
				hand[a.Tile]++
				h.compare(o, hand, rules.Circumstances{KongShot: s.AfterKong >= 0, LastDiscard: len(s.Wall) == 0})
			}
		}
	case rules.Win:
		hand, at := p.Hand, s.DrawCircumstances()
		if s.Phase == rules.Claim {
			hand[s.Claimed]++
			at = s.ClaimCircumstances()
		}
		h.compare(p, hand, at)
	case rules.Pass:
		if s.Options[a.Seat]&rules.MayWin != 0 {
			h.note("passed win")
		}
	case rules.KongSelf:
		if p.Hand[a.Tile] == 1 && s.Drawn != a.Tile {
			h.note("added kong of a tile kept from before")
		}
	}
	if s.Phase == rules.Claim && s.Robbing && !h.robs {
		h.robs = true
		h.note("added kong that could be robbed")
	}
	if s.Phase != rules.Claim {
		h.robs = false
	}
}

func (h *watch) compare(p *rules.Seat, hand rules.Counts, at rules.Circumstances) {
	score, ok := rules.Evaluate(h.s.Config, hand, p.Melds, p.Missing, at)
	fan, brute := Best(h.s.Config, hand, p.Melds, p.Missing, at)
	sum := 0
	for _, i := range score.Items {
		sum += i.Fan
	}
	if ok != brute || ok && (score.Fan != fan || sum != fan) {
		h.r.fault("%s: %v %v: evaluated to %v %d (items %d), and to %v %d", h.where, hand.Tiles(), p.Melds, ok, score.Fan, sum, brute, fan)
	}
}

// check verifies the location of every tile, and that the scores sum to zero.
func (h *watch) check() {
	s := h.s
	var all rules.Counts
	all.Add(s.Wall...)
	for i := range s.Seats {
		p := &s.Seats[i]
		for t, n := range p.Hand {
			all[t] += n
		}
		for _, m := range p.Melds {
			all[m.Tile] += 3
			if m.Kind != rules.Pong {
				all[m.Tile]++
			}
		}
		all.Add(p.Discards...)
		if s.Phase == rules.Exchange && p.HasGiven {
			all.Add(p.Given[:]...)
		}
		tiles := p.Hand.Total() + 3*len(p.Melds)
		if p.HasGiven && s.Phase == rules.Exchange {
			tiles += 3
		}
		if tiles != 13 && tiles != 14 {
			h.r.fault("%s: seat %d has %d tiles, want 13 or 14", h.where, i, tiles)
		}
	}
	for t, n := range all {
		want := uint8(4)
		if t >= 9*s.Config.Suits {
			want = 0
		}
		if n != want {
			h.r.fault("%s: there are %d of %v, want %d", h.where, n, rules.Tile(t), want)
		}
	}
	sum := 0
	for _, n := range s.Totals() {
		sum += n
	}
	if sum != 0 {
		h.r.fault("%s: the scores sum to %d, want 0", h.where, sum)
	}
	for ; h.paid < len(s.Payments); h.paid++ {
		h.note(s.Payments[h.paid].Reason.String())
	}
}

// end records the result of the hand.
func (h *watch) end() {
	s := h.s
	if s.Winners > 0 {
		h.r.Won++
	} else {
		h.note("no winner")
	}
	h.note([]string{"", "exchange with the next", "exchange with the opposite", "exchange with the previous"}[shiftName(s)])
	if s.WallEnded {
		h.note("end of the wall")
	} else {
		h.note("one player left")
	}
	tiles := map[rules.Tile]int{}
	for i := range s.Seats {
		p := &s.Seats[i]
		if p.Pig {
			h.note("pig")
		}
		if !p.Won {
			continue
		}
		if p.SelfWon {
			h.note("self-draw")
		} else {
			h.note("win on a discard")
			tiles[p.WinTile]++
		}
		if len(p.Score.Items) == 0 {
			h.note("plain win")
		}
		if p.Score.Fan > s.Config.Cap {
			h.note("win over the cap")
		}
		kongs := 0
		for _, m := range p.Melds {
			if m.Kind != rules.Pong {
				kongs++
			}
		}
		if kongs == 4 {
			h.note("eighteen arhats")
		}
		for _, i := range p.Score.Items {
			h.note(i.Pattern.String())
		}
	}
	if s.FirstWin >= 0 && !s.Seats[s.FirstWin].Won || s.FirstWin >= 0 && s.Seats[s.FirstWin].Order != 1 {
		h.note("several winners on the first tile")
	}
	shots := map[int]int{}
	for _, p := range s.Payments {
		if p.Reason == rules.ForTransfer {
			shots[p.From]++
		}
	}
	for _, n := range shots {
		if n > 1 {
			h.note("kong money shared by several winners")
		}
	}
}

func shiftName(s *rules.State) int {
	if s.Shift == len(s.Seats)-1 {
		return 3
	}
	return s.Shift
}

// Rows returns all rows of the rules that a simulation counts, in the order of the report.
func Rows() []string {
	names := []string{
		"plain win", "win on a discard", "self-draw", "win over the cap", "several winners on the first tile", "passed win",
		"one player left", "end of the wall", "no winner", "exchange with the next", "exchange with the opposite",
		"exchange with the previous", "added kong that could be robbed", "added kong of a tile kept from before",
		"kong money shared by several winners", "pig", "eighteen arhats", "win withheld after a passed one",
		"win that may not be passed", "robbed by several", "kong flower paid by the discarder",
	}
	for _, p := range rules.AllPatterns() {
		names = append(names, p.String())
	}
	for r := rules.ForWin; ; r++ {
		names = append(names, r.String())
		if r == rules.ForTransfer {
			return names
		}
	}
}
