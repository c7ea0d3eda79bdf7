package client

import "github.com/lonng/nano/internal/message"

// The types of messages.
const (
	Request  = message.Request
	Notify   = message.Notify
	Response = message.Response
	Push     = message.Push
)

// Type tells requests, notifies, responses and pushes apart.
type Type = message.Type

// Message is one message: what handlers are given, and what hooks see and may change.
type Message struct {
	Type  Type
	ID    uint64 // pairs a response with its request; 0 in a notify and a push
	Route string // of a response: that of its request, or empty where nobody waits for it any more
	Data  []byte // the payload as it goes over the wire; belongs to whoever has the message
	Err   bool   // a response that tells of an error

	conn *connection
}

// Decode reads the payload into v with the serializer of the connection; a *[]byte gets the payload itself.
func (m *Message) Decode(v any) error {
	if raw, ok := v.(*[]byte); ok {
		*raw = m.Data
		return nil
	}
	s := m.conn.serializer
	if s == nil {
		return m.conn.noSerializer()
	}
	return s.Unmarshal(m.Data, v)
}

// Client returns the client that the message came to or goes out from.
func (m *Message) Client() *Client { return m.conn.client }
