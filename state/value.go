package state

import "reflect"

// typedMap is implemented by *Map. Its types replace its methods, so that the compiler
// does not depend on its type parameters.
type typedMap interface {
	types() (key, elem reflect.Type)
	core() typedCore
}

var typedMapType = reflect.TypeFor[typedMap]()

func isMap(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(typedMapType)
}

// value compiles a field, an item or a map's value of type t. Maps may hold fields with
// levels in top, the root struct. Lists and maps nest only if nest is true.
func (c *compiler) value(t reflect.Type, g tags, at string, top, nest bool) *value {
	switch t.Kind() {
	case reflect.Bool, reflect.String:
		g.refuse(c, at, "a "+t.Kind().String(), false, false, false)
		if t.Kind() == reflect.String {
			return &value{kind: kindStr}
		}
		return &value{kind: kindBool}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return c.integer(t, g, at)
	case reflect.Float32, reflect.Float64:
		return c.float(t, g, at)
	case reflect.Pointer:
		if t.Elem().Kind() != reflect.Struct || isMap(t.Elem()) {
			c.fault(at, "a pointer has to point to a struct, not to %s", t.Elem())
			return nil
		}
		g.refuse(c, at, "a pointer", false, false, false)
		return c.nested(kindObj, t.Elem(), at)
	case reflect.Slice, reflect.Array:
		if !nest {
			c.fault(at, "%s within a list or a map: wrap it in a struct", t)
			return nil
		}
		return c.list(t, g, at)
	case reflect.Map:
		if !nest {
			c.fault(at, "%s within a list or a map: wrap it in a struct", t)
			return nil
		}
		return c.mapOf(t.Key(), t.Elem(), g, at, top, false)
	case reflect.Struct:
		if !isMap(t) {
			g.refuse(c, at, "a struct", false, false, false)
			return c.nested(kindStruct, t, at)
		}
		if !nest {
			c.fault(at, "a state.Map within a list or a map: wrap it in a struct")
			return nil
		}
		key, elem := reflect.New(t).Interface().(typedMap).types()
		if elem.Kind() != reflect.Struct || isMap(elem) {
			c.fault(at, "a state.Map holds structs, not %s", elem)
			return nil
		}
		return c.mapOf(key, reflect.PointerTo(elem), g, at, top, true)
	}
	c.fault(at, "%s cannot be sent", t)
	return nil
}

// nested compiles a struct below the fields that can have levels.
func (c *compiler) nested(k kind, t reflect.Type, at string) *value {
	p := c.structPlan(t, at, false)
	if p == nil {
		return nil
	}
	switch {
	case p.owner != "":
		c.fault(at+"."+p.owner, "owner needs a map of the root, keyed by the owner type")
	case p.leveled != "":
		c.fault(at+"."+p.leveled, "level within %s: tag the field that holds it", t)
	}
	return &value{kind: k, obj: p}
}

func (c *compiler) integer(t reflect.Type, g tags, at string) *value {
	unsigned := t.Kind() >= reflect.Uint
	switch {
	case g.enum != nil:
		g.refuse(c, at, "an enum", true, false, false)
		if g.big {
			c.fault(at, "enum and big exclude each other")
		}
		return &value{kind: kindEnum, enum: g.enum, unsigned: unsigned}
	case g.big:
		g.refuse(c, at, "a big integer", false, true, false)
		if t.Size() != 8 {
			c.fault(at, "big is for integers of 64 bits, not for %s", t)
		}
		if unsigned {
			return &value{kind: kindUbig}
		}
		return &value{kind: kindBig}
	}
	g.refuse(c, at, "an integer", false, false, false)
	switch t.Kind() {
	case reflect.Uint8:
		return &value{kind: kindU8, unsigned: true}
	case reflect.Int8:
		return &value{kind: kindI8}
	}
	return &value{kind: kindInt, unsigned: unsigned}
}

func (c *compiler) float(t reflect.Type, g tags, at string) *value {
	g.refuse(c, at, "a float", false, false, true)
	v := &value{kind: kindNum, single: t.Kind() == reflect.Float32, snap: g.snap}
	switch {
	case g.q != 0 && g.turn != 0:
		c.fault(at, "q and turn exclude each other")
	case g.q != 0:
		v.kind, v.scale = kindQ, 1/g.q
	case g.turn != 0:
		v.kind, v.scale = kindTurn, float64(g.turn)
	case g.snap:
		c.fault(at, "snap needs q or turn")
	}
	return v
}

func (c *compiler) list(t reflect.Type, g tags, at string) *value {
	if g.touch {
		c.fault(at, "touch is for a state.Map")
	}
	if g.history {
		c.fault(at, historyFault)
	}
	g.touch, g.history = false, false
	elem := c.value(t.Elem(), g, at+"[]", false, false)
	if elem == nil {
		return nil
	}
	return &value{kind: kindList, elem: elem}
}

const historyFault = "history is for a state.Map of the root"

func (c *compiler) mapOf(key, elem reflect.Type, g tags, at string, top, typed bool) *value {
	v := &value{kind: kindMap, keyType: key, elemType: elem, typed: typed, touch: g.touch, history: g.history, owned: top && key == c.owner && key != nil}
	if g.touch && !typed {
		c.fault(at, "touch is for a state.Map")
	}
	if g.history && (!typed || !top) {
		c.fault(at, historyFault)
	}
	g.touch, g.history = false, false
	switch key.Kind() {
	case reflect.String:
		v.key = kindStr
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.key = kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.key = kindUbig
	default:
		c.fault(at, "a map's key is a string or an integer, not %s", key)
		return nil
	}
	if elem.Kind() != reflect.Pointer {
		if elem.Kind() == reflect.Struct {
			c.fault(at, "structs in a map cannot be changed in place: hold *%s", elem)
			return nil
		}
		if g.snap {
			c.fault(at, "snap cannot change the values of a map")
		}
		if v.elem = c.value(elem, g, at+"[]", false, false); v.elem == nil {
			return nil
		}
		return v
	}
	g.refuse(c, at, "a map of structs", false, false, false)
	if elem.Elem().Kind() != reflect.Struct || isMap(elem.Elem()) {
		c.fault(at+"[]", "a pointer has to point to a struct, not to %s", elem.Elem())
		return nil
	}
	if !top {
		if v.elem = c.nested(kindObj, elem.Elem(), at+"[]"); v.elem == nil {
			return nil
		}
		return v
	}
	p := c.structPlan(elem.Elem(), at+"[]", false)
	if p == nil {
		return nil
	}
	if p.owner != "" && !v.owned {
		if c.owner == nil {
			c.fault(at+"[]."+p.owner, "owner needs the option Owner")
		} else {
			c.fault(at+"[]."+p.owner, "owner needs a map keyed by %s, not by %s", c.owner, key)
		}
	}
	v.elem = &value{kind: kindObj, obj: p}
	return v
}
