package serialize

import "reflect"

// Marshaler encodes a value as the payload of a message. The server calls it concurrently.
type Marshaler interface {
	// Marshal returns the encoding of v. The bytes belong to the caller.
	Marshal(v any) ([]byte, error)
}

// Unmarshaler decodes the payload of a message. The server calls it concurrently.
type Unmarshaler interface {
	// Unmarshal decodes data into v, a non-nil pointer. The data comes from a peer and may be malformed. Unmarshal
	// must not change data.
	Unmarshal(data []byte, v any) error
}

// Serializer encodes and decodes payloads. A server uses the one given to nano.WithSerializer.
type Serializer interface {
	Marshaler
	Unmarshaler
}

// AppendMarshaler is an optional interface of a Serializer. It saves the allocation that Marshal makes for each message.
type AppendMarshaler interface {
	// MarshalAppend appends the encoding of v, the same bytes that Marshal returns, to dst and returns the extended
	// slice. On an error it returns dst unchanged, but may have overwritten bytes between its length and its capacity.
	// It must not keep a reference to dst.
	MarshalAppend(dst []byte, v any) ([]byte, error)
}

// InputCopier is an optional interface of a Serializer. If CopiesInput returns true, the server passes slices of its read
// buffer to Unmarshal and reuses the buffer afterwards. Otherwise it passes a copy.
type InputCopier interface {
	// CopiesInput reports whether decoded values never refer to the data given to Unmarshal. The result must not change
	// during the life of the Serializer.
	CopiesInput() bool
}

// TypeChecker is an optional interface of a Serializer that takes some types only. A server checks the requests and
// replies of its handlers when it starts, and logs the handlers that can never be called.
type TypeChecker interface {
	// CheckType returns an error that names the expected types if the Serializer can neither marshal nor unmarshal
	// values of type t, a pointer.
	CheckType(t reflect.Type) error
}
