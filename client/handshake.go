package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
)

// hello returns the body of a handshake.
func (c *Client) hello(ctx context.Context) ([]byte, error) {
	type sys struct {
		Type    string `json:"type"`
		Version string `json:"version"`
	}
	body := struct {
		Sys  sys `json:"sys"`
		User any `json:"user,omitempty"`
	}{Sys: sys{"nano-go", "1"}}
	if c.opts.user != nil {
		user, err := c.opts.user(ctx)
		if err != nil {
			return nil, fmt.Errorf("client: user data of the handshake: %w", err)
		}
		body.User = user
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("client: user data of the handshake: %w", err)
	}
	return b, nil
}

const (
	codeOK = 200
	// minInterval and maxInterval bound the heartbeat interval that a server names.
	minInterval = time.Second
	maxInterval = 365 * 24 * time.Hour
)

// welcome is the body of a handshake response, as far as the client uses it.
type welcome struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Msg     string `json:"msg"`
	Sys     struct {
		Heartbeat  float64           `json:"heartbeat"` // seconds
		MaxPacket  float64           `json:"maxPacket"` // bytes of a packet's body
		Dict       map[string]uint16 `json:"dict"`
		Serializer string            `json:"serializer"`
		Transport  string            `json:"transport"` // what the port is for, in a refusal of another transport
	} `json:"sys"`
	User json.RawMessage `json:"user"`
}

// accept acts on the handshake response, and sends the ack.
func (c *connection) accept(body []byte) error {
	var w welcome
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("%w: handshake response: %w", ErrProtocol, err)
	}
	if w.Code != codeOK {
		text := w.Message
		if text == "" {
			text = w.Msg
		}
		refused := &HandshakeError{Code: w.Code, Message: text}
		if w.Sys.Transport != "" {
			return fmt.Errorf("%w: %w", ErrWrongTransport, refused)
		}
		return refused
	}
	dict, err := message.NewDictionary(w.Sys.Dict)
	if err != nil {
		return fmt.Errorf("%w: handshake response: %w", ErrProtocol, err)
	}
	c.dict = dict
	if seconds := min(w.Sys.Heartbeat, maxInterval.Seconds()); seconds > 0 {
		c.interval = max(time.Duration(seconds*float64(time.Second)), minInterval)
	}
	if size := w.Sys.MaxPacket; size >= 1 {
		c.maxPacket = int(min(size, packet.MaxLength))
	}
	c.speaks = w.Sys.Serializer
	c.serializer = c.client.opts.serializer
	if c.serializer == nil {
		switch c.speaks {
		case "json":
			c.serializer = jsonserializer.NewSerializer()
		case "protobuf", "":
			c.serializer = protobuf.NewSerializer()
		}
	}
	if err := c.control(packet.Ack, nil); err != nil {
		return err
	}
	c.shaken = true
	c.client.adopt(c, w.User)
	close(c.ready)
	return nil
}

// maxReason bounds a reason that is not JSON, in bytes.
const maxReason = 1 << 10

// kicked reads the body of a kick: {"reason":"...","code":"..."}. Older servers send no code,
// and others send a JSON string or any text.
func kicked(body []byte) error {
	var k struct {
		Reason string `json:"reason"`
		Code   string `json:"code"`
	}
	err := json.Unmarshal(body, &k)
	var mismatch *json.UnmarshalTypeError // a field of another type does not hide the other one
	if err == nil || errors.As(err, &mismatch) && mismatch.Field != "" {
		return &KickError{Reason: k.Reason, Code: k.Code}
	}
	var reason string
	if json.Unmarshal(body, &reason) != nil {
		reason = strings.ToValidUTF8(string(body[:min(len(body), maxReason)]), "")
	}
	return &KickError{Reason: reason}
}

// answerError reads the payload of an error response. It tries the server's serializer first,
// then JSON and protobuf, since the server may be another one.
func (c *connection) answerError(data []byte) *Error {
	read := []func(*Error) error{
		func(e *Error) error { return json.Unmarshal(data, e) },
		func(e *Error) error { return e.UnmarshalProtobuf(data) },
	}
	if s := c.serializer; s != nil {
		read = slices.Insert(read, 0, func(e *Error) error { return s.Unmarshal(data, e) })
	}
	for _, f := range read {
		e := &Error{}
		if f(e) == nil && e.Code != "" {
			return e
		}
	}
	return &Error{Code: CodeInternal, Message: strings.ToValidUTF8(string(data), "\uFFFD")}
}
