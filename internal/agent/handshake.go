package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/stacktrace"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// handshake holds the handshake answer for all clients, in pieces. Only the time and the
// program's data differ between clients.
//
//	{"code":200,"sys":{"heartbeat":30,"servertime":1700000000,"dict":{...},"serializer":"json","maxPacket":65536},"user":...}
type handshake struct {
	head, tail []byte // parts before and after the time
	heartbeat  int64  // in seconds
	noRoom     []byte // packet that refuses a client when a connection limit is exceeded
}

// prepare encodes the constant parts.
func (s *handshake) prepare(c *Config) error {
	// Clients read the interval as an integer. An interval of less than a second would
	// become 0.
	seconds := max(int64((c.Heartbeat+time.Second/2)/time.Second), 1)
	s.heartbeat = seconds
	s.head = fmt.Appendf(nil, `{"code":200,"sys":{"heartbeat":%d,"servertime":`, seconds)
	var tail []byte
	if c.Dictionary != nil {
		dict, err := json.Marshal(c.Dictionary.Codes())
		if err != nil {
			return err
		}
		tail = append(append(tail, `,"dict":`...), dict...)
	}
	if n, ok := c.Serializer.(interface{ Name() string }); ok {
		name, err := json.Marshal(n.Name())
		if err != nil {
			return err
		}
		tail = append(append(tail, `,"serializer":`...), name...)
	}
	tail = fmt.Appendf(tail, `,"maxPacket":%d`, c.MaxPacket)
	s.tail = append(tail, '}')
	body, err := s.refusal(codeRefused, errNoRoom.Error())
	if err != nil {
		return err
	}
	if s.noRoom, err = codec.Append(nil, packet.Handshake, body); err != nil {
		return err
	}
	// This checks that the packet can be sent with any dictionary.
	_, err = codec.Append(nil, packet.Handshake, append(s.answer(time.Now(), nil, nil), '}'))
	return err
}

// answer returns the handshake answer for the given time. It includes the resume part and
// the program's data if they are not empty.
func (s *handshake) answer(now time.Time, resume, user []byte) []byte {
	b := make([]byte, 0, len(s.head)+len(s.tail)+len(resume)+len(user)+48)
	b = append(b, s.head...)
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, s.tail...)
	if resume != nil {
		b = append(append(append(b[:len(b)-1], `,"resume":`...), resume...), '}')
	}
	if user != nil {
		b = append(append(b, `,"user":`...), user...)
	}
	return append(b, '}')
}

// refusal returns the body of the packet that refuses a handshake. The body includes the
// heartbeat interval, because some clients start a timer with it before they read the
// code.
func (s *handshake) refusal(code int, text string) ([]byte, error) {
	return json.Marshal(refusalBody{Code: code, Message: text, Sys: refusalSys{s.heartbeat, ""}})
}

type refusalBody struct {
	Code    int        `json:"code"`
	Message string     `json:"message"`
	Sys     refusalSys `json:"sys"`
}

type refusalSys struct {
	Heartbeat int64 `json:"heartbeat"`
	// Transport is "websocket" or "tls" if the client used another transport than the
	// port expects.
	Transport string `json:"transport,omitempty"`
}

// These are the codes of a refused handshake, as in pomelo's clients.
const (
	codeRefused   = 500 // the request is invalid, or the program refused it
	codeOldClient = 501 // the program refused it with ErrOldClient
)

// ErrOldClient is returned by the program to refuse a client with an old version.
var ErrOldClient = errors.New("nano: the client version is too old")

var errNoRoom = errors.New("too many connections")

// shake answers a client's handshake. The client may send messages after its ack.
func (c *Conn) shake(body []byte) error {
	h, a := c.hub, c.agent.Load()
	if len(body) > h.Limits.MaxHandshake {
		h.refuse(refusedHandshake, c.remote)
		return c.refuseHandshake(codeRefused, fmt.Errorf("the handshake's body has %d bytes, want %d at most", len(body), h.Limits.MaxHandshake))
	}
	body = bytes.Clone(body) // the validator may keep it
	if len(body) > 0 && !json.Valid(body) {
		return c.refuseHandshake(codeRefused, errors.New("the handshake's body is not JSON"))
	}
	if a.flags.has(flagClosed) { // the session's close callbacks may have run
		return session.ErrBrokenPipe
	}
	defer c.forgetOpening()
	var resume []byte
	if h.Resume.Window > 0 {
		ask, err := parseResume(body)
		if err != nil {
			return c.refuseHandshake(codeRefused, err)
		}
		if ask.asked {
			if resume, err = c.negotiate(&ask); err != nil {
				return err
			}
		}
		if c.decideExtra() && c.in.resuming == nil && !c.away() {
			h.refuse(refusedConnections, c.remote)
			return c.refuseHandshake(codeRefused, errNoRoom)
		}
		switch {
		case c.away():
			return nil
		case c.in.resuming != nil:
			c.forgetUpgrade()
			a.flags.set(flagResuming)
			c.state.Store(stateShaken)
			return c.sendPacket(packet.Handshake, h.hello.answer(time.Now(), resume, nil))
		}
	}
	user, err := a.introduce(body)
	c.forgetUpgrade()
	if err != nil {
		h.Log.Debug("nano: handshake refused", "session", a.id, "uid", a.session.UID(), "remote", c.remote, "error", err)
		code := codeRefused
		if errors.Is(err, ErrOldClient) {
			code = codeOldClient
		}
		return c.refuseHandshake(code, err)
	}
	c.state.Store(stateShaken)
	answer := h.hello.answer(time.Now(), resume, user)
	if len(answer) > packet.MaxLength {
		return c.refuseHandshake(codeRefused, errors.New("the server's answer does not fit a packet"))
	}
	return c.sendPacket(packet.Handshake, answer)
}

// introduce passes a client's handshake to the program, and returns the program's data
// for the client. A panic becomes an error.
func (a *Agent) introduce(body []byte) (user []byte, err error) {
	h := a.hub
	defer func() {
		if p := recover(); p != nil {
			h.Log.Error("nano: panic in a handshake", "session", a.id, "uid", a.session.UID(), "panic", fmt.Sprint(p), stacktrace.Attr())
			err = errors.New("internal error")
		}
	}()
	if h.Validator != nil {
		if err := h.Validator(a.session, body); err != nil {
			return nil, err
		}
	}
	if h.UserData == nil {
		return nil, nil
	}
	v, err := h.UserData(a.session, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// refuseHandshake sends the client the reason, and returns the error that closes the
// connection.
func (c *Conn) refuseHandshake(code int, why error) error {
	c.hub.Counts.HandshakesRefused.Add(1)
	if body, err := c.hub.hello.refusal(code, why.Error()); err == nil {
		_ = c.sendPacket(packet.Handshake, body)
	}
	return &protocolError{reason: session.ErrHandshake, code: wsframe.CodeProtocolError, err: why}
}

// enter opens the session when the client has acknowledged the handshake.
func (c *Conn) enter() {
	h, a := c.hub, c.agent.Load()
	c.seen.Store(h.wheel.now())
	if a.flags.has(flagClosed) {
		return
	}
	a.begin(c)
	c.state.Store(stateReady)
	a.flags.set(flagOpen | flagCounted)
	h.Counts.ready.Add(1)
	if a.flags.has(flagClosed) { // the program closed it meanwhile
		a.uncount()
		return
	}
	if uid := a.session.UID(); uid != 0 { // the validator has bound the uid, which counts from now on
		h.bound(a, 0, uid)
	}
	c.flags.set(flagActive)
	h.wheel.reset(c, min(h.Heartbeat, quietTime))
}

// ready is enter for a connection that resumes a session.
func (c *Conn) ready() {
	h := c.hub
	c.seen.Store(h.wheel.now())
	c.state.Store(stateReady)
	c.flags.set(flagActive)
	h.wheel.reset(c, min(h.Heartbeat, quietTime))
}
