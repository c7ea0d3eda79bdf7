package nano_test

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
	"github.com/lonng/nano/session"
)

// In fake time, which stands still while messages are on their way.
func TestMessageRate(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newJournal()
				at := open(t, kind, &Game{}, nano.WithMessageRate(10, 5), log.option())
				p, other := at.patient(), at.patient()
				p.join()
				other.join()
				id := uint64(0)
				passes := func(want int) {
					t.Helper()
					for range want {
						id++
						p.echo(id, "hello")
					}
					id++
					if e := p.fails(id, "Game.Echo", "one too many"); e.Code != nano.CodeLimit {
						t.Fatalf("over the rate: %v, want %s", e, nano.CodeLimit)
					}
				}
				passes(5)
				p.send(notify("Game.Echo", "dropped"))
				passes(0)
				other.echo(1, "not my business")
				time.Sleep(100 * time.Millisecond)
				passes(1)
				time.Sleep(350 * time.Millisecond)
				passes(3)
				time.Sleep(time.Minute)
				passes(5) // no more than the burst
				st := at.Stats()
				if st.Refused["rate"] != 6 || st.Refused["notify"] != 1 || st.Refused["request"] != 5 {
					t.Errorf("refused: %v, want 6 for the rate, of which 5 requests and a notify", st.Refused)
				}
				if n := log.lines(limitLine); n != 2 {
					t.Errorf("%d lines in the log, want one every 10 s at most: 2", n)
				}
				if limit, _ := log.find(limitLine, "limit"); limit != "rate" {
					t.Errorf("the log names the limit %q, want rate", limit)
				}
			})
		})
	}
}

func TestByteRate(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			p := open(t, kind, &Game{}, nano.WithByteRate(1000, 2000)).patient()
			p.join()
			payload := strings.Repeat("x", 3000)
			refused := func(id uint64, size int) {
				t.Helper()
				if e := p.fails(id, "Game.Echo", payload[:size]); e.Code != nano.CodeLimit {
					t.Errorf("%d bytes: %v, want %s", size, e, nano.CodeLimit)
				}
			}
			p.echo(1, payload[:2000])
			refused(2, 1)
			time.Sleep(time.Second)
			refused(3, 1001)
			p.echo(4, payload[:1000])
			refused(5, 0) // what bears no payload costs four bytes
			time.Sleep(4 * time.Millisecond)
			p.echo(5, "")
			time.Sleep(time.Minute)
			refused(6, 2001) // the burst is the largest that ever passes
			p.echo(7, payload[:2000])
		})
	}
}

// Who goes on is kicked; ten seconds without a refusal make up for what was before.
func TestAbuseIsKicked(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, limit := range []int{100, 3, 1} {
			t.Run(fmt.Sprint(kind, limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					game, ends := watched()
					opts := []nano.Option{nano.WithMessageRate(1, 1)}
					if limit != 100 { // the default
						opts = append(opts, nano.WithMaxAbuse(limit))
					}
					at := open(t, kind, game, opts...)
					p := at.patient()
					p.join()
					p.call(1, "Game.Do", "")
					id := uint64(1)
					over := func(n int) {
						t.Helper()
						for range n {
							id++
							if e := p.fails(id, "Game.Echo", ""); e.Code != nano.CodeLimit {
								t.Fatalf("%v, want %s", e, nano.CodeLimit)
							}
						}
					}
					over(limit - 1)
					time.Sleep(10*time.Second + time.Millisecond)
					id++
					p.echo(id, "")
					over(limit - 1)
					p.send(request(id+1, "Game.Echo", ""))
					e := p.ends()
					if e.kick != `{"reason":"rate limit"}` || len(e.messages) != 0 {
						t.Errorf("%d messages and kick %s came, want a kick", len(e.messages), e.kick)
					}
					if at.webSocket() && e.code != 1008 {
						t.Errorf("close code %d, want 1008", e.code)
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

// Who sends too much at once is told before the kick, and gets the answers that are due.
func TestAbuseInOneWrite(t *testing.T) {
	for _, kind := range sockets {
		at := open(t, kind, &Game{}, nano.WithMessageRate(0.01, 3), nano.WithMaxAbuse(4))
		p := at.client()
		var all []byte
		for id := range uint64(20) {
			all = append(all, request(id+1, "Game.Echo", "hello")...)
		}
		p.send(all)
		e := p.ends()
		var told []string
		for _, m := range e.messages {
			if m.Err {
				told = append(told, p.failure(m).Code)
			} else {
				told = append(told, string(m.Data))
			}
		}
		const limit = nano.CodeLimit
		if want := []string{"hello", "hello", "hello", limit, limit, limit}; !slices.Equal(told, want) {
			t.Errorf("over %s: %q came, want %q", kind, told, want)
		}
		if e.kick != `{"reason":"rate limit"}` {
			t.Errorf("over %s: kick %s", kind, e.kick)
		}
	}
}

func TestAbuseWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, "pipe", &Game{}, nano.WithMessageRate(1, 1), nano.WithMaxAbuse(0)).patient()
		p.join()
		p.echo(1, "")
		for id := uint64(2); id < 1000; id++ {
			if e := p.fails(id, "Game.Echo", ""); e.Code != nano.CodeLimit {
				t.Fatalf("%v, want %s", e, nano.CodeLimit)
			}
		}
		time.Sleep(time.Second)
		p.echo(1000, "")
	})
}

// doubtful is how many empty continuations have no more bytes than one control frame: they may be the beginning of one.
const doubtful = (6 + 125) / 6

// What carries no message is counted, and costs as much as one where there is a rate.
func TestControlFloods(t *testing.T) {
	const n = 1000
	for _, test := range []struct {
		name, kind string
		bytes      []byte // as they go over the wire
	}{
		{"heartbeats", "pipe", pack(packet.Heartbeat, "")},
		{"heartbeats", "wspipe", frame(0x82, pack(packet.Heartbeat, ""))},
		{"pings", "wspipe", frame(0x89, []byte("ping"))},
		{"pongs", "wspipe", frame(0x8a, nil)},
		{"empty frames", "wspipe", frame(0x82, nil)},
		{"empty fragments", "wspipe", append(frame(0x02, nil), frame(0x80, nil)...)},
	} {
		t.Run(test.name+" over "+test.kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := open(t, test.kind, &Game{})
				p := at.patient()
				p.join()
				if err := p.raw(bytes.Repeat(test.bytes, n)); err != nil {
					t.Fatal(err)
				}
				p.echo(1, "still here")
				least, most := int64(n), int64(n)
				if test.name == "empty fragments" {
					least, most = 2*n-doubtful, 2*n
				}
				if got := at.Stats().ControlIn; got < least || got > most {
					t.Errorf("%d were counted, want %d to %d", got, least, most)
				}

				game, ends := watched()
				at = open(t, test.kind, game, nano.WithMessageRate(10, 10), nano.WithMaxAbuse(50))
				p = at.patient()
				p.join()
				p.call(1, "Game.Do", "")
				p.goes(func() { _ = p.raw(bytes.Repeat(test.bytes, n)) })
				if e := p.rest(); e.kick != `{"reason":"rate limit"}` {
					t.Errorf("kick %q, want one", e.kick)
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

// Empty continuations never reach the reader of a message: they are told by bytes that come to nothing. Fragments with
// something in them are not taken for it, wherever the bytes are cut.
func TestEmptyContinuations(t *testing.T) {
	const n = 10_000
	empties := bytes.Repeat(frame(0x00, nil), n)
	// Also where each read brings something too.
	mixed := bytes.Repeat(append(frame(0x00, []byte{0}), empties[:1000*6]...), n/1000)
	for _, kind := range []string{"ws", "wspipe"} {
		for _, junk := range [][]byte{empties, mixed} {
			game, ends := watched()
			p := open(t, kind, game, nano.WithMessageRate(10, 10), nano.WithMaxAbuse(50)).client()
			p.call(1, "Game.Do", "")
			p.goes(func() { _ = p.raw(append(frame(0x02, pack(packet.Data, string(make([]byte, 1000)))[:4]), junk...)) })
			if e := p.rest(); e.kick != `{"reason":"rate limit"}` {
				t.Errorf("%s: kick %q, want one", kind, e.kick)
			}
			if err := receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrLimit) {
				t.Errorf("%s: the session ended with %v, want ErrLimit", kind, err)
			}
		}

		at := open(t, kind, &Game{})
		count := func(stream []byte, size int) (n int64) {
			t.Helper()
			p := at.client()
			before := at.Stats().ControlIn
			for piece := range slices.Chunk(stream, size) {
				if err := p.raw(piece); err != nil {
					t.Fatal(err)
				}
			}
			p.echo(1, "and goes on")
			return at.Stats().ControlIn - before
		}
		long := notify("Game.Echo", strings.Repeat("x", 1000))
		var fragments []byte
		for i, b := range long {
			fragments = append(fragments, frame(byte(0x02*(1-min(i, 1))), []byte{b})...)
		}
		for what, test := range map[string]struct {
			stream []byte
			want   int64
		}{
			"empty continuations": {slices.Concat(frame(0x02, nil), empties, frame(0x80, nil)), n},
			"fragments of a byte": {append(fragments, frame(0x80, nil)...), 0},
			"two fragments":       {bytes.Repeat(slices.Concat(frame(0x02, long[:500]), frame(0x80, long[500:])), 20), 0},
			"an empty end":        {bytes.Repeat(slices.Concat(frame(0x02, long), frame(0x80, nil)), 20), 0},
			"long pongs":          {bytes.Repeat(frame(0x8a, make([]byte, 125)), 20), 20},
			"pongs":               {bytes.Repeat(frame(0x8a, nil), 20), 20},
			"all of it": {bytes.Repeat(slices.Concat(fragments, frame(0x8a, make([]byte, 125)), frame(0x80, nil), frame(0x82, nil),
				frame(0x02, long), frame(0x80, nil)), 3), 6},
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

// Bytes count wherever they are; what has none costs a little.
func TestControlCostsBytes(t *testing.T) {
	for name, test := range map[string]struct {
		kind  string
		bytes []byte
		want  int64 // how many pass
	}{
		"heartbeats":             {"pipe", pack(packet.Heartbeat, ""), 2500},
		"heartbeats in frames":   {"wspipe", frame(0x82, pack(packet.Heartbeat, "")), 2500},
		"heartbeats with a body": {"pipe", pack(packet.Heartbeat, strings.Repeat("x", 1000)), 10},
		"pings":                  {"wspipe", frame(0x89, make([]byte, 100)), 100},
		"pongs":                  {"wspipe", frame(0x8a, make([]byte, 100)), 100},
		"empty pongs":            {"wspipe", frame(0x8a, nil), 2500},
		"empty frames":           {"wspipe", frame(0x82, nil), 2500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := open(t, test.kind, &Game{}, nano.WithByteRate(1, 10_000), nano.WithMaxAbuse(7))
				p := at.patient()
				p.join()
				p.goes(func() {
					for range test.want + 7 {
						if p.raw(test.bytes) != nil {
							return
						}
					}
				})
				if e := p.rest(); e.kick != `{"reason":"rate limit"}` {
					t.Errorf("kick %q, want one", e.kick)
				}
				if st := at.Stats(); st.ControlIn != test.want+7 || st.Refused["rate"] != 7 {
					t.Errorf("%d were counted and %d refused, want %d and 7", st.ControlIn, st.Refused["rate"], test.want+7)
				}
			})
		})
	}
}

// Nothing is limited that has no limit by default.
func TestNoRatesByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"pipe", "wspipe"} {
			from, srv := openFrom(t, kind, &Game{})
			for range 300 {
				w, err := from("192.0.2.1:1").wire()
				if err == nil {
					t.Cleanup(w.abort)
					err = w.join()
				}
				if err != nil {
					t.Fatalf("one address has 300 clients: %v", err)
				}
			}
			p := from("192.0.2.1:2").patient()
			p.join()
			for id := range uint64(1000) {
				p.echo(id+1, strings.Repeat("x", 10_000)) // in no time at all
			}
			for name, n := range srv.Stats().Refused {
				if n != 0 {
					t.Errorf("%d were refused for %s, want none", n, name)
				}
			}
		}
	})
}
