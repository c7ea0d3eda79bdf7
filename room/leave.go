package room

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/lonng/nano/session"
)

// takeOver gives a seat to another session of its user.
func (c *core) takeOver(p *Player, s *session.Session) error {
	if err := p.refused(); err != nil {
		return err // OnLeave of this player calls Join
	}
	if p.session == s {
		p.view.Reset() // the client needs a snapshot
		c.touch()
		return nil
	}
	if err := c.node.sit(s, p); err != nil {
		return err
	}
	if old := p.session; old != nil {
		p.session = nil
		c.node.stand(old, p)
		_ = old.Push(routeLeft, reasonBody("taken over"))
		if !p.dropped {
			c.dropped(p)
		}
	}
	if p.why != nil { // OnDrop removed the player
		c.node.stand(s, p)
		return errRefused
	}
	p.session = s
	c.node.follow(s)
	c.returned(p)
	return p.refused()
}

// refused returns the error of a join after which the player has no seat, because OnJoin or
// OnReturn closed the room or kicked the player, or because OnLeave runs.
func (p *Player) refused() error {
	switch {
	case errors.Is(p.why, ErrClosed):
		return ErrNotFound
	case p.why != nil:
		return errRefused
	}
	return nil
}

// returned ends a drop after the player has reconnected.
func (c *core) returned(p *Player) {
	if !p.dropped {
		return
	}
	p.dropped = false
	p.counted = time.Since(c.base)
	p.hold.stop()
	p.view.Reset()
	if r, ok := reflect.TypeAssert[interface{ OnReturn(*Player) }](c.value); ok && !p.spectator {
		c.call("OnReturn", func() { r.OnReturn(p) })
	}
	c.touch()
}

// drop holds the seat of a player who has lost the connection. The time of Hold starts at
// the first call. A spectator stays until the session ends.
func (c *core) drop(p *Player) {
	switch {
	case p.spectator && p.session == nil:
		c.remove(p, ErrLeft, "")
	case p.spectator:
		p.dropped = true
	case p.dropped:
	case c.kind.options.hold == 0:
		c.expire(p)
	default:
		p.hold = c.newTimer(c.kind.options.hold, func() { c.expire(p) })
		c.dropped(p)
		c.endDeserted()
	}
}

// expire removes a player whose seat is held no longer.
func (c *core) expire(p *Player) { c.remove(p, ErrHoldExpired, "hold expired") }

// dropped starts a drop.
func (c *core) dropped(p *Player) {
	p.dropped = true
	p.inputs, p.tripCount = nil, 0
	if d, ok := reflect.TypeAssert[interface{ OnDrop(*Player) }](c.value); ok {
		c.call("OnDrop", func() { d.OnDrop(p) })
	}
	c.touch()
}

// remove removes a player from the seat. If the player did not ask for it, the client
// gets the push room.left with the reason.
func (c *core) remove(p *Player, why error, reason string) {
	if p.why != nil || c.closed {
		return
	}
	p.why = why
	p.hold.stop()
	if !p.spectator {
		c.unseat(p.UID) // OnLeave may reserve a seat for the user
	}
	c.onLeave(p)
	s := p.session
	c.forget(p)
	c.mu.Lock()
	if p.spectator {
		c.watchers--
	} else {
		c.taken--
	}
	c.mu.Unlock()
	if s != nil && !errors.Is(why, ErrLeft) {
		_ = s.Push(routeLeft, reasonBody(reason))
	}
	c.watchEmpty()
	c.endDeserted()
	c.touch()
}

func (c *core) onLeave(p *Player) {
	if l, ok := reflect.TypeAssert[interface{ OnLeave(*Player) }](c.value); ok && !p.spectator {
		c.call("OnLeave", func() { l.OnLeave(p) })
	}
}

// forget removes a player from the lists.
func (c *core) forget(p *Player) {
	if i := slices.Index(c.players, p); i >= 0 {
		// A loop over the players may be using the slice, so it is copied.
		c.players = append(slices.Clone(c.players[:i]), c.players[i+1:]...)
	}
	c.node.release(p)
	if s := p.session; s != nil {
		c.node.stand(s, p)
		p.session = nil
	}
}

// watchEmpty closes the room after it has had no players for the time of Empty.
func (c *core) watchEmpty() {
	if c.closed || c.empty != nil && c.empty.f != nil {
		return
	}
	if slices.ContainsFunc(c.players, func(p *Player) bool { return !p.spectator }) {
		return
	}
	c.mu.Lock()
	waits := len(c.reserved) > 0
	c.mu.Unlock()
	if !waits {
		c.empty = c.newTimer(c.kind.options.empty, c.closeEmpty)
	}
}

// closeEmpty closes the room unless a seat has been reserved since.
func (c *core) closeEmpty() {
	c.mu.Lock()
	waits := len(c.reserved) > 0
	c.mu.Unlock()
	if !waits { // otherwise, the end of the reservation calls watchEmpty
		c.close("empty")
	}
}

// endDeserted closes a room without connected players if the server drains, because no
// player can return. A room that another node can take is moved instead.
func (c *core) endDeserted() {
	connected := func(p *Player) bool { return !p.spectator && !p.dropped }
	if !c.closed && c.node.isDraining() && !slices.ContainsFunc(c.players, connected) && (c.unmoved || !c.mayMove()) {
		c.close("shutdown")
	}
}

// endReservations makes the room accept no players.
func (c *core) endReservations() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, t := range c.reserved {
		t.end()
	}
	clear(c.reserved)
}

// close ends the room. The players get the last state first.
func (c *core) close(reason string) {
	if c.closed {
		return
	}
	c.closed = true
	if c.arriving {
		return // in Load: the move fails, and the room continues at the other node
	}
	c.endReservations()
	for _, p := range c.players {
		if p.why == nil { // otherwise, OnLeave of this player closes the room
			p.why = ErrClosed
			c.onLeave(p)
		}
	}
	if cl, ok := reflect.TypeAssert[interface{ OnClose() }](c.value); ok {
		c.call("OnClose", cl.OnClose)
	}
	c.flush(max(c.ticks, c.sentAt+1))
	c.endRecording()
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	for _, p := range c.players {
		if s := p.session; s != nil {
			_ = s.Push(routeClosed, reasonBody(reason))
		}
		c.forget(p)
	}
	c.node.remove(c)
	c.node.forgetAt(c.records, c.id)
}
