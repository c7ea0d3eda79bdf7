package state

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Sync sends a state, which is a struct of the program, to clients. Each [Sync.Tick]
// compares the state with the values sent before. Then each [View] appends the changes
// for its client.
//
// A Sync, its views and the state are not safe for concurrent use.
type Sync struct {
	plan   *plan
	root   reflect.Value
	schema Schema
	owner  reflect.Type
	tick   uint64
	seq    uint64 // number of compared ticks
	enc    encoder

	history int // number of ticks that maps keep

	sent    row // the sent values of the root
	changed uint64
	spans   []span // bytes of this tick, by field of the root
	fullSeq uint64 // value of seq for fulls
	filled  uint64 // fields in fulls
	fulls   []span // bytes of the difference from zero, by field of the root
	regions []*region
	byField []*region // by field of the root; nil if it is not a map
}

// span is a range of the encoder's buffer.
type span struct{ from, to uint32 }

// Option configures [New].
type Option func(*config)

type config struct{ owner reflect.Type }

// Owner makes K the type of keys that own entries. It applies to maps of the root with keys
// of type K. The fields tagged owner of an entry are visible only to the view of the
// entry's key.
func Owner[K Key]() Option {
	return func(c *config) { c.owner = reflect.TypeFor[K]() }
}

// New returns a Sync of the state *root, which the program continues to change in place.
// T is a struct. The error lists every invalid field of T with its path.
//
// The first Tick sends the whole state.
func New[T any](root *T, opts ...Option) (*Sync, error) {
	if root == nil {
		return nil, errors.New("state: the state is nil")
	}
	return newSync(reflect.ValueOf(root).Elem(), opts...)
}

func newSync(root reflect.Value, opts ...Option) (*Sync, error) {
	var cfg config
	for _, o := range opts {
		o(&cfg)
	}
	t := root.Type()
	if t.Kind() != reflect.Struct || isMap(t) {
		return nil, fmt.Errorf("state: the state has to be a struct, not %s", t)
	}
	c := &compiler{owner: cfg.owner, plans: map[reflect.Type]*plan{}}
	name := t.Name()
	if name == "" {
		name = "state"
	}
	p := c.structPlan(t, name, true)
	if p.owner != "" {
		c.fault(name+"."+p.owner, "owner needs a map of the root, keyed by the owner type")
	}
	if len(c.faults) > 0 {
		return nil, fmt.Errorf("state: %s cannot be sent:\n\t%s", t, strings.Join(c.faults, "\n\t"))
	}
	s := &Sync{
		plan: p, root: root, owner: cfg.owner, schema: makeSchema(c.order),
		history: defaultHistory,
		sent:    *newRow(p), spans: make([]span, len(p.fields)), fulls: make([]span, len(p.fields)),
		byField: make([]*region, len(p.fields)),
	}
	for i := range p.fields {
		f := &p.fields[i]
		if f.kind != kindMap {
			continue
		}
		r := &region{
			s: s, m: newMembers(&f.value), field: f, index: i, number: len(s.regions), at: fieldOf(s.root, f),
		}
		r.key = r.at.Addr().Interface()
		r.m.region = r
		if p := f.elem.obj; f.elem.kind == kindObj {
			r.levels = len(p.levels)
			r.batch = newBatch(p)
			if r.m.plain != nil {
				r.m.plain.cols = makeColumns(p)
			}
		}
		s.byField[i] = r
		s.regions = append(s.regions, r)
	}
	return s, nil
}

// Schema describes the types of the state to clients.
func (s *Sync) Schema() Schema { return s.schema }

// Tick compares the state with the values sent before. tick is the tick number, which is
// sent to clients and must increase with every call. Call Tick once after the program has
// changed the state, then Append of each view.
//
// If a value cannot be sent, clients keep its previous value, and the error names its
// path. Such values are an integer beyond 2^52 without the tag big, an enum without a
// text, and entries of a map after the 2^20th. The rest is sent.
func (s *Sync) Tick(tick uint64) error {
	if tick <= s.tick && s.seq > 0 {
		return fmt.Errorf("state: tick %d after tick %d", tick, s.tick)
	}
	s.tick = tick
	s.seq++
	e := &s.enc
	e.buf = e.buf[:0]
	s.changed = 0
	for i := range s.plan.fields {
		f := &s.plan.fields[i]
		from := len(e.buf)
		if r := s.byField[i]; r != nil {
			r.tick()
		} else if e.field(f, &s.sent, fieldOf(s.root, f)) {
			s.changed |= 1 << i
		}
		s.spans[i] = span{uint32(from), uint32(len(e.buf))}
	}
	s.remember()
	return e.take()
}

// fill encodes the fields of the root from zero, once per tick.
func (s *Sync) fill() {
	if s.fullSeq == s.seq {
		return
	}
	s.fullSeq, s.filled = s.seq, 0
	for i := range s.plan.fields {
		if s.byField[i] != nil {
			continue
		}
		from := len(s.enc.buf)
		if s.enc.fullField(&s.plan.fields[i], &s.sent) {
			s.filled |= 1 << i
		}
		s.fulls[i] = span{uint32(from), uint32(len(s.enc.buf))}
	}
}

// region is a map of the root. The bytes of its entries are encoded once for all views.
type region struct {
	s      *Sync
	m      *members
	field  *field
	index  int // index of the field
	number int // index among the regions
	at     reflect.Value
	key    any // the pointer to the map, as the program passes it
	levels int // number of levels of the entries, 0 for scalars

	batch   *batch   // entries to compare, if they are structs
	before  bitmap   // handles that were live before this tick
	changed bitmap   // changed handles that were not added
	recs    []rec    // by handle: changed entries
	ends    []uint32 // ends of the bytes visible at each level, by handle
	fulls   []rec    // by handle: encoded from zero
	fullEnd []uint32
	fullSeq []uint64 // value of seq for fulls

	run       span // the records of all changed entries, if they have no levels
	last      int  // the handle and the mask of the last record in run
	lastMask  uint64
	shared    []byte // the section of a view without hidden entries at level 0
	sharedSeq uint64
	own       []byte // buffer for shared
	grid      grid
	placed    uint64    // value of seq for xs and ys
	xs, ys    []float32 // by handle
}

// rec is the location and the mask of an entry's encoded fields.
type rec struct {
	mask uint64
	span
}

// tick compares the map.
func (r *region) tick() {
	e := &r.s.enc
	r.before.copyFrom(r.m.live)
	clear(r.changed)
	r.last, r.lastMask = -1, 0
	r.m.begin()
	e.push(r.field.path)
	e.members(r.m, &r.field.value, r.at, r)
	e.pop()
	r.run.to = uint32(len(e.buf))
}

func (r *region) endsOf(h int) []uint32 {
	if r.levels < 2 {
		return nil
	}
	return r.ends[h*r.levels : (h+1)*r.levels]
}

func (r *region) block() {
	r.s.enc.trail[len(r.s.enc.trail)-1].m = r.m
	n := len(r.m.live)
	r.before.grow(n)
	r.changed.grow(n)
	n *= 64
	extend(&r.recs, n)
	extend(&r.fulls, n)
	extend(&r.fullSeq, n)
	if r.levels > 1 {
		extend(&r.ends, n*r.levels)
		extend(&r.fullEnd, n*r.levels)
	}
	if r.positioned() {
		extend(&r.xs, n)
		extend(&r.ys, n)
	}
}

func (r *region) enter(h int, v reflect.Value) {
	e := &r.s.enc
	from := uint32(len(e.buf))
	mask, _ := e.entry(r.m, h, v, true)
	r.fulls[h] = rec{mask, span{from, uint32(len(e.buf))}}
	r.fullSeq[h] = r.s.seq
	if r.levels > 1 {
		copy(r.fullEnd[h*r.levels:], r.endsOf(h))
	}
}

func (r *region) update(h int, v reflect.Value) bool {
	e := &r.s.enc
	at := len(e.buf)
	if r.levels < 2 {
		e.buf = append(e.buf, 0) // for the tag
	}
	mask, changed := e.entry(r.m, h, v, false)
	if !changed {
		e.buf = e.buf[:at]
		return false
	}
	r.record(h, mask, at)
	return true
}

// record records the bytes from at on as the changes of entry h. If the entries have no
// levels, the first byte is free for the tag, and the records of the region are one run.
func (r *region) record(h int, mask uint64, at int) {
	e := &r.s.enc
	if r.levels < 2 {
		if r.last < 0 {
			r.run.from = uint32(at)
		}
		at = e.openRecord(at, h-r.last, mask, r.levels == 0, mask == r.lastMask)
		r.last, r.lastMask = h, mask
	}
	r.recs[h] = rec{mask, span{uint32(at), uint32(len(e.buf))}}
	r.changed[h>>6] |= 1 << (h & 63)
}

// full returns the encoding of entry h from zero.
func (r *region) full(h int) rec {
	if r.fullSeq[h] == r.s.seq {
		return r.fulls[h]
	}
	e := &r.s.enc
	from := uint32(len(e.buf))
	var mask uint64
	if r.levels > 1 {
		var sent row
		r.m.tab.row(&sent, h)
		mask = e.full(r.m.val.obj, &sent, r.fullEnd[h*r.levels:(h+1)*r.levels])
	} else {
		mask = e.fullValue(r.m, h)
	}
	r.fulls[h] = rec{mask, span{from, uint32(len(e.buf))}}
	r.fullSeq[h] = r.s.seq
	return r.fulls[h]
}

// cut returns the part of a record that level sees. ends belongs to the record's kind.
func (r *region) cut(c rec, ends []uint32, h, level int) rec {
	if r.levels > 1 {
		level = min(level, r.levels-1)
		c.mask &= r.m.val.obj.levels[level]
		c.to = ends[h*r.levels+level]
	}
	return c
}

// positioned reports whether entries have fields X and Y.
func (r *region) positioned() bool { return r.levels > 0 && r.m.val.obj.x >= 0 }

// locate records the positions of all entries, once per tick.
func (r *region) locate() {
	if r.placed == r.s.seq {
		return
	}
	r.placed = r.s.seq
	p := r.m.val.obj
	x, y := &p.fields[p.x], &p.fields[p.y]
	for h := range r.m.live.all {
		nums := r.m.tab.nums[h*p.nums:]
		r.xs[h] = float32(x.float(nums[x.slot]))
		r.ys[h] = float32(y.float(nums[y.slot]))
	}
}
