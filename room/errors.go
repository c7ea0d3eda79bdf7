package room

import (
	"errors"

	"github.com/lonng/nano/internal/message"
)

// These errors say why a player left a room: see [Player.Why].
var (
	ErrLeft        = errors.New("room: the player left")
	ErrKicked      = errors.New("room: the player was kicked from the room")
	ErrHoldExpired = errors.New("room: the player did not come back in time")
	ErrClosed      = errors.New("room: the room closed")
)

// Joins and messages are refused with these errors. Clients receive their codes.
var (
	ErrFull      = message.Errorf("ROOM-FULL", "the room has no free seat")
	ErrLocked    = message.Errorf("ROOM-LOCKED", "the room takes no new players")
	ErrNotFound  = message.Errorf("ROOM-404", "there is no such room")
	ErrNotJoined = message.Errorf("ROOM-NONE", "join a room of this kind first")
	ErrJoined    = message.Errorf("ROOM-JOINED", "leave the room that you are in first")
	ErrSpectator = message.Errorf("ROOM-SPECTATOR", "a spectator can only watch")
	ErrDraining  = message.Errorf("ROOM-DRAINING", "the server takes no new rooms")
	ErrTooMany   = message.Errorf("ROOM-LIMIT", "the server has reached its limit of rooms")
	ErrRate      = message.Errorf("ROOM-RATE", "too many attempts: try again later")
	ErrBusy      = message.Errorf("ROOM-BUSY", "too many messages wait for the room")
)

// These errors are returned by the methods of a [Kind].
var (
	// ErrLogic is returned if the call would block a scheduler that rooms or handlers run
	// on. Call the method on another goroutine.
	ErrLogic = errors.New("room: the call would block the scheduler that it is made on")
	// ErrNoServer is returned if no running server was given the kind's Option.
	ErrNoServer = errors.New("room: no running server has this kind: give it the kind's Option")
	// ErrServers is returned if several running servers of the process were given the kind.
	ErrServers = errors.New("room: several servers have this kind: select one with On")
)

// Only clients receive these errors.
var (
	errPanic   = message.Errorf(message.CodeInternal, "internal error")
	errRefused = message.Errorf("ROOM-REFUSED", "the room took the seat away at once")
)
