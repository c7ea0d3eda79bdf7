package payload

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/lonng/nano/cmd/nano/internal/contract"
)

// enumName is the name of an enum inside its own message. Each enum needs a scope for the
// names of its values.
const enumName = "Enum"

// builder builds the descriptor of one file with all messages and enums of a contract.
type builder struct {
	contract *contract.Contract
	names    map[string]string // names in the file, by type name
}

// descriptors returns the message descriptors of a contract by type name.
func descriptors(c *contract.Contract) (map[string]protoreflect.MessageDescriptor, error) {
	b := &builder{contract: c, names: map[string]string{}}
	types := slices.Sorted(maps.Keys(c.Types))
	for i, name := range types {
		b.names[name] = fmt.Sprintf("T%d", i)
	}
	file := &descriptorpb.FileDescriptorProto{Name: new("contract.proto"), Syntax: new("proto3")}
	for _, name := range types {
		switch t := c.Types[name]; t.Kind {
		case contract.KindMessage:
			m, err := b.message(t)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			file.MessageType = append(file.MessageType, m)
		case contract.KindEnum:
			file.MessageType = append(file.MessageType, b.enum(t))
		}
	}
	f, err := protodesc.NewFile(file, nil)
	if err != nil {
		return nil, err
	}
	messages := map[string]protoreflect.MessageDescriptor{}
	for name, in := range b.names {
		if c.Types[name].Kind == contract.KindMessage {
			messages[name] = f.Messages().ByName(protoreflect.Name(in))
		}
	}
	return messages, nil
}

// enum returns a message that contains an enum. The first value of a proto3 enum is 0.
func (b *builder) enum(t *contract.Type) *descriptorpb.DescriptorProto {
	e := &descriptorpb.EnumDescriptorProto{Name: new(enumName), Options: &descriptorpb.EnumOptions{AllowAlias: new(true)}}
	add := func(name string, n int32) {
		e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: new(name), Number: new(n)})
	}
	add("ZERO_", 0)
	for _, v := range t.Values {
		if n, ok := number(v.Value); ok {
			add(v.Name, n)
		}
	}
	if len(e.Value) > 1 && e.Value[1].GetNumber() == 0 {
		e.Value = e.Value[1:]
	}
	if !slices.ContainsFunc(e.Value[1:], func(v *descriptorpb.EnumValueDescriptorProto) bool {
		return slices.ContainsFunc(e.Value, func(w *descriptorpb.EnumValueDescriptorProto) bool { return v != w && v.GetNumber() == w.GetNumber() })
	}) {
		e.Options = nil // an enum without aliases must not allow them
	}
	return &descriptorpb.DescriptorProto{Name: new(b.names[t.Name]), EnumType: []*descriptorpb.EnumDescriptorProto{e}}
}

// number returns the number of an enum value. JSON may have turned it into a float.
func number(v any) (int32, bool) {
	switch v := v.(type) {
	case int64:
		return int32(v), true
	case float64:
		return int32(v), true
	}
	return 0, false
}

func (b *builder) message(t *contract.Type) (*descriptorpb.DescriptorProto, error) {
	m := &descriptorpb.DescriptorProto{Name: new(b.names[t.Name])}
	oneofs := map[string]int32{}
	for _, f := range t.Fields { // the oneofs of proto3 optional fields must come last
		if _, ok := oneofs[f.Oneof]; f.Oneof != "" && !ok {
			oneofs[f.Oneof] = int32(len(m.OneofDecl))
			m.OneofDecl = append(m.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new(f.Oneof)})
		}
	}
	for _, f := range t.Fields {
		d, err := b.field(m, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		scalar := d.GetType() != descriptorpb.FieldDescriptorProto_TYPE_MESSAGE && d.GetLabel() != descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		switch {
		case f.Oneof != "":
			d.OneofIndex = new(oneofs[f.Oneof])
		case f.Optional && scalar:
			d.Proto3Optional, d.OneofIndex = new(true), new(int32(len(m.OneofDecl)))
			m.OneofDecl = append(m.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new("_" + f.Name)})
		}
		m.Field = append(m.Field, d)
	}
	return m, nil
}

// field returns the descriptor of a field of m. For a map it adds the entry type to m.
func (b *builder) field(m *descriptorpb.DescriptorProto, f contract.Field) (*descriptorpb.FieldDescriptorProto, error) {
	d := &descriptorpb.FieldDescriptorProto{
		Name: new(f.Name), JsonName: new(f.Name), Number: new(int32(f.Number)),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	switch f.Type.Kind {
	case contract.KindMap:
		wire := strings.Split(f.Wire, ":") // map:KEY:VALUE
		if len(wire) != 3 {
			return nil, fmt.Errorf("the encoding %q of a map is not known", f.Wire)
		}
		entry := &descriptorpb.DescriptorProto{Name: new(entryName(f.Name)), Options: &descriptorpb.MessageOptions{MapEntry: new(true)}}
		for i, part := range []*contract.Type{f.Type.Key, f.Type.Elem} {
			p, err := b.field(entry, contract.Field{Name: []string{"key", "value"}[i], Number: i + 1, Type: part, Wire: wire[i+1]})
			if err != nil {
				return nil, err
			}
			entry.Field = append(entry.Field, p)
		}
		m.NestedType = append(m.NestedType, entry)
		d.Label, d.Type = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(), descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		d.TypeName = new("." + m.GetName() + "." + entry.GetName())
		return d, nil
	case contract.KindList:
		wire, packed := strings.CutPrefix(f.Wire, "packed:")
		d.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		if err := b.scalar(d, f.Type.Elem, wire); err != nil {
			return nil, err
		}
		switch d.GetType() {
		case descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES:
		default:
			d.Options = &descriptorpb.FieldOptions{Packed: new(packed)}
		}
		return d, nil
	}
	return d, b.scalar(d, f.Type, f.Wire)
}

// entryName returns the required name of a map's entry type: the camel-case field name
// with Entry.
func entryName(field string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(field, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String() + "Entry"
}

// scalar sets the type of a field that is not a list or a map.
func (b *builder) scalar(d *descriptorpb.FieldDescriptorProto, t *contract.Type, wire string) error {
	set := func(kind descriptorpb.FieldDescriptorProto_Type) error {
		d.Type = kind.Enum()
		return nil
	}
	if named := b.contract.Types[t.Name]; t.Kind == contract.KindRef && named != nil {
		d.TypeName = new("." + b.names[t.Name])
		if named.Kind == contract.KindEnum {
			d.TypeName = new(d.GetTypeName() + "." + enumName)
			return set(descriptorpb.FieldDescriptorProto_TYPE_ENUM)
		}
		return set(descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	}
	wide := t.Bits == 64
	pick := func(narrow, wider descriptorpb.FieldDescriptorProto_Type) error {
		if wide {
			return set(wider)
		}
		return set(narrow)
	}
	switch {
	case t.Kind == contract.KindBool:
		return set(descriptorpb.FieldDescriptorProto_TYPE_BOOL)
	case t.Kind == contract.KindString:
		return set(descriptorpb.FieldDescriptorProto_TYPE_STRING)
	case t.Kind == contract.KindBytes:
		return set(descriptorpb.FieldDescriptorProto_TYPE_BYTES)
	case t.Kind == contract.KindFloat:
		return pick(descriptorpb.FieldDescriptorProto_TYPE_FLOAT, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE)
	case t.Kind != contract.KindInt:
		return fmt.Errorf("a %s cannot be a field of a protobuf message", t.Kind)
	case strings.HasPrefix(wire, "zigzag"):
		return pick(descriptorpb.FieldDescriptorProto_TYPE_SINT32, descriptorpb.FieldDescriptorProto_TYPE_SINT64)
	case strings.HasPrefix(wire, "fixed") && t.Unsigned:
		return pick(descriptorpb.FieldDescriptorProto_TYPE_FIXED32, descriptorpb.FieldDescriptorProto_TYPE_FIXED64)
	case strings.HasPrefix(wire, "fixed"):
		return pick(descriptorpb.FieldDescriptorProto_TYPE_SFIXED32, descriptorpb.FieldDescriptorProto_TYPE_SFIXED64)
	case t.Unsigned:
		return pick(descriptorpb.FieldDescriptorProto_TYPE_UINT32, descriptorpb.FieldDescriptorProto_TYPE_UINT64)
	}
	return pick(descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_TYPE_INT64)
}
