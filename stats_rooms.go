package nano

import "time"

// MaxLoudest is how many rooms [RoomsStats] lists.
const MaxLoudest = 10

// RoomsStats holds the figures of the rooms of package room that a server has. The sums are of the rooms that exist, so they
// shrink when a room ends, except for Panics.
type RoomsStats struct {
	Rooms      int
	Seats      int // taken, held or reserved seats
	Spectators int

	Ticks          int64
	Skipped        int64         // ticks that did not run because their room was late
	LagP50         time.Duration // median delay of ticks, within a factor of two
	LagP99         time.Duration
	Busy           time.Duration // time that ticks, messages and timers of rooms took
	Panics         int64         // since the start of the server, also of rooms that have ended
	SlowClients    int64         // patches that were not sent because the client did not read
	InputsDropped  int64         // inputs of players who sent too many
	Bytes          int64         // bytes of state
	BytesPerPlayer float64       // bytes of state per second and connected player

	Loudest []RoomLoad // the rooms that take the most time, the first of all first; at most MaxLoudest
}

// RoomLoad holds the load and traffic of one room.
type RoomLoad struct {
	ID             string        // id of the room
	Kind           string        // name of its kind
	Seats          int           // taken, held or reserved seats
	Load           float64       // share of a core that the room has used since it began
	Busy           time.Duration // time that its ticks, messages and timers took
	LagP50         time.Duration // median delay of ticks, within a factor of two
	LagP99         time.Duration // 99 of 100 ticks were delayed by at most this, within a factor of two
	Skipped        int64         // ticks that did not run because the room was late
	Bytes          int64         // bytes of state
	BytesPerPlayer float64       // bytes of state per second and connected player
}

// RoomsReporter is implemented by the component of package room that adds the rooms to [Server.Stats]. The server asks the
// first component that implements it.
type RoomsReporter interface {
	RoomsStats() RoomsStats
}

// roomsStats returns the figures of the rooms, nil if no component has rooms.
func (s *Server) roomsStats() *RoomsStats {
	for _, c := range s.opts.components {
		if r, ok := c.Comp.(RoomsReporter); ok && s.begun.Load() {
			st := r.RoomsStats()
			return &st
		}
	}
	return nil
}
