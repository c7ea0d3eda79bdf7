package capacity_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// Club has rooms in which every message goes to every member.
type Club struct {
	component.Base
	rooms map[string]*nano.Group // used by the logic goroutine only
}

func (c *Club) Enter(s *session.Session, room []byte) error {
	g := c.rooms[string(room)]
	if g == nil {
		g = nano.NewGroup(string(room))
		c.rooms[string(room)] = g
	}
	s.Set("room", g)
	if err := g.Add(s); err != nil {
		return err
	}
	return s.Response(room)
}

func (c *Club) Say(s *session.Session, text []byte) error {
	return s.Value("room").(*nano.Group).Broadcast("onSay", text)
}

func (c *Club) Leave(s *session.Session, data []byte) error {
	if err := s.Value("room").(*nano.Group).Leave(s); err != nil {
		return err
	}
	s.Clear()
	return s.Response(data)
}

// descriptors returns how many files a process may have open; see limit_unix_test.go.
var descriptors = func() int { return 1 << 20 }

// TestCrowd checks that 10,000 clients can connect in waves, exchange messages and leave,
// and that no memory or goroutine remains.
func TestCrowd(t *testing.T) {
	testkit.SkipInShort(t, "capacity")
	waves, size := 5, 2000
	if limit := descriptors() / 2 / 5 * 4; size > limit { // this process holds both ends of each connection
		t.Logf("waves of %d clients, for want of file descriptors", limit)
		size = limit
	}
	const room = 8 // clients per room
	club := &Club{rooms: map[string]*nano.Group{}}
	s := testkit.NewServer(club)
	testkit.ShutdownAtEnd(t, s)
	sites := []*testkit.Server{testkit.Serve(t, s, "tcp"), testkit.Serve(t, s, "ws")}

	var before testkit.Footprint
	for wave := range waves + 1 {
		players := size
		if wave == 0 {
			players = min(size, 500) // lets pools and maps grow first
		}
		phase := newPhases(players)
		var group sync.WaitGroup
		for i := range players {
			group.Go(func() {
				defer phase.leave()
				if err := play(sites[i%len(sites)], phase, fmt.Sprint("room ", i/room), min(room, players-i/room*room)); err != nil {
					t.Errorf("wave %d, client %d: %v", wave, i, err)
				}
			})
		}
		group.Wait()
		testkit.Eventually(t, "all are gone", func() bool {
			st := s.Stats()
			return st.Connections == 0 && st.Sessions == 0
		})
		empty := make(chan error, 1)
		s.Invoke(func() {
			var err error
			for name, g := range club.rooms {
				if n := g.Count(); n != 0 {
					err = fmt.Errorf("%d clients are left in %s", n, name)
				}
			}
			clear(club.rooms)
			empty <- err
		})
		if err := testkit.Receive(t, empty, "the count"); err != nil {
			t.Errorf("wave %d: %v", wave, err)
		}
		if wave == 0 {
			before = testkit.MeasureFootprint()
			continue
		}
		if t.Failed() {
			return
		}
		before.CheckReleased(t)
	}
	if n, want := s.Stats().Accepted, int64(waves*size); n < want {
		t.Errorf("%d clients were accepted, want %d and more", n, want)
	}
}

// play connects one client of a room, exchanges messages and disconnects.
func play(at *testkit.Server, phase *phases, name string, others int) error {
	phase.enter() // limits how many clients connect at a time
	w, err := at.Wire()
	if err == nil {
		err = w.Join()
	}
	phase.exit()
	if err != nil {
		return err
	}
	defer w.Abort()
	if m, err := w.Call(1, "Club.Enter", name); err != nil || m.Err {
		return fmt.Errorf("entering: %v, %w", m, err)
	}
	phase.next() // every client has joined
	if err := w.Send(testkit.Notify("Club.Say", name)); err != nil {
		return err
	}
	for range others {
		m, err := w.Message()
		if err != nil {
			return err
		}
		if m.Type != message.Push || m.Route != "onSay" || string(m.Data) != name {
			return fmt.Errorf("%v %q came to %s", m, m.Data, name)
		}
	}
	phase.next() // every client has received every message
	if len(name)%2 == 0 {
		return nil // disconnects without a message
	}
	m, err := w.Call(2, "Club.Leave", "bye")
	if err != nil || !bytes.Equal(m.Data, []byte("bye")) {
		return fmt.Errorf("leaving: %v, %w", m, err)
	}
	return nil
}

// phases makes many goroutines wait for each other.
type phases struct {
	slots chan struct{}

	mu      sync.Mutex
	players int
	waiting int
	gate    chan struct{}
}

func newPhases(players int) *phases {
	return &phases{slots: make(chan struct{}, 16*runtime.GOMAXPROCS(0)), players: players, gate: make(chan struct{})}
}

func (p *phases) enter() { p.slots <- struct{}{} }

func (p *phases) exit() { <-p.slots }

// next waits until all goroutines wait or have left.
func (p *phases) next() {
	p.mu.Lock()
	p.waiting++
	gate := p.gate
	p.open()
	p.mu.Unlock()
	<-gate
}

func (p *phases) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.players--
	p.open()
}

// open releases the waiting goroutines if no one is missing. The caller holds mu.
func (p *phases) open() {
	if p.waiting > 0 && p.waiting == p.players {
		p.waiting = 0
		close(p.gate)
		p.gate = make(chan struct{})
	}
}
