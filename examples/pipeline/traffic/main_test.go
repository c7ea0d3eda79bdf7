package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTraffic(t *testing.T) {
	traffic := &traffic{flows: map[[2]string]*flow{}}
	srv := nanotest.Start(t, options(traffic, "")...)
	const players, times = 4, 25
	var wg sync.WaitGroup
	var all []*nanotest.Player
	for range players {
		p := srv.Connect(t)
		all = append(all, p)
		wg.Go(func() {
			for range times {
				err := errors.Join(
					p.Request(t.Context(), "Echo.Say", &line{"hello"}, nil),
					p.Notify("Echo.Shout", &line{"hi"}))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, p := range all {
		for range times {
			p.Wait("onShout", 10*time.Second)
		}
		if err := p.Request(t.Context(), "Echo.None", nil, nil); !errors.Is(err, &client.Error{Code: nano.CodeNotFound}) {
			t.Errorf("Echo.None = %v, want NANO-404", err)
		}
	}
	say, shout := len(`{"Text":"hello"}`), len(`{"Text":"hi"}`)
	unserved := len(`{"code":"NANO-404","msg":"route \"Echo.None\" is not served here"}`)
	const n = players * times
	want := []flow{
		{"in", "Echo.Say", n, n * say}, {"out", "Echo.Say", n, n * say},
		{"in", "Echo.Shout", n, n * shout}, {"out", "onShout", n, n * shout},
		{"out", "not served", players, players * unserved}, {"in", "Echo.None", players, players * len("{}")},
	}
	if got := traffic.list(); !slices.Equal(got, want) {
		t.Errorf("the traffic is %+v, want %+v", got, want)
	}
	if got, want := traffic.String(), fmt.Sprintf("in   Echo.Say    %d       %d\n", n, n*say); !strings.Contains(got, want) {
		t.Errorf("the table is\n%s want %q in it", got, want)
	}
}

func TestTableIsBounded(t *testing.T) {
	traffic := &traffic{flows: map[[2]string]*flow{}}
	for i := range 2 * maxRoutes {
		traffic.add("in", fmt.Sprint("route", i), 1)
	}
	if got, want := traffic.list()[0], (flow{"in", "others", maxRoutes, maxRoutes}); got != want {
		t.Errorf("the most traffic is %+v, want %+v", got, want)
	}
}
