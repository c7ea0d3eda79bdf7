package agent

import (
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// BenchNote is a typed JSON request.
type BenchNote struct {
	Content string `json:"content"`
}

// Bench has an echo handler of each kind.
type Bench struct{ component.Base }

func (b *Bench) Raw(s *session.Session, data []byte) error                          { return s.Response(data) }
func (b *Bench) JSON(s *session.Session, n *BenchNote) error                        { return s.Response(n) }
func (b *Bench) Protobuf(s *session.Session, n *wrapperspb.StringValue) error       { return s.Response(n) }
func (b *Bench) Reply(_ *session.Session, n *BenchNote) (reply *BenchNote, _ error) { return n, nil }

// BenchmarkEcho measures requests of one client over a socket, with several in flight.
// One operation is one request with its answer, including the client's work.
func BenchmarkEcho(b *testing.B) {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-"
	asJSON := []byte(`{"content":"` + letters + `"}`)
	asProtobuf, err := proto.Marshal(wrapperspb.String(letters))
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name, route string
		payload     []byte
	}{
		{"raw", "Bench.Raw", []byte(letters)},
		{"json", "Bench.JSON", asJSON},
		{"reply", "Bench.Reply", asJSON},
		{"protobuf", "Bench.Protobuf", asProtobuf},
	} {
		for _, over := range []string{"tcp", "pipe"} {
			for _, window := range []int{1, 32} {
				b.Run(fmt.Sprintf("%s/%s/window=%d", kind.name, over, window), func(b *testing.B) {
					h := newHost(b, func(c *Config) {
						if kind.name == "protobuf" {
							c.Serializer = protobuf.NewSerializer()
						} else {
							c.Serializer = json.NewSerializer()
						}
						c.Dispatcher.Serializer = c.Serializer
						if err := c.Dispatcher.Add(&Bench{}, nil); err != nil {
							b.Fatal(err)
						}
					})
					connect := tcp
					if over == "pipe" {
						connect = pipe
					}
					p, _ := connect(b, h)
					benchmarkEcho(b, p, kind.route, kind.payload, window)
				})
			}
		}
	}
}

func benchmarkEcho(b *testing.B, p *peer, route string, payload []byte, window int) {
	const id = 1 << 14
	var requests, answers []byte
	for range window {
		requests = append(requests, data(b, message.Message{Type: message.Request, ID: id, Route: route, Data: payload})...)
		answers = append(answers, data(b, message.Message{Type: message.Response, ID: id, Data: payload})...)
	}
	got := make([]byte, len(answers))
	_ = p.SetDeadline(time.Now().Add(5 * time.Minute))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%window != 0 {
			continue
		}
		p.sendWhole(requests)
		if _, err := io.ReadFull(p, got); err != nil {
			b.Fatalf("reading the answers: %v", err)
		}
	}
	if n >= window && string(got) != string(answers) {
		b.Errorf("% x came back, want % x", got, answers)
	}
}

// sendWhole writes b without a deadline.
func (p *peer) sendWhole(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("Write = %v", err)
	}
}

// BenchmarkHeartbeat measures incoming heartbeats, the only traffic of an idle client.
func BenchmarkHeartbeat(b *testing.B) {
	h := newHost(b, nil)
	p, _ := tcp(b, h)
	heartbeat := pack(b, packet.Heartbeat, "")
	_ = p.SetDeadline(time.Now().Add(5 * time.Minute))
	b.ReportAllocs()
	for b.Loop() {
		p.sendWhole(heartbeat)
	}
	p.echo(1, "all of them have been read")
	if n := h.Counts.Control.Load(); n < int64(b.N) {
		b.Errorf("%d heartbeats were counted, want %d", n, b.N)
	}
}
