package room

import "maps"

// Info describes a room.
type Info struct {
	ID      string         `json:"id"`               // id of the room, unique in the cluster
	Code    string         `json:"code,omitempty"`   // code of a private room, with which clients can join
	Kind    string         `json:"kind"`             // name of its kind
	Players int            `json:"players"`          // includes held and reserved seats
	Seats   int            `json:"seats"`            // number of seats
	Locked  bool           `json:"locked,omitempty"` // the room accepts no new players
	Label   map[string]any `json:"label,omitempty"`  // the labels of the room
}

func (c *core) info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.infoLocked()
}

// infoLocked is info for a caller that holds mu.
func (c *core) infoLocked() Info {
	return Info{ID: c.id, Code: c.code, Kind: c.kind.name, Players: c.taken, Seats: c.kind.options.seats, Locked: c.locked, Label: maps.Clone(c.labels)}
}
