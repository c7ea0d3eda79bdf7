package agent

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// farNode is the other node of a cluster, which serves Far. It records the messages that
// it gets.
type farNode struct {
	mu  sync.Mutex
	got []string // mu guards it
}

func (f *farNode) Serves(service string) bool { return service == "Far" }

func (f *farNode) BoundAway(*session.Session, string) bool { return false }

func (f *farNode) Forward(_ *session.Session, m *message.Message) error {
	f.add("forward", m.ID, m.Data)
	return nil
}

func (f *farNode) ForwardRun(_ *session.Session, route string) dispatch.ForwardRun {
	if !strings.HasPrefix(route, "Far.") {
		return nil
	}
	return &farRun{far: f}
}

func (f *farNode) add(how string, id uint64, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, fmt.Sprintf("%s %d %s", how, id, data))
}

// take returns what was recorded since the last call.
func (f *farNode) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	f.got = nil
	return got
}

// farRun is a run to a farNode.
type farRun struct {
	far  *farNode
	list []*message.Message
}

func (r *farRun) Add(route string, id uint64, data []byte) bool {
	r.list = append(r.list, &message.Message{ID: id, Route: route, Data: bytes.Clone(data)})
	return true
}

func (r *farRun) Send() bool {
	for _, m := range r.list {
		r.far.add("run", m.ID, m.Data)
	}
	return true
}

func (r *farRun) Each(f func(*message.Message)) {
	for _, m := range r.list {
		f(m)
	}
}

func (r *farRun) Free() {}

// TestForwardByReader checks that the reader forwards the messages of a session that is
// bound to another node, and that a stream returns to the reader after its first messages
// went through the mailbox.
func TestForwardByReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		far := &farNode{}
		h.Dispatcher.SetRemote(far)
		p, a := pipe(t, h)
		defer p.Close()
		send := func(messages ...string) {
			t.Helper()
			var b []byte
			for _, text := range messages {
				m := message.Message{Type: message.Request, ID: 1, Route: "Far.Do", Data: []byte(text)}
				if strings.HasPrefix(text, "here") {
					m.Route = "Game.Echo"
				}
				b = append(b, data(t, m)...)
			}
			p.send(b)
			synctest.Wait()
		}
		got := func(want ...string) {
			t.Helper()
			if got := far.take(); !slices.Equal(got, want) {
				t.Errorf("the other node got %q, want %q", got, want)
			}
		}
		send("a")
		got("forward 1 a") // the session is not bound
		a.Routed(a.session, "Far", "192.0.2.1:1")
		send("b", "c")
		got("run 1 b", "run 1 c")
		p.echo(2, "here")

		release := holdLogic(h)
		send("here 1", "d")
		send("e") // goes behind them
		got()
		release()
		if m := p.message(); string(m.Data) != "here 1" {
			t.Errorf("the answer is %q, want that of this node", m.Data)
		}
		synctest.Wait()
		got("forward 1 d", "forward 1 e")

		// The last batch went to the other node, so the reader waits for the mailbox.
		release = holdLogic(h)
		a.box.Announce(dispatch.Do(0, func() error { return nil }))
		send("f")
		got()
		release()
		synctest.Wait()
		got("run 1 f")

		// It does not wait for long.
		release = holdLogic(h)
		a.box.Announce(dispatch.Do(0, func() error { return nil }))
		send("g")
		time.Sleep(2 * maxIdleWait)
		send("h") // the reader has to take it
		got()
		release()
		synctest.Wait()
		got("forward 1 g", "run 1 h") // h has waited for g
		send("i")
		got("run 1 i")

		// A session that closes ends the wait.
		release = holdLogic(h)
		a.box.Announce(dispatch.Do(0, func() error { return nil }))
		send("j")
		_ = a.shut(session.ErrClosed, farewell{})
		synctest.Wait()
		release()
		check(t, reason(t, a.session), session.ErrClosed)
		got()
	})
}

// TestRelayAnswers checks which answers of another node are sent together.
func TestRelayAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(c *Config) { c.MaxQueued = 1000 })
		p, a := pipe(t, h)
		defer p.Close()
		list := []message.Message{
			{Type: message.Response, ID: 3, Data: []byte("a")},
			{Type: message.Response, ID: 1, Data: []byte("b")},
			{Type: message.Response, ID: 7, Data: make([]byte, 2000)}, // larger than the queue
			{Type: message.Response, ID: 8, Data: []byte("d")},
		}
		if sent := a.RelayAnswers(list); sent != 2 {
			t.Errorf("RelayAnswers = %d, want the 2 before the one that is too large", sent)
		}
		if sent := a.RelayAnswers(list[2:]); sent != 0 {
			t.Errorf("RelayAnswers = %d for an answer that is too large, want 0", sent)
		}
		check(t, a.Relay(&list[2], false), session.ErrBufferExceed)
		if sent := a.RelayAnswers(list[3:]); sent != 1 {
			t.Errorf("RelayAnswers = %d, want 1", sent)
		}
		for _, want := range []message.Message{list[0], list[1], list[3]} {
			if m := p.message(); m.Type != message.Response || m.ID != want.ID || !bytes.Equal(m.Data, want.Data) || m.Err {
				t.Errorf("%v %q came, want the response %d %q", m, m.Data, want.ID, want.Data)
			}
		}
		check(t, a.Relay(&list[0], true), session.ErrSessionOnNotify) // it did not begin
		if a.flags.has(flagFull) {
			t.Error("the queue counts as full")
		}
		_ = a.shut(session.ErrClosed, farewell{})
		if sent := a.RelayAnswers(list); sent != 0 {
			t.Errorf("RelayAnswers = %d after the session has closed, want 0", sent)
		}
	})
}

// TestRelayAnswersPastTheBound checks that answers beyond the bound of the queue stop the
// reader, as those of this node do.
func TestRelayAnswersPastTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(c *Config) { c.MaxQueued = 1000 })
		p, a := pipe(t, h)
		defer p.Close()
		var list []message.Message
		for id := uint64(1); id <= 10; id++ {
			list = append(list, message.Message{Type: message.Response, ID: id, Data: make([]byte, 500)})
		}
		if sent := a.RelayAnswers(list); sent != len(list) || !a.flags.has(flagFull) {
			t.Errorf("RelayAnswers = %d, full: %v, want all, and the queue full", sent, a.flags.has(flagFull))
		}
		for _, m := range list {
			if got := p.message(); got.ID != m.ID {
				t.Fatalf("%v came, want the response %d", got, m.ID)
			}
		}
	})
}

// TestRelayAnswersWithHooks checks that answers take the way through the hooks.
func TestRelayAnswersWithHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(c *Config) {
			hooks := pipeline.New()
			hooks.Outbound().PushBack(func(_ *session.Session, m *pipeline.Message) error {
				m.Data = append(m.Data, '!')
				return nil
			})
			c.Outbound = hooks.Outbound()
		})
		client, a := func() (*peer, *Agent) {
			p, c := shaken(t, h, false)
			a := c.agent.Load()
			go c.serve(nil, h.HandshakeTimeout)
			p.send(pack(t, 2, ""))
			synctest.Wait()
			return p, a
		}()
		defer client.Close()
		list := []message.Message{{Type: message.Response, ID: 3, Data: []byte("a")}}
		if sent := a.RelayAnswers(list); sent != 0 {
			t.Errorf("RelayAnswers = %d with a hook, want 0", sent)
		}
		if err := a.Relay(&list[0], false); err != nil {
			t.Fatal(err)
		}
		if m := client.message(); string(m.Data) != "a!" {
			t.Errorf("the response is %q, want that of the hook", m.Data)
		}
	})
}

// TestAnswerCutShort checks that a request can still be answered if a hook or the encoding
// of its answer panics or ends the goroutine.
func TestAnswerCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := false
		h := newHost(t, func(c *Config) {
			hooks := pipeline.New()
			hooks.Outbound().PushBack(func(*session.Session, *pipeline.Message) error {
				if exit {
					runtime.Goexit()
				}
				return nil
			})
			c.Outbound = hooks.Outbound()
		})
		p, a := pipe(t, h)
		defer p.Close()
		id := uint64(0)
		for name, answer := range map[string]func(){
			"a hook that ends the goroutine of Relay": func() {
				_ = a.Relay(&message.Message{Type: message.Response, ID: id}, true)
			},
			"a hook that ends the goroutine of ResponseMid": func() { _ = a.ResponseMid(id, []byte("x")) },
			"a hook that ends the goroutine of ResponseMid with an error": func() {
				_ = a.ResponseMid(id, message.Errorf("GAME-2", "no"))
			},
			"a hook that ends the goroutine of Fail": func() { a.Fail(id, message.Errorf("GAME-2", "no")) },
			"a hook that ends the goroutine of RelayError": func() {
				a.RelayError(id, "Far.Do", message.Errorf("GAME-2", "no"), true)
			},
			"an encoding that panics": func() {
				_ = a.ResponseMid(id, encoding(func() { panic("boom") }))
			},
			"an encoding that ends the goroutine": func() { _ = a.ResponseMid(id, encoding(runtime.Goexit)) },
		} {
			id++
			route := "Game.Echo"
			a.Begin(id, &route)
			exit = strings.HasPrefix(name, "a hook")
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				answer()
			}()
			<-done
			exit = false
			if !a.Waiting(id) {
				t.Errorf("%s: the request counts as answered", name)
				continue
			}
			a.Fail(id, message.Errorf("GAME-1", "no"))
			if m := p.message(); m.ID != id || !m.Err {
				t.Errorf("%s: %v came, want the error for request %d", name, m, id)
			}
		}
	})
}

// encoding is a value whose encoding calls the function.
type encoding func()

func (e encoding) MarshalJSON() ([]byte, error) {
	e()
	return []byte("1"), nil
}
