package client

import (
	"fmt"
	"unicode/utf8"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/serialize/json"
)

// The types of messages.
const (
	Request  = message.Request
	Notify   = message.Notify
	Response = message.Response
	Push     = message.Push
)

// Type is the type of a message.
type Type = message.Type

// Message is one message. Handlers receive it, and hooks may change it.
type Message struct {
	Type  Type   // request, notify, response or push
	ID    uint64 // pairs a response with its request; 0 in a notify and a push
	Route string // for a response, the route of its request, or empty if no request waits for it
	Data  []byte // the encoded payload; a handler may keep and change it
	Err   bool   // an error response

	conn *connection
}

// Decode decodes the payload into v with the serializer of the connection. A *[]byte gets the
// payload itself. The error is [ErrPayload] or [ErrNoSerializer].
func (m *Message) Decode(v any) error {
	if raw, ok := v.(*[]byte); ok {
		*raw = m.Data
		return nil
	}
	s := m.conn.serializer
	if s == nil {
		return m.conn.noSerializer()
	}
	if _, ok := s.(*json.Serializer); ok && !utf8.Valid(m.Data) {
		return fmt.Errorf("%w: %w", ErrPayload, errNotUTF8)
	}
	if err := s.Unmarshal(m.Data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return nil
}

// Client returns the client that received or sends the message.
func (m *Message) Client() *Client { return m.conn.client }
