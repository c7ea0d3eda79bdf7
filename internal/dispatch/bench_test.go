package dispatch_test

import (
	"fmt"
	"log/slog"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// BenchNote is a typed JSON request.
type BenchNote struct {
	Content string `json:"content"`
}

// Bench has a handler of each kind. None of them responds, so a measurement ends with the
// handler.
type Bench struct{ component.Base }

func (b *Bench) Raw(*session.Session, []byte) error                       { return nil }
func (b *Bench) JSON(*session.Session, *BenchNote) error                  { return nil }
func (b *Bench) Protobuf(*session.Session, *wrapperspb.StringValue) error { return nil }

// benchEntity is a network entity that does nothing.
type benchEntity struct{ mock.NetworkEntity }

func (e *benchEntity) Begin(uint64, *string)         {}
func (e *benchEntity) Fail(uint64, *message.Error)   {}
func (e *benchEntity) Refuse(uint64, *message.Error) {}
func (e *benchEntity) Deferred() bool                { return false }
func (e *benchEntity) Waiting(uint64) bool           { return false }
func (e *benchEntity) Hold()                         {}
func (e *benchEntity) Release()                      {}

// block copies payloads to one block of memory, as a reader does.
type block []byte

func (b *block) Keep(data []byte) []byte {
	at := len(*b)
	*b = append(*b, data...)
	return (*b)[at:len(*b):len(*b)]
}

// BenchmarkMailbox measures a message from its bytes to its handler. It is parsed and
// decoded here and runs on the scheduler. A batch has a fixed number of messages.
func BenchmarkMailbox(b *testing.B) {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-"
	wire, err := proto.Marshal(wrapperspb.String(letters))
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name, route string
		serializer  serialize.Serializer
		payload     []byte
	}{
		{"raw", "Bench.Raw", json.NewSerializer(), []byte(letters)},
		{"json", "Bench.JSON", json.NewSerializer(), []byte(`{"content":"` + letters + `"}`)},
		{"protobuf", "Bench.Protobuf", protobuf.NewSerializer(), wire},
	} {
		for _, together := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/batch=%d", kind.name, together), func(b *testing.B) {
				m := message.Message{Type: message.Request, ID: 1 << 14, Route: kind.route, Data: kind.payload}
				benchmarkMailbox(b, kind.serializer, &m, together)
			})
		}
	}
}

func benchmarkMailbox(b *testing.B, serializer serialize.Serializer, m *message.Message, together int) {
	sched := runloop.New(runloop.DefaultConfig())
	sched.Start()
	defer sched.Close()
	d := dispatch.New(dispatch.Config{Log: slog.New(slog.DiscardHandler), Serializer: serializer, Loop: sched})
	if err := d.Add(&Bench{}, nil); err != nil {
		b.Fatal(err)
	}
	e := &benchEntity{}
	s := session.New(e)
	const limit = 256
	var box dispatch.Mailbox
	box.Init(d, s, e, limit, limit<<10)
	wire, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	drained := make(chan struct{})
	end := func() { drained <- struct{}{} }
	var last *handler.Handler

	b.ReportAllocs()
	var batch *dispatch.Batch
	var kept block
	n := 0
	for b.Loop() {
		if batch == nil {
			batch, kept = dispatch.NewBatch(), make(block, 0, together*len(m.Data))
		}
		var h message.Header
		if err := h.Parse(wire); err != nil {
			b.Fatal(err)
		}
		c := batch.Next(len(h.Body))
		d.DecodeInto(c, s, &h, &kept, last)
		last = c.Handler()
		if n++; n%together == 0 {
			box.Deliver(batch)
			batch = nil
			box.Wait()
		}
		if n%limit == 0 { // the queued messages run while the benchmark timer runs
			sched.Invoke(end)
			<-drained
		}
	}
	if d.Counts.Failed.Load() > 0 || d.Counts.Panics.Load() > 0 {
		b.Errorf("%d messages failed, want none", d.Counts.Failed.Load())
	}
	box.Seal(end) // before the scheduler closes
	<-drained
}
