package state

import (
	"math"
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

// op holds the field data that compareParts needs, in a few bytes.
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

// compareParts is [encoder.compare] for a struct whose fields are accessed through parts.
func (e *encoder) compareParts(p *plan, nums []uint64, strs []string, parts []any, ends []uint32) (mask uint64) {
	level := 0
	buf := e.buf
	parts = parts[:len(p.ops)]
	for i, o := range p.ops {
		if int(o.level) != level && ends != nil {
			for ; level < int(o.level); level++ {
				ends[level] = uint32(len(buf))
			}
		}
		switch o.kind {
		case opStr:
			if s, last := *parts[i].(*string), &strs[o.slot]; s != *last {
				buf = appendString(buf, s)
				*last = s
				mask |= 1 << i
			}
		case opInt:
			n, last := uint64(*parts[i].(*int)), &nums[o.slot]
			if n == *last {
				continue
			}
			if n+maxInt > 2*maxInt {
				e.unsent(&p.fields[i].value, p.fields[i].path, reflect.ValueOf(parts[i]).Elem())
				continue
			}
			buf = appendInt(buf, int64(n-*last))
			*last = n
			mask |= 1 << i
		default:
			f := &p.fields[i]
			last := nums[o.slot]
			n, ok := f.load(parts[i])
			switch {
			case !ok:
				e.unsent(&f.value, f.path, reflect.ValueOf(parts[i]).Elem())
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
	for ; level < len(ends); level++ {
		ends[level] = uint32(len(buf))
	}
	e.buf = buf
	return mask
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
