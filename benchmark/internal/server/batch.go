package server

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net"
	"slices"
)

// This file implements the bare servers that batch. Each read takes all bytes that have
// arrived, up to the size of a buffer. The messages that result are sent with one write
// for each connection. Frames are read and written by hand.

// batchBuffer is the size of the buffer that a connection reads into.
const batchBuffer = 16 << 10

// batch serves connections of one kind.
type batch struct {
	webSocket bool
	rooms     *fanout // nil echoes
}

// batchConn is one connection of a batch server.
type batchConn struct {
	*batch
	conn net.Conn
	mine *room
	out  []byte // output of this connection
	say  []byte // output for the members of its room
}

func (b *batch) serve(c net.Conn) {
	s := &batchConn{batch: b, conn: c}
	defer func() {
		if s.mine != nil {
			s.mine.leave(c)
		}
	}()
	in, n := make([]byte, batchBuffer), 0
	if b.webSocket {
		var err error
		if n, err = upgrade(c, in); err != nil {
			return
		}
	}
	for {
		taken, err := s.take(in[:n])
		if err != nil || s.flush() != nil {
			return
		}
		if taken == 0 && n == len(in) {
			in = slices.Grow(in, len(in))[:2*len(in)]
		}
		n = copy(in, in[taken:n])
		k, err := c.Read(in[n:])
		if err != nil {
			return
		}
		n += k
	}
}

// flush writes the output of the last read.
func (s *batchConn) flush() error {
	if len(s.say) > 0 {
		s.mine.write(s.say)
		s.say = s.say[:0]
	}
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

var errClosed = errors.New("the client closed the WebSocket")

// take serves the whole frames or packets of b and returns their length.
func (s *batchConn) take(b []byte) (taken int, err error) {
	if !s.webSocket {
		for len(b)-taken >= head {
			size := head + bodyLength(b[taken:])
			if len(b)-taken < size {
				break
			}
			if err := s.packet(b[taken : taken+size]); err != nil {
				return taken, err
			}
			taken += size
		}
		return taken, nil
	}
	for {
		header, size, ok := frameSize(b[taken:])
		if !ok || len(b)-taken < header+size {
			return taken, nil
		}
		payload := b[taken+header : taken+header+size]
		unmask(payload, b[taken+header-4:])
		switch opcode := b[taken] & 15; {
		case opcode == opClose:
			return taken, errClosed
		case opcode == opPing:
			s.out = append(appendFrame(s.out, final|opPong, size), payload...)
		case opcode > opBinary: // a pong
		case s.rooms == nil:
			s.out = append(appendFrame(s.out, b[taken], size), payload...)
		default: // one packet in each frame
			if size < head || size != head+bodyLength(payload) {
				return taken, errShort
			}
			if err := s.packet(payload); err != nil {
				return taken, err
			}
		}
		taken += header + size
	}
}

// packet serves one packet: an echo, a join of a room, or a broadcast to the room.
func (s *batchConn) packet(p []byte) error {
	switch {
	case s.rooms == nil:
		s.out = append(s.out, p...)
		return nil
	case p[0] == handshake:
		s.out = s.frame(s.out, head+len(shaken))
		s.out = append(append(s.out, handshake, 0, 0, byte(len(shaken))), shaken...)
		return nil
	case p[0] != data:
		return nil
	}
	flag, id, payload, err := parse(p[head:])
	if err != nil {
		return err
	}
	switch {
	case flag == request && s.mine == nil && len(payload) >= 2*stampLength:
		s.mine = s.rooms.room(roomOf(payload))
		s.out = s.frame(s.out, head+1+len(id)+len(payload))
		start := len(s.out)
		s.out = finish(append(open(s.out, id), payload...), start)
		s.mine.join(s.conn, s.out) // in order with the output of the room
		s.out = s.out[:0]
	case flag == notify && s.mine != nil:
		s.say = s.frame(s.say, head+2+len(PushRoute)+len(payload))
		start := len(s.say)
		s.say = append(append(s.say, data, 0, 0, 0, push, byte(len(PushRoute))), PushRoute...)
		s.say = finish(append(s.say, payload...), start)
	}
	return nil
}

// shaken is the answer to a handshake.
const shaken = `{"code":200,"sys":{"heartbeat":30}}`

// frame appends the header of a WebSocket frame if the connection needs one.
func (s *batchConn) frame(out []byte, size int) []byte {
	if !s.webSocket {
		return out
	}
	return appendFrame(out, final|opBinary, size)
}

// join adds a member to the room after it has written b to it.
func (r *room) join(c net.Conn, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, c)
	_, _ = c.Write(b)
}

// write writes b to all members.
func (r *room) write(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		_, _ = m.Write(b)
	}
}

func (r *room) leave(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = slices.DeleteFunc(r.members, func(m net.Conn) bool { return m == c })
}

// Bits of the first byte of a WebSocket frame.
const (
	final    = 0x80
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// frameSize returns the sizes of a client's frame. ok is false if the header is not
// whole, or not masked.
func frameSize(b []byte) (header, size int, ok bool) {
	if len(b) < 6 {
		return 0, 0, false
	}
	header, size = 6, int(b[1]&0x7f)
	switch size {
	case 126:
		header, size = 8, int(b[2])<<8|int(b[3])
	case 127:
		if len(b) < 14 {
			return 0, 0, false
		}
		header, size = 14, int(min(binary.BigEndian.Uint64(b[2:]), maxFrame))
	}
	return header, size, len(b) >= header && b[1]&0x80 != 0
}

// maxFrame is more than any frame of the load generator has.
const maxFrame = 1 << 20

// unmask applies the first four bytes of key, eight bytes at a time.
func unmask(b, key []byte) {
	k := uint64(binary.LittleEndian.Uint32(key))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(k >> (8 * i))
	}
}

// appendFrame appends the header of a server's frame.
func appendFrame(b []byte, first byte, size int) []byte {
	switch {
	case size < 126:
		return append(b, first, byte(size))
	case size < 1<<16:
		return append(b, first, 126, byte(size>>8), byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(size))
}

var (
	errUpgrade = errors.New("want the request of a WebSocket upgrade")

	keyHeader = []byte("\r\nsec-websocket-key:")
)

// upgrade answers the request that makes c a WebSocket. in holds n bytes that came after
// the request.
func upgrade(c net.Conn, in []byte) (n int, err error) {
	for {
		k, err := c.Read(in[n:])
		if err != nil {
			return 0, err
		}
		n += k
		end := bytes.Index(in[:n], []byte("\r\n\r\n"))
		if end < 0 {
			if n == len(in) {
				return 0, errUpgrade
			}
			continue
		}
		at := bytes.Index(bytes.ToLower(in[:end]), keyHeader)
		if at < 0 {
			return 0, errUpgrade
		}
		key, _, _ := bytes.Cut(in[at+len(keyHeader):end+2], []byte("\r\n"))
		sum := sha1.Sum([]byte(string(bytes.TrimSpace(key)) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
		if _, err := c.Write([]byte(answer)); err != nil {
			return 0, err
		}
		return copy(in, in[end+4:n]), nil
	}
}
