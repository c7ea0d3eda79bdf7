package state

import (
	"reflect"
)

// maxBound bounds the entries of a map for which columns are kept. They take 8 bytes per
// field, and save most of the time of a comparison with reflect.
const maxBound = 1 << 14

// columns hold pointers to the fields of the structs of a map, one column per field.
type columns []column

// column holds the pointers to one field, by handle.
type column interface {
	grow(n int)
	bind(h int, field reflect.Value)
	free(h int)
	// value returns the field of handle h.
	value(h int) reflect.Value
	// compare marks the entries of b whose values differ from the sent ones in t. It encodes
	// each difference and records the value as sent, or leaves that to append.
	compare(b *batch, t *table)
	// append appends the difference of handle h and records the value as sent. If it cannot
	// be sent, append returns false.
	append(b []byte, h int, t *table) ([]byte, bool)
}

// makeColumns returns empty columns, or nil if p has fields that reflect has to read.
func makeColumns(p *plan) columns {
	if !p.simple {
		return nil
	}
	list := make(columns, len(p.fields))
	for i := range list {
		list[i] = newColumn(&p.fields[i], i)
	}
	return list
}

func newColumn(f *field, i int) column {
	switch f.goKind {
	case reflect.Bool:
		return &boolColumn{newPointers[bool](f, i)}
	case reflect.String:
		return &textColumn{newPointers[string](f, i)}
	case reflect.Int:
		return newInts[int](f, i)
	case reflect.Int8:
		return newInts[int8](f, i)
	case reflect.Int16:
		return newInts[int16](f, i)
	case reflect.Int32:
		return newInts[int32](f, i)
	case reflect.Int64:
		return newInts[int64](f, i)
	case reflect.Uint:
		return newInts[uint](f, i)
	case reflect.Uint8:
		return newInts[uint8](f, i)
	case reflect.Uint16:
		return newInts[uint16](f, i)
	case reflect.Uint32:
		return newInts[uint32](f, i)
	case reflect.Uint64:
		return newInts[uint64](f, i)
	case reflect.Float32:
		return &floatColumn[float32]{newPointers[float32](f, i)}
	}
	return &floatColumn[float64]{newPointers[float64](f, i)}
}

// grow makes room for n handles.
func (c columns) grow(n int) {
	for _, col := range c {
		col.grow(n)
	}
}

// bind sets the pointers of handle h to the fields of v, a struct of plan p.
func (c columns) bind(p *plan, h int, v reflect.Value) {
	for i, col := range c {
		col.bind(h, fieldOf(v, &p.fields[i]))
	}
}

// free removes the pointers of handle h.
func (c columns) free(h int) {
	for _, col := range c {
		col.free(h)
	}
}

// pointers is the part that all columns share.
type pointers[T any] struct {
	at    []*T // by handle
	v     *value
	index int // index of the field
	slot  int // in the sent row
}

func newPointers[T any](f *field, i int) pointers[T] {
	return pointers[T]{v: &f.value, index: i, slot: f.slot}
}

func (c *pointers[T]) grow(n int) { extend(&c.at, n) }

// bind converts the pointer, because the type of the field may be named.
func (c *pointers[T]) bind(h int, field reflect.Value) {
	c.at[h] = field.Addr().Convert(reflect.TypeFor[*T]()).Interface().(*T)
}

func (c *pointers[T]) free(h int) { c.at[h] = nil }

func (c *pointers[T]) value(h int) reflect.Value { return reflect.ValueOf(c.at[h]).Elem() }

// encode encodes the difference of entry i of b, whose slot changed from *last to n, unless
// append has to do that.
func (c *pointers[T]) encode(b *batch, i int, last *uint64, n uint64) {
	if code, ok := c.v.code(*last, n); ok && c.v.holds(n) {
		b.codes[c.index*batchSize+i] = code
		*last = n
		return
	}
	b.slow[i] |= 1 << c.index
}

// appendSlot is append for a value with slot n.
func (c *pointers[T]) appendSlot(b []byte, h int, t *table, n uint64) ([]byte, bool) {
	if !c.v.holds(n) {
		return b, false
	}
	last := &t.nums[h*t.numsPer+c.slot]
	b = c.v.append(b, *last, n)
	*last = n
	return b, true
}

// boolColumn is a column of bools.
type boolColumn struct{ pointers[bool] }

func (c *boolColumn) compare(b *batch, t *table) {
	nums, codes, bit := t.nums[c.slot:], b.column(c.index), uint64(1)<<c.index
	for i, h := range b.handles[:b.n] {
		var n uint64
		if *c.at[h] {
			n = 1
		}
		if last := &nums[int(h)*t.numsPer]; n != *last {
			*last = n
			b.masks[i] |= bit
			codes[i] = 0 // the bit in the mask is enough
		}
	}
}

// append is not called, because every difference has a code.
func (c *boolColumn) append(b []byte, h int, t *table) ([]byte, bool) { return b, true }

// textColumn is a column of strings.
type textColumn struct{ pointers[string] }

func (c *textColumn) compare(b *batch, t *table) {
	at, per := c.at, t.strsPer
	strs, bit := t.strs[c.slot:], uint64(1)<<c.index
	for i, h := range b.handles[:b.n] {
		if *at[h] != strs[int(h)*per] {
			b.masks[i] |= bit
			b.slow[i] |= bit
		}
	}
}

func (c *textColumn) append(b []byte, h int, t *table) ([]byte, bool) {
	s := *c.at[h]
	t.strs[h*t.strsPer+c.slot] = s
	return appendString(b, s), true
}

type integer interface {
	int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64
}

func newInts[T integer](f *field, i int) column {
	if f.kind == kindInt {
		return &intColumn[T]{newPointers[T](f, i)}
	}
	return &wordColumn[T]{newPointers[T](f, i)}
}

// intColumn is a column of integers up to 2^52.
type intColumn[T integer] struct{ pointers[T] }

func (c *intColumn[T]) compare(b *batch, t *table) {
	at, per := c.at, t.numsPer
	nums, codes, bit := t.nums[c.slot:], b.column(c.index), uint64(1)<<c.index
	for i, h := range b.handles[:b.n] {
		n := uint64(*at[h])
		last := &nums[int(h)*per]
		if n == *last {
			continue
		}
		b.masks[i] |= bit
		if ^T(0) < 0 && n+maxInt > 2*maxInt || ^T(0) > 0 && n > maxInt {
			b.slow[i] |= bit
			continue
		}
		if z := zigzag(int64(n - *last)); z < 1<<14 {
			*last = n
			codes[i] = shortCode(z)
			continue
		}
		c.encode(b, i, last, n)
	}
}

func (c *intColumn[T]) append(b []byte, h int, t *table) ([]byte, bool) {
	return c.appendSlot(b, h, t, uint64(*c.at[h]))
}

// wordColumn is a column of other integers: of one byte, enums and big ones.
type wordColumn[T integer] struct{ pointers[T] }

func (c *wordColumn[T]) compare(b *batch, t *table) {
	at, per, kind := c.at, t.numsPer, c.v.kind
	nums, codes, bit := t.nums[c.slot:], b.column(c.index), uint64(1)<<c.index
	for i, h := range b.handles[:b.n] {
		n := uint64(*at[h])
		last := &nums[int(h)*per]
		if n == *last {
			continue
		}
		b.masks[i] |= bit
		if kind == kindU8 || kind == kindI8 {
			*last = n
			codes[i] = n&0xff | 1<<codeLen
			continue
		}
		c.encode(b, i, last, n)
	}
}

func (c *wordColumn[T]) append(b []byte, h int, t *table) ([]byte, bool) {
	return c.appendSlot(b, h, t, uint64(*c.at[h]))
}

// floatColumn is a column of floats.
type floatColumn[T float32 | float64] struct{ pointers[T] }

func (c *floatColumn[T]) compare(b *batch, t *table) {
	at, per, v := c.at, t.numsPer, c.v
	nums, codes, bit := t.nums[c.slot:], b.column(c.index), uint64(1)<<c.index
	for i, h := range b.handles[:b.n] {
		n := v.fromFloat(float64(*at[h]))
		last := &nums[int(h)*per]
		if n == *last {
			continue
		}
		b.masks[i] |= bit
		if z := zigzag(int64(n - *last)); z < 1<<14 && v.kind == kindQ {
			*last = n
			codes[i] = shortCode(z)
			continue
		}
		c.encode(b, i, last, n)
	}
}

func (c *floatColumn[T]) append(b []byte, h int, t *table) ([]byte, bool) {
	return c.appendSlot(b, h, t, c.v.fromFloat(float64(*c.at[h])))
}
