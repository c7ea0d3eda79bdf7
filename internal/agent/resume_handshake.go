package agent

import (
	"encoding/json"
	"errors"
	"strconv"
)

// resumeRequest is the resume part of a client's handshake.
type resumeRequest struct {
	asked    bool   // the client asks for a resumable session
	token    string // token of the session to resume
	hasToken bool
	received uint64 // number of the session's data packets that the client has received
}

// maxCount is the largest count of packets that JavaScript can represent exactly. No
// session sends 2^53-1 packets.
const maxCount = 1<<53 - 1

var errResume = errors.New("sys.resume cannot be read, want an object with a token that is a string and received that is an integer from 0 to 2^53-1")

// parseResume reads the resume part of a handshake body, which is JSON or empty.
func parseResume(body []byte) (r resumeRequest, err error) {
	raw, ok := member(json.RawMessage(body), "sys")
	if ok {
		raw, ok = member(raw, "resume")
	}
	if !ok {
		return r, nil
	}
	var parts map[string]json.RawMessage
	if json.Unmarshal(raw, &parts) != nil || parts == nil {
		return r, errResume
	}
	r.asked = true
	if t := parts["token"]; !isNull(t) {
		if t[0] != '"' || json.Unmarshal(t, &r.token) != nil {
			return resumeRequest{}, errResume
		}
		r.hasToken = true
	}
	if n := parts["received"]; !isNull(n) {
		r.received, err = strconv.ParseUint(string(n), 10, 64)
		if err != nil || r.received > maxCount {
			return resumeRequest{}, errResume
		}
	}
	return r, nil
}

// member returns a member of a JSON object. ok is false if b is not an object, or if the
// member is missing or null.
func member(b json.RawMessage, name string) (v json.RawMessage, ok bool) {
	var object map[string]json.RawMessage // not a struct, because decoding into a struct ignores case
	if json.Unmarshal(b, &object) != nil {
		return nil, false
	}
	v = object[name]
	return v, !isNull(v)
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// resumeAnswer is the resume part of the server's answer.
type resumeAnswer struct {
	Token    string          `json:"token"`
	Window   int64           `json:"window"` // in seconds
	Resumed  bool            `json:"resumed"`
	Received *uint64         `json:"received,omitempty"` // accepted data packets of the client
	Reason   string          `json:"reason,omitempty"`   // why the session of the client's token cannot be resumed
	Kick     json.RawMessage `json:"kick,omitempty"`     // the kick packet that ended the session
}

func (r *resumeAnswer) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil { // the kick is not JSON
		r.Kick = nil
		b, _ = json.Marshal(r) // this cannot fail
	}
	return b
}

var errHeartbeatBody = violation("the body of a heartbeat is not an acknowledgment")

// parseAck returns the number in the body of a heartbeat, one varint in its shortest
// form.
func parseAck(b []byte) (n uint64, err error) {
	for i, c := range b {
		if i == 9 && c > 1 || i > 9 {
			return 0, errHeartbeatBody
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i+1 != len(b) || i > 0 && c == 0 {
				return 0, errHeartbeatBody
			}
			return n, nil
		}
	}
	return 0, errHeartbeatBody
}
