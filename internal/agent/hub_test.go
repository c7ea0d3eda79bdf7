package agent

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// TestBindReportsOtherSessions checks that binding a uid reports the sessions that had it
// before. If two sessions bind the same uid, exactly one call reports the other session.
func TestBindReportsOtherSessions(t *testing.T) {
	var mu sync.Mutex
	told := map[*session.Session][]*session.Session{}
	h := newHost(t, func(c *Config) {
		c.Bound = func(s *session.Session, others []*session.Session) {
			mu.Lock()
			defer mu.Unlock()
			told[s] = append(told[s], others...)
		}
	})
	const n = 20
	var agents []*Agent
	for range n {
		_, a := pipe(t, h)
		agents = append(agents, a)
	}
	var group sync.WaitGroup
	start := make(chan struct{})
	for _, a := range agents {
		group.Go(func() {
			<-start
			if err := a.session.Bind(7); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	group.Wait()
	for i, a := range agents {
		for _, b := range agents[:i] {
			ab, ba := slices.Contains(told[a.session], b.session), slices.Contains(told[b.session], a.session)
			if ab == ba {
				t.Errorf("of two sessions that bound one uid, told of each other: %v and %v, want one of them", ab, ba)
			}
		}
		if slices.Contains(told[a.session], a.session) {
			t.Error("a session was told of itself")
		}
	}
	if got := len(h.ByUID(7)); got != n {
		t.Errorf("%d sessions of the uid, want %d", got, n)
	}
}

// TestConcurrentBinds checks that the index of uids holds the last uid of each session,
// however binds interleave. newHost's cleanup checks that it is empty after the sessions
// close.
func TestConcurrentBinds(t *testing.T) {
	h := newHost(t, nil)
	for range 50 {
		_, a := pipe(t, h)
		var group sync.WaitGroup
		for uid := range int64(4) {
			group.Go(func() {
				for range 50 {
					_ = a.session.Bind(uid + 1)
				}
			})
		}
		group.Go(func() {
			for range 50 {
				a.session.Clear()
			}
		})
		group.Wait()
		for uid := range int64(4) {
			want := a.session.UID() == uid+1
			if got := slices.Contains(h.ByUID(uid+1), a.session); got != want {
				t.Fatalf("the session bears uid %d; found under %d: %v", a.session.UID(), uid+1, got)
			}
		}
		_ = a.Close()
		if err := a.session.Bind(9); err == nil && len(h.ByUID(9)) != 0 {
			t.Fatal("a closed session is found by the uid that it bound then")
		}
	}
}

// TestHandshakeOfAClosedConnection checks that the handshake of a closed connection fails
// before the program sees the session.
func TestHandshakeOfAClosedConnection(t *testing.T) {
	asked := false
	h := newHost(t, func(c *Config) {
		c.Validator = func(*session.Session, []byte) error {
			asked = true
			return nil
		}
	})
	c, _ := h.newConn(&script{}, nil, false)
	a := c.agent.Load()
	_ = a.Close()
	eventually(t, func() bool { return a.flags.has(flagSessionGone) })
	if err := c.shake([]byte("{}")); err == nil || asked {
		t.Errorf("shake = %v, validator asked: %v, want an error and no question", err, asked)
	}
	c.finishReading(net.ErrClosed)
}

func eventually(t testing.TB, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatal("not so after 10 s")
		}
		runtime.Gosched()
	}
}

// TestPrepareHandshake checks that all handshake answers are equal except for the time
// and the program's data.
func TestPrepareHandshake(t *testing.T) {
	dict, err := message.NewDictionary(map[string]uint16{`Room."Join"`: 7, "房间.x": 65535})
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, func(c *Config) { c.Dictionary, c.Serializer = dict, named{c.Serializer} })
	got := h.hello.answer(time.Unix(1700000000, 999), nil, []byte(`{"a":1}`))
	want := `{"code":200,"sys":{"heartbeat":30,"servertime":1700000000,` +
		`"dict":{"Room.\"Join\"":7,"房间.x":65535},"serializer":"a \"b\"\u0007","maxPacket":65536},"user":{"a":1}}`
	if string(got) != want || !json.Valid(got) {
		t.Errorf("answer %s, want %s", got, want)
	}
}

// named is a serializer whose name contains more than letters.
type named struct{ serialize.Serializer }

func (named) Name() string { return "a \"b\"\a" }

// TestFlusherHolds checks that messages that are queued while the flusher is held are
// written when it is released, or after the longest hold.
func TestFlusherHolds(t *testing.T) {
	for _, n := range []int{1, fewAgents, fewAgents + 1, 3 * share} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, nil)
			conns := make([]*script, n)
			agents := make([]*Agent, n)
			for i := range agents {
				conns[i] = &script{}
				agents[i] = opened(h, conns[i])
			}
			written := func() (n int) {
				for _, c := range conns {
					c.mu.Lock()
					n += bytes.Count(c.out.Bytes(), []byte("news"))
					c.mu.Unlock()
				}
				return n
			}
			push := func() {
				t.Helper()
				for _, a := range agents {
					if err := a.Push("news", []byte{}); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
			}
			push()
			if got := written(); got != n {
				t.Errorf("%d of %d pushes were written while nobody held the flusher", got, n)
			}
			h.Begin()
			h.Begin()
			push()
			push()
			h.End()
			synctest.Wait()
			if got := written(); got != n {
				t.Errorf("%d pushes were written while the flusher was held, want %d from before", got, n)
			}
			h.End()
			synctest.Wait()
			if got := written(); got != 3*n {
				t.Errorf("%d pushes were written after the release, want %d", got, 3*n)
			}
			h.Begin()
			push()
			time.Sleep(2 * maxHold)
			synctest.Wait()
			if got := written(); got != 4*n {
				t.Errorf("%d pushes were written %v into a hold, want %d", got, 2*maxHold, 4*n)
			}
			push()
			time.Sleep(2 * maxHold)
			synctest.Wait()
			if got := written(); got != 5*n {
				t.Errorf("%d pushes were written later in a hold, want %d", got, 5*n)
			}
			h.End()
			for _, a := range agents {
				a.out.conn.finishReading(os.ErrClosed)
			}
		})
	}
}

// TestFewDoNotWaitForMany checks that a flush to few agents does not wait for workers,
// which may be busy with thousands of others.
func TestFewDoNotWaitForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		h.flusher.init(h, 2) // with one processor there are no workers
		h.flusher.max = 0    // the workers have not reached it yet
		push := func(n int) (conns []*script, agents []*Agent) {
			h.Begin()
			for range n {
				c := &script{}
				a := opened(h, c)
				if err := a.Push("news", []byte{}); err != nil {
					t.Fatal(err)
				}
				conns, agents = append(conns, c), append(agents, a)
			}
			h.End()
			synctest.Wait()
			return conns, agents
		}
		written := func(conns []*script) (n int) {
			for _, c := range conns {
				c.mu.Lock()
				n += bytes.Count(c.out.Bytes(), []byte("news"))
				c.mu.Unlock()
			}
			return n
		}
		many, first := push(1000)
		few, second := push(fewAgents)
		if got := written(many); got != 0 {
			t.Errorf("%d of many were written without a worker, want none", got)
		}
		if got := written(few); got != len(few) {
			t.Errorf("%d of few were written, want %d", got, len(few))
		}
		h.flusher.max = 2
		_, third := push(fewAgents + 1) // starts workers
		if got := written(many); got != len(many) {
			t.Errorf("%d of many were written by the workers, want %d", got, len(many))
		}
		if left := len(h.flusher.queue); left > 0 || cap(h.flusher.queue) > 4*len(many) {
			t.Errorf("the queue has %d agents left and room for %d", left, cap(h.flusher.queue))
		}
		for _, a := range slices.Concat(first, second, third) {
			a.out.conn.finishReading(os.ErrClosed)
		}
	})
}

// opened returns the agent of a connection with a completed handshake. The client's end
// is not read.
func opened(h *Hub, socket net.Conn) *Agent {
	c, _ := h.newConn(socket, nil, false)
	a := c.agent.Load()
	c.state.Store(stateReady)
	a.flags.set(flagOpen)
	return a
}
