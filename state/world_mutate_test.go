package state

import (
	"reflect"
)

// mutate changes v at random.
func (w *world) mutate(v reflect.Value, tag reflect.StructTag, depth int) {
	r := w.rand
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.String:
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Float32, reflect.Float64:
		switch r.IntN(8) {
		case 0:
			v.SetFloat(floats[r.IntN(len(floats))])
		case 1:
			v.SetFloat(r.NormFloat64() * 1000)
		default:
			v.SetFloat(r.Float64() * 100)
		}
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int8:
		n := int64(r.IntN(400) - 200)
		if v.Kind() == reflect.Int && r.IntN(5) == 0 {
			n = int64(1)<<52 - r.Int64N(1<<53+1)
			if r.IntN(2) == 0 {
				n = []int64{1 << 52, -1 << 52}[r.IntN(2)]
			}
		}
		v.SetInt(n)
	case reflect.Int64:
		v.SetInt(integers[r.IntN(len(integers))] + int64(r.IntN(3)))
	case reflect.Uint64:
		v.SetUint(uint64(integers[r.IntN(len(integers))]) - uint64(r.IntN(3)))
	case reflect.Uint8, reflect.Uint16:
		if v.Type() == reflect.TypeFor[mood]() {
			v.SetUint(uint64(r.IntN(3)))
		} else {
			v.SetUint(uint64(r.IntN(1 << v.Type().Bits())))
		}
	case reflect.Struct:
		if isMap(v.Type()) {
			w.mutateMap(v, depth)
			return
		}
		for range 1 + r.IntN(3) {
			i := r.IntN(v.NumField())
			if f := v.Field(i); f.CanSet() {
				w.mutate(f, v.Type().Field(i).Tag, depth)
			} else if v.Type().Field(i).Anonymous {
				w.mutate(f.Field(r.IntN(f.NumField())), "", depth)
			}
		}
	case reflect.Pointer:
		switch {
		case v.IsNil():
			v.Set(reflect.New(v.Type().Elem()))
		case r.IntN(6) == 0:
			v.SetZero()
			return
		case r.IntN(6) == 0:
			v.Set(reflect.New(v.Type().Elem()))
		}
		w.mutate(v.Elem(), "", depth+1)
	case reflect.Array:
		w.mutate(v.Index(r.IntN(v.Len())), "", depth+1)
	case reflect.Slice:
		w.mutateSlice(v, depth)
	case reflect.Map:
		w.mutateMap(v, depth)
	default:
		panic(v.Kind())
	}
}

func (w *world) mutateSlice(v reflect.Value, depth int) {
	r, n := w.rand, v.Len()
	fresh := func() reflect.Value {
		item := reflect.New(v.Type().Elem()).Elem()
		if r.IntN(5) > 0 {
			w.mutate(item, "", depth+1)
		}
		return item
	}
	switch k := r.IntN(8); {
	case n == 0 || k == 0 && n < 12:
		v.Set(reflect.Append(v, fresh()))
	case k == 1: // a new backing array
		c := reflect.MakeSlice(v.Type(), n, n)
		reflect.Copy(c, v)
		v.Set(c)
	case k == 2: // one element, in place
		i := r.IntN(n)
		reflect.Copy(v.Slice(i, n), v.Slice(min(i+1, n), n))
		v.SetLen(n - 1)
	case k == 3:
		i := r.IntN(n + 1)
		c := reflect.AppendSlice(reflect.Append(reflect.AppendSlice(reflect.Zero(v.Type()), v.Slice(0, i)), fresh()), v.Slice(i, n))
		v.Set(c)
	case k == 4:
		i, j := r.IntN(n), r.IntN(n)
		reflect.Swapper(v.Interface())(i, j)
	case k == 5 && r.IntN(3) == 0:
		v.SetZero()
	default:
		for range 1 + r.IntN(3) {
			w.mutate(v.Index(r.IntN(n)), "", depth+1)
		}
	}
}

func (w *world) mutateMap(m reflect.Value, depth int) {
	r := w.rand
	typed := m.Kind() == reflect.Struct
	if !typed && m.IsNil() {
		m.Set(reflect.MakeMap(m.Type()))
	}
	var keyType, elemType reflect.Type
	if typed {
		keyType, elemType = m.Addr().Interface().(typedMap).types()
		elemType = reflect.PointerTo(elemType)
	} else {
		keyType, elemType = m.Type().Key(), m.Type().Elem()
	}
	if r.IntN(300) == 0 { // a new map
		m.SetZero()
		return
	}
	for range 1 + r.IntN(4) {
		key := reflect.New(keyType).Elem()
		switch {
		case keyType.Kind() == reflect.String:
			key.SetString(texts[r.IntN(len(texts))])
		case keyType.Size() == 8 && r.IntN(2) == 0:
			w.mutate(key, "", depth)
		case key.CanUint():
			key.SetUint(uint64(1 + r.IntN(9)))
		default:
			key.SetInt(int64(r.IntN(9) - 3))
		}
		var old reflect.Value
		if typed {
			if old = m.Addr().MethodByName("Get").Call([]reflect.Value{key})[0]; old.IsNil() {
				old = reflect.Value{}
			}
		} else {
			old = m.MapIndex(key)
		}
		put := func(v reflect.Value) {
			if typed {
				m.Addr().MethodByName("Put").Call([]reflect.Value{key, v})
			} else {
				m.SetMapIndex(key, v)
			}
		}
		fresh := func() reflect.Value {
			v := reflect.New(elemType).Elem()
			if elemType.Kind() != reflect.Pointer {
				w.mutate(v, "", depth+1)
				return v
			}
			v.Set(reflect.New(elemType.Elem()))
			for range r.IntN(12) {
				w.mutate(v.Elem(), "", depth+1)
			}
			return v
		}
		remove := func() {
			if typed {
				m.Addr().MethodByName("Delete").Call([]reflect.Value{key})
			} else {
				m.SetMapIndex(key, reflect.Value{})
			}
		}
		switch k := r.IntN(10); {
		case !old.IsValid():
			put(fresh())
		case k == 0:
			remove()
		case k == 1: // replaces an entry
			put(fresh())
		case k == 2: // deletes and adds an entry in one tick
			remove()
			put(fresh())
		case k == 3 && !typed && elemType.Kind() == reflect.Pointer:
			put(reflect.Zero(elemType))
		case elemType.Kind() != reflect.Pointer || old.IsNil():
			put(fresh())
		default:
			w.mutate(old.Elem(), "", depth+1)
		}
	}
}
