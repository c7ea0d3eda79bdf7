package client

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/packet"
)

func TestHeartbeats(t *testing.T) {
	for _, test := range []struct {
		name string
		sys  string
		opts []Option
		want time.Duration // between heartbeats; 0: none
	}{
		{"as the server says", `{"heartbeat":30}`, nil, 30 * time.Second},
		{"option", `{"heartbeat":30}`, []Option{WithHeartbeat(7 * time.Second)}, 7 * time.Second},
		{"less than a second", `{"heartbeat":0.000001}`, nil, time.Second},
		{"far too long", `{"heartbeat":1e300}`, nil, 365 * 24 * time.Hour},
		{"none", `{}`, nil, 0},
		{"turned off", `{"heartbeat":30}`, []Option{WithHeartbeat(-1)}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				beats := make(chan time.Duration, 10)
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":` + test.sys + `}`)
					for {
						kind, body, err := f.next()
						if err != nil {
							return
						}
						if kind != packet.Heartbeat || len(body) > 0 {
							t.Errorf("the server got a %v of %d bytes, want an empty heartbeat", kind, len(body))
						}
						beats <- time.Since(start)
						if _, err := f.conn.Write([]byte{byte(packet.Heartbeat), 0, 0, 0}); err != nil { // prevents a timeout of the client
							return // the test is over
						}
					}
				}, test.opts...)
				if test.want == 0 {
					time.Sleep(1000 * time.Hour)
					if len(beats) > 0 {
						t.Errorf("a heartbeat after %v, want none", <-beats)
					}
				} else {
					for i := range 5 {
						if got, want := <-beats, time.Duration(i+1)*test.want; got != want {
							t.Fatalf("heartbeat %d after %v, want %v", i, got, want)
						}
					}
				}
				if err := c.Err(); err != nil {
					t.Errorf("Err() = %v", err)
				}
			})
		})
	}
}

func TestSilentServer(t *testing.T) {
	quiet := func(f *fake) { f.untilClosed() }
	for _, test := range []struct {
		name  string
		serve func(*fake)
		opts  []Option
		want  time.Duration
	}{
		{"from the start", quiet, nil, 25 * time.Second},
		{"with an interval of the client's own", quiet, []Option{WithHeartbeat(time.Second)}, 25 * time.Second},
		{"after a push", func(f *fake) {
			time.Sleep(24 * time.Second)
			f.push("a", "b")
			f.untilClosed()
		}, nil, 49 * time.Second},
		{"after heartbeats", func(f *fake) {
			for range 4 {
				time.Sleep(20 * time.Second)
				f.write(packet.Heartbeat, nil)
			}
			f.untilClosed()
		}, nil, 105 * time.Second},
		{"that trickles a packet", func(f *fake) {
			for _, b := range f.encode(push("a", "b")) {
				time.Sleep(20 * time.Second)
				f.raw([]byte{b})
			}
			f.untilClosed()
		}, nil, 8*20*time.Second + 25*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				heard := make(chan struct{})
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"heartbeat":10}}`)
					go func() { // the client's heartbeats, while serve does not read
						defer close(heard)
						f.untilClosed()
					}()
					test.serve(&fake{t: t, conn: writeOnly{f.conn, heard}})
				}, test.opts...)
				<-c.Done()
				if err := c.Err(); !errors.Is(err, ErrHeartbeat) || time.Since(start) != test.want {
					t.Errorf("Err() = %v after %v, want ErrHeartbeat after %v", err, time.Since(start), test.want)
				}
			})
		})
	}
}

func TestSilentServerIsWaitedForWithoutHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(`{"code":200,"sys":{"heartbeat":10}}`)
			f.untilClosed()
		}, WithHeartbeat(-1))
		time.Sleep(1000 * time.Hour)
		if err := c.Err(); err != nil {
			t.Errorf("Err() = %v", err)
		}
	})
}

func TestNoHeartbeatWhileDataWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resume := make(chan struct{})
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(`{"code":200,"sys":{"heartbeat":10}}`)
			<-resume
			var kinds []packet.Type
			for range 2 {
				kind, _, err := f.next()
				if err != nil {
					t.Error(err)
					return
				}
				kinds = append(kinds, kind)
			}
			if kinds[0] != packet.Data || kinds[1] != packet.Data {
				t.Errorf("the server got %v, want the data alone", kinds)
			}
			f.untilClosed()
		})
		for range 2 {
			synctest.Wait() // the server does not read; the first will be with the writer, the second waits
			if err := c.Notify("a", []byte("b")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(21 * time.Second)
		close(resume)
		synctest.Wait()
	})
}

// writeOnly does not read: it waits until another goroutine's reading ends.
type writeOnly struct {
	io.WriteCloser
	end <-chan struct{}
}

func (w writeOnly) Read([]byte) (int, error) {
	<-w.end
	return 0, io.EOF
}

// A server whose interval is below a second names a whole second. An older one closes a client
// that is silent for two and a half of its real intervals.
func TestHeartbeatsOfLessThanASecond(t *testing.T) {
	for _, interval := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 999 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var gap atomic.Int64 // the longest time between two packets of the client
			c := pipe(t, func(f *fake) {
				f.acceptHandshake(`{"code":200,"sys":{"heartbeat":1}}`)
				var beats sync.WaitGroup
				defer beats.Wait()
				beats.Go(func() {
					beat := []byte{byte(packet.Heartbeat), 0, 0, 0}
					for err := error(nil); err == nil; time.Sleep(interval) {
						_, err = f.conn.Write(beat)
					}
				})
				for last := time.Now(); ; last = time.Now() {
					if _, _, err := f.next(); err != nil {
						return
					}
					gap.Store(max(gap.Load(), int64(time.Since(last))))
				}
			})
			time.Sleep(time.Minute)
			if got := time.Duration(gap.Load()); got > interval {
				t.Errorf("with heartbeats every %v the client is silent for %v", interval, got)
			}
			if err := c.Err(); err != nil {
				t.Errorf("Err() = %v", err)
			}
		})
	}
}

// A server may answer heartbeats. Then the client and the server must not answer each
// other endlessly.
func TestHeartbeatsThatAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rtt = 10 * time.Millisecond
		var beats atomic.Int64
		pipe(t, func(f *fake) {
			f.acceptHandshake(`{"code":200,"sys":{"heartbeat":1}}`)
			for {
				if _, _, err := f.next(); err != nil {
					return
				}
				beats.Add(1)
				time.Sleep(rtt)
				if _, err := f.conn.Write([]byte{byte(packet.Heartbeat), 0, 0, 0}); err != nil {
					return
				}
			}
		})
		time.Sleep(10*time.Second + rtt)
		if n := beats.Load(); n != 10 {
			t.Errorf("%d heartbeats in 10 s, want 10", n)
		}
	})
}

func TestSilenceJudge(t *testing.T) {
	const patience, tick = 25 * time.Second, 2500 * time.Millisecond
	// run returns when the judge gives up, if bytes arrived at the times in heard and the
	// process was stopped during each of pauses.
	type pause struct{ from, to time.Duration }
	run := func(heard []time.Duration, pauses ...pause) time.Duration {
		j := newSilenceJudge(patience)
		last := time.Duration(0)
		for now := time.Duration(0); ; {
			for len(heard) > 0 && heard[0] <= now {
				last, heard = heard[0], heard[1:]
			}
			wait := j.wait(now, last)
			if wait <= 0 {
				return now
			}
			now += wait
			for _, p := range pauses {
				if now >= p.from && now < p.to {
					now = p.to
				}
			}
		}
	}
	for _, test := range []struct {
		name   string
		heard  []time.Duration
		pauses []pause
		want   time.Duration
	}{
		{"silence", nil, nil, patience},
		{"bytes", []time.Duration{3 * time.Second, 11 * time.Second}, nil, 11*time.Second + patience},
		{"a pause", nil, []pause{{5 * time.Second, 100 * time.Second}}, patience + 95*time.Second},
		{"two pauses", nil, []pause{{5 * time.Second, 100 * time.Second}, {105 * time.Second, 200 * time.Second}}, patience + 95*time.Second + 95*time.Second},
		{"a late tick", nil, []pause{{22500 * time.Millisecond, 27 * time.Second}}, 27 * time.Second},
		{"a pause before bytes", []time.Duration{100*time.Second + 1}, []pause{{5 * time.Second, 100 * time.Second}}, 100*time.Second + 1 + patience},
		{"a pause, then bytes before the tick", []time.Duration{100 * time.Second}, []pause{{5 * time.Second, 100 * time.Second}}, 100*time.Second + patience},
	} {
		if got := run(test.heard, test.pauses...); got != test.want {
			t.Errorf("%s: the judge gives up after %v, want %v", test.name, got, test.want)
		}
	}
	if tick != newSilenceJudge(patience).tick {
		t.Errorf("a tick is %v, want %v", newSilenceJudge(patience).tick, tick)
	}
}
