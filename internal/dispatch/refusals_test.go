package dispatch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

const refused = "nano: message refused"

// TestRefusalsAreLogged checks that the log names a refused route, so that a typo can be
// found.
func TestRefusalsAreLogged(t *testing.T) {
	for _, test := range []struct {
		name string
		m    *message.Message
		want []string
	}{
		{"a request with a typo", request(1, "desk.Row", ""), []string{"route=desk.Row", "not served here"}},
		{"a notify with a typo", notify("desk.Row", ""), []string{"route=desk.Row", "not served here"}},
		{"a payload that does not decode", request(1, "desk.Typed", "{"), []string{"route=desk.Typed", "unexpected end of JSON"}},
		{"a notify that does not decode", notify("desk.Typed", "{"), []string{"route=desk.Typed"}},
		{"a handler for nodes", request(1, "desk.Node", "{}"), []string{"route=desk.Node"}},
		{"a long route", request(1, strings.Repeat("x", 255), ""), []string{"route=" + strings.Repeat("x", 64) + "..."}},
		{"control characters", request(1, "a\nlevel=ERROR", ""), []string{`route="a\\nlevel=ERROR"`}},
		{"bytes that are not text", request(1, "\xff", ""), []string{`\\xff`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBed(t, nil, with("desk", &desk{}), func(b *bed) {
				b.do(test.m, test.m, test.m)
				b.logged(refused, 1)
				for _, text := range test.want {
					b.logged(text, 1)
				}
			})
		})
	}
}

func TestRefusalsWithFlags(t *testing.T) {
	inBed(t, nil, with("desk", &desk{}), func(b *bed) {
		batch := dispatch.NewBatch()
		batch.Add(b.Decode(b.session, wire(t, "\x10\x01\x08desk.Raw"), dispatch.Clones), 0)
		b.box.Deliver(batch)
		b.do()
		b.logged(refused, 1)
		b.logged("route=desk.Raw", 1)
	})
}

// TestRefusalsThatAreNotLogged checks that refusals by the program and during a shutdown
// are not logged.
func TestRefusalsThatAreNotLogged(t *testing.T) {
	d := &desk{raw: func(*session.Session, []byte) error { return message.Errorf("GAME-1", "no seat is free") }}
	inBed(t, nil, with("desk", d), func(b *bed) {
		b.do(request(1, "desk.Raw", ""))
		b.Drain()
		b.do(request(2, "desk.Raw", ""), request(3, "desk.Row", ""))
		b.logged(refused, 0)
	})
}

// TestRefusalsAreBounded checks that at most 100 routes are logged in an hour, each once,
// and that further ones are counted.
func TestRefusalsAreBounded(t *testing.T) {
	inBed(t, nil, with("desk", &desk{}), func(b *bed) {
		for i := range 150 {
			b.do(notify(fmt.Sprint("desk.M", i), ""), notify(fmt.Sprint("desk.M", i), ""))
		}
		b.logged(refused, 100)
		b.logged("count=", 0)
		time.Sleep(time.Hour)
		b.do(notify("desk.M1", ""), notify("desk.M1", ""))
		b.logged(refused, 101)
		b.logged("count=200", 1)
		time.Sleep(time.Hour)
		b.do(notify("desk.M1", ""))
		b.logged("count=1", 1)
		b.logged(refused, 102)
	})
}

func TestDebugLogsTheRouteOfWhatIsRefused(t *testing.T) {
	inBed(t, func(c *dispatch.Config) { c.Debug = true }, with("desk", &desk{}), func(b *bed) {
		b.do(request(1, "desk.Row", ""), request(2, "desk.Typed", "{"))
		b.logged(`msg="nano: message" session=`, 2)
		b.logged(`route=""`, 0)
		for _, route := range []string{"desk.Row", "desk.Typed"} {
			n := 0
			for line := range strings.Lines(b.log.String()) {
				if strings.Contains(line, `msg="nano: message" `) && strings.Contains(line, "route="+route+" ") {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d debug records with route %s, want 1: %s", n, route, b.log)
			}
		}
	})
}
