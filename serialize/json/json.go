package json

import (
	"encoding/json"
	"sync"
)

// Serializer encodes payloads as JSON with the defaults of encoding/json: it uses struct tags, escapes <, > and &, and
// skips unknown fields. It is stateless and may be used concurrently.
//
// It implements [github.com/lonng/nano/serialize.Serializer] and the optional AppendMarshaler and InputCopier.
type Serializer struct{}

// NewSerializer returns a Serializer.
func NewSerializer() *Serializer { return &Serializer{} }

// Name returns "json", the name of the serializer in the handshake.
func (s *Serializer) Name() string { return "json" }

// Marshal returns the JSON encoding of v, or the error of encoding/json.
func (s *Serializer) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal decodes the JSON in data into v, a non-nil pointer. It returns the error of encoding/json; v may then be
// partly filled.
func (s *Serializer) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// CopiesInput returns true. Package encoding/json copies its input, and requires the same of UnmarshalJSON methods.
func (s *Serializer) CopiesInput() bool { return true }

// MarshalAppend appends the JSON encoding of v to dst. On an error it returns dst unchanged.
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
	return out[:len(out)-1], nil // without the newline that an Encoder adds
}

// appender is an Encoder that appends to a slice. An Encoder calls Write once for each value, after it has encoded the
// whole value into a pooled buffer.
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
