package testkit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// ResumeAnswer is the resume part of the answer to a handshake.
type ResumeAnswer struct {
	Token    string
	Window   int
	Resumed  bool
	Received uint64
	Reason   string
	Kick     json.RawMessage
}

// ResumeClient is a client that can resume its session. One goroutine may send while
// another one reads.
type ResumeClient struct {
	mu       sync.Mutex
	wire     *Wire    // nil without a connection; mu guards it and the fields below
	token    string   // token of the session; "" before the first handshake
	received uint64   // data packets received
	told     uint64   // the last acknowledgment sent
	sent     uint64   // data packets sent
	kept     [][]byte // packets that the server has not acknowledged
}

// Handshake returns the body of a handshake that asks for resume.
func (c *ResumeClient) Handshake() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" {
		return `{"sys":{"resume":{}}}`
	}
	return fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":%d}}}`, c.token, c.received)
}

// Connect sends a handshake over w and, after the answer, the ack. If the session is new,
// Connect forgets the old one.
func (c *ResumeClient) Connect(w *Wire) (ResumeAnswer, error) {
	a, err := Ask(w, c.Handshake())
	if err != nil {
		return a, err
	}
	return a, c.Enter(w, a)
}

// Ask sends a handshake and returns the resume part of the answer.
func Ask(w *Wire, handshake string) (ResumeAnswer, error) {
	text, err := w.Handshake(handshake)
	if err != nil {
		return ResumeAnswer{}, err
	}
	var answer struct {
		Code int
		Sys  struct{ Resume *ResumeAnswer }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Code != 200 || answer.Sys.Resume == nil {
		return ResumeAnswer{}, fmt.Errorf("the handshake was answered by %s", text)
	}
	return *answer.Sys.Resume, nil
}

// Enter sends the ack of a handshake, and then the packets that the server has not
// received.
func (c *ResumeClient) Enter(w *Wire, a ResumeAnswer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = a.Token
	if !a.Resumed {
		c.received, c.told, c.sent, c.kept = 0, 0, 0, nil
	} else if err := c.accepted(a.Received); err != nil {
		return err
	}
	c.wire = w
	b := Pack(packet.Ack, "")
	for _, p := range c.kept {
		b = append(b, p...)
	}
	return w.Send(b)
}

// accepted drops packets that the server has acknowledged. The caller holds mu.
func (c *ResumeClient) accepted(n uint64) error {
	first := c.sent - uint64(len(c.kept))
	if n < first || n > c.sent {
		return fmt.Errorf("the server has accepted %d packets, want %d to %d", n, first, c.sent)
	}
	c.kept = c.kept[n-first:]
	return nil
}

// Send sends a data packet, or queues it until the client has a connection. The reader
// reports errors of the connection.
func (c *ResumeClient) Send(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	c.kept = append(c.kept, b)
	if c.wire != nil && c.wire.Send(b) != nil {
		c.wire = nil
	}
}

// Lost drops the connection.
func (c *ResumeClient) Lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire = nil
}

// Waiting returns how many packets the server has not acknowledged.
func (c *ResumeClient) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept)
}

// Token returns the session's token.
func (c *ResumeClient) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// Received returns the number of data packets received.
func (c *ResumeClient) Received() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received
}

// Next reads the next message from w, and acknowledges every 32 packets. A kick is a
// [KickError].
func (c *ResumeClient) Next(w *Wire) (*message.Message, error) {
	for {
		typ, body, err := w.Packet()
		if err != nil {
			return nil, err
		}
		switch typ {
		case packet.Heartbeat:
			err = c.heartbeat(w, body)
		case packet.Kick:
			err = KickError(body)
		case packet.Data:
			return c.data(w, body)
		default:
			err = fmt.Errorf("a %v packet came: %q", typ, body)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (c *ResumeClient) heartbeat(w *Wire, body string) error {
	if body == "" {
		return w.Send(Pack(packet.Heartbeat, ""))
	}
	n, size := binary.Uvarint([]byte(body))
	if size != len(body) {
		return fmt.Errorf("a heartbeat with the body %x", body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < c.sent-uint64(len(c.kept)) {
		return nil
	}
	return c.accepted(n)
}

func (c *ResumeClient) data(w *Wire, body string) (*message.Message, error) {
	m, err := message.Decode([]byte(body), w.Dict)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received++
	if c.received-c.told >= 32 && c.wire == w {
		c.told = c.received
		_ = w.Send(Acknowledge(c.received)) // the next read reports an error
	}
	return m, nil
}

// Acknowledge returns a heartbeat that acknowledges n data packets.
func Acknowledge(n uint64) []byte {
	return Pack(packet.Heartbeat, string(binary.AppendUvarint(nil, n)))
}
