package state

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// kind identifies the encoding of a value.
type kind uint8

const (
	kindBool kind = iota
	kindU8
	kindI8
	kindEnum
	kindInt
	kindBig
	kindUbig
	kindQ
	kindTurn
	kindNum
	kindStr
	kindObj    // pointer to a struct
	kindStruct // a struct as an item of a list
	kindList
	kindMap
)

var kindNames = [...]string{
	"bool", "u8", "i8", "enum", "int", "big", "ubig", "q", "turn", "num", "str", "obj", "struct", "list", "map",
}

func (k kind) scalar() bool { return k <= kindStr }

// value describes a field, an item of a list or a value of a map.
type value struct {
	kind     kind
	goKind   reflect.Kind
	unsigned bool     // kindInt: the Go type is unsigned
	single   bool     // kindQ, kindTurn: the Go type is float32
	snap     bool     // write the rounded value back
	scale    float64  // kindQ: steps per unit; kindTurn: steps per turn
	enum     []string // kindEnum
	obj      *plan    // kindObj, kindStruct
	elem     *value   // kindList, kindMap
	key      kind     // kindMap: kindStr, kindInt, or kindUbig for unsigned integers
	keyType  reflect.Type
	elemType reflect.Type
	owned    bool // kindMap: its keys have owners
	typed    bool // kindMap: a Map
	touch    bool // kindMap: compare only what was touched
	history  bool // kindMap: keep the latest ticks
}

// field is one field of a plan.
type field struct {
	value
	name   string // name for clients; parts of nested structs are joined by dots
	path   string // Go path below the struct
	index  []int  // for reflect.Value.FieldByIndex
	first  int    // index[0]
	direct bool   // index has one element
	level  uint8
	slot   int // in the row's nums, strs or subs
}

// plan is the compiled description of a struct type. It is immutable.
type plan struct {
	name             string
	typ              reflect.Type
	id               int // number in the schema
	fields           []field
	nums, strs, subs int      // number of slots in a row
	levels           []uint64 // fields that each level sees
	owner            string   // path of a field tagged owner, if any
	leveled          string   // path of a field above level 0, if any
	flat             bool     // comparing the whole struct with == detects every change
	simple           bool     // all fields are scalars that are not written back
	x, y             int      // indexes of the position fields, or -1
	height           int      // nesting depth of structs, including this one
}

// levelMask returns the fields that level sees.
func (p *plan) levelMask(level int) uint64 { return p.levels[min(level, len(p.levels)-1)] }

// compiler builds plans and collects the errors of a type.
type compiler struct {
	owner  reflect.Type
	plans  map[reflect.Type]*plan
	order  []*plan
	open   []reflect.Type // types being compiled, outermost first
	faults []string
}

func (c *compiler) fault(path, format string, args ...any) {
	c.faults = append(c.faults, path+": "+fmt.Sprintf(format, args...))
}

// structPlan compiles t, which is at path.
func (c *compiler) structPlan(t reflect.Type, path string, root bool) *plan {
	if slices.Contains(c.open, t) {
		c.fault(path, "%s contains itself", t)
		return nil
	}
	if p := c.plans[t]; p != nil {
		if len(c.open)+p.height > maxDepth {
			c.fault(path, "structs are at most %d deep", maxDepth)
		}
		return p
	}
	if len(c.open) >= maxDepth {
		c.fault(path, "structs are at most %d deep", maxDepth)
		return nil
	}
	name, _, _ := strings.Cut(t.Name(), "[")
	p := &plan{name: name, typ: t, id: len(c.order), x: -1, y: -1}
	c.plans[t] = p
	c.order = append(c.order, p)
	c.open = append(c.open, t)
	faults := len(c.faults)
	c.flatten(p, t, path, prefix{}, root)
	c.open = c.open[:len(c.open)-1]
	if len(p.fields) == 0 && !root && len(c.faults) == faults {
		c.fault(path, "%s has no exported fields", t)
	}
	if len(p.fields) > maxFields {
		c.fault(path, "%s has %d fields, more than %d", t, len(p.fields), maxFields)
		p.fields = p.fields[:maxFields]
	}
	c.settle(p, path)
	return p
}

// settle orders the fields of p by level and assigns their slots.
func (c *compiler) settle(p *plan, path string) {
	slices.SortStableFunc(p.fields, func(a, b field) int { return int(a.level) - int(b.level) })
	seen := map[string]string{}
	for _, f := range p.fields {
		if other, ok := seen[f.name]; ok {
			c.fault(path+"."+f.path, "the name %q is that of %s", f.name, other)
		}
		seen[f.name] = f.path
	}
	for i := range p.fields {
		f := &p.fields[i]
		for n := f.name; strings.Contains(n, "."); {
			n = n[:strings.LastIndexByte(n, '.')]
			if other, ok := seen[n]; ok {
				c.fault(path+"."+f.path, "the name %q is that of %s", n, other)
			}
		}
		p.height = max(p.height, 1+strings.Count(f.name, "."))
		for v := &f.value; v != nil; v = v.elem {
			if v.obj != nil {
				p.height = max(p.height, 1+strings.Count(f.name, ".")+v.obj.height)
			}
		}
		switch {
		case f.kind == kindStr:
			f.slot = p.strs
			p.strs++
		case f.kind.scalar():
			f.slot = p.nums
			p.nums++
		default:
			f.slot = p.subs
			p.subs++
		}
		for len(p.levels) <= int(f.level) {
			var below uint64
			if n := len(p.levels); n > 0 {
				below = p.levels[n-1]
			}
			p.levels = append(p.levels, below)
		}
		p.levels[f.level] |= 1 << i
		switch f.path {
		case "X":
			p.x = i
		case "Y":
			p.y = i
		}
	}
	if p.levels == nil {
		p.levels = []uint64{0}
	}
	numeric := func(i int) bool { return i >= 0 && p.fields[i].kind >= kindInt && p.fields[i].kind <= kindNum }
	if !numeric(p.x) || !numeric(p.y) {
		p.x, p.y = -1, -1
	}
	p.flat = flat(p.typ) && p.subs == 0
	p.simple = p.subs == 0 && !slices.ContainsFunc(p.fields, func(f field) bool { return f.snap })
}

// flat reports whether == compares values of t without a panic and without following
// pointers. Pointers are allowed, because the values behind them have slots in subs.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return false
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !flat(f.Type) {
				return false
			}
		}
		return true
	}
	return t.Comparable()
}

// prefix holds the properties that the fields of a nested struct inherit.
type prefix struct {
	name, path string
	index      []int
	level      uint8
	depth      int
}

// flatten appends the fields of t to p.
func (c *compiler) flatten(p *plan, t reflect.Type, path string, pre prefix, root bool) {
	if len(c.open)+pre.depth > maxDepth {
		c.fault(path, "structs are at most %d deep", maxDepth)
		return
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		at := path + "." + sf.Name
		text, tagged := sf.Tag.Lookup("state")
		if text == "-" {
			continue
		}
		promoted := sf.Anonymous && sf.Type.Kind() == reflect.Struct && !isMap(sf.Type)
		if !sf.IsExported() && !promoted {
			if tagged {
				c.fault(at, "a tagged field has to be exported")
			}
			continue
		}
		g, ok := c.tags(text, at)
		if !ok {
			continue
		}
		level := max(pre.level, g.level)
		if g.owner && p.owner == "" {
			p.owner = pre.path + sf.Name
		}
		if level > 0 && p.leveled == "" {
			p.leveled = pre.path + sf.Name
		}
		index := append(slices.Clone(pre.index), i)
		name := g.name
		if name == "" {
			name = lowerCamel(sf.Name)
		}
		if sf.Type.Kind() == reflect.Struct && !isMap(sf.Type) {
			g.refuse(c, at, "a struct", false, false, false)
			next := prefix{pre.name + name + ".", pre.path + sf.Name + ".", index, level, pre.depth + 1}
			if promoted && g.name == "" {
				next.name, next.path = pre.name, pre.path
			}
			before, faults := len(p.fields), len(c.faults)
			if slices.Contains(c.open[:len(c.open)-1], sf.Type) {
				c.fault(at, "%s contains itself", sf.Type)
				continue
			}
			c.flatten(p, sf.Type, at, next, root)
			if len(p.fields) == before && !promoted && len(c.faults) == faults {
				c.fault(at, "%s has no exported fields", sf.Type)
			}
			continue
		}
		v := c.value(sf.Type, g, at, root && len(c.open) == 1, true)
		if v == nil {
			continue
		}
		v.goKind = sf.Type.Kind()
		p.fields = append(p.fields, field{
			value: *v, name: pre.name + name, path: pre.path + sf.Name, level: level,
			index: index, first: index[0], direct: len(index) == 1,
		})
	}
}

// lowerCamel converts a name: HPMax becomes hpMax, and ID becomes id.
func lowerCamel(s string) string {
	upper := func(b byte) bool { return b >= 'A' && b <= 'Z' }
	b := []byte(s)
	for i := range b {
		if !upper(b[i]) || i > 0 && i+1 < len(b) && b[i+1] >= 'a' && b[i+1] <= 'z' {
			break
		}
		b[i] += 'a' - 'A'
	}
	return string(b)
}
