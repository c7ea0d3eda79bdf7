package room

import (
	"errors"

	"github.com/lonng/nano/internal/message"
)

// Why a player leaves a room: see Player.Why.
var (
	ErrLeft        = errors.New("room: the player left")
	ErrKicked      = errors.New("room: the player was kicked from the room")
	ErrHoldExpired = errors.New("room: the player did not come back in time")
	ErrClosed      = errors.New("room: the room closed")
)

// Errors that joins and messages are refused with. Clients receive their codes.
var (
	ErrFull      = message.Errorf("ROOM-FULL", "the room has no free seat")
	ErrLocked    = message.Errorf("ROOM-LOCKED", "the room takes no new players")
	ErrNotFound  = message.Errorf("ROOM-404", "there is no such room")
	ErrNotJoined = message.Errorf("ROOM-NONE", "join a room first")
	ErrJoined    = message.Errorf("ROOM-JOINED", "leave the room that you are in first")
	ErrSpectator = message.Errorf("ROOM-SPECTATOR", "a spectator can only watch")
	ErrDraining  = message.Errorf("ROOM-DRAINING", "the server takes no new rooms")
	ErrTooMany   = message.Errorf("ROOM-LIMIT", "the server has no room for another room")
	ErrLogic     = errors.New("room: the call waits for the scheduler that makes it: use the room directly")
)
