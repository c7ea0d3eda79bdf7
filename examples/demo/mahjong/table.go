package main

import (
	"errors"
	"slices"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/demo/mahjong/bot"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/room"
)

// Times holds the time limits of a table.
type Times struct {
	Exchange time.Duration // for the exchange, and for the choice of the missing suit
	Turn     time.Duration // for a discard
	Claim    time.Duration // for a claim
	Pause    time.Duration // how long every discard stays open, even if no player can claim it
	Bot      time.Duration // how long a bot thinks
	Fill     time.Duration // until bots take the free seats of a public table
	Friends  time.Duration // the same for a private table
	Ready    time.Duration // for the ready check
	Next     time.Duration // until the next hand starts
	Vote     time.Duration // until a silent player agrees to dissolve the room
}

// usual holds the time limits of the game.
func usual() Times {
	return Times{
		Exchange: 25 * time.Second, Turn: 20 * time.Second, Claim: 10 * time.Second, Pause: 700 * time.Millisecond,
		Bot: 800 * time.Millisecond, Fill: 8 * time.Second, Friends: 2 * time.Minute, Ready: 30 * time.Second,
		Next: 30 * time.Second, Vote: 30 * time.Second,
	}
}

// holdTime is how long the seat of a disconnected player is held. The hand continues
// meanwhile.
const holdTime = 10 * time.Minute

// botNames are the names of bots, by seat.
var botNames = [...]string{"Ming", "Lan", "Tao", "Yun"}

// Opening holds the options of a new table. Only the lobby can create tables, because
// clients cannot set app.
type Opening struct {
	rules.Config

	app   *App
	quick bool // public, without a code
	bots  bool // only bots play
}

// brain decides for a seat. It sees only the seat's view.
type brain interface {
	Act(*rules.View) rules.Action
}

// Table is a room in which hands are played. The hand itself is in play.go.
type Table struct {
	room.Base[TableState]

	app     *App
	quick   bool
	players []room.PlayerID // by seat; 0 for a bot and for a free seat
	users   []int64         // user ids by seat
	bots    []brain         // by seat: plays for a bot, or for an absent player
	misses  []int           // consecutive turns that timed out, by seat

	hand   *rules.State
	record *Record
	dealer int
	paused bool     // the claimed tile stays open
	stops  []func() // stop the timers of the step

	stopWait func() // stops the timer before the first hand
	checks   bool   // that timer is the ready check
	stopVote func()
}

// OnCreate initializes an empty table.
func (t *Table) OnCreate(o *Opening) error {
	if o.app == nil {
		return nano.Errorf("LOBBY", "make a table with lobby.create or lobby.quick")
	}
	if err := o.Check(); err != nil {
		return nano.Errorf("SETTINGS", "%v", err)
	}
	n := o.Players
	t.app, t.quick = o.app, o.quick
	t.players, t.users, t.misses = make([]room.PlayerID, n), make([]int64, n), make([]int, n)
	for range n {
		t.bots = append(t.bots, bot.New(t.Rand().Uint64()))
	}
	t.State.Config, t.State.VoteBy, t.State.Seats = o.Config, none, make([]Seat, n)
	t.State.clear()
	t.dealer = t.Rand().IntN(n)
	t.State.Code = t.app.opened(t)
	if o.bots {
		t.fill()
	}
	return nil
}

// OnClose removes the table from the lists.
func (t *Table) OnClose() { t.app.closed(t) }

// OnJoin gives a player a free seat, or the seat of a bot before the first hand.
func (t *Table) OnJoin(p *room.Player) error {
	switch at := t.app.at[p.UID]; {
	case p.UID == 0:
		return nano.Errorf("LOGIN", "log in first")
	case at != "" && at != t.ID():
		return room.ErrJoined
	}
	i := slices.IndexFunc(t.State.Seats, func(s Seat) bool { return s.Name == "" })
	if i < 0 {
		i = slices.IndexFunc(t.State.Seats, func(s Seat) bool { return s.Bot })
	}
	if i < 0 || t.State.Stage != Gathering {
		return room.ErrFull
	}
	name, _ := p.Session().Value("name").(string)
	t.players[i], t.users[i] = p.ID, p.UID
	t.State.Seats[i] = Seat{Name: name, Missing: none, WinTile: none}
	t.State.Mine.Put(p.ID, &Mine{Seat: uint8(i), Drawn: none, Missing: none})
	t.app.at[p.UID] = t.ID()
	t.gather()
	return nil
}

// OnDrop marks a player who has lost the connection. The turns of the player time out.
func (t *Table) OnDrop(p *room.Player) {
	if i := t.seat(p); i >= 0 {
		t.State.Seats[i].Away = true
	}
	t.countVotes()
}

// OnReturn gives the seat back to its player.
func (t *Table) OnReturn(p *room.Player) {
	if i := t.seat(p); i >= 0 {
		t.State.Seats[i].Away, t.State.Seats[i].Auto, t.misses[i] = false, false, 0
	}
}

// OnLeave frees the seat before the first hand. Later a bot takes the seat, and the
// current hand still counts for the player.
func (t *Table) OnLeave(p *room.Player) {
	delete(t.app.at, p.UID)
	i := t.seat(p)
	if i < 0 || errors.Is(p.Why(), room.ErrClosed) {
		return
	}
	t.State.Mine.Delete(p.ID)
	t.players[i], t.users[i] = 0, 0
	s := &t.State.Seats[i]
	if t.State.Stage == Gathering {
		*s = Seat{Missing: none, WinTile: none}
		t.gather()
	} else {
		s.Bot, s.Away, s.Auto, s.Set = true, false, false, true
		t.automate(i)
		t.nextIfSet()
	}
	t.countVotes()
}

func (t *Table) seat(p *room.Player) int { return slices.Index(t.players, p.ID) }

// gather continues after a seat was taken or freed or a player became ready. It starts
// the first hand, starts the ready check, or waits until bots take the free seats.
func (t *Table) gather() {
	full := !slices.ContainsFunc(t.State.Seats, func(s Seat) bool { return s.Name == "" })
	if full && t.allSet() {
		t.stopWaiting()
		t.Lock(true)
		t.app.leaveLists(t)
		t.begin()
		return
	}
	if t.stopWait != nil && t.checks == full {
		return
	}
	t.stopWaiting()
	t.checks = full
	if full {
		t.wait(t.app.times.Ready, t.kickUnready)
		return
	}
	d := t.app.times.Friends
	if t.quick {
		d = t.app.times.Fill
	}
	t.wait(d, t.fill)
}

func (t *Table) wait(d time.Duration, f func()) {
	t.State.Due = time.Now().Add(d).UnixMilli()
	t.stopWait = t.After(d, func() {
		t.stopWait = nil
		f()
	})
}

func (t *Table) stopWaiting() {
	if t.stopWait != nil {
		t.stopWait()
		t.stopWait = nil
	}
}

// fill gives the free seats to bots.
func (t *Table) fill() {
	for i := range t.State.Seats {
		if s := &t.State.Seats[i]; s.Name == "" {
			s.Name, s.Bot, s.Set = botNames[i], true, true
		}
	}
	t.gather()
}

func (t *Table) kickUnready() {
	for i, id := range t.players {
		if p := t.Player(id); p != nil && !t.State.Seats[i].Set {
			p.Kick("not ready")
		}
	}
}

func (t *Table) allSet() bool {
	return !slices.ContainsFunc(t.State.Seats, func(s Seat) bool { return !s.Set })
}

// Ready reports that the player is ready for the next hand.
func (t *Table) Ready(p *room.Player, _ *struct{}) error {
	i := t.seat(p)
	if i < 0 || t.State.Stage == Playing || t.State.Stage == Finished {
		return nano.Errorf("STAGE", "no hand is to begin")
	}
	t.State.Seats[i].Set = true
	if t.State.Stage == Gathering {
		t.gather()
	}
	t.nextIfSet()
	return nil
}

// Fill gives the free seats to bots at once.
func (t *Table) Fill(*room.Player, *struct{}) error {
	if t.State.Stage != Gathering {
		return nano.Errorf("STAGE", "all seats are taken")
	}
	t.fill()
	return nil
}

// VoteRequest is a vote on dissolving the room. The first vote is the proposal.
type VoteRequest struct {
	Yes bool `json:"yes"`
}

// Vote proposes to dissolve the room, or answers a proposal. One no ends the vote. A
// player who does not answer agrees.
func (t *Table) Vote(p *room.Player, m *VoteRequest) error {
	i := t.seat(p)
	switch {
	case i < 0 || t.State.Stage == Gathering:
		return nano.Errorf("STAGE", "leave the table instead")
	case !m.Yes:
		t.endVote()
		return nil
	case t.State.VoteBy == none:
		t.State.VoteBy = uint8(i)
		t.stopVote = t.After(t.app.times.Vote, func() { t.Close("dissolved") })
	}
	t.State.Seats[i].Vote = true
	t.countVotes()
	return nil
}

// countVotes dissolves the room when every connected player agrees.
func (t *Table) countVotes() {
	if t.State.VoteBy == none {
		return
	}
	yes := 0
	for i := range t.State.Seats {
		s := &t.State.Seats[i]
		if t.players[i] != 0 && !s.Away && !s.Vote {
			return
		}
		if s.Vote {
			yes++
		}
	}
	if yes > 0 {
		t.Close("dissolved")
	}
}

func (t *Table) endVote() {
	if t.stopVote != nil {
		t.stopVote()
	}
	t.State.VoteBy = none
	for i := range t.State.Seats {
		t.State.Seats[i].Vote = false
	}
}
