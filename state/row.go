package state

import (
	"math"
	"reflect"
	"slices"
)

// row is what was sent of one struct: a slot for each field of its plan.
type row struct {
	nums []uint64
	strs []string
	subs []sub
}

// sub is what was sent of a pointer, a list or a map. One of its fields is set, and none
// for what is still null or empty.
type sub struct {
	obj  *row
	list *list
	m    *members
}

func newRow(p *plan) *row {
	r := &row{}
	if p.nums > 0 {
		r.nums = make([]uint64, p.nums)
	}
	if p.strs > 0 {
		r.strs = make([]string, p.strs)
	}
	if p.subs > 0 {
		r.subs = make([]sub, p.subs)
	}
	return r
}

// table holds the rows of a map's structs, by handle, or its scalars.
type table struct {
	numsPer, strsPer, subsPer int
	nums                      []uint64
	strs                      []string
	subs                      []sub
}

// makeTable makes an empty table of values of v.
func makeTable(v *value) table {
	switch {
	case v.kind == kindObj:
		return table{numsPer: v.obj.nums, strsPer: v.obj.strs, subsPer: v.obj.subs}
	case v.kind == kindStr:
		return table{strsPer: 1}
	}
	return table{numsPer: 1}
}

// grow makes room for n rows.
func (t *table) grow(n int) {
	extend(&t.nums, n*t.numsPer)
	extend(&t.strs, n*t.strsPer)
	extend(&t.subs, n*t.subsPer)
}

// extend makes s at least n long.
func extend[T any](s *[]T, n int) {
	if d := n - len(*s); d > 0 {
		*s = slices.Grow(*s, d)[:n]
	}
}

// row returns row i. It stays valid until the table grows.
func (t *table) row(i int) row {
	return row{
		nums: t.nums[i*t.numsPer : (i+1)*t.numsPer],
		strs: t.strs[i*t.strsPer : (i+1)*t.strsPer],
		subs: t.subs[i*t.subsPer : (i+1)*t.subsPer],
	}
}

// clear makes row i zero.
func (t *table) clear(i int) {
	r := t.row(i)
	clear(r.nums)
	clear(r.strs)
	clear(r.subs)
}

// canonicalNaN is the one NaN that is sent: NaNs differ in bits that mean nothing.
var canonicalNaN = math.Float64bits(math.NaN())

// read returns the slot for v's value in fv: what is sent and compared. Of a value that
// cannot be sent it returns last and false.
func (v *value) read(fv reflect.Value, last uint64) (uint64, bool) {
	switch v.kind {
	case kindNum:
		f := fv.Float() + 0 // makes -0 0
		if f != f {
			return canonicalNaN, true
		}
		return math.Float64bits(f), true
	case kindQ:
		f := fv.Float() * v.scale
		switch {
		case f != f:
			return 0, true
		case f > maxInt:
			return maxInt, true
		case f < -maxInt:
			return uint64(-maxInt & math.MaxUint64), true
		}
		return uint64(int64(math.RoundToEven(f))), true
	case kindTurn:
		f := fv.Float() / (2 * math.Pi)
		f -= math.RoundToEven(f) // within half a turn either way
		if f != f {
			return 0, true
		}
		n := int64(math.RoundToEven(f * v.scale))
		if n == int64(v.scale)/2 {
			n = -n
		}
		return uint64(n), true
	case kindBool:
		if fv.Bool() {
			return 1, true
		}
		return 0, true
	}
	if v.unsigned || v.kind == kindUbig {
		n := fv.Uint()
		switch {
		case v.kind == kindInt && n > maxInt, v.kind == kindEnum && n >= uint64(len(v.enum)):
			return last, false
		}
		return n, true
	}
	n := fv.Int()
	switch {
	case v.kind == kindInt && (n > maxInt || n < -maxInt),
		v.kind == kindEnum && uint64(n) >= uint64(len(v.enum)):
		return last, false
	}
	return uint64(n), true
}

// float returns what slot n of v means. It is for the numeric kinds.
func (v *value) float(n uint64) float64 {
	switch v.kind {
	case kindNum:
		return math.Float64frombits(n)
	case kindQ:
		return float64(int64(n)) / v.scale
	case kindTurn:
		return float64(int64(n)) / v.scale * (2 * math.Pi)
	case kindUbig:
		return float64(n)
	}
	return float64(int64(n))
}

// round writes what slot n means into fv, unless it is there.
func (v *value) round(fv reflect.Value, n uint64) {
	x := v.float(n)
	if v.single {
		x = float64(float32(x))
	}
	if fv.Float() != x {
		fv.SetFloat(x)
	}
}

// append appends the step from slot last to slot n.
func (v *value) append(b []byte, last, n uint64) []byte {
	switch v.kind {
	case kindBool, kindU8, kindI8, kindEnum:
		return append(b, byte(n))
	case kindNum:
		return appendNum(b, math.Float64frombits(n))
	case kindTurn:
		d, half := int64(n-last), int64(v.scale)/2
		switch {
		case d >= half:
			d -= 2 * half
		case d < -half:
			d += 2 * half
		}
		return appendUint(b, zigzag(d))
	}
	return appendUint(b, zigzag(int64(n-last)))
}

func appendString(b []byte, s string) []byte {
	return append(appendUint(b, uint64(len(s))), s...)
}
