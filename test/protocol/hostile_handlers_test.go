package protocol_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// TestHostileHandlers checks that failures of handlers affect only what they must.
func TestHostileHandlers(t *testing.T) {
	const block = 500 * time.Millisecond
	type handler = func(at *testkit.Server, all []*session.Session, s *session.Session) error
	for name, test := range map[string]struct {
		do   handler
		code string // code of the error response; "" for none
		kick string // body of the kick of the client that sent the request
		ends string // the counted close reason; "" if the session stays open
		all  bool   // all sessions close
	}{
		"panics": {func(*testkit.Server, []*session.Session, *session.Session) error { panic("no luck") }, nano.CodeInternal, "", "", false},
		"indexes too far": {func(_ *testkit.Server, all []*session.Session, _ *session.Session) error {
			all[len(all)].Close()
			return nil
		}, nano.CodeInternal, "", "", false},
		"ends its goroutine": {func(*testkit.Server, []*session.Session, *session.Session) error { runtime.Goexit(); return nil }, nano.CodeInternal, "", "", false},
		"blocks": {func(*testkit.Server, []*session.Session, *session.Session) error {
			time.Sleep(block)
			return errors.New("at last")
		}, nano.CodeInternal, "", "", false},
		"closes its session": {func(_ *testkit.Server, _ []*session.Session, s *session.Session) error {
			s.Close()
			panic("and panics")
		}, nano.CodeInternal, "", "server", false},
		"kicks its session": {func(_ *testkit.Server, _ []*session.Session, s *session.Session) error {
			return s.Kick("away")
		}, "", `{"reason":"away","code":"kicked"}`, "kicked", false},
		"kicks everybody": {func(_ *testkit.Server, all []*session.Session, _ *session.Session) error {
			for _, s := range all {
				if err := s.Kick("all of you"); err != nil {
					return err
				}
			}
			return nil
		}, "", `{"reason":"all of you","code":"kicked"}`, "kicked", true},
		"closes everybody": {func(_ *testkit.Server, all []*session.Session, _ *session.Session) error {
			for _, s := range all {
				s.Close()
			}
			return nil
		}, "", "", "server", true},
		"shuts down": {func(at *testkit.Server, _ []*session.Session, _ *session.Session) error {
			go func() { _ = at.Shutdown(context.Background()) }()
			return errors.New("soon")
		}, nano.CodeInternal, `{"reason":"server shutdown","code":"shutdown"}`, "shutdown", true},
	} {
		for _, kind := range testkit.Sockets {
			t.Run(name+" over "+kind, func(t *testing.T) {
				var at *testkit.Server
				var all []*session.Session // used by the logic goroutine only
				at = testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
					if string(data) == "in" {
						all = append(all, s)
						return s.Response(data)
					}
					return test.do(at, all, s)
				}})
				at.CheckServes(nil)
				before := testkit.MeasureFootprint()
				p, good := at.Join(), at.Join()
				p.Call(1, "Game.Do", "in")
				good.Call(1, "Game.Do", "in")
				p.Send(testkit.Request(2, "Game.Do", "go"))
				if test.code != "" {
					if e := p.ErrorOf(p.Next()); e.Code != test.code {
						t.Errorf("the answer is %v, want %s", e, test.code)
					}
				}
				if test.ends != "" {
					if e := p.ReadEnd(); e.Kick != test.kick || len(e.Messages) != 0 {
						t.Errorf("%d messages and kick %q came, want kick %q", len(e.Messages), e.Kick, test.kick)
					}
					want := int64(1)
					if test.all {
						want = 2
						if e := good.ReadEnd(); e.Kick != test.kick {
							t.Errorf("kick %q came to another client, want %q", e.Kick, test.kick)
						}
						good = nil
					}
					testkit.Eventually(t, "it is counted", func() bool { return at.Stats().Closed[test.ends] == want })
				} else {
					p.Echo(3, "still here")
				}
				if test.ends == "shutdown" {
					if err := at.Shutdown(context.Background()); err != nil {
						t.Errorf("Shutdown = %v", err)
					}
				} else {
					at.CheckServes(good)
				}
				p.Abort()
				if good != nil {
					good.Abort()
				}
				all = nil
				testkit.Eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
				before.CheckReleased(t)
			})
		}
	}
}

// TestHandlerThatBlocks checks that a handler that blocks delays only the messages of its
// scheduler. It blocks for 10 s in fake time, and for -block over sockets.
func TestHandlerThatBlocks(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { blocks(t, kind, 10*time.Second) })
		})
	}
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			testkit.SkipInShort(t, "blocks for -block")
			blocks(t, kind, *blockTime)
		})
	}
}

// blocks makes a handler block for d.
func blocks(t *testing.T, kind string, d time.Duration) {
	const others, ahead = 20, 300 // ahead exceeds the number of messages of a session that may wait
	interval := d / 5
	room := scheduler.New()
	defer room.Close()
	rooms := &component.Components{}
	rooms.Register(&testkit.Game{}, component.WithName("Room"), component.WithSchedulerName("room"))
	begun := make(chan struct{}, 1)
	log := testkit.NewLogCapture()
	at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		begun <- struct{}{}
		time.Sleep(d)
		return s.Response(data)
	}}, nano.WithComponents(rooms), nano.WithHeartbeatInterval(interval), log.Option(),
		nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
			s.Set("room", room)
			return nil
		}))
	at.CheckServes(nil)
	before := testkit.MeasureFootprint()

	// Each of the others sends a request while the handler blocks, and then heartbeats.
	// The first one sends many requests.
	type outcome struct {
		answers, heartbeats int
		err                 error
	}
	var clients []*testkit.Client
	ends := make([]outcome, others)
	var reading sync.WaitGroup
	for i := range others {
		p := at.Join()
		p.Patience = time.Hour
		clients = append(clients, p)
		want := 1
		if i == 0 {
			want = ahead
		}
		reading.Go(func() {
			for end := &ends[i]; end.answers < want; {
				typ, body, err := p.Packet()
				switch {
				case err != nil:
					end.err = err
					return
				case typ == packet.Heartbeat:
					end.heartbeats++
					if i > 0 { // the first client is not being read from, so it need not send heartbeats
						_ = p.Wire.Send(testkit.Pack(packet.Heartbeat, ""))
					}
				case typ == packet.Data && body[0]&0x20 == 0:
					end.answers++
				default:
					t.Errorf("client %d got a %v packet %q", i, typ, body)
				}
			}
		})
	}
	silent := at.Join()
	silent.Patience = time.Hour
	silentFor := make(chan time.Duration, 1)
	joined := time.Now()
	silent.Go(func() {
		silent.ReadUntilEnd()
		silentFor <- time.Since(joined)
	})

	p := at.Join()
	p.Patience = time.Hour
	p.Send(testkit.Request(1, "Game.Do", "at last"))
	p.Go(func() {
		for p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) == nil {
			time.Sleep(interval)
		}
	})
	testkit.Receive(t, begun, "the call of the handler")
	start := time.Now()
	for i, c := range clients {
		if i > 0 {
			c.Send(testkit.Request(1, "Game.Echo", ""))
			continue
		}
		c.Go(func() {
			for id := range uint64(ahead) {
				if c.Wire.Send(testkit.Request(id+1, "Game.Echo", "")) != nil {
					return
				}
			}
		})
	}

	// Meanwhile new clients connect, and other schedulers serve them.
	rounds, late := 0, 0
	for ; time.Since(start) < d*3/4; rounds++ {
		began := time.Now()
		w, err := at.Wire()
		if err == nil {
			err = w.Join()
		}
		if err == nil {
			_, err = w.Call(1, "Room.Echo", "hello")
		}
		if err != nil {
			t.Fatalf("a new client after %v: %v", time.Since(start), err)
		}
		if time.Since(began) > testkit.Prompt {
			late++
		}
		w.Abort()
		time.Sleep(20 * time.Millisecond)
	}
	if late > rounds/5 {
		t.Errorf("%d of %d new clients were answered later than after %v", late, rounds, testkit.Prompt)
	}
	if took := testkit.Receive(t, silentFor, "the end of the silent client"); took < interval*5/2-interval/10 || took > d*3/4 {
		t.Errorf("a silent client was let go after %v, want two and a half intervals of %v to three", took, interval)
	}
	const stuck = "nano: the logic goroutine is stuck in one task"
	if d > 8*time.Second {
		if stack, _ := log.Find(stuck, "stack"); !strings.Contains(stack, "(*Game).Do") || log.Count(stuck) != 1 {
			t.Errorf("%d lines with the stack %s name the handler, want one", log.Count(stuck), stack)
		}
	}
	if n := at.Stats().Routes["Game.Echo"].Count; n != 1 {
		t.Errorf("the handler was over after %v: %d messages have run", time.Since(start), n)
	}

	// Afterwards every request is answered, and every client is connected.
	if m := p.Next(); string(m.Data) != "at last" || time.Since(start) < d {
		t.Errorf("%v came after %v, want the answer", m, time.Since(start))
	}
	reading.Wait()
	for i, end := range ends {
		if end.err != nil || end.heartbeats < 2 {
			t.Errorf("client %d got %d answers, %d heartbeats, and %v", i, end.answers, end.heartbeats, end.err)
		}
	}
	if st := at.Stats(); st.Closed["heartbeat"] != 1 {
		t.Errorf("closed: %v, want the silent client for its heartbeats alone", st.Closed)
	}
	if route := log.Wait(t, "nano: slow handler", "route"); route != "Game.Do" {
		t.Errorf("the log names the slow handler %q", route)
	}
	at.CheckServes(nil)
	t.Logf("%d clients came while the handler blocked for %v, %d late", rounds, d, late)
	for _, c := range append(clients, p, silent) {
		c.Abort()
	}
	testkit.Eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
	before.CheckReleased(t)
}
