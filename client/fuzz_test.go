package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
)

// chunks is a connection that returns one chunk per read, and accepts every write.
type chunks [][]byte

func (c *chunks) Read(p []byte) (int, error) {
	for len(*c) > 0 && len((*c)[0]) == 0 {
		*c = (*c)[1:]
	}
	if len(*c) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*c)[0])
	(*c)[0] = (*c)[0][n:]
	return n, nil
}

func (c *chunks) Write(p []byte) (int, error) { return len(p), nil }
func (c *chunks) Close() error                { return nil }

// outcome is the observable result of the bytes that a client received.
type outcome struct {
	err        string
	handshake  string
	calls      []string
	pushes     []string
	heartbeats bool
}

func receiveAll(parts ...[]byte) outcome { return receiveFrom(transport{conn: (*chunks)(&parts)}) }

// onRecord is a log handler that calls itself for each record.
type onRecord func()

func (f onRecord) Enabled(context.Context, slog.Level) bool  { return true }
func (f onRecord) Handle(context.Context, slog.Record) error { f(); return nil }
func (f onRecord) WithAttrs([]slog.Attr) slog.Handler        { return f }
func (f onRecord) WithGroup(string) slog.Handler             { return f }

func receiveFrom(t transport) outcome {
	var c *Client
	var calls []*call
	begin := func() { // called when the reader has logged that the handshake is complete
		if len(calls) > 0 || c.session == nil {
			return
		}
		for id := range uint64(4) {
			p := &call{id: id, route: fmt.Sprint("r", id), done: make(chan struct{})}
			calls = append(calls, p)
			_ = c.session.calls.add(p) // the session has just started
		}
	}
	c = newClient([]Option{WithPacketLimit(1 << 16), WithLogger(slog.New(onRecord(begin))), WithInbound(func(m *Message) error {
		if len(m.Data) > 0 && m.Data[0] == 'R' {
			return errForged
		}
		return nil
	})})
	defer c.cancel()
	conn := newConnection(c, t)
	err := conn.receive()
	o := outcome{err: err.Error(), handshake: string(c.Handshake()), heartbeats: conn.interval > 0}
	conn.fail(err)
	for _, p := range calls {
		<-p.done
		answer := ""
		if p.answer != nil {
			answer = string(p.answer.Data)
		}
		o.calls = append(o.calls, fmt.Sprintf("%q %v", answer, p.err))
	}
	for {
		i, ok, _ := c.inbox.next()
		if !ok {
			return o
		}
		o.pushes = append(o.pushes, fmt.Sprintf("%s %q", i.push.Route, i.push.Data))
	}
}

func FuzzClientReceive(f *testing.F) {
	shake := func(answer string, messages ...*message.Message) []byte {
		b, err := codec.Append(nil, packet.Handshake, []byte(answer))
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range messages {
			if b, err = codec.AppendMessage(b, m, nil); err != nil {
				f.Fatal(err)
			}
		}
		return b
	}
	const welcome = `{"code":200,"sys":{"heartbeat":30,"serializer":"json","dict":{"a":1,"b":2}},"user":{"x":[1]}}`
	all := shake(welcome, push("a", "1"), response(1, "2"), push("c", "R"),
		&message.Message{Type: message.Response, ID: 2, Err: true, Data: []byte(`{"code":"NANO-404","msg":"no"}`)}, response(3, ""))
	f.Add(all, uint(10))
	f.Add(append(all, "\x03\x00\x00\x00\x04\x00\x00\x04\x07\x00\x01x\x04\x00\x00\x03\x07\x01\x01\x05\x00\x00\x0d{\"reason\":\"\"}"...), uint(50))
	f.Add(shake(`{"code":501,"message":"no"}`), uint(3))
	f.Add(shake(`{"code":200,"sys":{"heartbeat":1e309}}`), uint(0))
	f.Add(shake(`{"code":200,"sys":{"serializer":"protobuf"}}`, &message.Message{Type: message.Response, ID: 1, Err: true, Data: []byte("\n\x01a\x12\x01b\x1a\x00")}), uint(7))
	f.Add([]byte("\x05\x00\x00\x02\"a"), uint(1))
	f.Add([]byte("\x04\xff\xff\xff"), uint(4))
	f.Fuzz(func(t *testing.T, data []byte, cut uint) {
		whole := receiveAll(bytes.Clone(data))
		at := int(cut % uint(len(data)+1))
		split := receiveAll(bytes.Clone(data[:at]), bytes.Clone(data[at:]))
		if !reflect.DeepEqual(whole, split) {
			t.Errorf("received whole: %+v\nsplit at %d: %+v", whole, at, split)
		}

		// The same bytes also arrive in WebSocket frames, in one read with the upgrade
		// response and in pieces.
		frames := wsframe.AppendFrame(nil, wsframe.Binary, data[:at])
		frames = wsframe.AppendFrame(frames, wsframe.Ping, []byte("ping"))
		frames = wsframe.AppendFrame(frames, wsframe.Binary, data[at:])
		first := int(cut / 7 % uint(len(frames)+1))
		rest := chunks{frames[first : first+(len(frames)-first)/2], frames[first+(len(frames)-first)/2:]}
		framed := receiveFrom(transport{conn: &rest, frame: true, read: frames[:first]})
		whole.err, framed.err = "", "" // an end without a close frame is a different error
		for i := range framed.calls {
			whole.calls[i], framed.calls[i] = beforeError(whole.calls[i]), beforeError(framed.calls[i])
		}
		if !reflect.DeepEqual(whole, framed) {
			t.Errorf("received without frames: %+v\nin frames: %+v", whole, framed)
		}
	})
}

// beforeError removes the reason for which a connection was lost.
func beforeError(s string) string {
	before, _, _ := strings.Cut(s, ErrDisconnected.Error())
	return before
}

func FuzzErrorResponse(f *testing.F) {
	f.Add([]byte(`{"code":"NANO-404","msg":"no","metadata":{"a":"b"}}`))
	f.Add([]byte("\n\x01a\x12\x01b\x1a\x06\n\x01k\x12\x01v"))
	f.Add([]byte("plain text"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, speaks := range []string{"json", "protobuf", "other"} {
			c := newClient(nil)
			conn := newConnection(c, transport{conn: &chunks{}})
			if err := conn.accept([]byte(`{"code":200,"sys":{"serializer":"` + speaks + `"}}`)); err != nil {
				t.Fatal(err)
			}
			err := conn.answerError(data)
			if err == nil {
				t.Errorf("an error response of %q to a client of %s is not an error", data, speaks)
			}
			// Valid JSON is decoded as JSON, whichever serializer the server uses.
			if e, ok := errors.AsType[*Error](err); json.Valid(data) && utf8.Valid(data) && data[0] == '{' {
				want := &Error{}
				if json.Unmarshal(data, want) == nil && (!ok || e.Code != want.Code) {
					t.Errorf("an error response of %q to a client of %s became %v, want %v", data, speaks, err, want)
				}
			}
			c.cancel()
		}
	})
}
