package contract

import (
	"fmt"
	"go/types"
	"reflect"
	"slices"
	"strings"
)

const statePath = "github.com/lonng/nano/state"

// StateSuffix ends the names of types that package state sends. A struct can be a payload
// too, with other names and types for its fields.
const StateSuffix = "@state"

// stateTags are the tags of package state that change what clients see.
type stateTags struct {
	name string
	enum []string
	big  bool
}

func parseStateTags(text string) (g stateTags) {
	for part := range strings.SplitSeq(text, ",") {
		switch key, arg, _ := strings.Cut(part, "="); key {
		case "name":
			g.name = arg
		case "enum":
			g.enum = strings.Split(arg, "|")
		case "big":
			g.big = true
		}
	}
	return g
}

// stateType returns the contract type of a value in the state of a room, as clients of
// package state see it.
func (s *source) stateType(t types.Type, g stateTags) (*Type, error) {
	t = types.Unalias(t)
	if key, elem, ok := stateMap(t); ok {
		return s.stateMapType(key, elem, g)
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return stateScalar(u, g)
	case *types.Pointer:
		elem, err := s.stateType(u.Elem(), stateTags{})
		if err != nil {
			return nil, err
		}
		c := *elem
		c.Nullable = true
		return &c, nil
	case *types.Struct:
		return s.stateStruct(t, u)
	case *types.Slice:
		elem, err := s.stateType(u.Elem(), g)
		return &Type{Kind: KindList, Elem: elem}, err
	case *types.Array:
		elem, err := s.stateType(u.Elem(), g)
		return &Type{Kind: KindList, Elem: elem, Len: int(u.Len())}, err
	case *types.Map:
		return s.stateMapType(u.Key(), u.Elem(), g)
	}
	return nil, fmt.Errorf("a %s cannot be part of a state", types.TypeString(t, nil))
}

// stateMap returns the types of the keys and structs of a state.Map.
func stateMap(t types.Type) (key, elem types.Type, ok bool) {
	named, ok := t.(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != statePath || named.Obj().Name() != "Map" || named.TypeArgs().Len() != 2 {
		return nil, nil, false
	}
	return named.TypeArgs().At(0), named.TypeArgs().At(1), true
}

// stateMapType returns the type of a map. Its values are never null.
func (s *source) stateMapType(key, elem types.Type, g stateTags) (*Type, error) {
	k, err := s.stateType(key, stateTags{})
	if err != nil {
		return nil, err
	}
	if p, ok := types.Unalias(elem).(*types.Pointer); ok {
		elem = p.Elem()
	}
	e, err := s.stateType(elem, g)
	return &Type{Kind: KindMap, Key: k, Elem: e}, err
}

func stateScalar(t *types.Basic, g stateTags) (*Type, error) {
	if g.enum != nil {
		values := make([]Value, len(g.enum))
		for i, text := range g.enum {
			values[i] = Value{Name: text, Value: text}
		}
		return &Type{Kind: KindEnum, Elem: &Type{Kind: KindString}, Values: values}, nil
	}
	c, err := basic(t)
	if err == nil && c.Kind == KindInt {
		c.Big = g.big
	}
	return c, err
}

// stateStruct returns a reference to a struct with a name, and adds it to the contract.
func (s *source) stateStruct(t types.Type, st *types.Struct) (*Type, error) {
	named, ok := t.(*types.Named)
	if !ok {
		fields, err := s.stateFields(st)
		return &Type{Kind: KindStruct, Fields: fields}, err
	}
	name := typeName(named) + StateSuffix
	ref := &Type{Kind: KindRef, Name: name}
	if s.contract.Types[name] != nil {
		return ref, s.sameType(name, named)
	}
	s.declared[name] = named
	made := &Type{Kind: KindStruct, Name: name, Doc: s.doc(named.Obj())}
	s.contract.Types[name] = made
	fields, err := s.stateFields(st)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", named.Obj().Name(), err)
	}
	made.Fields = fields
	return ref, nil
}

// stateFields returns the fields that package state sends.
func (s *source) stateFields(st *types.Struct) (list []Field, err error) {
	for i := range st.NumFields() {
		f := st.Field(i)
		text := reflect.StructTag(st.Tag(i)).Get("state")
		if text == "-" {
			continue
		}
		g := parseStateTags(text)
		inner, isStruct := f.Type().Underlying().(*types.Struct)
		_, _, isMap := stateMap(types.Unalias(f.Type()))
		if f.Embedded() && isStruct && !isMap && g.name == "" {
			promoted, err := s.stateFields(inner)
			if err != nil {
				return nil, err
			}
			list = append(list, promoted...)
			continue
		}
		if !f.Exported() {
			continue
		}
		field := Field{Name: g.name, Go: f.Name(), Doc: s.doc(f)}
		if field.Name == "" {
			field.Name = lowerCamel(f.Name())
		}
		if field.Type, err = s.stateType(f.Type(), g); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name(), err)
		}
		list = append(list, field)
	}
	return slices.Clip(list), nil
}

// lowerCamel converts a name as package state does: HPMax becomes hpMax, and ID becomes id.
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
