package room

import (
	"reflect"
	"slices"
	"time"

	"github.com/lonng/nano/session"
)

// claim identifies the holder of a reserved seat: a user, or a session from another node.
type claim struct{ uid, session int64 }

// seatFor returns the claim of a session to a seat of a new room. It is that of the
// session's user, if there is one, for whom OnCreate may reserve a seat as well.
func seatFor(s *session.Session) claim {
	if uid := s.UID(); uid != 0 {
		return claim{uid: uid}
	}
	return claim{session: s.ID()}
}

// ticket is a reserved seat.
type ticket struct {
	claim claim
	until time.Time // zero before the room has started
	end   func()    // stops the timer that frees the seat
}

// take takes a free seat for a user, or the seat that is reserved for the session or the
// user. It may be called from any goroutine.
func (c *core) take(s *session.Session, uid int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return ErrNotFound
	}
	reserved := 0
	for _, key := range []claim{{session: s.ID()}, {uid: uid}} {
		if t := c.reserved[key]; t != nil {
			delete(c.reserved, key)
			t.end()
			reserved++
		}
	}
	switch {
	case reserved > 0:
		c.taken -= reserved // one seat is for both
	case c.locked:
		return ErrLocked
	case c.taken >= c.kind.options.seats:
		return ErrFull
	}
	c.taken++
	c.seated[claim{uid: uid}] = true
	return nil
}

// release frees the seat of a user.
func (c *core) release(uid int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken--
	delete(c.seated, claim{uid: uid})
}

// unseat lets the user of a seat have a reservation. The seat stays taken.
func (c *core) unseat(uid int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seated, claim{uid: uid})
}

// reserve reserves seats for all of the users without a seat or for none, also in a locked
// room. It may be called from any goroutine.
func (c *core) reserve(uids []int64) error {
	claims := make([]claim, len(uids))
	for i, uid := range uids {
		if uid < 1 {
			return session.ErrIllegalUID
		}
		claims[i] = claim{uid: uid}
	}
	return c.claim(claims)
}

// claim reserves seats for users and sessions.
func (c *core) claim(claims []claim) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return ErrNotFound
	}
	fresh := map[claim]bool{}
	for _, key := range claims {
		if c.reserved[key] == nil && !c.seated[key] {
			fresh[key] = true
		}
	}
	if c.taken+len(fresh) > c.kind.options.seats {
		return ErrFull
	}
	for key := range fresh {
		c.reserveFor(key, c.kind.options.reserve)
	}
	return nil
}

// claimUnlimited reserves seats of a room that has not started, without a time limit.
func (c *core) claimUnlimited(claims []claim) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range claims {
		if c.reserved[key] == nil {
			c.reserved[key] = &ticket{claim: key, end: func() {}}
			c.taken++
		}
	}
	if c.taken > c.kind.options.seats {
		return ErrFull
	}
	return nil
}

// limitClaims starts the time limit of the seats that claimUnlimited has reserved.
func (c *core) limitClaims() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, t := range c.reserved {
		if t.until.IsZero() {
			c.taken--
			c.reserveFor(key, c.kind.options.reserve)
		}
	}
}

// reserveFor reserves a seat for a time. The caller holds mu.
func (c *core) reserveFor(key claim, d time.Duration) {
	t := &ticket{claim: key, until: time.Now().Add(d)}
	timer := time.AfterFunc(d, func() { c.unreserve(t) })
	t.end = func() { timer.Stop() }
	c.reserved[key] = t
	c.taken++
}

// unreserve frees a reserved seat whose player has not joined.
func (c *core) unreserve(t *ticket) {
	c.mu.Lock()
	expired := c.reserved[t.claim] == t
	if expired {
		delete(c.reserved, t.claim)
		c.taken--
	}
	c.mu.Unlock()
	if expired {
		c.do(c.watchEmpty)
	}
}

// cancel frees a reserved seat before its time is over.
func (c *core) cancel(key claim) {
	c.mu.Lock()
	t := c.reserved[key]
	c.mu.Unlock()
	if t != nil {
		t.end()
		c.unreserve(t)
	}
}

// assign records the teams of users who will join.
func (c *core) assign(teams map[int64]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.teams = teams
}

func (c *core) teamOf(uid int64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.teams[uid]
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

func (c *core) label(key string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.labels[key]
}

func (c *core) lock(locked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locked = locked
}

// do calls f on the room's scheduler. If the caller runs on it, do calls f at once. It
// returns false if that scheduler has ended.
//
// f is kept until the room has started. While the room moves, f is kept too. It runs when
// the move has ended, also if another node has the room then: the room is closed here.
func (c *core) do(f func()) bool {
	return c.direct(func() {
		switch {
		case c.sync == nil && !c.closed:
			c.early = append(c.early, f)
		case c.parked != nil:
			c.parked.work = append(c.parked.work, f)
		default:
			f()
		}
	})
}

// runEarly runs what waited for the start.
func (c *core) runEarly() {
	work := c.early
	c.early = nil
	c.runKept(work)
}

// direct is do without the wait for the end of a move.
func (c *core) direct(f func()) bool {
	if onScheduler(c.sched) {
		f()
		return true
	}
	return c.sched.Invoke(f)
}

// seated is the result of a join.
type seated struct {
	player *Player
	reply  any
}

// join gives a session a seat. It runs on the room's scheduler. A user with a seat in the
// room gets that seat.
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
	if c.node.seat(s) != nil {
		return seated{}, ErrJoined // a seat that is reserved for the user stays reserved
	}
	uid := s.UID()
	if err := c.take(s, uid); err != nil {
		return seated{}, err
	}
	p := &Player{ID: c.nextID, UID: uid, Team: c.teamOf(uid), core: c, session: s}
	if err := c.node.sit(s, p); err != nil { // another room was faster
		c.release(uid)
		c.watchEmpty() // the room may have been kept for this player only
		return seated{}, err
	}
	c.enter(p, p.ID)
	c.empty.stop()
	reply, err := c.onJoin(p, opts)
	if err := p.refused(); err != nil {
		return seated{}, err
	}
	if err != nil {
		p.why = ErrKicked
		c.forget(p)
		c.release(uid)
		c.watchEmpty()
		c.touch() // OnJoin may have changed the state
		return seated{}, err
	}
	c.node.follow(s)
	c.touch()
	return seated{p, reply}, nil
}

// enter adds a player. owner is the owner key of the player's view, or nil.
func (c *core) enter(p *Player, owner any) {
	c.nextID++
	p.view = c.sync.NewView(owner)
	if c.dt == 0 {
		p.view.CountMessages() // a flush may be for what this player does not see
	}
	p.counted = time.Since(c.base)
	c.players = append(slices.Clip(c.players), p)
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
			err, _ := reflect.TypeAssert[error](out[len(out)-1])
			return err
		}
		return nil
	})
	return reply, err
}

// seatOf returns the seat of a user, or nil.
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

// spectate lets a session watch.
func (c *core) spectate(s *session.Session) (*Player, error) {
	if c.closed {
		return nil, ErrNotFound
	}
	if s.Closed() {
		return nil, session.ErrBrokenPipe
	}
	c.mu.Lock()
	full := c.watchers >= c.kind.options.spectators
	if !full {
		c.watchers++
	}
	c.mu.Unlock()
	if full {
		return nil, ErrFull
	}
	p := &Player{ID: c.nextID, UID: s.UID(), core: c, session: s, spectator: true}
	if err := c.node.sit(s, p); err != nil {
		c.mu.Lock()
		c.watchers--
		c.mu.Unlock()
		return nil, err
	}
	c.enter(p, nil)
	c.node.follow(s)
	c.touch()
	return p, nil
}
