package main

import (
	"crypto/rand"
	"database/sql"
	"log"
	"slices"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/room"
)

// maxMisses is the number of consecutive missed turns after which the table plays for a
// player.
const maxMisses = 2

// begin starts the next hand.
func (t *Table) begin() {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	t.deal(seed)
}

func (t *Table) deal(seed [32]byte) {
	b := &t.State.Board
	s, err := t.app.deal(b.Config, t.dealer, seed)
	if err != nil {
		t.Close(err.Error()) // OnCreate has checked the settings
		return
	}
	b.Hand, b.Stage, b.Step = b.Hand+1, Playing, 0
	b.clear()
	t.hand = s
	t.record = &Record{Code: b.Code, Number: b.Hand, Started: now(), Config: b.Config, Dealer: t.dealer, Seed: seedText(seed), Players: slices.Clone(t.users)}
	for i := range b.Seats {
		t.record.Names = append(t.record.Names, b.Seats[i].Name)
		t.misses[i] = 0
	}
	t.step()
}

// step shows a new state of the hand and sets its timers.
func (t *Table) step() {
	if t.hand.Phase == rules.Over {
		t.finish()
		return
	}
	t.State.Step++
	t.show()
	t.disarm()
	limit := t.app.times.Turn
	switch t.hand.Phase {
	case rules.Exchange, rules.Missing:
		limit = t.app.times.Exchange
	case rules.Claim:
		limit = t.app.times.Claim
		// A discard that cannot be claimed also stays open, because the timing must not
		// reveal the hands of the others.
		t.paused = true
		t.later(t.app.times.Pause, func() {
			t.paused = false
			t.resolve()
		})
	}
	t.State.Due = time.Now().Add(limit).UnixMilli()
	t.later(limit, t.timeout)
	for _, i := range t.hand.Waiting() {
		t.automate(i)
	}
}

// show copies the state of the hand to the state for clients.
func (t *Table) show() {
	t.State.show(t.hand.View(-1))
	for i := range t.players {
		t.showMine(i)
	}
}

func (t *Table) showMine(i int) {
	if m := t.State.Mine.Get(t.players[i]); m != nil {
		m.show(t.hand.View(i))
	}
}

// automate lets the table play for a seat of a bot, or of a player with auto-play.
func (t *Table) automate(i int) {
	if s := &t.State.Seats[i]; t.State.Stage != Playing || !s.Bot && !s.Auto || !slices.Contains(t.hand.Waiting(), i) {
		return
	}
	if t.hand.Phase == rules.Claim {
		t.playFor(i) // the pause hides the time of the decision
		return
	}
	t.later(t.app.times.Bot, func() { t.playFor(i) })
}

// playFor plays for a seat. The bot sees only the view of that seat.
func (t *Table) playFor(i int) {
	if !slices.Contains(t.hand.Waiting(), i) {
		return
	}
	if err := t.do(t.bots[i].Act(t.hand.View(i))); err != nil {
		log.Printf("mahjong: table %s: the bot at seat %d: %v", t.ID(), i, err)
	}
}

// timeout plays for the players who have not acted in time.
func (t *Table) timeout() {
	for _, i := range t.hand.Waiting() {
		if t.misses[i]++; t.misses[i] >= maxMisses {
			t.State.Seats[i].Auto = true
		}
		t.playFor(i)
	}
}

// do applies an action.
func (t *Table) do(a rules.Action) error {
	before := t.hand.Phase
	if err := t.hand.Apply(a); err != nil {
		return err
	}
	t.record.Actions = append(t.record.Actions, a)
	t.app.actions++
	switch {
	case before == rules.Claim:
		t.showMine(a.Seat) // the others see it at the end of the claim
		t.resolve()
	case before == t.hand.Phase && before < rules.Turn:
		t.show()
	default:
		t.step()
	}
	return nil
}

// resolve ends a claim when all seats have answered and the pause is over.
func (t *Table) resolve() {
	if t.hand.Phase != rules.Claim || t.paused || t.hand.Resolve() != nil {
		return
	}
	t.step()
}

// later schedules f for the time of the step.
func (t *Table) later(d time.Duration, f func()) {
	due := time.Now().Add(d)
	t.stops = append(t.stops, t.After(d, func() {
		if t.app.lag != nil {
			t.app.lag(time.Since(due))
		}
		f()
	}))
}

func (t *Table) disarm() {
	for _, stop := range t.stops {
		stop()
	}
	t.stops = nil
}

// finish stores the hand, and shows its end after that. So a hand that players have seen
// is not lost.
func (t *Table) finish() {
	t.disarm()
	t.State.Due = 0
	r := t.record
	r.Ended, r.Totals = now(), t.hand.Totals()
	t.app.store.Do(func(tx *sql.Tx) error { return save(tx, r) }, func(err error) {
		t.Scheduler().Invoke(func() {
			t.After(0, func() { t.settle(err) })
		})
	})
}

// settle shows the end of the hand.
func (t *Table) settle(err error) {
	if err != nil {
		log.Printf("mahjong: table %s: hand %d was not stored: %v", t.ID(), t.record.Number, err)
	}
	t.show()
	b := &t.State.Board
	b.Step++
	b.Stage, b.Seed = Between, t.record.Seed
	t.dealer = t.hand.NextDealer()
	for i, n := range t.record.Totals {
		s := &b.Seats[i]
		s.Change = n
		s.Score += n
		s.Set = s.Bot || s.Auto
	}
	if b.Hand == b.Config.Hands {
		b.Stage = Finished
		t.later(t.app.times.Next, func() { t.Close("finished") })
		return
	}
	b.Due = time.Now().Add(t.app.times.Next).UnixMilli()
	t.later(t.app.times.Next, t.begin)
	t.nextIfSet()
}

// nextIfSet starts the next hand when all players are ready.
func (t *Table) nextIfSet() {
	if t.State.Stage == Between && t.allSet() {
		t.disarm()
		t.later(t.app.times.Bot, t.begin)
	}
}

// ActRequest is an action of a player. Step is the step of the board that the player saw,
// so that a claim for one tile does not apply to the next one.
type ActRequest struct {
	Step  int           `json:"step"`
	Kind  rules.Kind    `json:"kind"`
	Tile  rules.Tile    `json:"tile"`
	Tiles [3]rules.Tile `json:"tiles"`
	Suit  rules.Suit    `json:"suit"`
}

// Act applies an action of the player.
func (t *Table) Act(p *room.Player, m *ActRequest) error {
	i := t.seat(p)
	switch {
	case i < 0 || t.State.Stage != Playing || t.hand.Phase == rules.Over:
		return nano.Errorf("STAGE", "no hand is in play")
	case m.Step != t.State.Step:
		return nano.Errorf("LATE", "step %d is over", m.Step)
	}
	if err := t.do(rules.Action{Seat: i, Kind: m.Kind, Tile: m.Tile, Tiles: m.Tiles, Suit: m.Suit}); err != nil {
		return nano.Errorf("RULES", "%v", err)
	}
	t.State.Seats[i].Auto, t.misses[i] = false, 0
	return nil
}

// AutoRequest turns auto-play on or off.
type AutoRequest struct {
	On bool `json:"on"`
}

// Auto turns auto-play of the player on or off.
func (t *Table) Auto(p *room.Player, m *AutoRequest) error {
	i := t.seat(p)
	if i < 0 {
		return nano.Errorf("STAGE", "no hand is in play")
	}
	t.State.Seats[i].Auto, t.misses[i] = m.On, 0
	t.automate(i)
	return nil
}
