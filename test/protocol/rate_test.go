package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestMessageRate runs in fake time, which does not advance while messages are in
// transit.
func TestMessageRate(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := testkit.NewLogCapture()
				at := testkit.Start(t, kind, &testkit.Game{}, nano.WithMessageRate(10, 5), log.Option())
				p, other := at.DialPatient(), at.DialPatient()
				p.Join()
				other.Join()
				id := uint64(0)
				passes := func(want int) {
					t.Helper()
					for range want {
						id++
						p.Echo(id, "hello")
					}
					id++
					if e := p.CallError(id, "Game.Echo", "one too many"); e.Code != nano.CodeLimit {
						t.Fatalf("over the rate: %v, want %s", e, nano.CodeLimit)
					}
				}
				passes(5)
				p.Send(testkit.Notify("Game.Echo", "dropped"))
				passes(0)
				other.Echo(1, "not my business")
				time.Sleep(100 * time.Millisecond)
				passes(1)
				time.Sleep(350 * time.Millisecond)
				passes(3)
				time.Sleep(time.Minute)
				passes(5) // not more than the burst
				st := at.Stats()
				if st.Refused["rate"] != 6 || st.Refused["notify"] != 1 || st.Refused["request"] != 5 {
					t.Errorf("refused: %v, want 6 for the rate, of which 5 requests and a notify", st.Refused)
				}
				if n := log.Count(limitLine); n != 2 {
					t.Errorf("%d lines in the log, want one every 10 s at most: 2", n)
				}
				if limit, _ := log.Find(limitLine, "limit"); limit != "rate" {
					t.Errorf("the log names the limit %q, want rate", limit)
				}
			})
		})
	}
}

func TestByteRate(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.Start(t, kind, &testkit.Game{}, nano.WithByteRate(1000, 2000)).DialPatient()
			p.Join()
			payload := strings.Repeat("x", 3000)
			refused := func(id uint64, size int) {
				t.Helper()
				if e := p.CallError(id, "Game.Echo", payload[:size]); e.Code != nano.CodeLimit {
					t.Errorf("%d bytes: %v, want %s", size, e, nano.CodeLimit)
				}
			}
			p.Echo(1, payload[:2000])
			refused(2, 1)
			time.Sleep(time.Second)
			refused(3, 1001)
			p.Echo(4, payload[:1000])
			refused(5, 0) // a message without a payload counts as four bytes
			time.Sleep(4 * time.Millisecond)
			p.Echo(5, "")
			time.Sleep(time.Minute)
			refused(6, 2001) // a message larger than the burst never passes
			p.Echo(7, payload[:2000])
		})
	}
}

// TestAbuseIsKicked checks that a client that continues over the limit is kicked. Ten
// seconds without a refusal reset the count.
func TestAbuseIsKicked(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, limit := range []int{100, 3, 1} {
			t.Run(fmt.Sprint(kind, limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					game, ends := watched()
					opts := []nano.Option{nano.WithMessageRate(1, 1)}
					if limit != 100 { // 100 is the default
						opts = append(opts, nano.WithMaxAbuse(limit))
					}
					at := testkit.Start(t, kind, game, opts...)
					p := at.DialPatient()
					p.Join()
					p.Call(1, "Game.Do", "")
					id := uint64(1)
					over := func(n int) {
						t.Helper()
						for range n {
							id++
							if e := p.CallError(id, "Game.Echo", ""); e.Code != nano.CodeLimit {
								t.Fatalf("%v, want %s", e, nano.CodeLimit)
							}
						}
					}
					over(limit - 1)
					time.Sleep(10*time.Second + time.Millisecond)
					id++
					p.Echo(id, "")
					over(limit - 1)
					p.Send(testkit.Request(id+1, "Game.Echo", ""))
					e := p.ReadEnd()
					if e.Kick != `{"reason":"rate limit","code":"limit"}` || len(e.Messages) != 0 {
						t.Errorf("%d messages and kick %s came, want a kick", len(e.Messages), e.Kick)
					}
					if at.IsWebSocket() && e.Code != 1008 {
						t.Errorf("close code %d, want 1008", e.Code)
					}
					if err := <-ends; !errors.Is(err, session.ErrLimit) {
						t.Errorf("the session ended with %v, want ErrLimit", err)
					}
					if n := at.Stats().Closed["limit"]; n != 1 {
						t.Errorf("%d sessions were closed for a limit, want 1", n)
					}
				})
			})
		}
	}
}

// TestAbuseInOneWrite checks that a client that sends too much at once gets the errors
// and the due answers before the kick.
func TestAbuseInOneWrite(t *testing.T) {
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithMessageRate(0.01, 3), nano.WithMaxAbuse(4))
		p := at.Join()
		var all []byte
		for id := range uint64(20) {
			all = append(all, testkit.Request(id+1, "Game.Echo", "hello")...)
		}
		p.Send(all)
		e := p.ReadEnd()
		var told []string
		for _, m := range e.Messages {
			if m.Err {
				told = append(told, p.ErrorOf(m).Code)
			} else {
				told = append(told, string(m.Data))
			}
		}
		const limit = nano.CodeLimit
		if want := []string{"hello", "hello", "hello", limit, limit, limit}; !slices.Equal(told, want) {
			t.Errorf("over %s: %q came, want %q", kind, told, want)
		}
		if e.Kick != `{"reason":"rate limit","code":"limit"}` {
			t.Errorf("over %s: kick %s", kind, e.Kick)
		}
	}
}

func TestAbuseWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.Start(t, "pipe", &testkit.Game{}, nano.WithMessageRate(1, 1), nano.WithMaxAbuse(0)).DialPatient()
		p.Join()
		p.Echo(1, "")
		for id := uint64(2); id < 1000; id++ {
			if e := p.CallError(id, "Game.Echo", ""); e.Code != nano.CodeLimit {
				t.Fatalf("%v, want %s", e, nano.CodeLimit)
			}
		}
		time.Sleep(time.Second)
		p.Echo(1000, "")
	})
}

// doubtful is the largest number of empty continuation frames that are no longer than one
// control frame.
const doubtful = (6 + 125) / 6

// TestControlFloods checks that frames without a message are counted, and count toward
// the rate if there is one.
func TestControlFloods(t *testing.T) {
	const n = 1000
	for _, test := range []struct {
		name, kind string
		bytes      []byte // bytes on the wire
	}{
		{"heartbeats", "pipe", testkit.Pack(packet.Heartbeat, "")},
		{"heartbeats", "wspipe", testkit.Frame(0x82, testkit.Pack(packet.Heartbeat, ""))},
		{"pings", "wspipe", testkit.Frame(0x89, []byte("ping"))},
		{"pongs", "wspipe", testkit.Frame(0x8a, nil)},
		{"empty frames", "wspipe", testkit.Frame(0x82, nil)},
		{"empty fragments", "wspipe", append(testkit.Frame(0x02, nil), testkit.Frame(0x80, nil)...)},
	} {
		t.Run(test.name+" over "+test.kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := testkit.Start(t, test.kind, &testkit.Game{})
				p := at.DialPatient()
				p.Join()
				if err := p.Raw(bytes.Repeat(test.bytes, n)); err != nil {
					t.Fatal(err)
				}
				p.Echo(1, "still here")
				least, most := int64(n), int64(n)
				if test.name == "empty fragments" {
					least, most = 2*n-doubtful, 2*n
				}
				if got := at.Stats().ControlIn; got < least || got > most {
					t.Errorf("%d were counted, want %d to %d", got, least, most)
				}

				game, ends := watched()
				at = testkit.Start(t, test.kind, game, nano.WithMessageRate(10, 10), nano.WithMaxAbuse(50))
				p = at.DialPatient()
				p.Join()
				p.Call(1, "Game.Do", "")
				p.Go(func() { _ = p.Raw(bytes.Repeat(test.bytes, n)) })
				if e := p.ReadUntilEnd(); e.Kick != `{"reason":"rate limit","code":"limit"}` {
					t.Errorf("kick %q, want one", e.Kick)
				}
				if err := <-ends; !errors.Is(err, session.ErrLimit) {
					t.Errorf("the session ended with %v, want ErrLimit", err)
				}
				if st := at.Stats(); st.ControlIn != 59 || st.Refused["rate"] != 50 {
					t.Errorf("%d were counted and %d refused, want 59 and 50", st.ControlIn, st.Refused["rate"])
				}
			})
		})
	}
}

// TestEmptyContinuations checks that empty continuation frames are counted by their
// bytes, although they never reach a reader of messages. Fragments with data are not
// counted so, wherever the bytes are split.
func TestEmptyContinuations(t *testing.T) {
	const n = 10_000
	empties := bytes.Repeat(testkit.Frame(0x00, nil), n)
	// Each read may return data as well.
	mixed := bytes.Repeat(append(testkit.Frame(0x00, []byte{0}), empties[:1000*6]...), n/1000)
	for _, kind := range []string{"ws", "wspipe"} {
		for _, junk := range [][]byte{empties, mixed} {
			game, ends := watched()
			p := testkit.Start(t, kind, game, nano.WithMessageRate(10, 10), nano.WithMaxAbuse(50)).Join()
			p.Call(1, "Game.Do", "")
			p.Go(func() {
				_ = p.Raw(append(testkit.Frame(0x02, testkit.Pack(packet.Data, string(make([]byte, 1000)))[:4]), junk...))
			})
			if e := p.ReadUntilEnd(); e.Kick != `{"reason":"rate limit","code":"limit"}` {
				t.Errorf("%s: kick %q, want one", kind, e.Kick)
			}
			if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrLimit) {
				t.Errorf("%s: the session ended with %v, want ErrLimit", kind, err)
			}
		}

		at := testkit.Start(t, kind, &testkit.Game{})
		count := func(stream []byte, size int) (n int64) {
			t.Helper()
			p := at.Join()
			before := at.Stats().ControlIn
			for piece := range slices.Chunk(stream, size) {
				if err := p.Raw(piece); err != nil {
					t.Fatal(err)
				}
			}
			p.Echo(1, "and goes on")
			return at.Stats().ControlIn - before
		}
		long := testkit.Notify("Game.Echo", strings.Repeat("x", 1000))
		var fragments []byte
		for i, b := range long {
			fragments = append(fragments, testkit.Frame(byte(0x02*(1-min(i, 1))), []byte{b})...)
		}
		for what, test := range map[string]struct {
			stream []byte
			want   int64
		}{
			"empty continuations": {slices.Concat(testkit.Frame(0x02, nil), empties, testkit.Frame(0x80, nil)), n},
			"fragments of a byte": {append(fragments, testkit.Frame(0x80, nil)...), 0},
			"two fragments":       {bytes.Repeat(slices.Concat(testkit.Frame(0x02, long[:500]), testkit.Frame(0x80, long[500:])), 20), 0},
			"an empty end":        {bytes.Repeat(slices.Concat(testkit.Frame(0x02, long), testkit.Frame(0x80, nil)), 20), 0},
			"long pongs":          {bytes.Repeat(testkit.Frame(0x8a, make([]byte, 125)), 20), 20},
			"pongs":               {bytes.Repeat(testkit.Frame(0x8a, nil), 20), 20},
			"all of it": {bytes.Repeat(slices.Concat(fragments, testkit.Frame(0x8a, make([]byte, 125)), testkit.Frame(0x80, nil), testkit.Frame(0x82, nil),
				testkit.Frame(0x02, long), testkit.Frame(0x80, nil)), 3), 6},
		} {
			for _, size := range []int{1 << 20, 1, 5, 6, 7, 13, 14, 20, 127, 300} {
				got := count(test.stream, size)
				if got > test.want || got < test.want-doubtful {
					t.Errorf("%s over %s in pieces of %d bytes: %d were counted, want %d", what, kind, size, got, test.want)
				}
				if size == 1<<20 && test.want == n {
					break
				}
			}
		}
	}
}

// TestControlCostsBytes checks that bytes of every kind of message count, and that a
// message without bytes counts a little.
func TestControlCostsBytes(t *testing.T) {
	for name, test := range map[string]struct {
		kind  string
		bytes []byte
		want  int64 // number of messages that pass
	}{
		"heartbeats":             {"pipe", testkit.Pack(packet.Heartbeat, ""), 2500},
		"heartbeats in frames":   {"wspipe", testkit.Frame(0x82, testkit.Pack(packet.Heartbeat, "")), 2500},
		"heartbeats with a body": {"pipe", testkit.Pack(packet.Heartbeat, strings.Repeat("x", 1000)), 10},
		"pings":                  {"wspipe", testkit.Frame(0x89, make([]byte, 100)), 100},
		"pongs":                  {"wspipe", testkit.Frame(0x8a, make([]byte, 100)), 100},
		"empty pongs":            {"wspipe", testkit.Frame(0x8a, nil), 2500},
		"empty frames":           {"wspipe", testkit.Frame(0x82, nil), 2500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := testkit.Start(t, test.kind, &testkit.Game{}, nano.WithByteRate(1, 10_000), nano.WithMaxAbuse(7))
				p := at.DialPatient()
				p.Join()
				p.Go(func() {
					for range test.want + 7 {
						if p.Raw(test.bytes) != nil {
							return
						}
					}
				})
				if e := p.ReadUntilEnd(); e.Kick != `{"reason":"rate limit","code":"limit"}` {
					t.Errorf("kick %q, want one", e.Kick)
				}
				if st := at.Stats(); st.ControlIn != test.want+7 || st.Refused["rate"] != 7 {
					t.Errorf("%d were counted and %d refused, want %d and 7", st.ControlIn, st.Refused["rate"], test.want+7)
				}
			})
		})
	}
}

// TestNoRatesByDefault checks that limits without a default are off.
func TestNoRatesByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"pipe", "wspipe"} {
			from, srv := openFrom(t, kind, &testkit.Game{})
			for range 300 {
				w, err := from("192.0.2.1:1").Wire()
				if err == nil {
					t.Cleanup(w.Abort)
					err = w.Join()
				}
				if err != nil {
					t.Fatalf("one address has 300 clients: %v", err)
				}
			}
			p := from("192.0.2.1:2").DialPatient()
			p.Join()
			for id := range uint64(1000) {
				p.Echo(id+1, strings.Repeat("x", 10_000)) // takes no time in fake time
			}
			for name, n := range srv.Stats().Refused {
				if n != 0 {
					t.Errorf("%d were refused for %s, want none", n, name)
				}
			}
		}
	})
}
