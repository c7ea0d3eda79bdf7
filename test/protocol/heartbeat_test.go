package protocol_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

const interval = 30 * time.Second // the default heartbeat interval

// watched makes the handler Do report the end of its session.
func watched() (*testkit.Game, chan error) {
	ends := make(chan error, 1)
	return &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
		s.OnClose(func(_ *session.Session, err error) { ends <- err })
		return s.Response([]byte("watched"))
	}}, ends
}

// TestHeartbeatsAreSent checks that the server sends a heartbeat every interval, whatever
// other traffic there is.
func TestHeartbeatsAreSent(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, busy := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.Start(t, kind, &testkit.Game{}).DialPatient()
				p.Join()
				start := time.Now()
				if busy {
					p.Go(func() {
						for p.Wire.Send(testkit.Notify("Game.Echo", "")) == nil {
							time.Sleep(time.Second)
						}
					})
				}
				for i := 1; i <= 10; i++ {
					typ, body, err := p.Packet()
					if err != nil || typ != packet.Heartbeat || body != "" {
						t.Fatalf("%v %q, %v came, want a heartbeat", typ, body, err)
					}
					want := time.Duration(i) * interval
					if at := time.Since(start); at < want || at > want+time.Second {
						t.Errorf("%s: heartbeat %d came after %v, want %v", kind, i, at, want)
					}
					if !busy {
						p.Send(testkit.Pack(packet.Heartbeat, ""))
					}
				}
			})
		}
	}
}

// TestFirstHeartbeat checks that packets of the client do not delay the first heartbeat,
// even if the interval is short.
func TestFirstHeartbeat(t *testing.T) {
	for _, interval := range []time.Duration{300 * time.Millisecond, time.Second, 1400 * time.Millisecond, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.Start(t, "pipe", &testkit.Game{}, nano.WithHeartbeatInterval(interval)).DialPatient()
			p.Join()
			start := time.Now()
			p.Go(func() {
				for p.Wire.Send(testkit.Notify("Game.Echo", "")) == nil {
					time.Sleep(interval / 5)
				}
			})
			for i := 1; i <= 3; i++ {
				if typ, _, err := p.Packet(); err != nil || typ != packet.Heartbeat {
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

// TestSilentClientIsClosed checks that a client that sends no packet is closed after two
// and a half to three intervals.
func TestSilentClientIsClosed(t *testing.T) {
	half := testkit.Request(1, "Game.Echo", "never whole")
	for _, test := range []struct {
		name string
		do   func(p *testkit.Client) // returns after the last packet was sent
		more []byte                  // sent every ten seconds afterwards
	}{
		{"at once", func(*testkit.Client) {}, nil},
		{"after a while", func(p *testkit.Client) {
			time.Sleep(40 * time.Second)
			p.Send(testkit.Pack(packet.Heartbeat, ""))
		}, nil},
		{"after a long life", func(p *testkit.Client) {
			for range 20 {
				time.Sleep(2 * interval)
				p.Send(testkit.Notify("Game.Echo", ""))
			}
		}, nil},
		{"but for bytes that make no packet", func(p *testkit.Client) { p.Send(half[:4]) }, []byte{0}},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			t.Run(test.name+" over "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					game, ends := watched()
					p := testkit.Start(t, kind, game).DialPatient()
					p.Join()
					p.Call(1, "Game.Do", "")
					p.Go(func() { p.ReadUntilEnd() }) // reads the server's heartbeats until the end
					test.do(p)
					last := time.Now()
					if test.more != nil {
						p.Go(func() {
							for p.Wire.Send(test.more) == nil {
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

// TestAnyPacketIsLife checks that clients stay connected if they send a packet every two
// intervals.
func TestAnyPacketIsLife(t *testing.T) {
	for name, b := range map[string][]byte{
		"heartbeats":        testkit.Pack(packet.Heartbeat, ""),
		"heartbeats, stout": testkit.Pack(packet.Heartbeat, "a body is ignored"),
		"requests":          testkit.Request(1, "Game.Fail", ""),
		"notifies":          testkit.Notify("No.Such", ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.Start(t, "pipe", &testkit.Game{}).DialPatient()
				p.Join()
				p.Go(func() { p.ReadUntilEnd() })
				for range 50 {
					time.Sleep(2*interval + time.Second)
					p.Send(b)
				}
			})
		})
	}
}

// TestPausedReaderIsNoDeath checks that a client does not count as silent while the
// server has paused reading from it, and does again afterwards.
func TestPausedReaderIsNoDeath(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			game, ends := watched()
			watch := game.OnDo
			block := make(chan struct{})
			var ran atomic.Int64
			game.OnDo = func(s *session.Session, data []byte) error {
				if string(data) == "watch" {
					return watch(s, nil)
				}
				<-block
				ran.Add(1)
				return nil
			}
			p := testkit.Start(t, kind, game, nano.WithSlowHandler(0)).DialPatient()
			p.Join()
			p.Call(1, "Game.Do", "watch")
			p.Go(func() { p.ReadUntilEnd() })
			const n = 1000
			wrote := make(chan time.Time, 1)
			p.Go(func() {
				for range n {
					if p.Wire.Send(testkit.Notify("Game.Do", "")) != nil {
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

// TestHeartbeatsOverSockets is the test of silent clients over sockets in real time. The
// interval is short, so only large delays count as late.
func TestHeartbeatsOverSockets(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const interval = 500 * time.Millisecond
			game, ends := watched()
			p := testkit.Start(t, kind, game, nano.WithHeartbeatInterval(interval)).Join()
			p.Call(1, "Game.Do", "")
			start := time.Now()
			for range 3 {
				if typ, _, err := p.Packet(); err != nil || typ != packet.Heartbeat {
					t.Fatalf("%v, %v came, want a heartbeat", typ, err)
				}
				p.Send(testkit.Pack(packet.Heartbeat, ""))
			}
			if took := time.Since(start); took < 2*interval {
				t.Errorf("three heartbeats came in %v", took)
			}
			last := time.Now()
			err := testkit.Receive(t, ends, "the end of the session")
			if took := time.Since(last); took < 2*interval || !errors.Is(err, session.ErrHeartbeat) {
				t.Errorf("closed after %v with %v, want %v or more, and ErrHeartbeat", took, err, interval*5/2)
			}
		})
	}
}
