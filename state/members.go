package state

import (
	"cmp"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
)

// members is the sent value of a map. An entry has a handle, which is a small number. New
// handles are assigned in the order of the keys. A freed handle is reused after one tick
// at the earliest.
type members struct {
	val     *value // value type of an entry
	keyKind kind
	flat    bool // a Map compares its structs as a whole; see plan
	touch   bool // see value
	n       int
	live    bitmap
	used    bitmap // handles that are live or were freed in this tick
	free    int    // words of used before this one are full
	ints    []uint64
	texts   []string
	tab     table

	resting []int // handles freed in this tick, ascending
	added   []int // handles assigned in this tick, ascending

	core   typedCore // the attached Map
	plain  *plainMap // the plain map
	region *region   // destination of the bytes of a map of the root
}

func newMembers(v *value) *members {
	m := &members{val: v.elem, keyKind: v.key, touch: v.touch, tab: makeTable(v.elem)}
	if v.typed {
		m.flat = v.elem.obj.flat && !v.touch
	} else {
		m.plain = newPlainMap(v)
	}
	return m
}

// all calls f for each handle, ascending.
func (b bitmap) all(f func(h int) bool) {
	for w, x := range b {
		for ; x != 0; x &= x - 1 {
			if !f(w<<6 + bits.TrailingZeros64(x)) {
				return
			}
		}
	}
}

// begin starts a tick. Handles freed in the last tick can be reused.
func (m *members) begin() {
	for _, h := range m.resting {
		m.used.unset(h)
		m.free = min(m.free, h>>6)
	}
	m.resting = m.resting[:0]
	m.added = m.added[:0]
}

// leave frees handle h.
func (m *members) leave(h int) {
	m.live.unset(h)
	m.n--
	m.resting = append(m.resting, h)
	m.tab.clear(h)
	if m.keyKind == kindStr {
		m.texts[h] = ""
	}
}

// give assigns the lowest free handle. The caller sets its key.
func (m *members) give() int {
	for m.free < len(m.used) && m.used[m.free] == ^uint64(0) {
		m.free++
	}
	m.used.grow(m.free + 1)
	h := m.free<<6 + bits.TrailingZeros64(^m.used[m.free])
	m.used.set(h)
	m.live.set(h)
	m.n++
	if m.keyKind == kindStr {
		extend(&m.texts, h+1)
	} else {
		extend(&m.ints, h+1)
	}
	m.tab.grow(h + 1)
	m.added = append(m.added, h)
	return h
}

// key is a key of any kind, an integer as its 64 bits.
type key struct {
	n uint64
	s string
}

func (m *members) keyOf(h int) key {
	if m.keyKind == kindStr {
		return key{s: m.texts[h]}
	}
	return key{n: m.ints[h]}
}

// hasKey reports whether k is the key of handle h.
func (m *members) hasKey(h int, k key) bool {
	if m.keyKind == kindStr {
		return m.texts[h] == k.s
	}
	return m.ints[h] == k.n
}

func (m *members) setKey(h int, k key) {
	if m.keyKind == kindStr {
		m.texts[h] = k.s
	} else {
		m.ints[h] = k.n
	}
}

// order compares keys of m.
func (m *members) order(a, b key) int {
	switch m.keyKind {
	case kindStr:
		return cmp.Compare(a.s, b.s)
	case kindInt:
		return cmp.Compare(int64(a.n), int64(b.n))
	}
	return cmp.Compare(a.n, b.n)
}

func (m *members) appendKey(b []byte, h int) []byte {
	switch m.keyKind {
	case kindStr:
		return appendString(b, m.texts[h])
	case kindInt:
		return appendUint(b, zigzag(int64(m.ints[h])))
	}
	return appendUint(b, m.ints[h])
}

// keyText returns the key of handle h for an error.
func (m *members) keyText(h int) string {
	switch m.keyKind {
	case kindStr:
		return strconv.Quote(m.texts[h])
	case kindInt:
		return strconv.FormatInt(int64(m.ints[h]), 10)
	}
	return strconv.FormatUint(m.ints[h], 10)
}

// reflectKey returns the key that v holds.
func reflectKey(v reflect.Value) key {
	switch {
	case v.Kind() == reflect.String:
		return key{s: v.String()}
	case v.CanInt():
		return key{n: uint64(v.Int())}
	}
	return key{n: v.Uint()}
}

// nestedMap appends the section of a map within an entity if it changed.
func (e *encoder) nestedMap(f *field, s *sub, fv reflect.Value) bool {
	if s.m == nil {
		s.m = newMembers(&f.value)
	}
	m := s.m
	m.begin()
	e.trail = append(e.trail, step{field: f.path, at: -1})
	defer e.pop()
	at := len(e.buf)
	sink := inline{e: e, m: m, at: at, before: -1}
	e.members(m, &f.value, fv, &sink)
	return sink.end()
}

// members updates m from the map fv. Changes go to the sink.
func (e *encoder) members(m *members, v *value, fv reflect.Value, to sink) {
	if !v.typed {
		m.plain.sync(e, m, fv, to)
		return
	}
	c := fv.Addr().Interface().(typedMap).core()
	if c == nil {
		for h := range m.live.all {
			m.leave(h)
		}
		m.core = nil
		to.block()
		return
	}
	c.sync(e, m, to)
}

// sink receives the changes of a map. block is called once the leaving handles are known,
// then enter for each new handle, then update for the others. Handles ascend. update
// reports whether v changed.
type sink interface {
	block()
	enter(h int, v reflect.Value)
	update(h int, v reflect.Value) bool
}

// inline is the sink of a map within an entity: it appends to the entity's bytes.
type inline struct {
	e       *encoder
	m       *members
	at      int
	entered bool // the block is open
	changed bool
	before  int
	mask    uint64
}

func (w *inline) block() {
	if len(w.m.resting)+len(w.m.added) == 0 {
		return
	}
	w.changed = true
	w.entered = true
	w.e.buf = append(w.e.buf, 1)
	w.e.buf = appendUint(w.e.buf, uint64(len(w.m.resting)))
	last := -1
	for _, h := range w.m.resting {
		w.e.buf = appendUint(w.e.buf, uint64(h-last))
		last = h
	}
}

// endBlock ends the list of entering handles.
func (w *inline) endBlock() {
	if w.entered {
		w.e.buf = append(w.e.buf, 0)
		w.entered, w.before, w.mask = false, -1, 0
	}
}

func (w *inline) end() bool {
	w.endBlock()
	if w.changed {
		w.e.buf = append(w.e.buf, 0)
	}
	return w.changed
}

func (w *inline) enter(h int, v reflect.Value) {
	from := len(w.e.buf)
	mask, _ := w.e.entry(w.m, h, v, true)
	w.mask = w.e.enter(w.m, h, from, h-w.before, w.mask, mask)
	w.before = h
}

func (w *inline) update(h int, v reflect.Value) bool {
	w.endBlock()
	from := len(w.e.buf)
	mask, changed := w.e.entry(w.m, h, v, false)
	if !changed {
		return false
	}
	w.changed = true
	if w.m.val.kind == kindObj {
		w.e.record(from, h-w.before, mask, mask == w.mask)
	} else {
		w.e.buf = insertUint(w.e.buf, from, uint64(h-w.before)<<1)
	}
	w.before, w.mask = h, mask
	return true
}

// entry compares the value of handle h with the sent one. A new entry is appended even if
// it is zero.
func (e *encoder) entry(m *members, h int, v reflect.Value, isNew bool) (mask uint64, changed bool) {
	last := &e.trail[len(e.trail)-1]
	last.m, last.at = m, h
	switch m.val.kind {
	case kindObj:
		var ends []uint32
		if m.region != nil {
			ends = m.region.endsOf(h)
		}
		var r row
		m.tab.row(&r, h)
		mask = e.compare(m.val.obj, &r, v, ends)
		return mask, mask != 0
	case kindStr:
		s := v.String()
		if s == m.tab.strs[h] && !isNew {
			return 0, false
		}
		e.buf = appendString(e.buf, s)
		m.tab.strs[h] = s
		return 0, true
	}
	sent := m.tab.nums[h]
	n, ok := m.val.read(v, sent)
	if !ok {
		e.unsent(m.val, "", v)
	}
	if n == sent && !isNew {
		return 0, false
	}
	e.buf = m.val.append(e.buf, sent, n)
	m.tab.nums[h] = n
	return 0, true
}

// plainMap reads a built-in map.
type plainMap struct {
	iter   reflect.MapIter
	k      reflect.Value  // destination of the iterator's keys
	scalar reflect.Type   // type of the values, nil if they are structs
	ints   map[uint64]int // handles by key, for each kind
	texts  map[string]int
	vals   []plainValue // by handle
	cols   columns      // pointers to the fields of the first maxBound structs, or nil
	seen   bitmap
	fresh  []freshEntry
	// guesses are handles by a hash of the address of the struct. A guess is checked, so it may be
	// wrong. It is found in less time than the handle of a key.
	guesses []uint32
	shift   int
}

// plainValue is a struct, or a variable that holds a scalar.
type plainValue struct {
	v   reflect.Value
	ptr uintptr // address of a struct, which v keeps alive
}

// freshEntry is an entry without a handle.
type freshEntry struct {
	k key
	v reflect.Value
}

func newPlainMap(v *value) *plainMap {
	p := &plainMap{
		ints: map[uint64]int{}, texts: map[string]int{}, k: reflect.New(v.keyType).Elem(),
		guesses: make([]uint32, 1), shift: 64,
	}
	if v.elem.kind != kindObj {
		p.scalar = v.elemType
	}
	return p
}

// guess returns the handle that the struct at ptr had last, or any other number.
func (p *plainMap) guess(ptr uintptr) int { return int(p.guesses[p.hash(ptr)]) }

func (p *plainMap) hash(ptr uintptr) uint64 { return uint64(ptr) >> 3 * 0x9e3779b97f4a7c15 >> p.shift }

// learn makes h the guess for the struct at ptr.
func (p *plainMap) learn(ptr uintptr, h int) {
	if h >= len(p.guesses)/4 {
		width := bits.Len(uint(8*h + 63))
		p.guesses, p.shift = make([]uint32, 1<<width), 64-width
	}
	p.guesses[p.hash(ptr)] = uint32(h)
}

func (p *plainMap) handle(m *members, k key) (h int, ok bool) {
	if m.keyKind == kindStr {
		h, ok = p.texts[k.s]
	} else {
		h, ok = p.ints[k.n]
	}
	return h, ok
}

// sync collects the entries by handle, because a map's own order is random.
func (p *plainMap) sync(e *encoder, m *members, fv reflect.Value, to sink) {
	if fv.Len() == 0 && m.n == 0 {
		to.block()
		return
	}
	clear(p.seen)
	p.seen.grow(len(m.live))
	p.fresh = p.fresh[:0]
	p.iter.Reset(fv)
	for p.iter.Next() {
		p.k.SetIterKey(&p.iter)
		k := reflectKey(p.k)
		var v reflect.Value
		var ptr uintptr
		if p.scalar == nil {
			v = p.iter.Value()
			if ptr = v.Pointer(); ptr == 0 {
				continue
			}
			if h := p.guess(ptr); h < len(p.vals) && p.vals[h].ptr == ptr && m.hasKey(h, k) {
				p.seen[h>>6] |= 1 << (h & 63) // most entries
				continue
			}
		}
		h, known := p.handle(m, k)
		switch {
		case p.scalar == nil:
			if known && p.vals[h].ptr != ptr {
				p.keep(m, h, v.Elem())
			}
			if known {
				p.learn(ptr, h)
			}
		case known:
			p.vals[h].v.SetIterValue(&p.iter)
		default:
			v = reflect.New(p.scalar)
			v.Elem().SetIterValue(&p.iter)
		}
		if !known {
			p.fresh = append(p.fresh, freshEntry{k, v.Elem()})
			continue
		}
		p.seen.set(h)
	}
	p.iter.Reset(reflect.Value{})
	for w, live := range m.live {
		for x := live &^ p.seen[w]; x != 0; x &= x - 1 {
			h := w<<6 + bits.TrailingZeros64(x)
			delete(p.ints, m.keyOf(h).n)
			delete(p.texts, m.keyOf(h).s)
			p.vals[h] = plainValue{}
			if h < maxBound {
				p.cols.free(h)
			}
			m.leave(h)
		}
	}
	slices.SortFunc(p.fresh, func(a, b freshEntry) int { return m.order(a.k, b.k) })
	for _, f := range p.fresh {
		if m.n >= maxEntries {
			e.tooMany(m)
			break
		}
		h := m.give()
		m.setKey(h, f.k)
		if m.keyKind == kindStr {
			p.texts[f.k.s] = h
		} else {
			p.ints[f.k.n] = h
		}
		extend(&p.vals, h+1)
		p.cols.grow(min(h+1, maxBound))
		p.keep(m, h, f.v)
	}
	clear(p.fresh)
	slices.Sort(m.added)
	to.block()
	for _, h := range m.added {
		to.enter(h, p.vals[h].v)
	}
	bound := 0 // words of seen that cols bind
	if p.cols != nil {
		bound = min(len(p.seen), maxBound>>6)
		for w, need := range p.seen[:bound] {
			m.region.add(w, need, p.cols)
		}
		m.region.flush(p.cols)
	}
	for w, need := range p.seen[bound:] {
		for x := need; x != 0; x &= x - 1 {
			h := (bound+w)<<6 + bits.TrailingZeros64(x)
			to.update(h, p.vals[h].v)
		}
	}
}

// keep stores v as the value of handle h.
func (p *plainMap) keep(m *members, h int, v reflect.Value) {
	p.vals[h] = plainValue{v: v}
	if p.scalar != nil {
		return
	}
	p.vals[h].ptr = v.Addr().Pointer()
	if p.cols != nil && h < maxBound {
		p.cols.bind(m.val.obj, h, v)
	}
}

func (e *encoder) tooMany(m *members) {
	e.trail[len(e.trail)-1].m = nil
	e.fault("", "more than %d entries", maxEntries)
}
