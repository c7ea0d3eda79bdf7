package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	legacy "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/proto"
)

// ErrWrongValueType tells of a value that is not a protobuf message, or of a nil pointer to one. It is returned as
// it is, never wrapped.
var ErrWrongValueType = errors.New("protobuf: expected a protobuf message that is not nil")

// A value that is no message may bring an encoding of its own. The error of an error response does.
type (
	marshaler   interface{ MarshalProtobuf() ([]byte, error) }
	unmarshaler interface{ UnmarshalProtobuf([]byte) error }
)

// Serializer encodes payloads as protobuf messages. A value that is not a message may have the methods
// MarshalProtobuf() ([]byte, error) and UnmarshalProtobuf([]byte) error instead; the latter copies what it keeps of
// its argument. It keeps no state and may be used from many goroutines at once.
//
// Beside serialize.Serializer it implements serialize.AppendMarshaler, serialize.InputCopier and
// serialize.TypeChecker.
type Serializer struct{}

// NewSerializer returns a Serializer.
func NewSerializer() *Serializer { return &Serializer{} }

// Name returns "protobuf": what clients are told in the handshake.
func (s *Serializer) Name() string { return "protobuf" }

// Marshal returns the protobuf encoding of v, which is not nil even when it is empty. An error is
// ErrWrongValueType, or says which required field is not set or which string is not UTF-8.
func (s *Serializer) Marshal(v any) ([]byte, error) {
	m, ok := message(v)
	if ok {
		return proto.Marshal(m)
	}
	if v, ok := v.(marshaler); ok {
		return v.MarshalProtobuf()
	}
	return nil, ErrWrongValueType
}

// MarshalAppend appends what Marshal returns for v to dst. On an error dst comes back unchanged.
func (s *Serializer) MarshalAppend(dst []byte, v any) ([]byte, error) {
	m, ok := message(v)
	if ok {
		out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
		if err != nil {
			return dst, err
		}
		return out, nil
	}
	b, err := s.Marshal(v)
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

// Unmarshal replaces what v holds by the protobuf message in data. An error is ErrWrongValueType, or says what is
// wrong with data; v may then be filled in part.
func (s *Serializer) Unmarshal(data []byte, v any) error {
	m, ok := message(v)
	if ok {
		return proto.Unmarshal(data, m)
	}
	if v, ok := v.(unmarshaler); ok {
		return v.UnmarshalProtobuf(data)
	}
	return ErrWrongValueType
}

// CopiesInput returns true: messages keep copies of their strings, bytes and unknown fields.
func (s *Serializer) CopiesInput() bool { return true }

// CheckType returns an error unless t is a pointer to a protobuf message or has one of the methods MarshalProtobuf and
// UnmarshalProtobuf.
func (s *Serializer) CheckType(t reflect.Type) error {
	switch reflect.Zero(t).Interface().(type) {
	case proto.Message, legacy.Message, marshaler, unmarshaler:
		return nil
	}
	return fmt.Errorf("protobuf: %v is no protobuf message: want a pointer to a type that protoc-gen-go made", t)
}

// message returns v as a message of the present generation, and false where it is none or nil.
func message(v any) (proto.Message, bool) {
	var m proto.Message
	switch v := v.(type) {
	case proto.Message:
		m = v
	case legacy.Message:
		m = legacy.MessageV2(v)
	default:
		return nil, false
	}
	return m, m.ProtoReflect().IsValid()
}
