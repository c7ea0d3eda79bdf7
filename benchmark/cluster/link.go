package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
)

// This file implements the bare pair. The gate numbers its clients, and forwards whole
// packets over one connection, each with the client's number before it. The backend sends
// them back unchanged. Each write contains all waiting packets.

const (
	packetHead = 4 // bytes: the type and the length of the body
	numberHead = 4 // bytes of the client's number before a packet

	packetHandshake = 1
	packetAck       = 2
	packetData      = 4
)

func packetSize(b []byte) int { return packetHead + int(b[1])<<16 + int(b[2])<<8 + int(b[3]) }

// outbox is a queue of bytes that its own goroutine writes.
type outbox struct {
	conn net.Conn
	mu   sync.Mutex
	wake sync.Cond // uses mu
	buf  []byte    // mu guards it
	room sync.Cond // uses mu
	over bool
}

// outboxSize is the largest number of bytes that wait in an outbox.
const outboxSize = 1 << 20

func newOutbox(c net.Conn) *outbox {
	o := &outbox{conn: c}
	o.wake.L, o.room.L = &o.mu, &o.mu
	return o
}

// add waits for space and appends what f appends.
func (o *outbox) add(f func(b []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > outboxSize && !o.over {
		o.room.Wait()
	}
	o.buf = f(o.buf)
	o.wake.Signal()
}

// write writes until the connection ends.
func (o *outbox) write() {
	var out []byte
	for {
		o.mu.Lock()
		for len(o.buf) == 0 {
			o.wake.Wait()
		}
		out, o.buf = o.buf, out[:0]
		o.room.Broadcast()
		o.mu.Unlock()
		if _, err := o.conn.Write(out); err != nil {
			o.mu.Lock()
			o.over = true
			o.room.Broadcast()
			o.mu.Unlock()
			return
		}
	}
}

// packets reads until the connection ends. It calls f with the whole packets of each
// read.
func packets(c net.Conn, f func(b []byte) (taken int)) error {
	in, n := make([]byte, 64<<10), 0
	for {
		k, err := c.Read(in[n:])
		if err != nil {
			return err
		}
		n += k
		n = copy(in, in[f(in[:n]):n])
	}
}

// bareGate is the gate of the bare pair.
type bareGate struct {
	link *outbox

	mu      sync.Mutex
	clients []net.Conn // by number; mu guards it
}

func serveGate(c *proc.Child, l net.Listener, backend string, ready func()) error {
	conn, err := net.Dial("tcp", backend)
	if err != nil {
		return err
	}
	g := &bareGate{link: newOutbox(conn)}
	go g.link.write()
	go g.answers(conn)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			number := len(g.clients)
			g.clients = append(g.clients, client)
			g.mu.Unlock()
			go func() { _ = g.serve(client, uint32(number)) }()
		}
	}()
	ready()
	<-c.Ended()
	return nil
}

// serve forwards the packets of a client to the backend.
func (g *bareGate) serve(client net.Conn, number uint32) error {
	return packets(client, func(b []byte) int {
		whole := 0
		var own []byte
		g.link.add(func(out []byte) []byte {
			for len(b)-whole >= packetHead && len(b)-whole >= packetSize(b[whole:]) {
				p := b[whole : whole+packetSize(b[whole:])]
				whole += len(p)
				if p[0] == packetData {
					out = append(binary.BigEndian.AppendUint32(out, number), p...)
				} else {
					own = append(own, p...)
				}
			}
			return out
		})
		if len(own) > 0 {
			_, _ = client.Write(own)
		}
		return whole
	})
}

// answers forwards the packets of the backend to the clients.
func (g *bareGate) answers(link net.Conn) {
	out := map[uint32][]byte{}
	_ = packets(link, func(b []byte) int {
		whole := 0
		for len(b)-whole >= numberHead+packetHead {
			p := b[whole+numberHead:]
			if len(p) < packetSize(p) {
				break
			}
			number := binary.BigEndian.Uint32(b[whole:])
			out[number] = append(out[number], p[:packetSize(p)]...)
			whole += numberHead + packetSize(p)
		}
		for number, data := range out {
			if len(data) > 0 {
				g.mu.Lock()
				client := g.clients[number]
				g.mu.Unlock()
				_, _ = client.Write(data)
				out[number] = data[:0]
			}
		}
		return whole
	})
}

func serveBackend(c *proc.Child, l net.Listener, s serverSpec, count *atomic.Int64) error {
	go func() {
		link, err := l.Accept()
		if err != nil {
			return
		}
		out := newOutbox(link)
		if !s.Count {
			go out.write()
		}
		_ = packets(link, func(b []byte) int {
			whole, n := 0, int64(0)
			for len(b)-whole >= numberHead+packetHead {
				size := numberHead + packetSize(b[whole+numberHead:])
				if len(b)-whole < size {
					break
				}
				whole += size
				n++
			}
			count.Add(n)
			if !s.Count && whole > 0 {
				out.add(func(o []byte) []byte { return answer(o, b[:whole], s.JSON) })
			}
			return whole
		})
	}()
	<-c.Ended()
	return nil
}

// answer appends the answers to whole packets. With JSON it decodes each payload and
// encodes it again.
func answer(out, b []byte, json bool) []byte {
	if !json {
		return append(out, b...)
	}
	for len(b) > 0 {
		size := numberHead + packetSize(b[numberHead:])
		out = append(out, b[:numberHead]...)
		answered, err := server.AnswerJSON(out, b[numberHead+packetHead:size])
		if err != nil {
			return out[:len(out)-numberHead] // the load generator counts what is missing as lost
		}
		out, b = answered, b[size:]
	}
	return out
}

// streamSpec is a load of notifies at the highest rate that the server reads.
type streamSpec struct {
	Addr    string
	Clients int
}

// stream is the role of a process that sends notifies. It reports "flows" when every
// client has begun.
func stream(c *proc.Child) error {
	var s streamSpec
	if err := c.Spec(&s); err != nil {
		return err
	}
	packet := func(typ byte, body string) []byte {
		return append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	const route = "Bench.Count"
	letters := make([]byte, 64)
	for i := range letters {
		letters[i] = 'x'
	}
	notify := packet(packetData, string([]byte{1 << 1, byte(len(route))})+route+string(letters))
	var block []byte
	for range 64 {
		block = append(block, notify...)
	}
	for range s.Clients {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			return err
		}
		if _, err := conn.Write(packet(packetHandshake, `{"sys":{"type":"bench","version":"1"},"user":{}}`)); err != nil {
			return err
		}
		r := bufio.NewReader(conn)
		head := make([]byte, packetHead)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		if _, err := r.Discard(packetSize(head) - packetHead); err != nil {
			return err
		}
		if _, err := conn.Write(packet(packetAck, "")); err != nil {
			return err
		}
		go func() { _, _ = io.Copy(io.Discard, r) }()
		go func() {
			for {
				if _, err := conn.Write(block); err != nil {
					return
				}
			}
		}()
	}
	c.Say("flows", nil)
	<-c.Ended()
	return nil
}
