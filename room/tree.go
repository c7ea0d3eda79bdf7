package room

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

const (
	maxDepth = 32   // levels of a state; package state allows fewer
	maxText  = 1000 // bytes of a text that are shown
	maxExact = 1 << 53
)

// tree writes a state as JSON.
type tree struct {
	b    []byte
	left int  // values that may still be written
	cut  bool // a value was left out
}

// stateTree returns the exported fields of a state as JSON under their Go names, at most
// maxTree values. Numbers that JavaScript cannot hold are texts. It leaves out fields
// that are never sent.
func stateTree(v reflect.Value) (data json.RawMessage, cut bool) {
	t := &tree{left: maxTree}
	t.value(v, 0)
	return t.b, t.cut
}

// more reports whether another value fits.
func (t *tree) more() bool {
	if t.left <= 0 {
		t.cut = true
		return false
	}
	t.left--
	return true
}

func (t *tree) text(s string) {
	if len(s) > maxText {
		s, t.cut = strings.ToValidUTF8(s[:maxText], "")+"…", true
	}
	b, _ := json.Marshal(s) // strings always encode
	t.b = append(t.b, b...)
}

func (t *tree) value(v reflect.Value, depth int) {
	if depth > maxDepth {
		t.cut = true
		t.b = append(t.b, "null"...)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		t.b = strconv.AppendBool(t.b, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := v.Int()
		t.number(strconv.FormatInt(n, 10), n >= -maxExact && n <= maxExact)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := v.Uint()
		t.number(strconv.FormatUint(n, 10), n <= maxExact)
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		t.number(strconv.FormatFloat(f, 'g', -1, v.Type().Bits()), !math.IsNaN(f) && !math.IsInf(f, 0))
	case reflect.String:
		t.text(v.String())
	case reflect.Pointer:
		if v.IsNil() {
			t.b = append(t.b, "null"...)
			return
		}
		t.value(v.Elem(), depth)
	case reflect.Slice, reflect.Array:
		t.list(v, depth)
	case reflect.Map:
		t.plainMap(v, depth)
	case reflect.Struct:
		if all, ok := mapEntries(v); ok {
			t.mapEntries(all, depth)
			return
		}
		t.b = append(t.b, '{')
		t.fields(v, depth, new(true))
		t.b = append(t.b, '}')
	default:
		t.b = append(t.b, "null"...)
	}
}

func (t *tree) number(text string, exact bool) {
	if !exact {
		t.text(text)
		return
	}
	t.b = append(t.b, text...)
}

// key begins a member of an object. first is true before the first one.
func (t *tree) key(name string, first *bool) {
	if !*first {
		t.b = append(t.b, ',')
	}
	*first = false
	t.text(name)
	t.b = append(t.b, ':')
}

// fields writes the fields of a struct. Those of embedded structs are promoted.
func (t *tree) fields(v reflect.Value, depth int, first *bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if tag := f.Tag.Get("state"); tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			t.fields(v.Field(i), depth+1, first)
			continue
		}
		if !f.IsExported() {
			continue
		}
		if !t.more() {
			return
		}
		t.key(f.Name, first)
		t.value(v.Field(i), depth+1)
	}
}

func (t *tree) list(v reflect.Value, depth int) {
	t.b = append(t.b, '[')
	for i := range v.Len() {
		if !t.more() {
			break
		}
		if i > 0 {
			t.b = append(t.b, ',')
		}
		t.value(v.Index(i), depth+1)
	}
	t.b = append(t.b, ']')
}

func (t *tree) plainMap(v reflect.Value, depth int) {
	keys := v.MapKeys()
	if len(keys) > t.left {
		keys, t.cut = keys[:max(t.left, 0)], true
	}
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.CanInt():
			return cmp.Compare(a.Int(), b.Int())
		case a.CanUint():
			return cmp.Compare(a.Uint(), b.Uint())
		}
		return strings.Compare(a.String(), b.String())
	})
	t.mapEntries(func(yield func(k, v reflect.Value) bool) {
		for _, k := range keys {
			if !yield(k, v.MapIndex(k)) {
				return
			}
		}
	}, depth)
}

// mapEntries writes the entries of a map.
func (t *tree) mapEntries(all iter.Seq2[reflect.Value, reflect.Value], depth int) {
	t.b = append(t.b, '{')
	first := true
	for k, v := range all {
		if !t.more() {
			break
		}
		t.key(fmt.Sprint(k.Interface()), &first)
		t.value(v, depth+1)
	}
	t.b = append(t.b, '}')
}

// mapEntries returns the entries of a state.Map, in the order of its keys. ok is false
// for any other struct.
func mapEntries(v reflect.Value) (all iter.Seq2[reflect.Value, reflect.Value], ok bool) {
	if !v.CanAddr() || !strings.HasPrefix(v.Type().Name(), "Map[") || v.Type().PkgPath() != "github.com/lonng/nano/state" {
		return nil, false
	}
	return v.Addr().MethodByName("All").Call(nil)[0].Seq2(), true
}
