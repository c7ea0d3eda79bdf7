// Package wsframe reads and writes WebSocket frames, as RFC 6455 section 5 defines them.
//
// The package does no I/O. A [Decoder] gets the bytes of a connection in pieces of any
// size, and finds the payloads in place. The Append functions append frames to a buffer.
// No extension is supported.
package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcode is the type of a frame.
type Opcode byte

// The opcodes of RFC 6455.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// Control reports whether op is the opcode of a control frame.
func (op Opcode) Control() bool { return op&0x8 != 0 }

// The codes of close frames, RFC 6455 section 7.4.1.
const (
	CodeNormal          = 1000
	CodeGoingAway       = 1001
	CodeProtocolError   = 1002
	CodeUnsupportedData = 1003
	CodeNoStatus        = 1005 // never sent: the code of a close frame without one
	CodeInvalidPayload  = 1007
	CodePolicyViolation = 1008
	CodeMessageTooBig   = 1009
)

// Error is a fault in the frames of the peer. The connection has to be closed with Code.
type Error struct {
	Code uint16
	text string
}

// Error returns the text, without the code.
func (e *Error) Error() string { return e.text }

const (
	bitFinal  = 0x80 // of the first byte
	bitsRSV   = 0x70
	bitsOp    = 0x0f
	bitMasked = 0x80 // of the second byte

	length16 = 126 // a length of 16 bits follows
	length64 = 127 // a length of 64 bits follows

	// MaxControl is the longest payload of a control frame, in bytes.
	MaxControl = 125
	// MaxReason is the longest reason of a close frame, in bytes.
	MaxReason = MaxControl - 2
	// MinHeader is the size of the header of an unmasked frame of up to 125 bytes.
	MinHeader = 2
)

// AppendHeader appends the header of an unmasked frame, as servers send it, for a payload
// of size bytes. The frame is the only one of its message.
func AppendHeader(dst []byte, op Opcode, size int) []byte {
	return appendHeader(dst, op, size, 0)
}

func appendHeader(dst []byte, op Opcode, size int, masked byte) []byte {
	dst = append(dst, bitFinal|byte(op))
	switch {
	case size < length16:
		return append(dst, masked|byte(size))
	case size <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, masked|length16), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(dst, masked|length64), uint64(size))
	}
}

// FinishFrame corrects the header of an unmasked frame whose payload was longer than known
// at first. The frame begins at b[start] with a header of [MinHeader] bytes, and its payload
// ends where b ends. If the length does not fit, FinishFrame moves the payload.
func FinishFrame(b []byte, start int) []byte {
	size := len(b) - start - MinHeader
	switch {
	case size < length16:
		b[start+1] = byte(size)
	case size <= 0xffff:
		b = append(b, 0, 0)
		copy(b[start+4:], b[start+2:])
		b[start+1] = length16
		binary.BigEndian.PutUint16(b[start+2:], uint16(size))
	default:
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		copy(b[start+10:], b[start+2:])
		b[start+1] = length64
		binary.BigEndian.PutUint64(b[start+2:], uint64(size))
	}
	return b
}

// AppendFrame appends an unmasked frame, as servers send it. The payload of a control frame
// is at most [MaxControl] bytes long.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendMasked appends a frame that is masked with key, as clients send it. It copies
// payload and does not change it. The key has to be unpredictable: RFC 6455 section 10.3.
func AppendMasked(dst []byte, op Opcode, key [4]byte, payload []byte) []byte {
	dst = appendHeader(dst, op, len(payload), bitMasked)
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	Mask(dst[start:], binary.LittleEndian.Uint32(key[:]))
	return dst
}

// AppendClose appends an unmasked close frame. Code 0 is [CodeNormal]; with [CodeNoStatus]
// the frame has no payload.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	var b [MaxControl]byte
	return AppendFrame(dst, Close, AppendClosePayload(b[:0], code, reason))
}

// AppendClosePayload appends the payload of a close frame, as [AppendClose] does. A reason
// over [MaxReason] bytes is cut between two characters.
func AppendClosePayload(dst []byte, code uint16, reason string) []byte {
	switch code {
	case CodeNoStatus:
		return dst
	case 0:
		code = CodeNormal
	}
	if len(reason) > MaxReason {
		end := MaxReason
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	return append(binary.BigEndian.AppendUint16(dst, code), reason...)
}

// validCode reports whether an endpoint may send code: one that RFC 6455 or IANA's registry
// defines for that, or one of libraries (from 3000) and programs (from 4000).
func validCode(code uint16) bool {
	switch {
	case code < CodeNormal, code >= 5000:
		return false
	case code >= 3000:
		return true
	case code == 1004, code == CodeNoStatus, code == 1006:
		return false
	}
	return code <= 1014
}
