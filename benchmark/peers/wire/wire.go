// Package wire implements the shared parts of the peers' programs: the part of the
// protocol that a room needs, and their start and end.
package wire

import (
	"io"
	"os"
	"sync"
)

// Main returns the arguments of a peer's program, and ends the program when its standard
// input ends. The first argument is the address to listen on. The second is "echo" or
// "rooms".
func Main() (addr string, rooms bool) {
	if len(os.Args) != 3 {
		os.Stderr.WriteString("usage: peer ADDRESS echo|rooms\n")
		os.Exit(2)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return os.Args[1], os.Args[2] == "rooms"
}

const (
	head      = 4 // bytes before the body of a packet: its type and the length
	handshake = 1
	data      = 4

	request  = 0 << 1
	notify   = 1 << 1
	response = 2 << 1
	push     = 3 << 1

	stampLength = 8 // bytes; a payload begins with the client's number and that of the room
	pushRoute   = "msg"
	shaken      = `{"code":200,"sys":{"heartbeat":30}}`
)

// Rooms are the rooms of a server whose connections are of type C. The zero value is
// ready to use.
type Rooms[C comparable] struct {
	mu     sync.Mutex
	rooms  map[string]*room[C]
	joined map[C]*room[C]
}

type room[C comparable] struct {
	mu      sync.Mutex
	members []C
}

// Serve serves one packet of c. It calls send with an answer to c, and broadcast with the
// members of its room and a packet for each of them. Both may keep the packet.
func (r *Rooms[C]) Serve(c C, packet []byte, send func([]byte), broadcast func([]C, []byte)) {
	if len(packet) < head {
		return
	}
	body := packet[head:]
	switch {
	case packet[0] == handshake:
		send(frame(handshake, []byte(shaken)))
	case packet[0] != data || len(body) == 0:
	case body[0] == request:
		id, payload, ok := split(body[1:], true)
		if !ok || len(payload) < 2*stampLength {
			return
		}
		r.join(c, string(payload[stampLength:2*stampLength]))
		answer := append([]byte{response}, id...)
		send(frame(data, append(answer, payload...)))
	case body[0] == notify:
		_, payload, ok := split(body[1:], false)
		r.mu.Lock()
		mine := r.joined[c]
		r.mu.Unlock()
		if !ok || mine == nil {
			return
		}
		said := append([]byte{push, byte(len(pushRoute))}, pushRoute...)
		mine.mu.Lock()
		defer mine.mu.Unlock()
		broadcast(mine.members, frame(data, append(said, payload...)))
	}
}

func (r *Rooms[C]) join(c C, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rooms == nil {
		r.rooms, r.joined = map[string]*room[C]{}, map[C]*room[C]{}
	}
	mine := r.rooms[name]
	if mine == nil {
		mine = &room[C]{}
		r.rooms[name] = mine
	}
	r.joined[c] = mine
	mine.mu.Lock()
	defer mine.mu.Unlock()
	mine.members = append(mine.members, c)
}

// split takes the id, if there is one, and the route from a message.
func split(b []byte, withID bool) (id, payload []byte, ok bool) {
	if withID {
		n := 0
		for n < len(b) && b[n] >= 0x80 {
			n++
		}
		if n == len(b) {
			return nil, nil, false
		}
		id, b = b[:n+1], b[n+1:]
	}
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	return id, b[1+int(b[0]):], true
}

func frame(typ byte, body []byte) []byte {
	return append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}
