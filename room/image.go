package room

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// image is a room that moves.
type image struct {
	Token  string         `json:"token"` // identifies the move, and allows sessions to take their seats
	From   string         `json:"from"`  // address of the node that has the room
	ID     string         `json:"id"`
	Kind   string         `json:"kind"`
	Hash   string         `json:"hash"` // of the schema
	Code   string         `json:"code,omitempty"`
	Locked bool           `json:"locked,omitempty"`
	Labels map[string]any `json:"labels,omitempty"`
	Teams  map[int64]int  `json:"teams,omitempty"`
	Ticks  uint64         `json:"ticks"`
	Sent   uint64         `json:"sent"` // tick of the last flush
	Next   PlayerID       `json:"next"` // id of the next player
	Panics int            `json:"panics,omitempty"`
	Rand   []byte         `json:"rand"`
	State  []byte         `json:"state"`
	Saved  []byte         `json:"saved"` // result of Save
	Seats  []movedSeat    `json:"seats"`
	// Records are the names of the nodes that know that the room has moved.
	Records []string `json:"records"`
	// Copies may exist on other nodes. The node that gets the room has them dropped.
	Copies []copyAt `json:"copies,omitempty"`
}

// movedSeat is the seat of a player, or a spectator.
type movedSeat struct {
	ID        PlayerID      `json:"id"`
	UID       int64         `json:"uid,omitempty"`
	Team      int           `json:"team,omitempty"`
	Spectator bool          `json:"spectator,omitempty"`
	Dropped   bool          `json:"dropped,omitempty"`
	Hold      time.Duration `json:"hold,omitempty"` // how long the seat of a dropped player is still held
	Acked     uint32        `json:"acked,omitempty"`
	Sent      int64         `json:"sent,omitempty"`
}

// reservation is a reserved seat.
type reservation struct {
	UID     int64         `json:"uid,omitempty"`
	Session int64         `json:"session,omitempty"`
	Left    time.Duration `json:"left"`
}

// image returns the image of a stopped room.
func (c *core) image(token string) (*image, error) {
	i := &image{
		Token: token, From: c.node.address(), ID: c.id, Kind: c.kind.name, Hash: c.kind.schema.Hash,
		Ticks: c.ticks, Sent: c.sentAt, Next: c.nextID, Panics: c.panics,
		Records: append(slices.Clone(c.records), c.node.name), Copies: c.copies,
	}
	var err error
	if e := c.guard("Save", func() error {
		i.Saved, err = c.value.Interface().(Movable).Save()
		return nil
	}); e != nil || err != nil {
		return nil, errors.Join(e, err)
	}
	if i.Rand, err = c.src.MarshalBinary(); err != nil {
		return nil, err
	}
	i.State = c.sync.Save()
	now := c.now()
	for _, p := range c.players {
		seat := movedSeat{ID: p.ID, UID: p.UID, Team: p.Team, Spectator: p.spectator, Dropped: p.dropped, Acked: p.acked, Sent: p.sent}
		if p.hold != nil && p.hold.f != nil {
			seat.Hold = p.hold.at - now
		}
		i.Seats = append(i.Seats, seat)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i.Code, i.Locked, i.Teams = c.code, c.locked, c.teams
	i.Labels = c.infoLocked().Label
	return i, nil
}

// restore fills a new room with an image, and runs Load.
func (c *core) restore(i *image) (err error) {
	c.id, c.code, c.locked, c.teams = i.ID, i.Code, i.Locked, i.Teams
	c.ticks, c.sentAt, c.panics = i.Ticks, i.Sent, i.Panics
	c.records, c.copies = i.Records, i.Copies
	maps.Copy(c.labels, i.Labels)
	if err := c.src.UnmarshalBinary(i.Rand); err != nil {
		return err
	}
	if c.sync, err = c.value.Interface().(embedded).newSync(); err != nil {
		return err
	}
	if err := c.sync.Load(i.State); err != nil {
		return err
	}
	for _, seat := range i.Seats {
		p := &Player{ID: seat.ID, UID: seat.UID, Team: seat.Team, core: c, spectator: seat.Spectator, dropped: seat.Dropped, acked: seat.Acked, sent: seat.Sent}
		var owner any
		if p.spectator {
			c.watchers++
		} else {
			owner = p.ID
			c.taken++
			c.seated[claim{uid: p.UID}] = true
		}
		c.enter(p, owner)
		p.view.Ack(p.acked)
	}
	c.nextID = i.Next
	c.next = c.now() + c.dt
	var failed error
	if err := c.guard("Load", func() error {
		failed = c.value.Interface().(Movable).Load(i.Saved)
		return nil
	}); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return failed
	case c.closed:
		return ErrNotFound // Load closed it
	}
	for _, seat := range i.Seats {
		if p := c.player(seat.ID); p != nil && p.dropped && !p.spectator { // Load may kick players
			p.hold = c.newTimer(seat.Hold, func() { c.expire(p) })
		}
	}
	return nil
}
