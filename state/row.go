package state

import (
	"math"
	"reflect"
	"slices"
)

// row holds the sent values of one struct, with a slot for each field of its plan.
type row struct {
	nums []uint64
	strs []string
	subs []sub
}

// sub holds the sent value of a pointer, a list or a map. One of its fields is set, or
// none for a null or empty value.
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

// table holds the rows of a map's structs by handle, or its scalars.
type table struct {
	numsPer, strsPer, subsPer int
	nums                      []uint64
	strs                      []string
	subs                      []sub
}

// makeTable makes an empty table of values of v.
func makeTable(v *value) table {
	switch v.kind {
	case kindObj:
		return table{numsPer: v.obj.nums, strsPer: v.obj.strs, subsPer: v.obj.subs}
	case kindStr:
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

// row sets r to row i, until the table grows. It fills r in place, because copying three
// slices that were just written is slow.
func (t *table) row(r *row, i int) {
	if n := t.numsPer; n > 0 {
		r.nums = t.nums[i*n : (i+1)*n]
	}
	if n := t.strsPer; n > 0 {
		r.strs = t.strs[i*n : (i+1)*n]
	}
	if n := t.subsPer; n > 0 {
		r.subs = t.subs[i*n : (i+1)*n]
	}
}

// clear makes row i zero.
func (t *table) clear(i int) {
	var r row
	t.row(&r, i)
	clear(r.nums)
	clear(r.strs)
	clear(r.subs)
}

// canonicalNaN is the only NaN that is sent, because the other bits of a NaN have no
// meaning.
var canonicalNaN = math.Float64bits(math.NaN())

// read returns the slot for fv, which is both sent and compared. If the value cannot be
// sent, it returns last and false.
func (v *value) read(fv reflect.Value, last uint64) (uint64, bool) {
	var n uint64
	switch {
	case fv.CanFloat():
		return v.fromFloat(fv.Float()), true
	case fv.CanInt():
		n = uint64(fv.Int())
	case fv.CanUint():
		n = fv.Uint()
	case fv.Bool():
		n = 1
	}
	if !v.holds(n) {
		return last, false
	}
	return n, true
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

// float returns the number that slot n represents. It is for the numeric kinds.
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

// round sets fv to the number that slot n represents, unless it is equal.
func (v *value) round(fv reflect.Value, n uint64) {
	x := v.float(n)
	if v.single {
		x = float64(float32(x))
	}
	if fv.Float() != x {
		fv.SetFloat(x)
	}
}

// append appends the difference between slot last and slot n.
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
