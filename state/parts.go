package state

import (
	"math"
	"math/bits"
	"reflect"
)

// maxParts bounds the entries of a map for which pointers to the fields are kept. They
// take 16 bytes per field, and save two thirds of the time of a comparison with reflect.
const maxParts = 1 << 14

// basic maps each kind to the pointer type that represents pointers to its types.
var basic = map[reflect.Kind]reflect.Type{
	reflect.Bool: reflect.TypeFor[*bool](), reflect.String: reflect.TypeFor[*string](),
	reflect.Int: reflect.TypeFor[*int](), reflect.Int8: reflect.TypeFor[*int8](), reflect.Int16: reflect.TypeFor[*int16](),
	reflect.Int32: reflect.TypeFor[*int32](), reflect.Int64: reflect.TypeFor[*int64](),
	reflect.Uint: reflect.TypeFor[*uint](), reflect.Uint8: reflect.TypeFor[*uint8](),
	reflect.Uint16: reflect.TypeFor[*uint16](), reflect.Uint32: reflect.TypeFor[*uint32](),
	reflect.Uint64:  reflect.TypeFor[*uint64](),
	reflect.Float32: reflect.TypeFor[*float32](), reflect.Float64: reflect.TypeFor[*float64](),
}

// partsOf returns pointers to the fields of v, or nil if p has fields that reflect has to
// read.
func partsOf(p *plan, v reflect.Value) []any {
	if !p.simple {
		return nil
	}
	parts := make([]any, len(p.fields))
	for i := range parts {
		fv := fieldOf(v, &p.fields[i])
		parts[i] = fv.Addr().Convert(basic[fv.Kind()]).Interface()
	}
	return parts
}

// loadInt returns the integer or bool of kind k behind part p.
func loadInt(k reflect.Kind, p any) uint64 {
	switch k {
	case reflect.Bool:
		if *p.(*bool) {
			return 1
		}
		return 0
	case reflect.Int:
		return uint64(*p.(*int))
	case reflect.Int8:
		return uint64(*p.(*int8))
	case reflect.Int16:
		return uint64(*p.(*int16))
	case reflect.Int32:
		return uint64(*p.(*int32))
	case reflect.Int64:
		return uint64(*p.(*int64))
	case reflect.Uint:
		return uint64(*p.(*uint))
	case reflect.Uint8:
		return uint64(*p.(*uint8))
	case reflect.Uint16:
		return uint64(*p.(*uint16))
	case reflect.Uint32:
		return uint64(*p.(*uint32))
	}
	return *p.(*uint64)
}

// op holds the field data that updateParts needs, in a few bytes.
type op struct {
	kind  opKind
	level uint8
	slot  uint16
}

type opKind uint8

const (
	opOther opKind = iota
	opStr
	opInt // kindInt of the Go type int
)

func opsOf(fields []field) []op {
	ops := make([]op, len(fields))
	for i := range fields {
		f := &fields[i]
		ops[i] = op{level: f.level, slot: uint16(f.slot)}
		switch {
		case f.kind == kindStr:
			ops[i].kind = opStr
		case f.kind == kindInt && f.goKind == reflect.Int:
			ops[i].kind = opInt
		}
	}
	return ops
}

// updateParts is update for the entries of word w that are set in need. parts has pointers
// to their fields. It returns the entries that changed.
func (r *region) updateParts(w int, need uint64, parts [][]any) (changed uint64) {
	e, m, p := &r.s.enc, r.m, r.m.val.obj
	ops, buf, recs := p.ops, e.buf, r.recs
	allNums, allStrs, leveled := m.tab.nums, m.tab.strs, r.levels > 1
	for x := need; x != 0; x &= x - 1 {
		h := w<<6 + bits.TrailingZeros64(x)
		at, level, mask := len(buf), 0, uint64(0)
		var ends []uint32
		if leveled {
			ends = r.endsOf(h)
		} else {
			buf = append(buf, 0) // for the tag
		}
		nums, strs, fields := allNums[h*p.nums:], allStrs[h*p.strs:], parts[h][:len(ops)]
		for i, o := range ops {
			for ; leveled && level < int(o.level); level++ {
				ends[level] = uint32(len(buf))
			}
			switch o.kind {
			case opStr:
				if s, last := *fields[i].(*string), &strs[o.slot]; s != *last {
					buf = appendString(buf, s)
					*last = s
					mask |= 1 << i
				}
			case opInt:
				n, last := uint64(*fields[i].(*int)), &nums[o.slot]
				if n == *last {
					continue
				}
				if n+maxInt > 2*maxInt {
					e.unsentPart(m, h, i, fields[i])
					continue
				}
				buf = appendInt(buf, int64(n-*last))
				*last = n
				mask |= 1 << i
			default:
				f := &p.fields[i]
				last := nums[o.slot]
				n, ok := f.load(fields[i])
				switch {
				case !ok:
					e.unsentPart(m, h, i, fields[i])
					continue
				case n == last:
					continue
				}
				switch f.kind {
				case kindBool: // the bit in the mask is enough
				case kindInt, kindQ:
					buf = appendInt(buf, int64(n-last))
				default:
					buf = f.append(buf, last, n)
				}
				nums[o.slot] = n
				mask |= 1 << i
			}
		}
		if mask == 0 {
			buf = buf[:at]
			continue
		}
		for ; level < len(ends); level++ {
			ends[level] = uint32(len(buf))
		}
		changed |= x & -x
		if tag := uint64(h-r.last)<<1 | 1; !leveled && mask == r.lastMask && tag < 0x80 { // most records
			buf[at] = byte(tag)
			r.last = h
			recs[h] = rec{mask, span{uint32(at + 1), uint32(len(buf))}}
			continue
		}
		e.buf = buf
		r.record(h, mask, at)
		buf = e.buf
	}
	e.buf = buf
	r.changed[w] |= changed
	return changed
}

// unsentPart reports field i of entry h of m, whose value cannot be sent.
func (e *encoder) unsentPart(m *members, h, i int, part any) {
	last := &e.trail[len(e.trail)-1]
	last.m, last.at = m, h
	f := &m.val.obj.fields[i]
	e.unsent(&f.value, f.path, reflect.ValueOf(part).Elem())
}

// load returns the slot for the number or bool that part points to, and whether it can be
// sent.
func (v *value) load(part any) (n uint64, ok bool) {
	switch v.goKind {
	case reflect.Float32:
		return v.fromFloat(float64(*part.(*float32))), true
	case reflect.Float64:
		return v.fromFloat(*part.(*float64)), true
	}
	n = loadInt(v.goKind, part)
	return n, v.holds(n)
}

// fromFloat returns the slot for a float.
func (v *value) fromFloat(x float64) uint64 {
	switch v.kind {
	case kindQ:
		f := x * v.scale
		switch {
		case f != f:
			return 0
		case f > maxInt:
			return maxInt
		case f < -maxInt:
			return -maxInt & math.MaxUint64
		}
		return uint64(int64(math.RoundToEven(f)))
	case kindTurn:
		f := x / (2 * math.Pi)
		f -= math.RoundToEven(f) // at most half a turn in either direction
		if f != f {
			return 0
		}
		n := int64(math.RoundToEven(f * v.scale))
		if n == int64(v.scale)/2 {
			n = -n
		}
		return uint64(n)
	}
	x += 0 // converts -0 to 0
	if x != x {
		return canonicalNaN
	}
	return math.Float64bits(x)
}

// holds reports whether integer n can be sent.
func (v *value) holds(n uint64) bool {
	switch v.kind {
	case kindInt:
		if v.unsigned {
			return n <= maxInt
		}
		return n+maxInt <= 2*maxInt // the range of a signed integer is -2^52 to 2^52
	case kindEnum:
		return n < uint64(len(v.enum))
	}
	return true
}
