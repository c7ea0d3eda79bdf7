package link

import "fmt"

// A frame that is larger than a batch is sent in parts, so that pings can be sent between them.

// partSize is the most bytes of a frame in a part: with its heads such a part fills a large batch.
const partSize = largeBatch - headSize - 16

// cut returns a batch with the next part of a frame, and the rest of the frame.
func cut(left []byte) (part batch, rest []byte) {
	n := min(len(left), partSize)
	left, rest = left[:n], left[n:]
	buf := pool{}.Get(largeBatch)
	*buf = (&Frame{Kind: kindPart, ID: uint64(len(rest)), Data: left}).Append((*buf)[:headSize])
	part = batch{buf: buf, bytes: n}
	if len(rest) == 0 {
		part.frames = 1
	}
	return part, rest
}

// largeRoom is the most bytes that the first part of a frame allocates. Beyond that memory grows as parts arrive, whatever size
// the first part announces.
const largeRoom = 1 << 20

// assembler decodes frames, including those in parts. It must not be used concurrently.
type assembler struct {
	decoder Decoder
	whole   []byte // the received bytes of a frame in parts; nil if there is none
	size    int    // size of that frame
}

// next decodes a frame like Decoder.Next, and returns its size. The size is 0 for a part of a frame that is not complete.
func (a *assembler) next(b []byte, f *Frame) (rest []byte, size int, err error) {
	rest, err = a.decoder.Next(b, f)
	if err != nil || f.Kind != kindPart {
		return rest, len(b) - len(rest), err
	}
	whole, err := a.add(f)
	if err != nil || whole == nil {
		return rest, 0, err
	}
	more, err := a.decoder.Next(whole, f)
	if err == nil && (len(more) > 0 || f.Kind == kindPart) {
		err = fmt.Errorf("%w: the parts of a frame do not hold one frame", ErrFrame)
	}
	return rest, len(whole), err
}

// add appends a part, and returns the bytes of the frame after the last part.
func (a *assembler) add(part *Frame) (whole []byte, err error) {
	if a.whole == nil {
		if part.ID > MaxFrame || len(part.Data)+int(part.ID) > MaxFrame {
			return nil, fmt.Errorf("%w: %d bytes of a frame in parts are missing, the limit is %d", ErrFrame, part.ID, MaxFrame)
		}
		a.size = len(part.Data) + int(part.ID)
		a.whole = make([]byte, 0, min(a.size, largeRoom))
	}
	left := a.size - len(a.whole) - len(part.Data)
	if left < 0 || uint64(left) != part.ID || len(part.Data) == 0 {
		return nil, fmt.Errorf("%w: after a part of %d bytes %d are missing, want %d", ErrFrame, len(part.Data), part.ID, left)
	}
	a.whole = append(a.whole, part.Data...)
	if left > 0 {
		return nil, nil
	}
	whole, a.whole = a.whole, nil
	return whole, nil
}
