package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	legacy "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/proto"
)

// ErrWrongValueType is returned for a value that is not a protobuf message, or is a nil pointer to one. It is never
// wrapped.
var ErrWrongValueType = errors.New("protobuf: expected a protobuf message that is not nil")

// A value that is not a message may implement its own encoding. The error of an error response does.
type (
	marshaler   interface{ MarshalProtobuf() ([]byte, error) }
	unmarshaler interface{ UnmarshalProtobuf([]byte) error }
)

// Serializer encodes payloads as protobuf messages. A value that is not a message may have the methods
// MarshalProtobuf() ([]byte, error) and UnmarshalProtobuf([]byte) error instead; the latter must not keep a reference
// to its argument. Serializer is stateless and may be used concurrently.
//
// It implements [github.com/lonng/nano/serialize.Serializer] and the optional AppendMarshaler, InputCopier and
// TypeChecker.
type Serializer struct{}

// NewSerializer returns a Serializer.
func NewSerializer() *Serializer { return &Serializer{} }

// Name returns "protobuf", the name of the serializer in the handshake.
func (s *Serializer) Name() string { return "protobuf" }

// Marshal returns the protobuf encoding of v. The result is not nil, even if it is empty. The error is
// ErrWrongValueType, or names the required field that is not set or the string that is not UTF-8.
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

// MarshalAppend appends the protobuf encoding of v to dst. On an error it returns dst unchanged.
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

// Unmarshal resets v and decodes the protobuf message in data into it. The error is ErrWrongValueType, or describes the
// fault in data; v may then be partly filled.
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

// CopiesInput returns true. Decoded messages hold copies of strings, bytes and unknown fields.
func (s *Serializer) CopiesInput() bool { return true }

// CheckType returns an error unless t is a pointer to a protobuf message or has one of the methods MarshalProtobuf and
// UnmarshalProtobuf.
func (s *Serializer) CheckType(t reflect.Type) error {
	switch reflect.Zero(t).Interface().(type) {
	case proto.Message, legacy.Message, marshaler, unmarshaler:
		return nil
	}
	return fmt.Errorf("protobuf: %v is not a protobuf message: want a pointer to a type that protoc-gen-go made", t)
}

// message returns v as a message of google.golang.org/protobuf. It returns false if v is not a message or is nil.
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
