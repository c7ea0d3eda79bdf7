package room

import (
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/session"
	"github.com/lonng/nano/state"
)

// PlayerID identifies a player in one room. Ids begin with 1 and are never used again in the room. Maps of the state that
// are keyed by PlayerID have owners: see the tag owner of package state.
type PlayerID uint32

// Input makes a message an input. The message waits for the next tick, and the state
// acknowledges its number, so that a client can predict. Embed it in the type of the
// message. A client numbers its inputs from 1. A new client of a player that was in the
// room before continues after the number that the state acknowledges.
type Input struct {
	Seq  uint32 `json:"seq"`  // number of the input, from 1
	Tick uint32 `json:"tick"` // tick of the state that the client had, or 0 if unknown
}

func (i *Input) input() *Input { return i }

type numbered interface{ input() *Input }

// Player is a seat in a room, or a spectator. Its methods are for the room's scheduler.
type Player struct {
	ID   PlayerID // id of the player in the room
	UID  int64    // uid of the session that took the seat, 0 if it had none
	Team int      // for the room to use; for a player from a Queue, the team of the match, from 1
	Data any      // for the room to use

	core      *core
	session   *session.Session // nil while the seat is held
	view      *state.View
	spectator bool
	dropped   bool
	why       error
	inputs    []input
	acked     uint32            // number of the latest input that ran
	hold      *timer            // frees the seat of a dropped player
	sent      int64             // bytes of state
	counted   time.Duration     // until when the player's presence is counted in Stats, on the room's clock
	trips     [16]time.Duration // the latest round trips
	tripCount int
	echoed    uint32       // tick of the latest input
	hops      atomic.Int32 // messages that are queued for the room's scheduler
}

// input is a queued input for the next tick.
type input struct {
	seq    uint32
	method *method
	msg    reflect.Value
}

// Session returns the session of the player. It is nil while the player is not connected.
func (p *Player) Session() *session.Session { return p.session }

// Dropped reports whether the player has lost the connection and the seat is held.
func (p *Player) Dropped() bool { return p.dropped }

// Spectator reports whether the player only watches. A spectator takes no seat and can send no messages.
func (p *Player) Spectator() bool { return p.spectator }

// Why returns the reason why the player left, in OnLeave: [ErrLeft], [ErrKicked],
// [ErrHoldExpired] or [ErrClosed]. Before, it is nil.
func (p *Player) Why() error { return p.why }

// Send sends a message to the player. It is written together with the next flush of the state, before it. The errors are
// those of [session.Session.Push]; a player without a session is [session.ErrBrokenPipe], and the message is lost.
func (p *Player) Send(route string, v any) error {
	if p.session == nil {
		return session.ErrBrokenPipe
	}
	return p.session.Push(route, v)
}

// Kick removes the player from the room. The client receives the push room.left with the
// reason. Its session stays open.
func (p *Player) Kick(reason string) {
	p.core.remove(p, ErrKicked, reason)
}

// RTT returns the shortest of the last 16 times between a state and the player's first
// input after it. It is 0 if there was none since the player joined or returned. The
// client reports the tick of its state in [Input.Tick], as room.js does. The time
// includes the client's wait before it sends. With inputs at a fixed rate, that is a part
// of their interval.
func (p *Player) RTT() time.Duration {
	if p.tripCount == 0 {
		return 0
	}
	return slices.Min(p.trips[:min(p.tripCount, len(p.trips))])
}

// follows records the first input after the state of a tick. Further inputs after the
// same state have no effect.
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

// Bytes returns the number of bytes of state that were sent to the player.
func (p *Player) Bytes() int64 { return p.sent }
