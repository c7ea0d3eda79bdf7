package wsframe

import (
	"encoding/binary"
	"math"
)

// MaxPayload is the longest payload of one frame that a [Decoder] accepts, in bytes.
const MaxPayload = math.MaxInt32

// Config says which frames a [Decoder] accepts. Decoders may share one.
type Config struct {
	// FromClient is set on a server: frames have to be masked. Otherwise they must not be.
	FromClient bool
	// Text accepts text messages, whose payload has to be UTF-8. Otherwise a text frame is
	// refused with CodeUnsupportedData, whatever else is wrong with its header.
	Text bool
	// MaxFrame and MaxMessage limit the payload of a data frame and of a whole message, in
	// bytes. With 0 a frame is limited by MaxPayload, and a message is not limited.
	MaxFrame, MaxMessage int
}

// Frame is a data frame, a part of one, or a whole control frame.
type Frame struct {
	// Op is Text or Binary, Close, Ping or Pong; a continuation frame has the opcode of its
	// message. It is 0 if nothing came that could be returned.
	Op Opcode
	// Begin is set in the first part of a frame, which may be empty. Each frame has one.
	Begin bool
	// End is set in the last part of a frame.
	End bool
	// Final is set in every part of the last frame of a message, and in control frames.
	Final bool
	// Payload is valid until the next call of Next or until the caller reuses its buffer.
	Payload []byte
}

// Code returns the code of a close frame, and CodeNoStatus if it has none.
func (f *Frame) Code() uint16 {
	if len(f.Payload) < 2 {
		return CodeNoStatus
	}
	return binary.BigEndian.Uint16(f.Payload)
}

// Reason returns the reason of a close frame; it may be empty.
func (f *Frame) Reason() []byte {
	if len(f.Payload) < 2 {
		return nil
	}
	return f.Payload[2:]
}

// Decoder finds the frames in the bytes of one connection. The zero value is ready. It is
// small, and holds no memory of its own between frames. It must not be used after an
// error. Bytes after a close frame have no meaning.
type Decoder struct {
	held    *[MaxControl]byte // a header or a control frame's payload that came in pieces
	left    uint32            // bytes that the frame still lacks
	total   uint32            // bytes of the message so far, if its size is limited
	key     uint32            // the mask for the next byte of the frame
	partial utf8Check         // of a text message
	holds   uint8             // bytes in held
	op      Opcode            // of the frame whose payload is awaited; 0: a header is next
	message Opcode            // Text or Binary while a message lacks frames, else 0
	final   bool              // the frame is the last one of its message
}

// Next takes the first frame off b, or as much of it as b holds. It unmasks the payload in
// place, and n is the number of bytes that it took: at least 1, unless b is empty or an
// error is returned. The payload of a data frame aliases b; a control frame is returned
// once it is whole. Empty frames are returned as well, so that the caller can count them.
//
// The error is an [*Error]. Messages before it are complete only if their last frame was
// returned.
func (d *Decoder) Next(c *Config, b []byte) (f Frame, n int, err error) {
	if d.op == 0 {
		if n, err = d.header(c, b); err != nil || d.op == 0 {
			return Frame{}, n, err
		}
		f.Begin = true
	}
	p := b[n:]
	if uint64(len(p)) > uint64(d.left) {
		p = p[:d.left]
	}
	n += len(p)
	d.left -= uint32(len(p))
	if c.FromClient {
		d.key = Mask(p, d.key)
	}
	if d.op.Control() {
		return d.control(p, n)
	}
	f.Op, f.Final, f.End, f.Payload = d.op, d.final, d.left == 0, p
	if d.op == Text && (!d.partial.add(p) || f.End && f.Final && !d.partial.done()) {
		return Frame{}, n, errUTF8
	}
	if f.End {
		d.op = 0
	} else if len(p) == 0 && !f.Begin {
		f.Op = 0 // b is empty
	}
	return f, n, nil
}

// Idle reports whether the next byte begins a message, or a control frame between two
// messages.
func (d *Decoder) Idle() bool { return d.op == 0 && d.holds == 0 && d.message == 0 }

// control returns a control frame, if p is the rest of it.
func (d *Decoder) control(p []byte, n int) (Frame, int, error) {
	if d.left > 0 || d.holds > 0 {
		d.hold(p)
		if d.left > 0 {
			return Frame{}, n, nil
		}
		p = d.release()
	}
	f := Frame{Op: d.op, Begin: true, End: true, Final: true, Payload: p}
	d.op = 0
	if f.Op == Close {
		return f, n, checkClose(p)
	}
	return f, n, nil
}

// header takes the header of a frame off b. If it is not whole, op stays 0.
func (d *Decoder) header(c *Config, b []byte) (n int, err error) {
	h := b
	if d.holds > 0 {
		for n < len(b) && int(d.holds) < headerSize(d.held[:d.holds]) {
			d.hold(b[n : n+1])
			n++
		}
		h = d.held[:d.holds]
	}
	if len(h) >= MinHeader {
		if err := d.check(c, h[0], h[1]); err != nil {
			return n, err
		}
	}
	size := headerSize(h)
	if len(h) < size {
		if d.holds == 0 && len(b) > 0 {
			d.hold(b)
		}
		return len(b), nil
	}
	if d.holds > 0 {
		d.release()
	} else {
		n = size
	}
	return n, d.begin(c, h[:size])
}

// headerSize returns the size of the header at the start of b, as far as b contains it.
func headerSize(b []byte) int {
	if len(b) < MinHeader {
		return MinHeader
	}
	size := MinHeader
	switch b[1] &^ bitMasked {
	case length16:
		size += 2
	case length64:
		size += 8
	}
	if b[1]&bitMasked != 0 {
		size += 4
	}
	return size
}

// check examines the first two bytes of a header.
func (d *Decoder) check(c *Config, first, second byte) error {
	op := Opcode(first & bitsOp)
	switch {
	case op == Text && !c.Text:
		return errText
	case first&bitsRSV != 0:
		return errReserved
	case op > Binary && op < Close, op > Pong:
		return errOpcode
	case second&bitMasked == 0 && c.FromClient:
		return errUnmasked
	case second&bitMasked != 0 && !c.FromClient:
		return errMasked
	case op.Control() && first&bitFinal == 0:
		return errFragmentedControl
	case op.Control() && second&^bitMasked > MaxControl:
		return errLongControl
	case op == Close && second&^bitMasked == 1:
		return errShortClose
	case op == Continuation && d.message == 0:
		return errContinuation
	case !op.Control() && op != Continuation && d.message != 0:
		return errInterleaved
	}
	return nil
}

// begin begins a frame. h is its whole header, of which all but the length was checked.
func (d *Decoder) begin(c *Config, h []byte) error {
	size := uint64(h[1] &^ bitMasked)
	switch size {
	case length16:
		size = uint64(binary.BigEndian.Uint16(h[2:]))
	case length64:
		size = binary.BigEndian.Uint64(h[2:])
	}
	if c.FromClient {
		d.key = binary.LittleEndian.Uint32(h[len(h)-4:])
	}
	op := Opcode(h[0] & bitsOp)
	if op.Control() {
		d.op, d.left = op, uint32(size)
		return nil
	}
	switch {
	case size > math.MaxInt64:
		return errLength
	case size > MaxPayload, c.MaxFrame > 0 && size > uint64(c.MaxFrame):
		return errFrameTooLong
	}
	if op != Continuation {
		d.message, d.total = op, 0
	}
	if c.MaxMessage > 0 {
		if uint64(d.total)+size > min(uint64(c.MaxMessage), math.MaxUint32) {
			return errMessageTooLong
		}
		d.total += uint32(size)
	}
	d.op, d.left, d.final = d.message, uint32(size), h[0]&bitFinal != 0
	if d.final {
		d.message = 0
	}
	return nil
}

// hold keeps p until more has come.
func (d *Decoder) hold(p []byte) {
	if d.held == nil {
		d.held = new([MaxControl]byte)
	}
	d.holds += uint8(copy(d.held[d.holds:], p))
}

// release returns the held bytes and drops the reference to them.
func (d *Decoder) release() []byte {
	p := d.held[:d.holds]
	d.held, d.holds = nil, 0
	return p
}

// checkClose checks the payload of a close frame. The payload must not have 1 byte.
func checkClose(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	f := Frame{Payload: p}
	if !validCode(f.Code()) {
		return errCloseCode
	}
	var reason utf8Check
	if !reason.add(f.Reason()) || !reason.done() {
		return errUTF8
	}
	return nil
}

var (
	errText              = &Error{CodeUnsupportedData, "a text frame, want binary ones"}
	errReserved          = &Error{CodeProtocolError, "a frame with reserved bits"}
	errOpcode            = &Error{CodeProtocolError, "a frame with an unknown opcode"}
	errUnmasked          = &Error{CodeProtocolError, "a frame without a mask from a client"}
	errMasked            = &Error{CodeProtocolError, "a frame with a mask from a server"}
	errFragmentedControl = &Error{CodeProtocolError, "a fragmented control frame"}
	errLongControl       = &Error{CodeProtocolError, "a control frame with more than 125 bytes"}
	errShortClose        = &Error{CodeProtocolError, "a close frame with 1 byte"}
	errCloseCode         = &Error{CodeProtocolError, "a close frame with an invalid code"}
	errContinuation      = &Error{CodeProtocolError, "a continuation frame without a message"}
	errInterleaved       = &Error{CodeProtocolError, "a message inside of a fragmented message"}
	errLength            = &Error{CodeProtocolError, "a frame with a negative length"}
	errFrameTooLong      = &Error{CodeMessageTooBig, "a frame over the limit"}
	errMessageTooLong    = &Error{CodeMessageTooBig, "a message over the limit"}
	errUTF8              = &Error{CodeInvalidPayload, "text that is not UTF-8"}
)
