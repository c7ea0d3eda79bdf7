package server

import (
	"bufio"
	stdjson "encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// These are the packets and messages that bare servers support.
const (
	head      = 4 // bytes before a body: the type and the length
	handshake = 1
	data      = 4

	request  = 0 << 1
	notify   = 1 << 1
	response = 2 << 1
	push     = 3 << 1
)

// PushRoute is the route of the pushes of Fanout and nano.
const PushRoute = "msg"

func bodyLength(b []byte) int { return int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

// accept serves each connection on its own goroutine until ended is closed.
func accept(l net.Listener, serve func(net.Conn), ended <-chan struct{}) error {
	for {
		c, err := l.Accept()
		if err != nil {
			select {
			case <-ended:
				return nil
			default:
				return err
			}
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func bare(k Kind) func(net.Conn) {
	switch k {
	case Fanout:
		f := &fanout{rooms: map[string]*room{}}
		return f.serve
	case FanoutBatch, FanoutBatchWS:
		b := &batch{webSocket: k == FanoutBatchWS, rooms: &fanout{rooms: map[string]*room{}}}
		return b.serve
	case WSBatch:
		b := &batch{webSocket: true}
		return b.serve
	case TCPJSON:
		return func(c net.Conn) { echo(c, AnswerJSON) }
	case TCPProtobuf:
		return func(c net.Conn) { echo(c, answerProtobuf) }
	default:
		return func(c net.Conn) { echo(c, nil) }
	}
}

// echo answers all whole packets of a read in one write. It echoes the packets, or writes
// what answer appends for the body of each data packet.
func echo(c net.Conn, answer func(out, body []byte) ([]byte, error)) {
	in, n := make([]byte, 4096), 0
	var out []byte
	for {
		k, err := c.Read(in[n:])
		if err != nil {
			return
		}
		n += k
		whole := 0
		out = out[:0]
		for n-whole >= head {
			size := head + bodyLength(in[whole:])
			if n-whole < size {
				if size > len(in) {
					in = slices.Grow(in, size)[:size]
				}
				break
			}
			p := in[whole : whole+size]
			whole += size
			switch {
			case answer == nil:
			case p[0] == data:
				if out, err = answer(out, p[head:]); err != nil {
					return
				}
			default:
				out = append(out, p...)
			}
		}
		if whole == 0 {
			continue
		}
		reply := out
		if answer == nil {
			reply = in[:whole]
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
		n = copy(in, in[whole:n])
	}
}

var errShort = errors.New("a message ends within its header")

// parse parses the body of a request or notify.
func parse(body []byte) (flag byte, id, payload []byte, err error) {
	if len(body) == 0 {
		return 0, nil, nil, errShort
	}
	flag, b := body[0], body[1:]
	if flag == request {
		for len(b) > len(id) && b[len(id)] >= 0x80 {
			id = b[:len(id)+1]
		}
		if len(b) == len(id) {
			return 0, nil, nil, errShort
		}
		id = b[:len(id)+1]
		b = b[len(id):]
	}
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return 0, nil, nil, errShort
	}
	return flag, id, b[1+int(b[0]):], nil
}

// open appends the headers of a response. The payload has to follow, and then finish
// writes its length.
func open(out, id []byte) []byte { return append(append(out, data, 0, 0, 0, response), id...) }

func finish(out []byte, start int) []byte {
	n := len(out) - start - head
	out[start+1], out[start+2], out[start+3] = byte(n>>16), byte(n>>8), byte(n)
	return out
}

// AnswerJSON appends the packet of the answer to a request, whose payload it decodes and
// encodes again.
func AnswerJSON(out, body []byte) ([]byte, error) {
	_, id, payload, err := parse(body)
	if err != nil {
		return nil, err
	}
	note := &Note{}
	if err := stdjson.Unmarshal(payload, note); err != nil {
		return nil, err
	}
	reply, err := stdjson.Marshal(note)
	if err != nil {
		return nil, err
	}
	start := len(out)
	return finish(append(open(out, id), reply...), start), nil
}

func answerProtobuf(out, body []byte) ([]byte, error) {
	_, id, payload, err := parse(body)
	if err != nil {
		return nil, err
	}
	note := &wrapperspb.StringValue{}
	if err := proto.Unmarshal(payload, note); err != nil {
		return nil, err
	}
	start := len(out)
	if out, err = (proto.MarshalOptions{}).MarshalAppend(open(out, id), note); err != nil {
		return nil, err
	}
	return finish(out, start), nil
}

// fanout supports joining a room, which the payload names, and broadcasting to it.
type fanout struct {
	mu    sync.Mutex
	rooms map[string]*room // mu guards it
}

type room struct {
	mu      sync.Mutex
	members []net.Conn // guarded by mu, which also keeps a member's messages in order
}

func (f *fanout) room(name string) *room {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rooms[name]
	if r == nil {
		r = &room{}
		f.rooms[name] = r
	}
	return r
}

func (f *fanout) serve(c net.Conn) {
	var mine *room
	defer func() {
		if mine != nil {
			mine.leave(c)
		}
	}()
	r := bufio.NewReaderSize(c, 4096)
	in := make([]byte, head+1<<16)
	var out []byte
	for {
		if _, err := io.ReadFull(r, in[:head]); err != nil {
			return
		}
		body := in[head:min(head+bodyLength(in), len(in))]
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if in[0] == handshake {
			out = finish(append(append(out[:0], handshake, 0, 0, 0), shaken...), 0)
			if _, err := c.Write(out); err != nil {
				return
			}
		}
		if in[0] != data {
			continue
		}
		flag, id, payload, err := parse(body)
		switch {
		case err != nil:
			return
		case flag == request && mine == nil && len(payload) >= 2*stampLength:
			mine = f.room(roomOf(payload))
			out = finish(append(open(out[:0], id), payload...), 0)
			mine.join(c, out)
		case flag == notify && mine != nil:
			out = append(append(out[:0], data, 0, 0, 0, push, byte(len(PushRoute))), PushRoute...)
			out = finish(append(out, payload...), 0)
			mine.write(out)
		}
	}
}

// serveWebSocket echoes messages with gorilla/websocket until ended is closed.
func serveWebSocket(l net.Listener, ended <-chan struct{}) error {
	up := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, CheckOrigin: func(*http.Request) bool { return true }}
	err := http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		go func() { // frees the HTTP server's goroutine and buffers
			defer c.Close()
			for {
				t, b, err := c.ReadMessage()
				if err != nil || c.WriteMessage(t, b) != nil {
					return
				}
			}
		}()
	}))
	select {
	case <-ended:
		return nil
	default:
		return err
	}
}
