package room

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/session"
	"github.com/lonng/nano/state"
)

// PlayerID identifies a player in one room. Ids begin with 1 and are never used again in the room. Maps of the state that
// are keyed by PlayerID have owners: see the tag owner of package state.
type PlayerID uint32

// Input makes a message an input: the message waits for the next tick, and the state acknowledges its number, so that a
// client can predict. Embed it in the type of the message. A client numbers its inputs from 1; a new client of a player who
// was in the room before goes on from the number that the state acknowledges.
type Input struct {
	Seq  uint32 `json:"seq"`
	Tick uint32 `json:"tick"` // of the state that the client had, 0 if it does not say
}

func (i *Input) input() *Input { return i }

type numbered interface{ input() *Input }

// Player is a seat in a room, or a spectator. Its methods are for the room's scheduler.
type Player struct {
	ID   PlayerID
	UID  int64 // of the session that took the seat, 0 if it had none
	Team int   // for the room; of a player from a Queue, the team of the match, from 1
	Data any   // for the room

	core      *core
	session   *session.Session // nil while the seat is held
	view      *state.View
	spectator bool
	dropped   bool
	why       error
	inputs    []input
	hold      *timer            // ends the seat of a player who has dropped
	sent      int64             // bytes of state
	counted   time.Duration     // until when on the room's clock Stats knows the player's presence
	trips     [16]time.Duration // the last round trips
	tripCount int
	echoed    uint32       // the tick of the last input
	hops      atomic.Int32 // messages on their way to the room's scheduler
}

// input is an input that waits for the next tick.
type input struct {
	seq uint32
	run func()
}

// Session returns the session of the player. It is nil while the player is not connected.
func (p *Player) Session() *session.Session { return p.session }

// Dropped reports whether the player has lost the connection and the seat is held.
func (p *Player) Dropped() bool { return p.dropped }

// Spectator reports whether the player only watches. A spectator takes no seat and can send no messages.
func (p *Player) Spectator() bool { return p.spectator }

// Why returns why the player left, in OnLeave: [ErrLeft], [ErrKicked], [ErrHoldExpired] or [ErrClosed]. Before, it is nil.
func (p *Player) Why() error { return p.why }

// Send sends a message to the player. It is written together with the next flush of the state, before it. The errors are
// those of [session.Session.Push]; a player without a session is [session.ErrBrokenPipe], and the message is lost.
func (p *Player) Send(route string, v any) error {
	if p.session == nil {
		return session.ErrBrokenPipe
	}
	return p.session.Push(route, v)
}

// Kick takes the seat away. The client receives the push room.left with the reason; its session stays open.
func (p *Player) Kick(reason string) {
	p.core.remove(p, ErrKicked, reason)
}

// RTT returns the shortest of the last 16 times between a state and the first input of the player after it; 0 if there was
// none since the player came or came back. The client says in [Input.Tick] which state it had, as room.js does. The time
// includes how long the client waits until it sends: with inputs at a fixed rate, a part of their interval.
func (p *Player) RTT() time.Duration {
	if p.tripCount == 0 {
		return 0
	}
	return slices.Min(p.trips[:min(p.tripCount, len(p.trips))])
}

// follows notes that an input has come that follows the state of a tick. Further inputs after the same state say nothing.
func (p *Player) follows(tick uint32) {
	if tick == p.echoed {
		return
	}
	p.echoed = tick
	if at, ok := p.core.flushedAt(uint64(tick)); ok {
		p.trips[p.tripCount%len(p.trips)] = time.Since(p.core.base) - at
		p.tripCount++
	}
}

// Bytes returns how many bytes of state the player was sent.
func (p *Player) Bytes() int64 { return p.sent }
