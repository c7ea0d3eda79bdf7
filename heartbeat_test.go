package nano_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

const interval = 30 * time.Second // of heartbeats, by default

// watched has the end of every session that the handler Do has seen reported.
func watched() (*Game, chan error) {
	ends := make(chan error, 1)
	return &Game{do: func(s *session.Session, _ []byte) error {
		s.OnClose(func(_ *session.Session, err error) { ends <- err })
		return s.Response([]byte("watched"))
	}}, ends
}

// The server sends a heartbeat every interval, whatever else goes over the wire.
func TestHeartbeatsAreSent(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, busy := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p := open(t, kind, &Game{}).patient()
				p.join()
				start := time.Now()
				if busy {
					p.goes(func() {
						for p.wire.send(notify("Game.Echo", "")) == nil {
							time.Sleep(time.Second)
						}
					})
				}
				for i := 1; i <= 10; i++ {
					typ, body, err := p.packet()
					if err != nil || typ != packet.Heartbeat || body != "" {
						t.Fatalf("%v %q, %v came, want a heartbeat", typ, body, err)
					}
					want := time.Duration(i) * interval
					if at := time.Since(start); at < want || at > want+time.Second {
						t.Errorf("%s: heartbeat %d came after %v, want %v", kind, i, at, want)
					}
					if !busy {
						p.send(pack(packet.Heartbeat, ""))
					}
				}
			})
		}
	}
}

// Also the first one, where the interval is short: what the client says meanwhile does not put it off.
func TestFirstHeartbeat(t *testing.T) {
	for _, interval := range []time.Duration{300 * time.Millisecond, time.Second, 1400 * time.Millisecond, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := open(t, "pipe", &Game{}, nano.WithHeartbeatInterval(interval)).patient()
			p.join()
			start := time.Now()
			p.goes(func() {
				for p.wire.send(notify("Game.Echo", "")) == nil {
					time.Sleep(interval / 5)
				}
			})
			for i := 1; i <= 3; i++ {
				if typ, _, err := p.packet(); err != nil || typ != packet.Heartbeat {
					t.Fatalf("%v, %v came, want a heartbeat", typ, err)
				}
				want := time.Duration(i) * interval
				if at := time.Since(start); at < want || at > want+interval/4 {
					t.Errorf("every %v: heartbeat %d came after %v, want %v", interval, i, at, want)
				}
			}
		})
	}
}

// A client from which no packet comes is closed after two and a half to three intervals.
func TestSilentClientIsClosed(t *testing.T) {
	half := request(1, "Game.Echo", "never whole")
	for _, test := range []struct {
		name string
		do   func(p *peer) // returns when the last packet has gone out
		more []byte        // what comes every ten seconds then
	}{
		{"at once", func(*peer) {}, nil},
		{"after a while", func(p *peer) {
			time.Sleep(40 * time.Second)
			p.send(pack(packet.Heartbeat, ""))
		}, nil},
		{"after a long life", func(p *peer) {
			for range 20 {
				time.Sleep(2 * interval)
				p.send(notify("Game.Echo", ""))
			}
		}, nil},
		{"but for bytes that make no packet", func(p *peer) { p.send(half[:4]) }, []byte{0}},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			t.Run(test.name+" over "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					game, ends := watched()
					p := open(t, kind, game).patient()
					p.join()
					p.call(1, "Game.Do", "")
					p.goes(func() { p.rest() }) // the server's heartbeats, up to the end
					test.do(p)
					last := time.Now()
					if test.more != nil {
						p.goes(func() {
							for p.wire.send(test.more) == nil {
								time.Sleep(10 * time.Second)
							}
						})
					}
					err := <-ends
					took := time.Since(last)
					if took < interval*5/2 || took > interval*3 {
						t.Errorf("closed after %v, want %v to %v", took, interval*5/2, interval*3)
					}
					if !errors.Is(err, session.ErrHeartbeat) {
						t.Errorf("the session ended with %v, want ErrHeartbeat", err)
					}
				})
			})
		}
	}
}

// Clients whose packets lie two intervals apart live.
func TestAnyPacketIsLife(t *testing.T) {
	for name, b := range map[string][]byte{
		"heartbeats":        pack(packet.Heartbeat, ""),
		"heartbeats, stout": pack(packet.Heartbeat, "a body is ignored"),
		"requests":          request(1, "Game.Fail", ""),
		"notifies":          notify("No.Such", ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := open(t, "pipe", &Game{}).patient()
				p.join()
				p.goes(func() { p.rest() })
				for range 50 {
					time.Sleep(2*interval + time.Second)
					p.send(b)
				}
			})
		})
	}
}

// While the server reads nothing from a client, the client's silence is no death. Afterwards it is again.
func TestPausedReaderIsNoDeath(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			game, ends := watched()
			watch := game.do
			block := make(chan struct{})
			var ran atomic.Int64
			game.do = func(s *session.Session, data []byte) error {
				if string(data) == "watch" {
					return watch(s, nil)
				}
				<-block
				ran.Add(1)
				return nil
			}
			p := open(t, kind, game, nano.WithSlowHandler(0)).patient()
			p.join()
			p.call(1, "Game.Do", "watch")
			p.goes(func() { p.rest() })
			const n = 1000
			wrote := make(chan time.Time, 1)
			p.goes(func() {
				for range n {
					if p.wire.send(notify("Game.Do", "")) != nil {
						break
					}
				}
				wrote <- time.Now()
			})
			time.Sleep(20 * interval)
			select {
			case err := <-ends:
				t.Fatalf("the session ended with %v while the server did not read", err)
			case <-wrote:
				t.Fatal("everything was read, want the reader to pause")
			default:
			}
			close(block)
			last := <-wrote
			err := <-ends
			if took := time.Since(last); took < interval*5/2 || took > interval*3 {
				t.Errorf("closed %v after the last packet, want %v to %v", took, interval*5/2, interval*3)
			}
			if !errors.Is(err, session.ErrHeartbeat) || ran.Load() != n {
				t.Errorf("%d of %d messages ran, and the session ended with %v, want ErrHeartbeat", ran.Load(), n, err)
			}
		})
	}
}

// The same over sockets, in real time: an interval is short, and late is only what is very late.
func TestHeartbeatsOverSockets(t *testing.T) {
	t.Parallel()
	for _, kind := range sockets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const interval = 500 * time.Millisecond
			game, ends := watched()
			p := open(t, kind, game, nano.WithHeartbeatInterval(interval)).client()
			p.call(1, "Game.Do", "")
			start := time.Now()
			for range 3 {
				if typ, _, err := p.packet(); err != nil || typ != packet.Heartbeat {
					t.Fatalf("%v, %v came, want a heartbeat", typ, err)
				}
				p.send(pack(packet.Heartbeat, ""))
			}
			if took := time.Since(start); took < 2*interval {
				t.Errorf("three heartbeats came in %v", took)
			}
			last := time.Now()
			err := receive(t, ends, "the end of the session")
			if took := time.Since(last); took < 2*interval || !errors.Is(err, session.ErrHeartbeat) {
				t.Errorf("closed after %v with %v, want %v or more, and ErrHeartbeat", took, err, interval*5/2)
			}
		})
	}
}
