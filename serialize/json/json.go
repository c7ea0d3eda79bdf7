package json

import (
	"encoding/json"
	"sync"
)

// Serializer encodes payloads as JSON with the defaults of encoding/json: struct tags are honoured, <, > and & are
// escaped, unknown fields are passed over. It keeps no state and may be used from many goroutines at once.
//
// Beside serialize.Serializer it implements serialize.AppendMarshaler and serialize.InputCopier.
type Serializer struct{}

// NewSerializer returns a Serializer.
func NewSerializer() *Serializer { return &Serializer{} }

// Name returns "json": what clients are told in the handshake.
func (s *Serializer) Name() string { return "json" }

// Marshal returns the JSON encoding of v. An error is that of encoding/json.
func (s *Serializer) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal reads the JSON in data into v, a non-nil pointer. An error is that of encoding/json; v may then be
// filled in part.
func (s *Serializer) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// CopiesInput returns true: encoding/json copies what it keeps, and asks the same of an UnmarshalJSON method.
func (s *Serializer) CopiesInput() bool { return true }

// MarshalAppend appends what Marshal returns for v to dst. On an error dst comes back unchanged.
func (s *Serializer) MarshalAppend(dst []byte, v any) ([]byte, error) {
	a := appenders.Get().(*appender)
	a.dst = dst
	err := a.encoder.Encode(v)
	out := a.dst
	a.dst = nil
	appenders.Put(a)
	if err != nil {
		return dst, err
	}
	return out[:len(out)-1], nil // without the line end that an Encoder adds
}

// appender is an Encoder whose output goes to the end of a slice. An Encoder writes once for each value, and only
// when all of it was encoded, from a buffer that encoding/json pools.
type appender struct {
	dst     []byte
	encoder *json.Encoder
}

var appenders = sync.Pool{New: func() any {
	a := &appender{}
	a.encoder = json.NewEncoder(a)
	return a
}}

func (a *appender) Write(p []byte) (int, error) {
	a.dst = append(a.dst, p...)
	return len(p), nil
}
