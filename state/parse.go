package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// parseSchema parses the text of a [Schema].
func parseSchema(text string) ([]*object, error) {
	var structs [][]json.RawMessage
	if err := json.Unmarshal([]byte(text), &structs); err != nil {
		return nil, err
	}
	if len(structs) == 0 {
		return nil, errors.New("it has no structs")
	}
	types := make([]*object, len(structs))
	for i := range types {
		types[i] = &object{}
	}
	for i, parts := range structs {
		if len(parts) == 0 || len(parts) > maxFields+1 {
			return nil, fmt.Errorf("struct %d has %d parts", i, len(parts))
		}
		if err := json.Unmarshal(parts[0], &types[i].name); err != nil {
			return nil, err
		}
		for _, part := range parts[1:] {
			var f []json.RawMessage
			var name string
			if err := json.Unmarshal(part, &f); err != nil {
				return nil, err
			}
			if len(f) < 2 {
				return nil, fmt.Errorf("a field of %s has no kind", types[i].name)
			}
			if err := json.Unmarshal(f[0], &name); err != nil {
				return nil, err
			}
			v, err := parseShape(types, f[1:], 0)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: %w", types[i].name, name, err)
			}
			types[i].fields = append(types[i].fields, member{strings.Split(name, "."), *v})
		}
	}
	return types, acyclic(types[0], nil)
}

// acyclic returns an error if o contains itself.
func acyclic(o *object, open []*object) error {
	if slices.Contains(open, o) || len(open) >= maxDepth {
		return fmt.Errorf("%s is too deep", o.name)
	}
	for i := range o.fields {
		for v := &o.fields[i].value; v != nil; v = v.elem {
			if v.obj == nil {
				continue
			}
			if err := acyclic(v.obj, append(open, o)); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseShape parses a kind and its arguments.
func parseShape(types []*object, parts []json.RawMessage, depth int) (*shape, error) {
	var name string
	if len(parts) == 0 || depth > 2 {
		return nil, errors.New("a kind is missing")
	}
	if err := json.Unmarshal(parts[0], &name); err != nil {
		return nil, err
	}
	k := slices.Index(kindNames[:], name)
	if k < 0 {
		return nil, fmt.Errorf("unknown kind %q", name)
	}
	v := &shape{kind: kind(k)}
	need := map[kind]int{kindEnum: 1, kindQ: 1, kindTurn: 1, kindObj: 1, kindStruct: 1, kindList: 1, kindMap: 2}[v.kind]
	if len(parts) != 1+need {
		return nil, fmt.Errorf("%s needs %d arguments", name, need)
	}
	switch v.kind {
	case kindEnum:
		err := json.Unmarshal(parts[1], &v.enum)
		if err == nil && len(v.enum) == 0 {
			err = errors.New("an enum without texts")
		}
		return v, err
	case kindQ, kindTurn:
		err := json.Unmarshal(parts[1], &v.scale)
		if err == nil && !(v.scale > 0) {
			err = fmt.Errorf("a scale of %v", v.scale)
		}
		return v, err
	case kindObj, kindStruct:
		var id int
		if err := json.Unmarshal(parts[1], &id); err != nil {
			return nil, err
		}
		if id < 0 || id >= len(types) {
			return nil, fmt.Errorf("there is no struct %d", id)
		}
		v.obj = types[id]
		return v, nil
	case kindList, kindMap:
		if v.kind == kindMap {
			var key string
			if err := json.Unmarshal(parts[1], &key); err != nil {
				return nil, err
			}
			kinds := map[string]kind{"str": kindStr, "int": kindInt, "uint": kindUbig}
			var ok bool
			if v.key, ok = kinds[key]; !ok {
				return nil, fmt.Errorf("unknown kind %q of key", key)
			}
		}
		var elem []json.RawMessage
		err := json.Unmarshal(parts[need], &elem)
		if err != nil {
			return nil, err
		}
		v.elem, err = parseShape(types, elem, depth+1)
		return v, err
	}
	return v, nil
}

// object is a struct of a schema.
type object struct {
	name   string
	fields []member
}

// member is a field of an object.
type member struct {
	path  []string
	value shape
}

// shape describes a value of a schema.
type shape struct {
	kind  kind
	scale float64
	enum  []string
	obj   *object
	elem  *shape
	key   kind
}
