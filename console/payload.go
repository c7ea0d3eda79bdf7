package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/serialize"
)

// protoMessage returns a value as a protobuf message, nil if it is none.
func protoMessage(v any) proto.Message {
	if m, ok := v.(protoadapt.MessageV2); ok {
		return m
	}
	if m, ok := v.(protoadapt.MessageV1); ok {
		return protoadapt.MessageV2Of(m)
	}
	return nil
}

// serializerName returns the name of a serializer in the handshake, "" if it has none.
func serializerName(s serialize.Serializer) string {
	if n, ok := s.(interface{ Name() string }); ok {
		return n.Name()
	}
	return ""
}

// encode turns the text of a payload into its bytes. The text is JSON, or anything if the
// handler takes bytes. route is nil for a route that this node does not serve.
func encode(s serialize.Serializer, route *inspect.Route, text string) ([]byte, error) {
	switch {
	case route != nil && route.Request == nil:
		return []byte(text), nil
	case strings.TrimSpace(text) == "":
		return nil, nil
	case !json.Valid([]byte(text)):
		return nil, errors.New("the payload is not JSON")
	case serializerName(s) == "json":
		return []byte(text), nil
	case route == nil:
		return nil, errors.New("this node does not serve the route, so it does not know the type of the request")
	}
	v := route.New()
	if err := fromJSON(text, v); err != nil {
		return nil, fmt.Errorf("the payload is not a %v: %w", route.Request.Elem(), err)
	}
	return s.Marshal(v)
}

// fromJSON decodes JSON into a request. The error is that of the decoder.
func fromJSON(text string, v any) error {
	if m := protoMessage(v); m != nil {
		return protojson.Unmarshal([]byte(text), m)
	}
	return json.Unmarshal([]byte(text), v)
}

// shown is a payload as the page shows it.
type shown struct {
	Text      string `json:"text"`
	Encoding  string `json:"encoding"`  // "json", "text", or "base64" for bytes of an unknown form
	Truncated bool   `json:"truncated"` // Text is the beginning of the payload
	Size      int    `json:"size"`      // bytes of the payload, which Text may show in another form
}

// decode turns the bytes of a payload into text. t is the Go type of the payload, nil if it
// is not known. The text has at most limit bytes, or as many in base64.
func decode(s serialize.Serializer, t reflect.Type, data []byte, limit int) shown {
	text, encoding := string(data), "text"
	switch typed, ok := decodeTyped(s, t, data); {
	case ok:
		text, encoding = typed, "json"
	case json.Valid(data):
		encoding = "json"
	case !utf8.Valid(data) || strings.ContainsFunc(text, isControl):
		part := data[:min(len(data), limit)]
		return shown{base64.StdEncoding.EncodeToString(part), "base64", len(part) < len(data), len(data)}
	}
	if len(text) <= limit {
		return shown{text, encoding, false, len(data)}
	}
	return shown{strings.ToValidUTF8(text[:limit], ""), "text", true, len(data)} // no longer JSON
}

// decodeTyped decodes a payload of a known type, and encodes it as JSON.
func decodeTyped(s serialize.Serializer, t reflect.Type, data []byte) (text string, ok bool) {
	if t == nil || serializerName(s) == "json" {
		return "", false
	}
	v := reflect.New(t.Elem()).Interface()
	if s.Unmarshal(data, v) != nil {
		return "", false
	}
	text, err := toJSON(v)
	return text, err == nil
}

func isControl(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f }

// toJSON encodes a reply as JSON.
func toJSON(v any) (string, error) {
	if m := protoMessage(v); m != nil {
		b, err := protojson.Marshal(m)
		return string(b), err
	}
	b, err := json.Marshal(v)
	return string(b), err
}
