package state

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// encoder compares live values with the sent ones, appends the differences to buf and
// records the new values as sent.
type encoder struct {
	buf    []byte
	faults []error
	trail  []step // path from the root to the compared value

	nums []uint64 // scratch
	strs []string
	head []byte
}

// step is one part of a path, which error messages contain.
type step struct {
	field string
	m     *members // for a map: the map, whose handle is in at
	at    int      // the handle, or the index in a list; else -1
}

// maxFaults is the maximum number of errors that one Tick reports.
const maxFaults = 16

func (e *encoder) push(field string) { e.trail = append(e.trail, step{field: field, at: -1}) }
func (e *encoder) pop()              { e.trail = e.trail[:len(e.trail)-1] }

// fault reports that the field cannot be sent.
func (e *encoder) fault(field, format string, args ...any) {
	if len(e.faults) >= maxFaults {
		return
	}
	var path strings.Builder
	for _, s := range e.trail {
		if s.field != "" {
			path.WriteString("." + s.field)
		}
		switch {
		case s.m != nil:
			path.WriteString("[" + s.m.keyText(s.at) + "]")
		case s.at >= 0:
			path.WriteString("[" + strconv.Itoa(s.at) + "]")
		}
	}
	if field != "" {
		path.WriteString("." + field)
	}
	e.faults = append(e.faults, fmt.Errorf("state: %s: "+format, append([]any{path.String()[1:]}, args...)...))
}

// take returns the errors recorded since the last call.
func (e *encoder) take() error {
	err := errors.Join(e.faults...)
	clear(e.faults)
	e.faults = e.faults[:0]
	return err
}

// unsent reports the value fv of the field, which [value.read] refused.
func (e *encoder) unsent(v *value, field string, fv reflect.Value) {
	if v.kind == kindEnum {
		e.fault(field, "%v is not one of the %d texts of the enum", fv.Interface(), len(v.enum))
		return
	}
	e.fault(field, "%v is beyond 2^52: tag the field big", fv.Interface())
}

// fieldOf returns the field f of the struct v.
func fieldOf(v reflect.Value, f *field) reflect.Value {
	if f.direct {
		return v.Field(f.first)
	}
	return v.FieldByIndex(f.index)
}

// compare appends the fields of v that differ from r and returns their mask. If ends is
// not nil, compare stores the end of the bytes visible at each level in it.
func (e *encoder) compare(p *plan, r *row, v reflect.Value, ends []uint32) (mask uint64) {
	level := 0
	for i := range p.fields {
		f := &p.fields[i]
		for ends != nil && level < int(f.level) {
			ends[level] = uint32(len(e.buf))
			level++
		}
		fv := fieldOf(v, f)
		if e.field(f, r, fv) {
			mask |= 1 << i
		}
	}
	for ; level < len(ends); level++ {
		ends[level] = uint32(len(e.buf))
	}
	return mask
}

// field appends the field if it differs from r and reports whether it did.
func (e *encoder) field(f *field, r *row, fv reflect.Value) bool {
	switch f.kind {
	case kindStr:
		s := fv.String()
		if s == r.strs[f.slot] {
			return false
		}
		e.buf = appendString(e.buf, s)
		r.strs[f.slot] = s
		return true
	case kindObj:
		return e.pointer(f, &r.subs[f.slot], fv)
	case kindList:
		return e.list(&f.value, f.path, &r.subs[f.slot], fv)
	case kindMap:
		return e.nestedMap(f, &r.subs[f.slot], fv)
	}
	last := r.nums[f.slot]
	n, ok := f.read(fv, last)
	if !ok {
		e.unsent(&f.value, f.path, fv)
	}
	if f.snap {
		f.round(fv, n)
	}
	if n == last {
		return false
	}
	if f.kind != kindBool { // the bit in the mask is enough
		e.buf = f.append(e.buf, last, n)
	}
	r.nums[f.slot] = n
	return true
}

// body appends the mask and the changed fields of a struct. It reports whether there are
// any. If always is true, it appends the mask even if it is 0.
func (e *encoder) body(p *plan, r *row, v reflect.Value, always bool) bool {
	at := len(e.buf)
	mask := e.compare(p, r, v, nil)
	if mask != 0 || always {
		e.buf = insertUint(e.buf, at, mask)
	}
	return mask != 0
}

func (e *encoder) pointer(f *field, s *sub, fv reflect.Value) bool {
	if fv.IsNil() {
		if s.obj == nil {
			return false
		}
		s.obj = nil
		e.buf = append(e.buf, 0)
		return true
	}
	isNew := s.obj == nil
	if isNew {
		s.obj = newRow(f.obj)
	}
	at := len(e.buf)
	e.buf = append(e.buf, 1)
	e.push(f.path)
	changed := e.body(f.obj, s.obj, fv.Elem(), isNew)
	e.pop()
	if !changed && !isNew {
		e.buf = e.buf[:at]
		return false
	}
	return true
}

// list is the sent value of a list.
type list struct {
	nums []uint64
	strs []string
	rows []*row    // structs; nil is null
	ids  []uintptr // kindObj: the pointers, which identify items
}

// list appends the section of a list if it changed.
func (e *encoder) list(v *value, field string, s *sub, fv reflect.Value) bool {
	if s.list == nil {
		if fv.Len() == 0 {
			return false
		}
		s.list = &list{}
	}
	e.push(field)
	defer e.pop()
	switch v.elem.kind {
	case kindStr:
		e.strs = e.strs[:0]
		for i := range fv.Len() {
			e.strs = append(e.strs, fv.Index(i).String())
		}
		return splice(e, v.elem, &s.list.strs, e.strs, func(b []byte, _, s string) []byte {
			return appendString(b, s)
		})
	case kindObj, kindStruct:
		return e.structs(v.elem, s.list, fv)
	}
	e.nums = e.nums[:0]
	for i := range fv.Len() {
		var last uint64
		if i < len(s.list.nums) {
			last = s.list.nums[i]
		}
		item := fv.Index(i)
		n, ok := v.elem.read(item, last)
		if !ok {
			e.trail[len(e.trail)-1].at = i
			e.unsent(v.elem, "", item)
		}
		if v.elem.snap {
			v.elem.round(item, n)
		}
		e.nums = append(e.nums, n)
	}
	return splice(e, v.elem, &s.list.nums, e.nums, v.elem.append)
}

// splice appends the change from sent to now, and sets sent to now. If the length is the
// same, it appends changed items one by one. Otherwise it replaces the range between the
// common prefix and the common suffix.
func splice[T comparable](e *encoder, v *value, sent *[]T, now []T, item func(b []byte, last, n T) []byte) bool {
	old := *sent
	if len(old) == len(now) {
		before, changed := -1, false
		for i, n := range now {
			if n == old[i] {
				continue
			}
			e.buf = appendUint(e.buf, uint64(i-before)<<1)
			e.buf = item(e.buf, old[i], n)
			before, changed = i, true
		}
		if changed {
			copy(old, now)
			e.buf = append(e.buf, 0)
		}
		return changed
	}
	shared := min(len(old), len(now))
	start := 0
	for start < shared && old[start] == now[start] {
		start++
	}
	tail := 0
	for tail < shared-start && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	e.splice(start, len(old)-start-tail, len(now)-start-tail)
	var zero T
	for _, n := range now[start : len(now)-tail] {
		e.buf = item(e.buf, zero, n)
	}
	e.buf = append(e.buf, 0)
	*sent = append(old[:0], now...)
	return true
}

// splice appends the head of a list's block.
func (e *encoder) splice(start, removed, added int) {
	e.buf = append(e.buf, 1)
	e.buf = appendUint(e.buf, uint64(start))
	e.buf = appendUint(e.buf, uint64(removed))
	e.buf = appendUint(e.buf, uint64(added))
}

// structs appends the section of a list of structs or of pointers to structs.
func (e *encoder) structs(v *value, l *list, fv reflect.Value) bool {
	old, n := len(l.rows), fv.Len()
	same := func(i, j int) bool { return l.ids[i] == fv.Index(j).Pointer() }
	start, tail, shared := 0, 0, min(old, n)
	switch {
	case v.kind == kindStruct && old == n:
		start = n
	case v.kind == kindStruct:
		same = func(i, j int) bool { return equal(v.obj, l.rows[i], fv.Index(j)) }
	}
	for start < shared && same(start, start) {
		start++
	}
	for tail < shared-start && same(old-1-tail, n-1-tail) {
		tail++
	}
	removed, added := old-start-tail, n-start-tail
	at := len(e.buf)
	changed := removed+added > 0
	if changed {
		e.splice(start, removed, added)
		rows := make([]*row, added)
		ids := make([]uintptr, added)
		for i := range rows {
			item := fv.Index(start + i)
			e.trail[len(e.trail)-1].at = start + i
			if v.kind == kindObj {
				if ids[i] = item.Pointer(); ids[i] == 0 {
					e.buf = append(e.buf, 0)
					continue
				}
				e.buf = append(e.buf, 1)
				item = item.Elem()
			}
			rows[i] = newRow(v.obj)
			e.body(v.obj, rows[i], item, true)
		}
		l.rows = slices.Replace(l.rows, start, start+removed, rows...)
		l.ids = slices.Replace(l.ids, start, start+removed, ids...)
	}
	before, last, first := -1, uint64(0), true
	for i := range n {
		if i >= start && i < start+added {
			continue
		}
		item := fv.Index(i)
		if v.kind == kindObj {
			if l.ids[i] == 0 {
				continue
			}
			item = item.Elem()
		}
		e.trail[len(e.trail)-1].at = i
		from := len(e.buf)
		mask := e.compare(v.obj, l.rows[i], item, nil)
		if mask == 0 {
			continue
		}
		e.record(from, i-before, mask, !first && mask == last)
		before, last, first, changed = i, mask, false, true
	}
	if !changed {
		e.buf = e.buf[:at]
		return false
	}
	e.buf = append(e.buf, 0)
	return true
}

// record inserts the tag before the fields that start at from. It also inserts the mask
// unless it equals the mask of the previous record.
func (e *encoder) record(from, gap int, mask uint64, same bool) {
	tag := uint64(gap) << 1
	if same {
		e.buf = insertUint(e.buf, from, tag|1)
		return
	}
	e.buf = insertUint(e.buf, from, mask)
	e.buf = insertUint(e.buf, from, tag)
}

// openRecord writes the tag, and the mask unless same is set, before the fields of a
// record. A scalar has no mask. The byte at offset at is free. It returns the offset of
// the fields.
func (e *encoder) openRecord(at, gap int, mask uint64, scalar, same bool) int {
	tag := uint64(gap) << 1
	if same && !scalar {
		tag |= 1
	}
	if (same || scalar) && tag < 0x80 { // most records
		e.buf[at] = byte(tag)
		return at + 1
	}
	e.head = appendUint(e.head[:0], tag)
	if !same && !scalar {
		e.head = appendUint(e.head, mask)
	}
	e.buf = slices.Replace(e.buf, at, at+1, e.head...)
	return at + len(e.head)
}

// equal reports whether v equals the sent row r. It does not compare maps.
func equal(p *plan, r *row, v reflect.Value) bool {
	for i := range p.fields {
		f := &p.fields[i]
		fv := fieldOf(v, f)
		switch f.kind {
		case kindStr:
			if fv.String() != r.strs[f.slot] {
				return false
			}
		case kindObj:
			obj := r.subs[f.slot].obj
			if fv.IsNil() != (obj == nil) || obj != nil && !equal(f.obj, obj, fv.Elem()) {
				return false
			}
		case kindList:
			if !equalList(f.elem, r.subs[f.slot].list, fv) {
				return false
			}
		case kindMap:
			return false
		default:
			if n, ok := f.read(fv, 0); !ok || n != r.nums[f.slot] {
				return false
			}
		}
	}
	return true
}

func equalList(v *value, l *list, fv reflect.Value) bool {
	if l == nil {
		return fv.Len() == 0
	}
	if fv.Len() != max(len(l.nums), len(l.strs), len(l.rows)) {
		return false
	}
	for i := range fv.Len() {
		item := fv.Index(i)
		switch v.kind {
		case kindStr:
			if item.String() != l.strs[i] {
				return false
			}
		case kindObj:
			if item.IsNil() != (l.rows[i] == nil) || l.rows[i] != nil && !equal(v.obj, l.rows[i], item.Elem()) {
				return false
			}
		case kindStruct:
			if !equal(v.obj, l.rows[i], item) {
				return false
			}
		default:
			if n, ok := v.read(item, 0); !ok || n != l.nums[i] {
				return false
			}
		}
	}
	return true
}
