// Package payload encodes text into payloads of messages, and decodes payloads into text.
package payload

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/lonng/nano/cmd/nano/internal/contract"
)

// The serializers.
const (
	JSON     = "json"
	Protobuf = "protobuf"
	Hex      = "hex" // unchanged bytes
)

// HexPrefix is the prefix of a payload in hexadecimal digits.
const HexPrefix = "hex:"

// Codec encodes and decodes the payloads of a server. Its methods may be called concurrently.
type Codec struct {
	serializer string
	requests   map[string]*contract.Type // by route
	replies    map[string]*contract.Type
	pushes     map[string]*contract.Type
	messages   map[string]protoreflect.MessageDescriptor // by the name of the type
}

// New returns the codec of a serializer. c may be nil. Without it, protobuf payloads can
// only be hexadecimal.
func New(c *contract.Contract, serializer string) (*Codec, error) {
	if serializer != JSON && serializer != Protobuf && serializer != Hex {
		return nil, fmt.Errorf("there is no serializer %q: want json, protobuf or hex", serializer)
	}
	k := &Codec{serializer: serializer, requests: map[string]*contract.Type{}, replies: map[string]*contract.Type{}, pushes: map[string]*contract.Type{}}
	if c == nil {
		return k, nil
	}
	routes := c.Routes
	for _, r := range c.Rooms {
		routes = append(slices.Clip(routes), r.Messages...)
	}
	for _, r := range routes {
		k.requests[r.Route], k.replies[r.Route] = r.Request, r.Reply
	}
	for _, p := range c.Pushes {
		k.pushes[p.Route] = p.Type
	}
	if serializer == Protobuf {
		var err error
		if k.messages, err = descriptors(c); err != nil {
			return nil, fmt.Errorf("the protobuf messages of the contract: %w", err)
		}
	}
	return k, nil
}

// Encode returns the payload of a request or notify. The text is JSON, or HexPrefix and
// hexadecimal digits. An empty text is the zero value.
func (k *Codec) Encode(route, text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if digits, ok := strings.CutPrefix(text, HexPrefix); ok || k.serializer == Hex {
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			return nil, fmt.Errorf("the payload: %w", err)
		}
		return b, nil
	}
	t := k.requests[route]
	switch {
	case t != nil && t.Kind == contract.KindRaw:
		return []byte(text), nil
	case k.serializer == JSON && text == "":
		return []byte("{}"), nil
	case k.serializer == JSON:
		if err := json.Unmarshal([]byte(text), new(any)); err != nil {
			return nil, fmt.Errorf("the payload is not JSON: %w; bytes are written as %sHEX", err, HexPrefix)
		}
		return []byte(text), nil
	case text == "":
		return nil, nil
	}
	m, err := k.message(t, route)
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("the payload: %w", err)
	}
	return proto.Marshal(m)
}

// message returns an empty message of a type.
func (k *Codec) message(t *contract.Type, route string) (*dynamicpb.Message, error) {
	if t == nil {
		return nil, fmt.Errorf("no contract describes %s: give one with --contract, or write the payload as %sHEX", route, HexPrefix)
	}
	d := k.messages[t.Name]
	if d == nil {
		return nil, fmt.Errorf("the payload of %s is not a protobuf message: write it as %sHEX", route, HexPrefix)
	}
	return dynamicpb.NewMessage(d), nil
}

// Reply returns the payload of the reply to a request as text.
func (k *Codec) Reply(route string, payload []byte) string {
	return k.text(k.replies[route], route, payload)
}

// Push returns the payload of a push as text.
func (k *Codec) Push(route string, payload []byte) string {
	return k.text(k.pushes[route], route, payload)
}

func (k *Codec) text(t *contract.Type, route string, payload []byte) string {
	if k.serializer == JSON {
		var b bytes.Buffer
		if json.Compact(&b, payload) == nil {
			return b.String()
		}
	}
	if k.serializer == Protobuf && (t == nil || t.Kind != contract.KindRaw) {
		if text, err := k.protoText(t, route, payload); err == nil {
			return text
		}
	}
	if k.serializer != Hex && t != nil && t.Kind == contract.KindRaw && utf8.Valid(payload) {
		return string(payload)
	}
	return HexPrefix + hex.EncodeToString(payload)
}

func (k *Codec) protoText(t *contract.Type, route string, payload []byte) (string, error) {
	m, err := k.message(t, route)
	if err != nil {
		return "", err
	}
	if err := proto.Unmarshal(payload, m); err != nil {
		return "", err
	}
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer // protojson varies its white space
	err = json.Compact(&b, text)
	return b.String(), err
}

// Contains reports an error unless the JSON text contains a part: every member of an
// object with the same value. Lists must have the same length. The error names the first
// difference.
func Contains(text, part string) error {
	var got, want any
	if err := json.Unmarshal([]byte(part), &want); err != nil {
		return fmt.Errorf("what is expected is not JSON: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		return fmt.Errorf("%s is not JSON", text)
	}
	return contains(got, want, "")
}

func contains(got, want any, path string) error {
	differs := func() error {
		g, _ := json.Marshal(got) // got comes from JSON, so this cannot fail
		w, _ := json.Marshal(want)
		if path == "" {
			return fmt.Errorf("got %s, want %s", g, w)
		}
		return fmt.Errorf("%s is %s, want %s", path, g, w)
	}
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return differs()
		}
		for name, w := range want {
			v, ok := g[name]
			if !ok {
				return errors.New(strings.TrimPrefix(path+"."+name, ".") + " is missing")
			}
			if err := contains(v, w, strings.TrimPrefix(path+"."+name, ".")); err != nil {
				return err
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return differs()
		}
		for i := range want {
			if err := contains(g[i], want[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	default:
		if got != want {
			return differs()
		}
	}
	return nil
}
