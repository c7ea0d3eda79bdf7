package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ErrNoRoom is returned for the id of a room that the server does not have.
var ErrNoRoom = errors.New("the server has no room with this id")

// RoomsHolder is implemented by the component of package room that has the rooms of its
// server.
type RoomsHolder interface {
	InspectRooms() Rooms
}

// Rooms are the rooms of one server. Its methods may be called concurrently.
type Rooms interface {
	// Kinds returns the kinds of the server, sorted by name.
	Kinds() []RoomKind
	// List returns the rooms of a kind, "" for all kinds, in no order.
	List(kind string) []Room
	// Room returns one room with its members and its state. It waits for the scheduler of
	// the room until ctx ends. The error is ErrNoRoom or that of ctx.
	Room(ctx context.Context, id string) (*RoomDetail, error)
	// Close ends a room, in the same way.
	Close(ctx context.Context, id, reason string) error
}

// RoomKind is a kind of rooms.
type RoomKind struct {
	Name       string
	Type       string  // the Go type of the rooms
	TickRate   float64 // ticks per second, 0 for none
	Seats      int     // seats of one room
	Spectators int     // largest number of spectators in one room
	MaxRooms   int     // of the kind on this server
	Schedulers int     // of the kind; with 0, its rooms run on the logic goroutine
	Private    bool    // rooms are joined by a code
}

// Room has the figures of one room. Times and counters are since its start.
type Room struct {
	ID, Kind, Code string
	Labels         map[string]any
	Age            time.Duration
	Taken, Seats   int // Taken includes held and reserved seats
	Spectators     int
	Locked         bool
	Ticks, Skipped int64
	LagP50, LagP99 time.Duration // delay of ticks, within a factor of two
	Busy           time.Duration // time used on the scheduler
	Load           float64       // Busy divided by Age
	Panics         int64
	SlowClients    int64 // patches not sent because the client did not read
	Bytes          int64 // bytes of state sent to all players
	BytesPerPlayer float64
}

// RoomDetail is a room at one moment.
type RoomDetail struct {
	Room
	Members []RoomMember
	State   json.RawMessage // the exported fields of the state
	Cut     bool            // the state has more values than State
}

// RoomMember is a player or a spectator.
type RoomMember struct {
	ID        uint32
	UID       int64
	Session   int64 // 0 while the player is not connected
	Team      int
	Spectator bool
	Connected bool
	RTT       time.Duration // 0 if it is not known
	Bytes     int64         // bytes of state sent to the player
}
