package room

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

var errPanic = message.Errorf(message.CodeInternal, "internal error")

// ticket is a seat that is reserved for a user.
type ticket struct {
	uid  int64
	team int
	end  func() // stops the timer that gives the seat back
}

// take takes a seat, or the one that is reserved for the user. It may be called from any goroutine.
func (c *core) take(uid int64) (*ticket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, ErrNotFound
	}
	if t := c.reserved[uid]; t != nil && uid != 0 {
		delete(c.reserved, uid)
		t.end()
		return t, nil
	}
	switch {
	case c.locked:
		return nil, ErrLocked
	case c.taken >= c.kind.options.seats:
		return nil, ErrFull
	}
	c.taken++
	return nil, nil
}

// release gives a seat back.
func (c *core) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken--
}

// reserve holds seats for users until they come, all or none. It may be called from any goroutine.
func (c *core) reserve(uids []int64, team func(uid int64) int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return ErrNotFound
	case c.locked:
		return ErrLocked
	}
	fresh := 0
	for _, uid := range uids {
		if c.reserved[uid] == nil {
			fresh++
		}
	}
	if c.taken+fresh > c.kind.options.seats {
		return ErrFull
	}
	for _, uid := range uids {
		if c.reserved[uid] != nil {
			continue
		}
		t := &ticket{uid: uid, team: team(uid)}
		timer := time.AfterFunc(c.kind.options.reserve, func() { c.unreserve(t) })
		t.end = func() { timer.Stop() }
		c.reserved[uid] = t
		c.taken++
	}
	return nil
}

// unreserve gives back a reserved seat whose player has not come.
func (c *core) unreserve(t *ticket) {
	c.mu.Lock()
	expired := c.reserved[t.uid] == t
	if expired {
		delete(c.reserved, t.uid)
		c.taken--
	}
	c.mu.Unlock()
	if expired {
		c.do(c.watchEmpty)
	}
}

func (c *core) setLabel(key string, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.labels, key)
		return
	}
	c.labels[key] = normal(value)
}

func (c *core) lock(locked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locked = locked
}

// do calls f on the room's scheduler: at once if the caller is on it.
func (c *core) do(f func()) {
	if onScheduler(c.sched) {
		f()
		return
	}
	c.sched.PushTask(f)
}

// seated is what a join comes to.
type seated struct {
	player *Player
	reply  any
}

// join gives a session a seat. It runs on the room's scheduler. A user who has a seat in the room takes it over.
func (c *core) join(s *session.Session, opts any) (seated, error) {
	if c.closed {
		return seated{}, ErrNotFound
	}
	if s.Closed() {
		return seated{}, session.ErrBrokenPipe
	}
	if p := c.seatOf(s.UID()); p != nil {
		return seated{player: p}, c.takeOver(p, s)
	}
	t, err := c.take(s.UID())
	if err != nil {
		return seated{}, err
	}
	p := &Player{ID: c.nextID, UID: s.UID(), core: c, session: s}
	if t != nil {
		p.Team = t.team
	}
	if err := c.node.sit(s, p); err != nil {
		c.release()
		return seated{}, err
	}
	c.nextID++
	p.view = c.sync.NewView(p.ID)
	c.players = append(c.players, p)
	c.cancelEmpty()
	reply, err := c.onJoin(p, opts)
	if err != nil {
		c.forget(p)
		c.release()
		c.watchEmpty()
		return seated{}, err
	}
	c.watch(p)
	c.touch()
	c.setAlarm()
	return seated{p, reply}, nil
}

func (c *core) onJoin(p *Player, opts any) (reply any, err error) {
	h := c.kind.join
	if h == nil {
		return nil, nil
	}
	in := []reflect.Value{reflect.ValueOf(p)}
	if h.options != nil {
		in = append(in, optionsValue(h.options, opts))
	}
	err = c.guard("OnJoin", func() error {
		out := c.value.Method(h.index).Call(in)
		if h.reply {
			reply = out[0].Interface()
		}
		if h.err {
			err, _ := out[len(out)-1].Interface().(error)
			return err
		}
		return nil
	})
	return reply, err
}

// seatOf returns the seat of a user, nil if there is none.
func (c *core) seatOf(uid int64) *Player {
	if uid == 0 {
		return nil
	}
	for _, p := range c.players {
		if p.UID == uid && !p.spectator {
			return p
		}
	}
	return nil
}

// takeOver gives a seat to another session of its user.
func (c *core) takeOver(p *Player, s *session.Session) error {
	if p.session == s {
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
			c.drop(p)
		}
	}
	p.session = s
	c.watch(p)
	c.returned(p)
	return nil
}

// returned ends a drop.
func (c *core) returned(p *Player) {
	if !p.dropped {
		return
	}
	p.dropped = false
	if p.hold != nil {
		p.hold.f = nil
		p.hold = nil
	}
	p.view.Reset()
	if r, ok := c.value.Interface().(interface{ OnReturn(*Player) }); ok {
		c.call("OnReturn", func() { r.OnReturn(p) })
	}
	c.touch()
}

// spectate lets a session watch.
func (c *core) spectate(s *session.Session) (*Player, error) {
	if c.closed {
		return nil, ErrNotFound
	}
	p := &Player{ID: c.nextID, UID: s.UID(), core: c, session: s, spectator: true}
	if err := c.node.sit(s, p); err != nil {
		return nil, err
	}
	c.nextID++
	p.view = c.sync.NewView(nil)
	c.players = append(c.players, p)
	c.mu.Lock()
	c.watchers++
	c.mu.Unlock()
	c.watch(p)
	c.touch()
	return p, nil
}

// watch follows the session of a player.
func (c *core) watch(p *Player) {
	s := p.session
	s.OnClose(func(*session.Session, error) {
		c.do(func() {
			if p.session == s && p.why == nil {
				p.session = nil
				c.node.stand(s, p)
				c.drop(p)
			}
		})
	})
	follow(s, func() {
		c.do(func() {
			if p.session == s && p.why == nil {
				c.drop(p)
			}
		})
	}, func() {
		c.do(func() {
			if p.session == s && p.why == nil {
				c.returned(p)
			}
		})
	})
}

// drop holds the seat of a player who has lost the connection.
func (c *core) drop(p *Player) {
	if p.spectator {
		c.remove(p, ErrLeft, "")
		return
	}
	if p.dropped {
		return
	}
	p.dropped = true
	p.inputs = nil
	d, hasDrop := c.value.Interface().(interface{ OnDrop(*Player) })
	if c.kind.options.hold == 0 {
		c.remove(p, ErrLeft, "")
		return
	}
	p.hold = c.newTimer(c.kind.options.hold, func() { c.remove(p, ErrHoldExpired, "") })
	if hasDrop {
		c.call("OnDrop", func() { d.OnDrop(p) })
	}
	c.touch()
}

// remove takes a seat away.
func (c *core) remove(p *Player, why error, reason string) {
	if p.why != nil {
		return
	}
	p.why = why
	if p.hold != nil {
		p.hold.f = nil
	}
	if l, ok := c.value.Interface().(interface{ OnLeave(*Player) }); ok && !p.spectator {
		c.call("OnLeave", func() { l.OnLeave(p) })
	}
	s := p.session
	c.forget(p)
	c.mu.Lock()
	if p.spectator {
		c.watchers--
	} else {
		c.taken--
	}
	c.mu.Unlock()
	if s != nil && reason != "" {
		_ = s.Push(routeLeft, reasonBody(reason))
	}
	c.watchEmpty()
	c.touch()
}

// forget takes a player off the lists.
func (c *core) forget(p *Player) {
	if i := slices.Index(c.players, p); i >= 0 {
		// A loop over the players may run: leave its slice as it is.
		c.players = append(slices.Clone(c.players[:i]), c.players[i+1:]...)
	}
	if s := p.session; s != nil {
		c.node.stand(s, p)
		p.session = nil
	}
}

// watchEmpty closes the room when it has been without players for a while.
func (c *core) watchEmpty() {
	if c.closed || c.empty != nil && c.empty.f != nil {
		return
	}
	for _, p := range c.players {
		if !p.spectator {
			return
		}
	}
	c.mu.Lock()
	waits := len(c.reserved) > 0
	c.mu.Unlock()
	if !waits {
		c.empty = c.newTimer(c.kind.options.empty, func() { c.close("empty") })
	}
}

func (c *core) cancelEmpty() {
	if c.empty != nil {
		c.empty.f = nil
		c.empty = nil
	}
}

// close ends the room.
func (c *core) close(reason string) {
	if c.closed {
		return
	}
	c.mu.Lock()
	c.gone = true
	for _, t := range c.reserved {
		t.end()
	}
	clear(c.reserved)
	c.mu.Unlock()
	if cl, ok := c.value.Interface().(interface{ OnClose() }); ok {
		c.call("OnClose", cl.OnClose)
	}
	c.closed = true
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	for _, p := range c.players {
		if p.why == nil {
			p.why = ErrClosed
		}
		if s := p.session; s != nil {
			_ = s.Push(routeClosed, reasonBody(reason))
		}
		c.forget(p)
	}
	c.node.remove(c)
}

// serve runs a message of a player. It returns the reply, nil for none.
func (c *core) serve(h *handler, p *Player, msg reflect.Value) (reply any, err error) {
	switch {
	case c.closed || p.why != nil:
		return nil, ErrNotJoined
	case p.spectator:
		return nil, ErrSpectator
	}
	call := func() error {
		out := c.value.Method(h.index).Call([]reflect.Value{reflect.ValueOf(p), msg})
		if h.reply != nil {
			reply = out[0].Interface()
		}
		if h.err {
			err, _ := out[len(out)-1].Interface().(error)
			return err
		}
		return nil
	}
	if h.input {
		seq := msg.Interface().(numbered).sequence()
		if len(p.inputs) >= c.kind.options.inputs {
			p.inputs = p.inputs[1:]
			c.stats.inputsDropped.Add(1)
		}
		p.inputs = append(p.inputs, queued{seq, func() {
			if err := call(); err != nil {
				c.log.Debug("nano: input failed", "room", c.id, "method", h.name, "error", err)
			}
		}})
		return nil, nil
	}
	if c.dt == 0 {
		c.now()
	}
	err = c.guard(h.name, call)
	c.touch()
	return reply, err
}

// Info describes a room.
type Info struct {
	ID      string         `json:"id"`
	Kind    string         `json:"kind"`
	Node    string         `json:"node,omitempty"`
	Players int            `json:"players"` // with held and reserved seats
	Seats   int            `json:"seats"`
	Locked  bool           `json:"locked,omitempty"`
	Label   map[string]any `json:"label,omitempty"`
	Code    string         `json:"code,omitempty"` // of a private room, for its creator
}

func (c *core) info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	label := make(map[string]any, len(c.labels))
	for k, v := range c.labels {
		label[k] = v
	}
	return Info{ID: c.id, Kind: c.kind.name, Node: c.node.name(), Players: c.taken, Seats: c.kind.options.seats, Locked: c.locked, Label: label}
}

// open reports whether a new player may join, as far as one can know without asking the room.
func (i Info) open() bool { return !i.Locked && i.Players < i.Seats }

// Filter selects rooms by their labels.
type Filter struct {
	Equal  map[string]any `json:"equal,omitempty"`  // labels that have to be equal
	Near   string         `json:"near,omitempty"`   // a label that is a number, such as a rank
	At     float64        `json:"at,omitempty"`     // what Near is to be close to
	Within float64        `json:"within,omitempty"` // how far it may be off; rooms that are closer come first
}

// normal makes numbers comparable.
func normal(v any) any {
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return float64(r.Int())
	case r.CanUint():
		return float64(r.Uint())
	case r.CanFloat():
		return r.Float()
	case r.Kind() == reflect.String:
		return r.String()
	case r.Kind() == reflect.Bool:
		return r.Bool()
	}
	return v
}

// accepts reports whether a room fits the filter, and how far its label Near is off.
func (f Filter) accepts(i Info) (off float64, ok bool) {
	for k, v := range f.Equal {
		have, ok := i.Label[k]
		if !ok || have != normal(v) {
			return 0, false
		}
	}
	if f.Near == "" {
		return 0, true
	}
	n, ok := i.Label[f.Near].(float64)
	if !ok {
		return 0, false
	}
	off = max(n-f.At, f.At-n)
	return off, off <= f.Within
}

// order sorts rooms: the closest first, then the fullest, then by id.
func (f Filter) order(list []Info) []Info {
	type ranked struct {
		Info
		off float64
	}
	var fit []ranked
	for _, i := range list {
		if off, ok := f.accepts(i); ok {
			fit = append(fit, ranked{i, off})
		}
	}
	slices.SortFunc(fit, func(a, b ranked) int {
		switch {
		case a.off != b.off:
			if a.off < b.off {
				return -1
			}
			return 1
		case a.Players != b.Players:
			return b.Players - a.Players
		}
		return strings.Compare(a.ID, b.ID)
	})
	out := make([]Info, len(fit))
	for i, r := range fit {
		out[i] = r.Info
	}
	return out
}

// wait calls f on the room's scheduler and waits for it.
func (c *core) wait(ctx context.Context, f func() error) error {
	if onScheduler(c.sched) {
		return f()
	}
	done := make(chan error, 1)
	c.sched.PushTask(func() {
		defer func() {
			if p := recover(); p != nil {
				done <- errPanic
				panic(p)
			}
		}()
		done <- f()
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), errors.New("room: the scheduler of "+c.id+" is busy"))
	}
}
