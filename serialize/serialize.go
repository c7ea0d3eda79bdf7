package serialize

import "reflect"

// Marshaler turns a value into the payload of a message. It is called from many goroutines at once.
type Marshaler interface {
	// Marshal returns the encoding of v. The bytes belong to the caller.
	Marshal(v any) ([]byte, error)
}

// Unmarshaler turns the payload of a message into a value. It is called from many goroutines at once.
type Unmarshaler interface {
	// Unmarshal reads data into v, a non-nil pointer. The payload comes from a peer, so nothing about it can be
	// trusted. It does not change data.
	Unmarshal(data []byte, v any) error
}

// Serializer is a payload codec: what WithSerializer takes.
type Serializer interface {
	Marshaler
	Unmarshaler
}

// AppendMarshaler is what a Serializer may implement beside its own methods to write straight into the buffer of a
// connection, which saves the allocation that Marshal has to make for every message.
type AppendMarshaler interface {
	// MarshalAppend appends the encoding of v, the same bytes that Marshal returns, to dst and returns the extended
	// slice. On an error it returns dst unchanged; what lies past the end of dst may have been written over. It
	// keeps no reference to dst.
	MarshalAppend(dst []byte, v any) ([]byte, error)
}

// InputCopier is what a Serializer may implement to have its payloads decoded straight out of a read buffer that is
// reused afterwards. A Serializer that does not implement it gets a copy that nobody else touches.
type InputCopier interface {
	// CopiesInput reports whether Unmarshal copies everything that the value keeps, so that nothing refers to the
	// payload once it has returned. It answers the same for the life of the Serializer.
	CopiesInput() bool
}

// TypeChecker is what a Serializer may implement if it takes some types only. A server asks it about the requests and
// replies of its handlers when it starts, and logs the handlers that could never be called.
type TypeChecker interface {
	// CheckType returns an error that names the expected types if values of type t, a pointer, can be neither
	// marshaled nor unmarshaled.
	CheckType(t reflect.Type) error
}
