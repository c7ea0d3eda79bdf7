package dispatch_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// runs is what the runs of a test share.
type runs struct {
	sent   *trace
	onSend func() bool // reports whether Send sends; nil for always
	open   atomic.Int32
	most   int // messages of a run; 0 for any number
}

// bound reports whether the session is bound for a route.
func (r *runs) bound(route string) bool { return strings.HasPrefix(route, "bank.") }

// run is a dispatch.ForwardRun that records what it sends.
type run struct {
	*runs
	list  []*message.Message
	freed bool
}

func (r *run) Add(route string, id uint64, data []byte) bool {
	if !r.bound(route) || r.most > 0 && len(r.list) == r.most {
		return false
	}
	if len(r.list) == 0 {
		r.open.Add(1)
	}
	m := &message.Message{Type: message.Notify, ID: id, Route: route, Data: []byte(string(data))}
	if id != 0 {
		m.Type = message.Request
	}
	r.list = append(r.list, m)
	return true
}

func (r *run) Send() bool {
	if r.onSend != nil && !r.onSend() {
		return false
	}
	for _, m := range r.list {
		r.sent.add("run %v %d %s %s", m.Type, m.ID, m.Route, m.Data)
	}
	return true
}

func (r *run) Each(f func(*message.Message)) {
	for _, m := range r.list {
		f(m)
	}
}

func (r *run) Free() {
	if len(r.list) > 0 && !r.freed {
		r.open.Add(-1)
	}
	r.freed = true
}

// read delivers messages of a session with bindings as the reader of a connection does.
func (b *bed) read(messages ...*message.Message) {
	b.t.Helper()
	batch := dispatch.NewBatch()
	size := 0
	for _, m := range messages {
		h := header(b.t, m)
		switch added, here := b.DecodeForward(batch, b.session, h); {
		case added:
		case here != nil:
			b.DecodeInto(batch.Next(len(m.Data)), b.session, h, dispatch.Clones, here)
		default:
			b.DecodeRouted(batch.Next(len(m.Data)), b.session, h, dispatch.Clones)
		}
		size += len(m.Data)
	}
	if batch.Len() != len(messages) || batch.Size() != size {
		b.t.Errorf("the batch has %d messages of %d bytes, want %d of %d", batch.Len(), batch.Size(), len(messages), size)
	}
	b.box.Deliver(batch)
}

// inRuns runs f with a bed whose session is bound to another node for the service bank.
func inRuns(t *testing.T, configure func(*dispatch.Config), f func(b *bed, o *others, got *trace)) {
	t.Helper()
	got := &trace{}
	d := &desk{raw: func(_ *session.Session, data []byte) error { got.add("here %s", data); return nil }}
	inBed(t, configure, with("desk", d), func(b *bed) {
		o := &others{runs: &runs{sent: got}}
		b.SetRemote(o)
		f(b, o, got)
		if n := o.runs.open.Load(); n != 0 {
			t.Errorf("%d runs were not freed", n)
		}
	})
}

// TestForwardRun checks that messages for another node go there at once, up to the first
// message of this node.
func TestForwardRun(t *testing.T) {
	inRuns(t, nil, func(b *bed, o *others, got *trace) {
		b.read(request(1, "bank.Pay", "1"), notify("bank.Log", "2"))
		got.expect(t, "run request 1 bank.Pay 1", "run notify 0 bank.Log 2") // before any other goroutine has run
		got.list = nil
		b.read(notify("bank.Log", "1"), notify("desk.Raw", "2"), notify("bank.Log", "3"), notify("desk.Raw", "4"))
		synctest.Wait()
		got.expect(t, "run notify 0 bank.Log 1", "here 2", "here 4")
		o.sent.expect(t, "notify 0 bank.Log 3")
		if len(b.entity.begun) != 3 {
			t.Errorf("%q were begun, want none of a run", b.entity.begun)
		}
		got.list = nil
		o.runs.most = 2
		b.read(notify("bank.Log", "1"), notify("bank.Log", "2"), notify("bank.Log", "3"))
		synctest.Wait()
		got.expect(t, "run notify 0 bank.Log 1", "run notify 0 bank.Log 2")
		o.sent.expect(t, "notify 0 bank.Log 3", "notify 0 bank.Log 3")
		batch := dispatch.NewBatch()
		if added, _ := b.DecodeForward(batch, b.session, header(t, notify("bank.Log", ""))); !added || !batch.Away() {
			t.Error("a batch with a run is not away")
		}
		batch.Free()
	})
}

// TestForwardRunBehindOthers checks that the messages of a run wait for earlier messages
// of the session.
func TestForwardRunBehindOthers(t *testing.T) {
	inRuns(t, nil, func(b *bed, o *others, got *trace) {
		release := make(chan struct{})
		b.loop.Invoke(func() { <-release })
		b.read(notify("desk.Raw", "1"))
		b.read(notify("bank.Log", "2"), notify("desk.Raw", "3"))
		b.read(request(4, "bank.Pay", "4"))
		if b.box.Idle() {
			t.Error("the mailbox is idle while messages wait")
		}
		waited := make(chan struct{})
		go func() {
			b.box.WaitIdle()
			close(waited)
		}()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("WaitIdle returned while messages wait")
		default:
		}
		close(release)
		<-waited
		got.expect(t, "here 1", "here 3")
		o.sent.expect(t, "notify 0 bank.Log 2", "request 4 bank.Pay 4")
		b.read(notify("bank.Log", "5"))
		got.expect(t, "here 1", "here 3", "run notify 0 bank.Log 5")
	})
}

// TestForwardRunThatIsNotSent checks that the messages of a run that cannot be sent are
// forwarded one by one, before later ones.
func TestForwardRunThatIsNotSent(t *testing.T) {
	inRuns(t, nil, func(b *bed, o *others, got *trace) {
		o.runs.onSend = func() bool { return false }
		b.read(request(1, "bank.Pay", "1"), notify("bank.Log", "2"), notify("desk.Raw", "3"))
		b.read(notify("bank.Log", "4"))
		synctest.Wait()
		o.sent.expect(t, "request 1 bank.Pay 1", "notify 0 bank.Log 2", "notify 0 bank.Log 4")
		got.expect(t, "here 3")
		if want := 4; len(b.entity.begun) != want {
			t.Errorf("%q were begun, want %d messages", b.entity.begun, want)
		}
		if room := b.box.Room(); room != 100 {
			t.Errorf("Room() = %d when all have run, want 100", room)
		}
	})
}

// TestDeliverDuringRun checks that messages that come while a run is sent run behind it,
// and that the close callback does.
func TestDeliverDuringRun(t *testing.T) {
	inRuns(t, nil, func(b *bed, o *others, got *trace) {
		o.runs.onSend = func() bool {
			if err := b.box.Offer(dispatch.Do(0, func() error { got.add("offered"); return nil }), 0); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			return true
		}
		b.read(notify("bank.Log", "1"))
		synctest.Wait()
		got.expect(t, "run notify 0 bank.Log 1", "offered")
		got.list = nil
		o.runs.onSend = func() bool {
			b.box.Seal(func() { got.add("last") })
			synctest.Wait()
			return true
		}
		b.read(notify("bank.Log", "2"))
		synctest.Wait()
		got.expect(t, "run notify 0 bank.Log 2", "last")
		o.runs.onSend = nil
		b.read(request(3, "bank.Pay", "3"))
		synctest.Wait()
		b.failed(3, "NANO-503")
		got.expect(t, "run notify 0 bank.Log 2", "last")
		b.box.WaitIdle() // the mailbox is sealed
	})
}

// TestNoForwardRun checks which messages do not go to another node at once.
func TestNoForwardRun(t *testing.T) {
	strange := header(t, request(1, "bank.Pay", ""))
	strange.Strange = true
	unknown := header(t, request(1, "bank.Pay", ""))
	unknown.Compressed, unknown.Code = true, 99
	for _, c := range []struct {
		name      string
		configure func(*dispatch.Config)
		prepare   func(b *bed, o *others)
		h         *message.Header
		here      bool // its handler is on this node
	}{
		{name: "this node serves it", here: true, h: header(t, request(1, "desk.Raw", ""))},
		{name: "the session is not bound", h: header(t, request(1, "shop.Buy", ""))},
		{name: "flags", h: strange},
		{name: "a code that is not known", h: unknown},
		{name: "hooks", configure: func(c *dispatch.Config) { c.Inbound = pipeline.New().Inbound() }},
		{name: "debug", configure: func(c *dispatch.Config) { c.Debug = true }},
		{name: "draining", prepare: func(b *bed, _ *others) { b.Drain() }},
		{name: "no room in a run", prepare: func(_ *bed, o *others) { o.runs.most = -1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inRuns(t, c.configure, func(b *bed, o *others, _ *trace) {
				if c.prepare != nil {
					c.prepare(b, o)
				}
				h := c.h
				if h == nil {
					h = header(t, request(1, "bank.Pay", ""))
				}
				batch := dispatch.NewBatch()
				if o.runs.most < 0 {
					o.runs.most = 1
					if added, _ := b.DecodeForward(batch, b.session, h); !added {
						t.Error("a run has no room for one message")
					}
				}
				added, here := b.DecodeForward(batch, b.session, h)
				if added {
					t.Error("DecodeForward = true, want false")
				}
				if (here != nil) != c.here || here != nil && here.Route != string(h.Route) {
					t.Errorf("DecodeForward returns the handler %+v, want one: %v", here, c.here)
				}
				batch.Free()
			})
		})
	}
	t.Run("without a cluster", func(t *testing.T) {
		inBed(t, nil, nil, func(b *bed) {
			batch := dispatch.NewBatch()
			defer batch.Free()
			if added, _ := b.DecodeForward(batch, b.session, header(t, request(1, "bank.Pay", ""))); added || batch.Away() {
				t.Error("a node without a cluster forwards a message")
			}
		})
	})
}

// TestForwardRunByCode checks that a route of the dictionary is forwarded as text, and that
// a node forwards a route that it has when the session is bound to another node.
func TestForwardRunByCode(t *testing.T) {
	configure := func(c *dispatch.Config) { c.Dictionary = dictionary(t, map[string]uint16{"bank.Coded": 1}) }
	inRuns(t, configure, func(b *bed, o *others, got *trace) {
		coded := header(t, request(1, "x.x", "1"))
		coded.Compressed, coded.Code, coded.Route = true, 1, nil
		batch := dispatch.NewBatch()
		for range 2 {
			if added, _ := b.DecodeForward(batch, b.session, coded); !added {
				t.Fatal("DecodeForward = false for a code of the dictionary")
			}
		}
		b.box.Deliver(batch)
		got.expect(t, "run request 1 bank.Coded 1", "run request 1 bank.Coded 1")
	})
}
