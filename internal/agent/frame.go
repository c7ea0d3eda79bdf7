package agent

import "encoding/binary"

// The frames that a server sends, RFC 6455 section 5.2. They are not masked, so a header can be put before a packet
// where it stands: one frame holds exactly one packet, since two of the published clients read no further, and
// many frames share a write.
const (
	frameBinary = 0x82 // FIN and opcode 2
	frameClose  = 0x88 // FIN and opcode 8

	shortFrame  = 125 // the longest payload whose length fits the second byte
	mediumFrame = 0xffff
)

// The codes of a close frame, RFC 6455 section 7.4.1.
const (
	closeNormal        = 1000
	closeGoingAway     = 1001
	closeProtocolError = 1002
	closeUnsupported   = 1003
	closeNone          = 1005 // never sent: a close frame without a code
	closePolicy        = 1008
)

// completeFrame completes the frame that begins at start, whose header was taken for a short one: two bytes.
func completeFrame(b []byte, start int) []byte {
	n := len(b) - start - 2
	switch {
	case n <= shortFrame:
		b[start+1] = byte(n)
	case n <= mediumFrame:
		b = append(b, 0, 0)
		copy(b[start+4:], b[start+2:])
		b[start+1] = 126
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	default:
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		copy(b[start+10:], b[start+2:])
		b[start+1] = 127
		binary.BigEndian.PutUint64(b[start+2:], uint64(n))
	}
	return b
}

// appendClose appends a close frame; code 0 is a normal closure.
func appendClose(b []byte, code uint16) []byte {
	switch code {
	case closeNone:
		return append(b, frameClose, 0)
	case 0:
		code = closeNormal
	}
	return append(b, frameClose, 2, byte(code>>8), byte(code))
}
