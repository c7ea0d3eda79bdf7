package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// This file encodes the values of a state exactly, for a process that continues with
// them. A message to a client cannot be used for that, because it holds rounded numbers.

// errSaved is returned for data that [Sync.Save] has not made.
var errSaved = errors.New("state: the saved values do not decode")

// Save returns the values of all fields that are sent, without rounding. It does not
// include fields with the tag "-" and fields that are not exported. A struct that two
// pointers point to is saved twice.
func (s *Sync) Save() []byte {
	var w saver
	w.text(s.schema.Hash)
	w.fields(s.plan, s.root)
	return w.buf
}

// Load sets all fields that are sent to values that [Sync.Save] returned. It keeps the
// other fields of the root, and sets those of other structs to their zero values. The
// schemas must be equal. After an error, the values are undefined.
func (s *Sync) Load(data []byte) error {
	r := loader{rest: data}
	if hash := r.text(); r.err == nil && hash != s.schema.Hash {
		return fmt.Errorf("state: the saved values have the schema %.16q, not %q", hash, s.schema.Hash)
	}
	r.fields(s.plan, s.root)
	if r.err == nil && len(r.rest) > 0 {
		r.err = errSaved
	}
	return r.err
}

// saver appends values to buf. Lengths are stored plus one, and 0 means nil.
type saver struct{ buf []byte }

func (w *saver) uint(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *saver) text(s string) {
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *saver) fields(p *plan, v reflect.Value) {
	for i := range p.fields {
		f := &p.fields[i]
		w.value(&f.value, fieldOf(v, f))
	}
}

func (w *saver) value(d *value, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			w.uint(1)
		} else {
			w.uint(0)
		}
	case reflect.String:
		w.text(v.String())
	case reflect.Float32, reflect.Float64:
		w.buf = binary.LittleEndian.AppendUint64(w.buf, math.Float64bits(v.Float()))
	case reflect.Pointer:
		if v.IsNil() {
			w.uint(0)
			return
		}
		w.uint(1)
		w.fields(d.obj, v.Elem())
	case reflect.Struct:
		if m, ok := asMap(v); ok {
			w.uint(uint64(m.Len()))
			m.each(func(k, e reflect.Value) {
				w.scalar(k)
				w.fields(d.elem.obj, e.Elem())
			})
			return
		}
		w.fields(d.obj, v)
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && !w.length(v) {
			return
		}
		for i := range v.Len() {
			w.value(d.elem, v.Index(i))
		}
	case reflect.Map:
		if !w.length(v) {
			return
		}
		for it := v.MapRange(); it.Next(); {
			w.scalar(it.Key())
			w.value(d.elem, it.Value())
		}
	default:
		w.scalar(v)
	}
}

// length appends the length of a slice or map. It returns false if v is nil.
func (w *saver) length(v reflect.Value) bool {
	if v.IsNil() {
		w.uint(0)
		return false
	}
	w.uint(uint64(v.Len()) + 1)
	return true
}

// scalar appends an integer or a text, such as a key.
func (w *saver) scalar(v reflect.Value) {
	switch {
	case v.CanInt():
		w.buf = binary.AppendVarint(w.buf, v.Int())
	case v.CanUint():
		w.uint(v.Uint())
	default:
		w.text(v.String())
	}
}

// loader reads what saver has appended. It keeps the first error, and then reads zeros.
type loader struct {
	rest []byte
	err  error
}

// fail records an error and returns zero values from then on.
func (r *loader) fail() {
	r.rest = nil
	if r.err == nil {
		r.err = errSaved
	}
}

func (r *loader) uint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *loader) int() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *loader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *loader) text() string { return string(r.bytes(r.uint())) }

func (r *loader) fields(p *plan, v reflect.Value) {
	for i := range p.fields {
		if r.err != nil {
			return
		}
		f := &p.fields[i]
		r.value(&f.value, fieldOf(v, f))
	}
}

func (r *loader) value(d *value, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.uint() != 0)
	case reflect.String:
		v.SetString(r.text())
	case reflect.Float32, reflect.Float64:
		if b := r.bytes(8); b != nil {
			v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	case reflect.Pointer:
		v.SetZero()
		if r.uint() != 0 {
			v.Set(reflect.New(v.Type().Elem()))
			r.fields(d.obj, v.Elem())
		}
	case reflect.Struct:
		if m, ok := asMap(v); ok {
			r.typedMap(d, m)
			return
		}
		r.fields(d.obj, v)
	case reflect.Array:
		for i := range v.Len() {
			r.value(d.elem, v.Index(i))
		}
	case reflect.Slice:
		r.slice(d, v)
	case reflect.Map:
		r.plainMap(d, v)
	default:
		r.scalar(v)
	}
}

// scalar reads an integer or a text.
func (r *loader) scalar(v reflect.Value) {
	switch {
	case v.CanInt():
		n := r.int()
		if v.OverflowInt(n) {
			r.fail()
			return
		}
		v.SetInt(n)
	case v.CanUint():
		n := r.uint()
		if v.OverflowUint(n) {
			r.fail()
			return
		}
		v.SetUint(n)
	default:
		v.SetString(r.text())
	}
}

func (r *loader) slice(d *value, v reflect.Value) {
	v.SetZero()
	n := r.uint()
	if n == 0 {
		return
	}
	// An item takes at least one byte. The slice grows with the input, so the allocation is
	// bounded.
	list := reflect.MakeSlice(v.Type(), 0, int(min(n-1, 16)))
	for ; n > 1 && r.err == nil; n-- {
		item := reflect.New(v.Type().Elem()).Elem()
		r.value(d.elem, item)
		list = reflect.Append(list, item)
	}
	v.Set(list)
}

func (r *loader) plainMap(d *value, v reflect.Value) {
	v.SetZero()
	n := r.uint()
	if n == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for ; n > 1 && r.err == nil; n-- {
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		r.scalar(k)
		r.value(d.elem, e)
		v.SetMapIndex(k, e)
	}
}

func (r *loader) typedMap(d *value, m savedMap) {
	m.clear()
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		k, e := reflect.New(d.keyType).Elem(), reflect.New(d.elemType.Elem())
		r.scalar(k)
		r.fields(d.elem.obj, e.Elem())
		m.put(k, e)
	}
}

// savedMap is a Map without its type parameters.
type savedMap interface {
	Len() int
	each(f func(k, v reflect.Value)) // v is the pointer to the struct
	put(k, v reflect.Value)
	clear()
}

// asMap returns the Map in a field.
func asMap(v reflect.Value) (savedMap, bool) {
	if !isMap(v.Type()) {
		return nil, false
	}
	return v.Addr().Interface().(savedMap), true
}

func (m *Map[K, T]) each(f func(k, v reflect.Value)) {
	for k, v := range m.All() {
		f(reflect.ValueOf(k), reflect.ValueOf(v))
	}
}

func (m *Map[K, T]) put(k, v reflect.Value) {
	m.Put(k.Interface().(K), v.Interface().(*T))
}

func (m *Map[K, T]) clear() {
	var keys []K
	for k := range m.All() {
		keys = append(keys, k)
	}
	for _, k := range keys {
		m.Delete(k)
	}
}
