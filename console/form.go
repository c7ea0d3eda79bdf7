package console

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A form has at most maxFormDepth levels and maxFormFields values. Values beyond these
// limits are entered as JSON. So the form of a recursive type is finite.
const (
	maxFormDepth  = 6
	maxFormFields = 500
)

// former makes one form.
type former struct{ left int } // values that may still be described

// more reports whether another value at a depth is described.
func (m *former) more(depth int) bool {
	m.left--
	return depth <= maxFormDepth && m.left >= 0
}

// formField describes a value of a request, from which the page makes a form. Its JSON has
// the members of a Go struct, or of a protobuf message in its JSON form.
type formField struct {
	Name string `json:"name"` // empty for an item and for the request itself
	// Kind is "object", "list", "map", "text", "integer", "number", "bool", "bytes" (a
	// base64 text), "time" (an RFC 3339 text), "choice", or "json" for any value.
	Kind     string      `json:"kind"`
	Type     string      `json:"type"`     // type in Go or protobuf
	Optional bool        `json:"optional"` // it may be left out
	Quoted   bool        `json:"quoted"`   // a number, bool or text whose JSON is in a JSON string
	Fields   []formField `json:"fields"`   // fields of an object; null for other kinds
	Item     *formField  `json:"item"`     // item of a list or a map; null for other kinds
	Choices  []string    `json:"choices"`  // values of a choice; null for other kinds
}

var (
	typeTime            = reflect.TypeFor[time.Time]()
	typeUnmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	typeTextUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value describes a Go type as encoding/json reads it.
func (m *former) value(t reflect.Type, depth int) formField {
	f := formField{Type: t.String()}
	for t.Kind() == reflect.Pointer {
		t, f.Optional = t.Elem(), true
	}
	switch p := reflect.PointerTo(t); {
	case t == typeTime:
		f.Kind = "time"
		return f
	case p.Implements(typeUnmarshaler):
		f.Kind = "json"
		return f
	case p.Implements(typeTextUnmarshaler):
		f.Kind = "text"
		return f
	case !m.more(depth):
		f.Kind = "json"
		return f
	}
	switch t.Kind() {
	case reflect.Bool:
		f.Kind = "bool"
	case reflect.String:
		f.Kind = "text"
	case reflect.Float32, reflect.Float64:
		f.Kind = "number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		f.Kind = "integer"
	case reflect.Slice, reflect.Array:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			f.Kind = "bytes"
			return f
		}
		f.Kind, f.Item = "list", new(m.value(t.Elem(), depth+1))
	case reflect.Map:
		f.Kind, f.Item = "map", new(m.value(t.Elem(), depth+1))
	case reflect.Struct:
		f.Kind, f.Fields = "object", m.fields(t, depth+1)
	default:
		f.Kind = "json"
	}
	return f
}

// fields describes the fields of a struct. Those of embedded structs are promoted.
func (m *former) fields(t reflect.Type, depth int) []formField {
	list := []formField{}
	for sf := range t.Fields() {
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		bare := sf.Type // without a pointer
		if bare.Kind() == reflect.Pointer {
			bare = bare.Elem()
		}
		switch {
		case name == "-" && options == "":
			continue
		case sf.Anonymous && name == "" && bare.Kind() == reflect.Struct:
			if depth <= maxFormDepth {
				list = append(list, m.fields(bare, depth+1)...)
			}
			continue
		case !sf.IsExported():
			continue
		}
		f := m.value(sf.Type, depth)
		f.Name = name
		if name == "" {
			f.Name = sf.Name
		}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty", "omitzero":
				f.Optional = true
			case "string":
				isBasic := bare.Kind() <= reflect.Float64 || bare.Kind() == reflect.String
				f.Quoted = isBasic && f.Kind != "json"
			}
		}
		list = append(list, f)
	}
	return list
}

// message describes a protobuf message as protojson reads it.
func (m *former) message(d protoreflect.MessageDescriptor, depth int) formField {
	f := formField{Kind: "object", Type: string(d.FullName()), Fields: []formField{}}
	if !m.more(depth) || d.FullName().Parent() == "google.protobuf" { // these have a JSON form of their own
		f.Kind, f.Fields = "json", nil
		return f
	}
	fields := d.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		var v formField
		switch {
		case fd.IsMap():
			v = formField{Kind: "map", Type: "map", Item: new(m.field(fd.MapValue(), depth+1))}
		case fd.IsList():
			v = formField{Kind: "list", Type: "list", Item: new(m.field(fd, depth+1))}
		default:
			v = m.field(fd, depth+1)
		}
		v.Name, v.Optional = fd.JSONName(), true // protobuf has no required fields that programs use
		f.Fields = append(f.Fields, v)
	}
	return f
}

// field describes one value of a protobuf field.
func (m *former) field(fd protoreflect.FieldDescriptor, depth int) formField {
	f := formField{Type: fd.Kind().String()}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		f.Kind = "bool"
	case protoreflect.StringKind:
		f.Kind = "text"
	case protoreflect.BytesKind:
		f.Kind = "bytes"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f.Kind = "number"
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		f.Kind, f.Quoted = "integer", true
	case protoreflect.EnumKind:
		f.Kind = "choice"
		values := fd.Enum().Values()
		for i := range values.Len() {
			f.Choices = append(f.Choices, string(values.Get(i).Name()))
		}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return m.message(fd.Message(), depth)
	default:
		f.Kind = "integer"
	}
	return f
}
