package state

import (
	"fmt"
	"math/bits"
	"reflect"
	"slices"
)

// View is the part of a state that one client sees. Without a call of Near, Hide or Show,
// it includes every entry of every map at its level.
//
// The calls of Near, Hide and Show apply to the next Append. A program that selects
// entries for a client calls them before each Append.
type View struct {
	s      *Sync
	owner  key
	owns   bool
	level  int
	limit  int
	reset  bool
	seq    uint64 // value of Sync.seq at the last Append
	tick   uint64 // tick of the last message
	count  bool   // number messages instead of ticks
	ack    uint32
	acked  uint32 // ack in the last message
	areas  []area // by region
	out    []byte // buffer of sections
	starts []int  // offsets in out, by region
}

// area is the part of one region that a view sees.
type area struct {
	all    bool   // the client has all entries that were live at the last Append
	before bitmap // entries that the client has, unless all is set
	now    bitmap
	raised []raise // entries above the view's level that the client has, ascending
	next   []raise

	// The following fields hold the selection since the last Append.
	hide    bool
	circles []circle
	shown   []raise
}

// raise is the level of one entry.
type raise struct{ handle, level int }

type circle struct{ x, y, r float32 }

// NewView returns the view of the client that owns the key owner, or of a client that
// owns nothing if owner is nil. Its first message is a snapshot. NewView panics if the
// type of owner differs from that of the option [Owner].
//
// A View holds no resources. A program drops it when the client leaves.
func (s *Sync) NewView(owner any) *View {
	if owner != nil && reflect.TypeOf(owner) != s.owner {
		panic(fmt.Sprintf("state: a view's owner is a %v, not a %T", s.owner, owner))
	}
	v := &View{s: s, reset: true, areas: make([]area, len(s.regions)), starts: make([]int, len(s.regions)+1)}
	if owner != nil {
		v.owner, v.owns = reflectKey(reflect.ValueOf(owner)), true
	}
	return v
}

// Reset makes the next message a snapshot, which does not depend on earlier messages.
func (v *View) Reset() { v.reset = true }

// Level sets the level at which the view sees the root and every entry; the default is 0.
// Fields tagged with a higher level are not sent. A negative level counts as 0. If the
// level changes, the next message is a snapshot.
func (v *View) Level(level int) {
	level = max(level, 0)
	if level != v.level {
		v.level, v.reset = level, true
	}
}

// Limit bounds the entries of each map that may enter the view in one Append. The others
// enter later, the nearest first. The default 0 means no limit. Entries that the client
// owns or that [View.Show] selects enter at once.
func (v *View) Limit(n int) { v.limit = n }

// Ack sets the number of the client's last input that is part of the state. The next
// message contains it. A lower number than before is ignored.
func (v *View) Ack(seq uint32) { v.ack = max(v.ack, seq) }

// CountMessages makes the view number its own messages, from 1, instead of ticks. It is
// for a program that calls [Sync.Tick] after each change: tick numbers would reveal to a
// client how often hidden values change.
func (v *View) CountMessages() { v.count = true }

// Near shows the entries of *m within r of the point x, y. Several calls show the entries
// within any of the circles. The client keeps an entry until it is further than 1.08 r
// away. m points to a map of the root. Its entries have numeric fields X and Y, as of the
// last [Sync.Tick]. Near hides all others, except those that the client owns or
// [View.Show] selects. Near panics for any other m.
func (v *View) Near(m any, x, y, r float32) {
	i := v.s.regionOf(m, "Near")
	if !v.s.regions[i].positioned() {
		panic(fmt.Sprintf("state: Near: the entries of %s have no numeric fields X and Y", v.s.regions[i].field.path))
	}
	v.areas[i].circles = append(v.areas[i].circles, circle{x, y, r})
}

// Hide hides the entries of *m, except those that the client owns or that Near or Show
// select. m points to a map of the root; otherwise Hide panics.
func (v *View) Hide(m any) { v.areas[v.s.regionOf(m, "Hide")].hide = true }

// Show shows the entry of key in *m, with its fields up to level. It does not hide
// others. A key that the map does not have is ignored. m points to a map of the root and
// key has the type of its keys; otherwise Show panics.
func (v *View) Show(m, key any, level int) {
	i := v.s.regionOf(m, "Show")
	r := v.s.regions[i]
	if t := reflect.TypeOf(key); t != r.field.keyType {
		panic(fmt.Sprintf("state: Show: a key of %s is a %v, not a %v", r.field.path, r.field.keyType, t))
	}
	if h, ok := r.handle(reflectKey(reflect.ValueOf(key))); ok {
		v.areas[i].shown = append(v.areas[i].shown, raise{h, level})
	}
}

// regionOf returns the index of the region that m points to.
func (s *Sync) regionOf(m any, call string) int {
	for i, r := range s.regions {
		if r.key == m {
			return i
		}
	}
	panic(fmt.Sprintf("state: %s: a %T does not point to a map of the state", call, m))
}

// handle returns the handle of key k.
func (r *region) handle(k key) (int, bool) {
	switch {
	case r.m.core != nil:
		return r.m.core.handle(k)
	case r.m.plain != nil:
		return r.m.plain.handle(r.m, k)
	}
	return 0, false
}

// Append appends the message for the client to dst and returns it. The message holds the
// changes since the last message, or a snapshot. If nothing changed, Append appends
// nothing. Call it after each [Sync.Tick]. A view that misses a tick sends a snapshot
// next.
func (v *View) Append(dst []byte) []byte {
	s := v.s
	if s.seq == 0 || v.seq == s.seq && !v.reset {
		return dst
	}
	snapshot := v.reset || v.seq+1 != s.seq
	v.reset, v.seq = false, s.seq
	mask, spans := s.changed, s.spans
	if snapshot {
		s.fill()
		mask, spans = s.filled, s.fulls
	}
	visible := s.plan.levelMask(v.level)
	mask &= visible
	v.out = v.out[:0]
	for i, r := range s.regions {
		v.starts[i] = len(v.out)
		v.section(&v.areas[i], r, snapshot, visible>>r.index&1 == 0)
		if len(v.out) > v.starts[i] {
			mask |= 1 << r.index
		}
	}
	v.starts[len(s.regions)] = len(v.out)
	if mask == 0 && !snapshot && v.ack == v.acked {
		return dst
	}
	dst = v.head(dst, snapshot)
	if mask == 0 {
		return dst
	}
	dst = appendUint(dst, mask)
	for x := mask; x != 0; x &= x - 1 {
		i := bits.TrailingZeros64(x)
		if r := s.byField[i]; r != nil {
			dst = append(dst, v.out[v.starts[r.number]:v.starts[r.number+1]]...)
			dst = append(dst, 0)
		} else {
			dst = append(dst, s.enc.buf[spans[i].from:spans[i].to]...)
		}
	}
	if last := s.plan.fields[63-bits.LeadingZeros64(mask)].kind; last == kindMap || last == kindList {
		dst = dst[:len(dst)-1] // the end of the message ends the section too
	}
	return dst
}

// head appends the part of the message before the root.
func (v *View) head(dst []byte, snapshot bool) []byte {
	tick := v.s.tick
	if v.count {
		tick = v.tick + 1
	}
	if snapshot {
		dst = appendUint(dst, tick<<headBits|headSnapshot|headAck)
		dst = appendUint(dst, uint64(v.ack))
	} else {
		head := (tick - v.tick) << headBits
		if v.ack != v.acked {
			dst = appendUint(dst, head|headAck)
			dst = appendUint(dst, uint64(v.ack-v.acked))
		} else {
			dst = appendUint(dst, head)
		}
	}
	v.tick, v.acked = tick, v.ack
	return dst
}

// section appends the section of one region without its end.
func (v *View) section(a *area, r *region, snapshot, hidden bool) {
	defer a.forget()
	if hidden {
		return
	}
	picky := a.hide || len(a.circles) > 0
	own := -1
	if r.field.owned && v.owns {
		if h, ok := r.handle(v.owner); ok {
			own = h
		}
	}
	a.raise(r, v.level, own)
	if !picky && a.all && !snapshot && v.level == 0 && (v.limit == 0 || len(r.m.added) <= v.limit) && r.ordinary(a) {
		v.out = append(v.out, r.section()...)
		a.raised, a.next = a.next, a.raised
		return
	}
	a.before.grow(len(r.m.live))
	before := a.before
	switch {
	case snapshot:
		a.before = a.before[:0]
		a.before.grow(len(r.m.live))
		before, a.raised = a.before, a.raised[:0]
	case a.all:
		before = r.before
	}
	now := r.m.live
	if picky {
		a.choose(r, before, own)
		now = a.now
	}
	complete := !picky
	if v.limit > 0 {
		if !picky {
			a.now.copyFrom(now)
		}
		complete = a.trim(r, before, own, v.limit) && complete
		now = a.now
	}
	v.out = r.gather(v.out, a, before, now, v.level)
	if a.all = complete; !complete {
		a.before, a.now = a.now, a.before
	}
	a.raised, a.next = a.next, a.raised
}

// forget clears the selection of one Append.
func (a *area) forget() {
	a.hide = false
	a.circles = a.circles[:0]
	a.shown = a.shown[:0]
}

// raise fills a.next: the entries that the client sees above level.
func (a *area) raise(r *region, level, own int) {
	a.next = a.next[:0]
	if r.levels < 2 {
		return
	}
	if own >= 0 && level < 1 {
		a.next = append(a.next, raise{own, 1})
	}
	for _, s := range a.shown {
		if s.level > level {
			a.next = append(a.next, s)
		}
	}
	if len(a.next) < 2 {
		return
	}
	slices.SortFunc(a.next, func(a, b raise) int {
		if a.handle != b.handle {
			return a.handle - b.handle
		}
		return b.level - a.level
	})
	a.next = slices.CompactFunc(a.next, func(a, b raise) bool { return a.handle == b.handle })
}

// ordinary reports whether a client that sees a.next above level 0 can use the shared
// section.
func (r *region) ordinary(a *area) bool {
	if len(a.next) == 0 {
		return len(a.raised) == 0
	}
	if len(a.next) > 1 {
		return false
	}
	n := a.next[0]
	if len(a.raised) != 1 || a.raised[0] != n || !r.before.has(n.handle) || !r.m.live.has(n.handle) {
		return false
	}
	return !r.changed.has(n.handle) || r.recs[n.handle].mask&^r.m.val.obj.levels[0] == 0
}

// choose fills a.now with the selected entries.
func (a *area) choose(r *region, before bitmap, own int) {
	a.now = a.now[:0]
	a.now.grow(len(r.m.live))
	for _, c := range a.circles {
		r.search(c, before, a.now)
	}
	for _, s := range a.shown {
		if r.m.live.has(s.handle) {
			a.now.set(s.handle)
		}
	}
	if own >= 0 && r.m.live.has(own) {
		a.now.set(own)
	}
}
