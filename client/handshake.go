package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
)

// hello returns the body of a handshake.
func (c *Client) hello(ctx context.Context) ([]byte, error) {
	type sys struct {
		Type    string     `json:"type"`
		Version string     `json:"version"`
		Resume  *resumeAsk `json:"resume,omitempty"`
	}
	body := struct {
		Sys  sys `json:"sys"`
		User any `json:"user,omitempty"`
	}{Sys: sys{Type: "nano-go", Version: "1"}}
	if c.resumes() {
		body.Sys.Resume = &resumeAsk{}
		if s := c.resumable(); s != nil {
			body.Sys.Resume = s.ask()
		}
	}
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
	// minInterval and maxInterval bound the heartbeat interval from the server.
	minInterval = time.Second
	maxInterval = 365 * 24 * time.Hour
)

// welcome contains the fields of a handshake response that the client uses.
type welcome struct {
	Sys struct {
		Heartbeat  float64           `json:"heartbeat"` // seconds
		MaxPacket  float64           `json:"maxPacket"` // bytes of a packet's body
		Dict       map[string]uint16 `json:"dict"`
		Serializer string            `json:"serializer"`
		Resume     json.RawMessage   `json:"resume"`
	} `json:"sys"`
	User json.RawMessage `json:"user"`
}

// accept processes the handshake response, and sends the ack.
func (c *connection) accept(body []byte) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return fmt.Errorf("%w: handshake response of %d bytes that is not JSON", ErrProtocol, len(body))
	}
	if err := refusal(body); err != nil {
		return err
	}
	var w welcome
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("%w: handshake response: %w", ErrProtocol, err)
	}
	if w.Sys.Heartbeat < 0 {
		return fmt.Errorf("%w: handshake response: heartbeat of %v s", ErrProtocol, w.Sys.Heartbeat)
	}
	dict, err := message.ReadDictionary(w.Sys.Dict)
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
	c.shaken = true
	if err := c.client.enter(c, &w); err != nil {
		return err
	}
	close(c.ready)
	return nil
}

// refusal returns a *HandshakeError if the code of a handshake response is missing or not
// 200. The response is valid JSON. The error is joined with ErrWrongTransport if the
// server names the transport of its port.
func refusal(body []byte) error {
	var parts struct{ Code, Message, Msg, Sys json.RawMessage }
	_ = json.Unmarshal(body, &parts) // it may not be an object
	var code int
	if json.Unmarshal(parts.Code, &code) == nil && code == codeOK {
		return nil
	}
	e := &HandshakeError{Code: code}
	if json.Unmarshal(parts.Message, &e.Message) != nil || e.Message == "" {
		_ = json.Unmarshal(parts.Msg, &e.Message) // there may be no text
	}
	var sys struct{ Transport string }
	if json.Unmarshal(parts.Sys, &sys) == nil && sys.Transport != "" {
		return fmt.Errorf("%w: %w", ErrWrongTransport, e)
	}
	return e
}

// maxReason limits a reason that is not JSON, in bytes.
const maxReason = 1 << 10

// kicked parses the body of a kick: {"reason":"...","code":"..."}. Older servers send no
// code, and other servers send a JSON string or any text.
func kicked(body []byte) *KickError {
	var k struct {
		Reason string `json:"reason"`
		Code   string `json:"code"`
	}
	err := json.Unmarshal(body, &k)
	var mismatch *json.UnmarshalTypeError // a field of another type does not affect the other fields
	if err == nil || errors.As(err, &mismatch) && mismatch.Field != "" {
		return &KickError{Reason: k.Reason, Code: k.Code, Body: string(body)}
	}
	var reason string
	if json.Unmarshal(body, &reason) != nil {
		reason = strings.ToValidUTF8(string(body[:min(len(body), maxReason)]), "")
	}
	return &KickError{Reason: reason, Body: string(body)}
}

// answerError returns the *Error in the payload of an error response, which is JSON or
// encoded with the server's serializer. If the payload is neither, the error is joined
// with ErrPayload. Then it has the code of a protobuf error, or CodeInternal and the
// payload as text.
func (c *connection) answerError(data []byte) error {
	isJSON := func(e *Error) bool { return bytes.HasPrefix(data, []byte("{")) && decodeJSON(data, e) == nil }
	isProtobuf := func(e *Error) bool { return e.UnmarshalProtobuf(data) == nil && e.Code != "" }
	isOwn := isProtobuf
	if _, ok := c.serializer.(*protobuf.Serializer); !ok {
		isOwn = func(e *Error) bool {
			return c.serializer != nil && c.serializer.Unmarshal(data, e) == nil && e.Code != ""
		}
	}
	for _, is := range []func(*Error) bool{isJSON, isOwn} {
		if e := (&Error{}); is(e) {
			return e
		}
	}
	e := &Error{}
	if !isProtobuf(e) {
		e = &Error{Code: CodeInternal, Message: strings.ToValidUTF8(string(data), "\uFFFD")}
	}
	return fmt.Errorf("%w: error response: %w", ErrPayload, e)
}

// decodeJSON is json.Unmarshal, but it rejects text that is not UTF-8.
func decodeJSON(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errNotUTF8
	}
	return json.Unmarshal(data, v)
}

var errNotUTF8 = errors.New("JSON that is not UTF-8")
