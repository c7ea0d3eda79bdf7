package contract

import (
	"fmt"
	"go/constant"
	"go/types"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// payload returns the type of a payload: a pointer to it, or the type itself.
func (s *source) payload(t types.Type) (*Type, error) {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	return s.typ(t)
}

func typeName(n *types.Named) string {
	if n.Obj().Pkg() == nil {
		return n.Obj().Name()
	}
	name := n.Obj().Pkg().Path() + "." + n.Obj().Name()
	if args := n.TypeArgs(); args != nil && args.Len() > 0 {
		var list []string
		for a := range args.Types() {
			list = append(list, types.TypeString(a, nil))
		}
		name += "[" + strings.Join(list, ",") + "]"
	}
	return name
}

// typ returns the contract type of a Go type, as encoding/json or the protobuf serializer
// encodes it.
func (s *source) typ(t types.Type) (*Type, error) {
	t = types.Unalias(t)
	switch t := t.(type) {
	case *types.Pointer:
		elem, err := s.typ(t.Elem())
		if err != nil {
			return nil, err
		}
		c := *elem
		c.Nullable = true
		return &c, nil
	case *types.Named:
		return s.named(t)
	case *types.Basic:
		return basic(t)
	case *types.Slice:
		if isBytes(t) {
			return &Type{Kind: KindBytes, Nullable: true}, nil
		}
		elem, err := s.typ(t.Elem())
		return &Type{Kind: KindList, Elem: elem, Nullable: true}, err
	case *types.Array:
		elem, err := s.typ(t.Elem())
		return &Type{Kind: KindList, Elem: elem, Len: int(t.Len())}, err
	case *types.Map:
		return s.mapType(t)
	case *types.Struct:
		fields, err := s.fields(t)
		return &Type{Kind: KindStruct, Fields: fields}, err
	case *types.Interface, *types.TypeParam:
		return &Type{Kind: KindAny}, nil
	}
	return nil, fmt.Errorf("a %s cannot be sent", types.TypeString(t, nil))
}

// isBytes reports whether encoding/json encodes a slice as base64.
func isBytes(t *types.Slice) bool {
	b, ok := t.Elem().Underlying().(*types.Basic)
	return ok && b.Kind() == types.Uint8 && !has(t.Elem(), "MarshalJSON") && !has(t.Elem(), "MarshalText")
}

func basic(t *types.Basic) (*Type, error) {
	info := t.Info()
	switch {
	case info&types.IsBoolean != 0:
		return &Type{Kind: KindBool}, nil
	case info&types.IsString != 0:
		return &Type{Kind: KindString}, nil
	case info&types.IsInteger != 0:
		bits := 64
		switch t.Kind() {
		case types.Int8, types.Uint8:
			bits = 8
		case types.Int16, types.Uint16:
			bits = 16
		case types.Int32, types.Uint32:
			bits = 32
		}
		return &Type{Kind: KindInt, Bits: bits, Unsigned: info&types.IsUnsigned != 0}, nil
	case t.Kind() == types.Float32:
		return &Type{Kind: KindFloat, Bits: 32}, nil
	case t.Kind() == types.Float64, t.Kind() == types.UntypedFloat:
		return &Type{Kind: KindFloat, Bits: 64}, nil
	}
	return nil, fmt.Errorf("a %s cannot be sent", t)
}

func (s *source) mapType(t *types.Map) (*Type, error) {
	key, err := s.typ(t.Key())
	if err != nil {
		return nil, err
	}
	if ref := s.contract.Types[key.Name]; key.Kind == KindRef && ref != nil && ref.Kind != KindEnum || key.Kind == KindStruct || key.Kind == KindList {
		return nil, fmt.Errorf("a map with keys of type %s cannot be sent", types.TypeString(t.Key(), nil))
	}
	elem, err := s.typ(t.Elem())
	return &Type{Kind: KindMap, Key: key, Elem: elem, Nullable: true}, err
}

// named returns a reference to a named type, and adds the type to the contract.
func (s *source) named(t *types.Named) (*Type, error) {
	name := typeName(t)
	switch {
	case name == "time.Time":
		return &Type{Kind: KindTime}, nil
	case name == "encoding/json.Number":
		return &Type{Kind: KindFloat, Bits: 64}, nil
	case name == "time.Duration":
		return &Type{Kind: KindInt, Bits: 64, Doc: "nanoseconds"}, nil
	case s.contract.Serializer == "protobuf" && isMessage(t):
		return s.message(t)
	case has(t, "MarshalJSON"):
		return &Type{Kind: KindAny}, nil
	case has(t, "MarshalText"):
		return &Type{Kind: KindString}, nil
	}
	ref := &Type{Kind: KindRef, Name: name}
	if s.contract.Types[name] != nil {
		return ref, s.sameType(name, t)
	}
	if b, ok := t.Underlying().(*types.Basic); ok {
		base, err := basic(b)
		if err != nil {
			return nil, err
		}
		values := s.values(t)
		if len(values) == 0 {
			return base, nil
		}
		s.declared[name] = t
		s.contract.Types[name] = &Type{Kind: KindEnum, Name: name, Doc: s.doc(t.Obj()), Elem: base, Values: values}
		return ref, nil
	}
	st, ok := t.Underlying().(*types.Struct)
	if !ok {
		if s.within[name] {
			return &Type{Kind: KindAny}, nil // such as type Tree []Tree
		}
		s.within[name] = true
		defer delete(s.within, name)
		return s.typ(t.Underlying())
	}
	s.declared[name] = t
	made := &Type{Kind: KindStruct, Name: name, Doc: s.doc(t.Obj())}
	s.contract.Types[name] = made // added before its fields, because they may refer to it
	fields, err := s.fields(st)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Obj().Name(), err)
	}
	made.Fields = fields
	return ref, nil
}

// sameType returns an error if another type has the name, such as one declared in a
// function.
func (s *source) sameType(name string, t *types.Named) error {
	if other := s.declared[name]; !types.Identical(other, t) {
		return fmt.Errorf("%s and %s declare two types %s: rename one", s.position(other.Obj()), s.position(t.Obj()), name)
	}
	return nil
}

// has reports whether a type or a pointer to it has a method.
func has(t types.Type, method string) bool {
	o, _, _ := types.LookupFieldOrMethod(types.NewPointer(t), true, nil, method)
	_, ok := o.(*types.Func)
	return ok
}

// values returns the constants of a type in its package, in the order of their declaration.
func (s *source) values(t *types.Named) []Value {
	pkg := t.Obj().Pkg()
	if pkg == nil {
		return nil
	}
	var consts []*types.Const
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Exported() && types.Identical(c.Type(), t) {
			consts = append(consts, c)
		}
	}
	slices.SortFunc(consts, func(a, b *types.Const) int { return int(a.Pos()) - int(b.Pos()) })
	var list []Value
	for _, c := range consts {
		v := Value{Name: c.Name(), Doc: s.doc(c)}
		switch c.Val().Kind() {
		case constant.String:
			v.Value = constant.StringVal(c.Val())
		case constant.Int:
			n, exact := constant.Int64Val(c.Val())
			if !exact {
				return nil
			}
			v.Value = n
		default:
			return nil
		}
		list = append(list, v)
	}
	return list
}

// found is a field of a struct or of a struct embedded in it.
type found struct {
	Field
	depth  int
	tagged bool
	index  []int
}

// fields returns the fields of a struct that encoding/json encodes.
func (s *source) fields(st *types.Struct) ([]Field, error) {
	var all []found
	if err := s.gather(st, nil, false, map[types.Type]bool{}, &all); err != nil {
		return nil, err
	}
	byName := map[string][]found{}
	for _, f := range all {
		byName[f.Name] = append(byName[f.Name], f)
	}
	var list []found
	for _, fs := range byName {
		if f, ok := dominant(fs); ok {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b found) int { return slices.Compare(a.index, b.index) })
	fields := make([]Field, len(list))
	for i, f := range list {
		fields[i] = f.Field
	}
	return fields, nil
}

// dominant returns the field that encoding/json chooses among fields of one name. It is
// the field with the least embedding, and among several the one with a tag. If two
// remain, there is none.
func dominant(fs []found) (found, bool) {
	slices.SortStableFunc(fs, func(a, b found) int {
		if a.depth != b.depth {
			return a.depth - b.depth
		}
		switch {
		case a.tagged && !b.tagged:
			return -1
		case b.tagged && !a.tagged:
			return 1
		}
		return 0
	})
	if len(fs) > 1 && fs[0].depth == fs[1].depth && fs[0].tagged == fs[1].tagged {
		return found{}, false
	}
	return fs[0], true
}

// gather adds the fields of a struct and of its embedded structs. index is the path of
// the embedded struct. optional means that the path contains a pointer, which may be nil.
func (s *source) gather(st *types.Struct, index []int, optional bool, within map[types.Type]bool, all *[]found) error {
	if within[st] {
		return nil
	}
	within[st] = true
	defer delete(within, st)
	for i := range st.NumFields() {
		f := st.Field(i)
		tag := reflect.StructTag(st.Tag(i)).Get("json")
		name, opts, _ := strings.Cut(tag, ",")
		if strings.ContainsFunc(name, isNoTagRune) {
			name = ""
		}
		at := append(slices.Clone(index), i)
		if tag == "-" {
			continue
		}
		if f.Embedded() && name == "" {
			t := types.Unalias(f.Type())
			pointer, isPointer := t.(*types.Pointer)
			if isPointer {
				t = types.Unalias(pointer.Elem())
			}
			if inner, ok := t.Underlying().(*types.Struct); ok && !has(t, "MarshalJSON") && !has(t, "MarshalText") {
				if err := s.gather(inner, at, optional || isPointer, within, all); err != nil {
					return err
				}
				continue
			}
		}
		if !f.Exported() {
			continue
		}
		typ, err := s.typ(f.Type())
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name(), err)
		}
		field := Field{Name: f.Name(), Go: f.Name(), Doc: s.doc(f), Type: typ, Optional: optional}
		if name != "" {
			field.Name = name
		}
		for o := range strings.SplitSeq(opts, ",") {
			switch o {
			case "omitempty", "omitzero":
				if o == "omitempty" && neverEmpty(f.Type()) {
					continue
				}
				field.Optional = true
				t := *field.Type
				if t.Kind != KindAny {
					t.Nullable = false // nil values are omitted
				}
				field.Type = &t
			case "string":
				if isQuotable(f.Type()) {
					field.Type = s.quoted(field.Type)
				}
			}
		}
		*all = append(*all, found{Field: field, depth: len(index), tagged: name != "", index: at})
	}
	return nil
}

// isNoTagRune reports whether encoding/json ignores a name in a tag because of a character.
func isNoTagRune(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
}

// isQuotable reports whether encoding/json heeds the option "string" for a type.
func isQuotable(t types.Type) bool {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	_, ok := t.Underlying().(*types.Basic)
	return ok && !has(t, "MarshalJSON") && !has(t, "MarshalText")
}

// quoted returns the type of a number, bool or string in a JSON string.
func (s *source) quoted(t *Type) *Type {
	c := *t
	if t.Kind == KindRef { // an enum
		c = *s.contract.Types[t.Name].Elem
		c.Nullable = t.Nullable
	}
	c.Quoted = true
	return &c
}

// neverEmpty reports whether encoding/json ignores omitempty for a type.
func neverEmpty(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Struct:
		return true
	case *types.Array:
		return u.Len() > 0
	}
	return false
}

// isMessage reports whether a type is a generated protobuf message.
func isMessage(t *types.Named) bool {
	_, ok := t.Underlying().(*types.Struct)
	return ok && has(t, "ProtoMessage") && has(t, "Reset")
}

// message returns a reference to a protobuf message, and adds the message to the
// contract. The fields come from the struct tags of the generated code.
func (s *source) message(t *types.Named) (*Type, error) {
	name := typeName(t)
	ref := &Type{Kind: KindRef, Name: name}
	if s.contract.Types[name] != nil {
		return ref, s.sameType(name, t)
	}
	s.declared[name] = t
	made := &Type{Kind: KindMessage, Name: name, Doc: s.doc(t.Obj())}
	s.contract.Types[name] = made
	st := t.Underlying().(*types.Struct)
	for i := range st.NumFields() {
		f := st.Field(i)
		tags := reflect.StructTag(st.Tag(i))
		if oneof := tags.Get("protobuf_oneof"); oneof != "" {
			if err := s.oneof(made, t, f, oneof); err != nil {
				return nil, err
			}
			continue
		}
		if tags.Get("protobuf") == "" {
			continue
		}
		field, err := s.messageField(f, tags)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.Obj().Name(), f.Name(), err)
		}
		made.Fields = append(made.Fields, field)
	}
	slices.SortFunc(made.Fields, func(a, b Field) int { return a.Number - b.Number })
	return ref, nil
}

// oneof adds the members of a oneof: the structs of the package that implement its interface.
func (s *source) oneof(made *Type, t *types.Named, f *types.Var, oneof string) error {
	iface, ok := f.Type().Underlying().(*types.Interface)
	if !ok {
		return nil
	}
	scope := t.Obj().Pkg().Scope()
	for _, name := range scope.Names() {
		o, ok := scope.Lookup(name).(*types.TypeName)
		if !ok || !types.Implements(types.NewPointer(o.Type()), iface) {
			continue
		}
		st, ok := o.Type().Underlying().(*types.Struct)
		if !ok || st.NumFields() != 1 {
			continue
		}
		field, err := s.messageField(st.Field(0), reflect.StructTag(st.Tag(0)))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		field.Oneof, field.Optional = oneof, true
		made.Fields = append(made.Fields, field)
	}
	return nil
}

// messageField reads a tag such as `protobuf:"varint,1,opt,name=user_id,json=userId,proto3"`.
func (s *source) messageField(f *types.Var, tags reflect.StructTag) (Field, error) {
	parts := strings.Split(tags.Get("protobuf"), ",")
	field := Field{Go: f.Name(), Doc: s.doc(f)}
	if len(parts) < 3 {
		return field, fmt.Errorf("the tag %q has no number", tags.Get("protobuf"))
	}
	if field.Wire = parts[0]; field.Wire == "group" {
		return field, fmt.Errorf("groups are not supported")
	}
	var err error
	if field.Number, err = strconv.Atoi(parts[1]); err != nil {
		return field, fmt.Errorf("the tag has no number: %w", err)
	}
	proto3 := slices.Contains(parts, "proto3")
	oneof := slices.Contains(parts, "oneof")
	for _, p := range parts[3:] {
		if name, ok := strings.CutPrefix(p, "json="); ok {
			field.Name = name
		} else if name, ok := strings.CutPrefix(p, "name="); ok && field.Name == "" {
			field.Name = name
		}
	}
	if field.Type, err = s.typ(f.Type()); err != nil {
		return field, err
	}
	t := *field.Type
	_, isPointer := types.Unalias(f.Type()).(*types.Pointer)
	t.Nullable = false
	if t.Elem != nil {
		elem := *t.Elem
		elem.Nullable = false
		t.Elem = &elem
	}
	field.Optional = t.Kind != KindList && t.Kind != KindMap && (isPointer || oneof || !proto3 && parts[2] == "opt")
	if t.Kind == KindMap {
		wire := func(tag string) string { return strings.SplitN(tags.Get(tag), ",", 2)[0] }
		field.Wire = "map:" + wire("protobuf_key") + ":" + wire("protobuf_val")
	}
	if t.Kind == KindList && slices.Contains(parts, "packed") {
		field.Wire = "packed:" + field.Wire
	}
	field.Type = &t
	return field, nil
}
