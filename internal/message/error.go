package message

import (
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The error codes of the library. A program may use any other code for its own errors.
const (
	CodeBadRequest  = "NANO-400" // the payload does not decode, or the message is malformed
	CodeNotFound    = "NANO-404" // no handler is registered for the route
	CodeLimit       = "NANO-429" // a limit was passed
	CodeInternal    = "NANO-500" // the handler failed or panicked
	CodeUnavailable = "NANO-503" // the server is draining, or the node that serves the route is down or not known yet
	CodeDeadline    = "NANO-504" // the deadline of a call has passed
)

// Error is an error that clients may see. If a handler returns an *Error, the server sends it to the client as the error
// response. For any other error the client receives only "internal error".
type Error struct {
	Code     string            `json:"code"`
	Message  string            `json:"msg"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Errorf returns an Error with a code and a formatted text.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the code and the text.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is reports whether target is an *Error with the same code: errors.Is(err, &Error{Code: c}) tests for the code c. If
// target has a text, the texts must be equal as well.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t != nil && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// The fields of the protobuf encoding, the same as in pitaya (pitaya-protos, error.proto):
// message Error { string code = 1; string msg = 2; map<string,string> metadata = 3; }
const (
	fieldCode     = 1
	fieldMessage  = 2
	fieldMetadata = 3
	fieldMapKey   = 1
	fieldMapValue = 2
)

// MarshalProtobuf returns the protobuf encoding of the error. Metadata is sorted by key. Invalid UTF-8 is replaced by
// U+FFFD, as in JSON, since a protobuf string has to be valid UTF-8.
func (e *Error) MarshalProtobuf() ([]byte, error) {
	var b []byte
	put := func(dst []byte, field protowire.Number, s string) []byte {
		if s == "" {
			return dst
		}
		return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), text(s))
	}
	b = put(b, fieldCode, e.Code)
	b = put(b, fieldMessage, e.Message)
	keys := make([]string, 0, len(e.Metadata))
	for k := range e.Metadata {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		entry := put(put(nil, fieldMapKey, k), fieldMapValue, e.Metadata[k])
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldMetadata, protowire.BytesType), entry)
	}
	return b, nil
}

// UnmarshalProtobuf decodes the protobuf encoding in b into e. It keeps no reference to b and skips unknown fields. On
// an error e may be partly filled.
func (e *Error) UnmarshalProtobuf(b []byte) error {
	*e = Error{}
	return fields(b, func(field protowire.Number, v []byte) error {
		switch field {
		case fieldCode:
			e.Code = text(string(v))
		case fieldMessage:
			e.Message = text(string(v))
		case fieldMetadata:
			var key, value string
			err := fields(v, func(field protowire.Number, v []byte) error {
				switch field {
				case fieldMapKey:
					key = text(string(v))
				case fieldMapValue:
					value = text(string(v))
				}
				return nil
			})
			if err != nil {
				return err
			}
			if e.Metadata == nil {
				e.Metadata = map[string]string{}
			}
			e.Metadata[key] = value
		}
		return nil
	})
}

func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// fields calls f for every length-delimited field of the protobuf message in b.
func fields(b []byte, f func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(field, v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
