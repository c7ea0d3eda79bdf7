package state

import (
	"cmp"
	"iter"
	"math/bits"
	"reflect"
	"slices"
)

// Key is the type of a map's keys.
type Key interface {
	~string | ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Map is a map of structs that [Sync.Tick] compares fast and that is read in the order of
// its keys. T is a struct type. The zero Map is empty and ready to use. A copy of a Map is
// the same map.
//
// A Map is part of the state of one [Sync]. Like that state it is not safe for concurrent
// use.
type Map[K Key, T any] struct {
	c *core[K, T]
}

// core is the shared part of all copies of a Map.
type core[K Key, T any] struct {
	index map[K]*item[K, T]
	order []*item[K, T] // sorted by key if tail is len(order); may contain dead items
	tail  int           // items from here on are new and not sorted
	dead  int           // items in order that were deleted

	m       *members // attached to
	vals    []*T     // by handle
	keys    []K      // by handle
	sent    []T      // by handle: the structs as last compared, if T is flat and the entry is not hot
	cols    columns  // pointers to the fields of the first maxBound handles, or nil
	bare    bitmap   // handles that are not bound in cols yet
	hot     bitmap   // handles that probably changed again, if T is flat
	marks   bitmap   // handles to compare in this tick
	small   bool     // T has at most maxSmall bytes
	pending []*item[K, T]
	gone    []int
	touched []*item[K, T]
	past    history[K, T]

	probe  *K // buffer for a key in handle, because reflect cannot convert without an allocation
	probed reflect.Value
}

// item is one entry. val is nil after the entry was deleted.
type item[K Key, T any] struct {
	key     K
	val     *T
	handle  int // -1 if there is none
	touched bool
}

func (m *Map[K, T]) types() (key, elem reflect.Type) {
	return reflect.TypeFor[K](), reflect.TypeFor[T]()
}

func (m *Map[K, T]) core() typedCore {
	if m.c == nil {
		return nil
	}
	return m.c
}

// Put sets the value of key k. If k had a value, clients receive the difference. Put
// panics if v is nil.
func (m *Map[K, T]) Put(k K, v *T) {
	if v == nil {
		panic("state: Put of nil")
	}
	if m.c == nil {
		m.c = &core[K, T]{index: map[K]*item[K, T]{}}
	}
	c := m.c
	if it := c.index[k]; it != nil {
		it.val = v
		if it.handle >= 0 {
			c.set(it.handle, v)
		}
		c.touch(it)
		return
	}
	it := &item[K, T]{key: k, val: v, handle: -1}
	c.index[k] = it
	if c.tail == len(c.order) && (c.tail == 0 || c.order[c.tail-1].key < k) {
		c.tail++
	}
	c.order = append(c.order, it)
	c.pending = append(c.pending, it)
}

// Get returns the value of key k, or nil if there is none. The caller may change the
// struct, and the next [Sync.Tick] detects the change.
func (m *Map[K, T]) Get(k K) *T {
	if m.c == nil {
		return nil
	}
	if it := m.c.index[k]; it != nil {
		return it.val
	}
	return nil
}

// Delete removes key k and reports whether it was there. A pointer that the program keeps
// stays valid and is no longer sent.
func (m *Map[K, T]) Delete(k K) bool {
	if m.c == nil {
		return false
	}
	c := m.c
	it := c.index[k]
	if it == nil {
		return false
	}
	delete(c.index, k)
	it.val = nil
	c.dead++
	if it.handle >= 0 {
		c.set(it.handle, nil)
		c.gone = append(c.gone, it.handle)
	}
	return true
}

// set sets the struct of handle h.
func (c *core[K, T]) set(h int, v *T) {
	c.vals[h] = v
	if c.cols != nil && h < maxBound {
		c.cols.free(h)
		c.bare.set(h)
	}
}

// grow makes room for n handles.
func (c *core[K, T]) grow(n int) {
	extend(&c.vals, n)
	extend(&c.keys, n)
	if c.m.flat {
		extend(&c.sent, n)
		c.hot.grow((n + 63) >> 6)
	}
	if c.cols != nil {
		c.cols.grow(min(n, maxBound))
		c.bare.grow((n + 63) >> 6)
	}
}

// Len returns the number of keys.
func (m *Map[K, T]) Len() int {
	if m.c == nil {
		return 0
	}
	return len(m.c.index)
}

// All yields the keys and values in the order of the keys. The loop may change the map: a
// key that it deletes is not yielded, and one that it puts is not either.
func (m *Map[K, T]) All() iter.Seq2[K, *T] {
	return func(yield func(K, *T) bool) {
		if m.c == nil {
			return
		}
		m.c.sort()
		for _, it := range m.c.order {
			if it.val != nil && !yield(it.key, it.val) {
				return
			}
		}
	}
}

// Touch marks the value of key k as changed. It is for maps with the tag touch, whose
// other values [Sync.Tick] does not compare.
func (m *Map[K, T]) Touch(k K) {
	if m.c == nil {
		return
	}
	if it := m.c.index[k]; it != nil {
		m.c.touch(it)
	}
}

// touch records an item that the next tick has to compare.
func (c *core[K, T]) touch(it *item[K, T]) {
	if c.m != nil && c.m.touch && !it.touched && it.handle >= 0 {
		it.touched = true
		c.touched = append(c.touched, it)
	}
}

// sort sorts order by key. It does not change the old slice, because a loop may be using
// it.
func (c *core[K, T]) sort() {
	if c.tail == len(c.order) && c.dead <= len(c.index) {
		return
	}
	fresh := slices.Clone(c.order[c.tail:])
	slices.SortFunc(fresh, byKey)
	merged := make([]*item[K, T], 0, len(c.index)+len(c.index)/8)
	add := func(it *item[K, T]) {
		if it.val != nil {
			merged = append(merged, it)
		}
	}
	for _, it := range c.order[:c.tail] {
		for len(fresh) > 0 && fresh[0].key < it.key {
			add(fresh[0])
			fresh = fresh[1:]
		}
		add(it)
	}
	for _, it := range fresh {
		add(it)
	}
	c.order, c.tail, c.dead = merged, len(merged), 0
}

func byKey[K Key, T any](a, b *item[K, T]) int { return cmp.Compare(a.key, b.key) }

// typedCore is the part of a Map that depends on its types.
type typedCore interface {
	// sync updates m from the map.
	sync(e *encoder, m *members, to sink)
	// handle returns the handle of key k.
	handle(k key) (int, bool)
	// remember keeps the content of the map for At.
	remember(tick uint64, size int)
}

// attach sends the map from m. Entries keep the handles that m has for their keys.
func (c *core[K, T]) attach(m *members) {
	c.m, m.core = m, c
	c.vals, c.keys, c.sent, c.cols, c.bare, c.hot, c.marks = nil, nil, nil, nil, nil, nil, nil
	c.pending, c.gone, c.touched = c.pending[:0], c.gone[:0], c.touched[:0]
	c.small = reflect.TypeFor[T]().Size() <= maxSmall
	if m.region != nil {
		c.cols = makeColumns(m.val.obj)
	}
	c.grow(len(m.used) * 64)
	known := make(map[key]int, m.n)
	for h := range m.live.all {
		known[m.keyOf(h)] = h
		c.gone = append(c.gone, h)
	}
	c.sort()
	for _, it := range c.order {
		if it.val == nil {
			continue
		}
		it.handle, it.touched = -1, false
		if h, ok := known[reflectKey(reflect.ValueOf(it.key))]; ok {
			c.keys[h] = it.key
		}
		c.pending = append(c.pending, it)
	}
}

// settle assigns handles to new entries and frees the handles of deleted ones.
func (c *core[K, T]) settle(e *encoder, m *members) {
	slices.Sort(c.gone)
	for _, h := range c.gone {
		if it := c.index[c.keys[h]]; it != nil && it.handle < 0 && m.keyOf(h) == reflectKey(reflect.ValueOf(it.key)) {
			it.handle = h // the key was deleted and put again
			c.set(h, it.val)
			c.touch(it)
			continue
		}
		m.leave(h)
	}
	c.gone = c.gone[:0]
	if len(c.pending) == 0 {
		return
	}
	slices.SortFunc(c.pending, byKey)
	late := c.pending[:0]
	for _, it := range c.pending {
		switch {
		case it.val == nil || it.handle >= 0:
		case m.n >= maxEntries:
			if len(late) == 0 {
				e.tooMany(m)
			}
			late = append(late, it)
		default:
			h := m.give()
			m.setKey(h, reflectKey(reflect.ValueOf(it.key)))
			c.grow(h + 1)
			it.handle, c.keys[h] = h, it.key
			c.set(h, it.val)
		}
	}
	clear(c.pending[len(late):])
	c.pending = late
	slices.Sort(m.added)
}

func (c *core[K, T]) sync(e *encoder, m *members, to sink) {
	all := false
	if c.m != m || m.core != c {
		c.attach(m)
		all = true
	}
	c.settle(e, m)
	to.block()
	for _, h := range m.added {
		to.enter(h, reflect.ValueOf(c.vals[h]).Elem())
		if m.flat {
			c.sent[h] = *c.vals[h]
			c.hot.unset(h)
		}
	}
	c.marks.grow(len(m.live))
	switch {
	case m.touch && !all:
		c.markTouched()
	case m.flat && !all:
		if !c.markDiffering(m.live) {
			return
		}
	default:
		copy(c.marks, m.live)
	}
	for _, h := range m.added {
		c.marks.unset(h)
	}
	c.update(m, to)
}

// markDiffering marks the entries that may have changed, and reports whether there are any.
func (c *core[K, T]) markDiffering(live bitmap) bool {
	var all uint64
	for w, x := range live {
		need := c.differing(w, x)
		c.marks[w] = need
		all |= need
	}
	return all != 0
}

// markTouched marks the entries that were touched.
func (c *core[K, T]) markTouched() {
	clear(c.marks)
	for _, it := range c.touched {
		if it.touched = false; it.val != nil {
			c.marks.set(it.handle)
		}
	}
	clear(c.touched)
	c.touched = c.touched[:0]
}

// differing returns the entries of word w that differ from sent, and the hot ones, which
// have no value there. If many are hot, it returns all. T is flat.
func (c *core[K, T]) differing(w int, live uint64) (need uint64) {
	base := w << 6
	need = live & c.hot[w]
	if need != 0 && many(need, live) {
		return live
	}
	rest := live &^ need
	if c.small {
		rest = c.unequal(base, rest)
	}
	for x := rest; x != 0; x &= x - 1 {
		h := base + bits.TrailingZeros64(x)
		if any(*c.vals[h]) != any(c.sent[h]) {
			need |= x & -x
		}
	}
	return need
}

// maxSmall is the size of the largest structs that unequal copies, in bytes.
const maxSmall = 64

// unequal returns the handles of rest, relative to base, without groups of eight that are
// equal to sent. One comparison of eight structs is faster than eight of one.
func (c *core[K, T]) unequal(base int, rest uint64) uint64 {
	vals, sent := c.vals[base:], c.sent[base:]
	for i := 0; i < 64; i += 8 {
		if rest>>i&255 != 255 {
			continue
		}
		v := vals[i : i+8 : i+8]
		if any([8]T{*v[0], *v[1], *v[2], *v[3], *v[4], *v[5], *v[6], *v[7]}) == any([8]T(sent[i:i+8])) {
			rest &^= 255 << i
		}
	}
	return rest
}

// many reports whether part has more than one eighth of the live entries. Then comparing
// the fields of all entries is faster than searching for those that changed.
func many(part, live uint64) bool { return bits.OnesCount64(part)*8 > bits.OnesCount64(live) }

// update compares the marked entries, field by field.
func (c *core[K, T]) update(m *members, to sink) {
	bound := 0 // words of marks that cols bind
	r, _ := to.(*region)
	if r != nil && c.cols != nil { // as in most maps
		bound = min(len(m.live), maxBound>>6)
		for w, need := range c.marks[:bound] {
			if need != 0 {
				c.bind(w, need)
				r.add(w, need, c.cols)
			}
		}
		r.flush(c.cols)
	}
	first := bound
	if m.flat {
		first = 0
	}
	for w := first; w < len(m.live); w++ {
		need := c.marks[w]
		if need == 0 {
			continue
		}
		var changed uint64
		if w < bound {
			changed = r.changed[w]
		} else {
			for x := need; x != 0; x &= x - 1 {
				h := w<<6 + bits.TrailingZeros64(x)
				if to.update(h, reflect.ValueOf(c.vals[h]).Elem()) {
					changed |= x & -x
				}
			}
		}
		if m.flat {
			c.compared(w, need, changed, m.live[w])
		}
	}
}

// bind binds the entries of word w that are set in need.
func (c *core[K, T]) bind(w int, need uint64) {
	p := c.m.val.obj
	for x := need & c.bare[w]; x != 0; x &= x - 1 {
		h := w<<6 + bits.TrailingZeros64(x)
		c.cols.bind(p, h, reflect.ValueOf(c.vals[h]).Elem())
	}
	c.bare[w] &^= need
}

// compared records which entries of word w were compared, and which of them changed. T is
// flat.
func (c *core[K, T]) compared(w int, need, changed, live uint64) {
	if many(changed, live) {
		c.hot[w] |= need
		return
	}
	c.hot[w] = c.hot[w]&^need | changed
	for x := need &^ changed; x != 0; x &= x - 1 {
		h := w<<6 + bits.TrailingZeros64(x)
		c.sent[h] = *c.vals[h]
	}
}

func (c *core[K, T]) handle(k key) (int, bool) {
	if c.probe == nil {
		c.probe = new(K)
		c.probed = reflect.ValueOf(c.probe).Elem()
	}
	switch {
	case c.probed.CanInt():
		c.probed.SetInt(int64(k.n))
	case c.probed.CanUint():
		c.probed.SetUint(k.n)
	default:
		c.probed.SetString(k.s)
	}
	it := c.index[*c.probe]
	if it == nil || it.handle < 0 {
		return 0, false
	}
	return it.handle, true
}
