package link

import "fmt"

// A frame that is larger than a batch travels in parts, so that pings pass between them.

// partSize is how many bytes of a frame a part has at most: with its heads it fills a large batch.
const partSize = largeBatch - headSize - 16

// cut makes a batch of the first part of what is left of a frame.
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

// largeRoom is how many bytes a frame in parts gets at once: beyond that its memory grows as the parts come, not as the first
// one announces.
const largeRoom = 1 << 20

// assembler reads frames, also those that come in parts. It is for one goroutine.
type assembler struct {
	decoder Decoder
	whole   []byte // what has come of a frame in parts; nil if none is under way
	size    int    // of that frame
}

// next splits a frame off b, as Decoder.Next does, and returns its size; 0 if it is a part of one that is not whole yet.
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
		err = fmt.Errorf("%w: parts of one hold something else", ErrFrame)
	}
	return rest, len(whole), err
}

// add takes a part, and returns the bytes of the frame when that was the last.
func (a *assembler) add(part *Frame) (whole []byte, err error) {
	if a.whole == nil {
		if part.ID > MaxFrame || len(part.Data)+int(part.ID) > MaxFrame {
			return nil, fmt.Errorf("%w: one in parts has %d bytes left, %d fit", ErrFrame, part.ID, MaxFrame)
		}
		a.size = len(part.Data) + int(part.ID)
		a.whole = make([]byte, 0, min(a.size, largeRoom))
	}
	left := a.size - len(a.whole) - len(part.Data)
	if left < 0 || uint64(left) != part.ID || len(part.Data) == 0 {
		return nil, fmt.Errorf("%w: a part of %d bytes leaves %d, want %d", ErrFrame, len(part.Data), part.ID, left)
	}
	a.whole = append(a.whole, part.Data...)
	if left > 0 {
		return nil, nil
	}
	whole, a.whole = a.whole, nil
	return whole, nil
}
