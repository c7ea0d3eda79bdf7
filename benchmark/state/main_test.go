package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

func TestMain(m *testing.M) {
	proc.Main(roles)
	os.Exit(m.Run())
}

func TestRoomsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	b := &bench{progress: io.Discard, attempts: 1, began: time.Now(), best: map[string]float64{}}
	for _, c := range roomCases {
		c.spec.Players = 10
		r, err := b.room(t.Context(), c.spec, 100*time.Millisecond, 500*time.Millisecond)
		if err != nil || r.rate <= 0 {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
	for _, c := range []struct {
		r    roomRow
		want int
	}{
		{roomRow{core: 0.24, rate: 4.9}, 0}, {roomRow{core: 0.26, rate: 5.1}, 2}, {roomRow{core: 0.26, rate: 5.1, noisy: true}, 1},
	} {
		if got := c.r.missed(); got != c.want {
			t.Errorf("%+v: %d figures fall short, want %d", c.r, got, c.want)
		}
	}
}

func TestRowIsJudged(t *testing.T) {
	ratio := benchCase{bar: 0.5, spec: spec{Kind: ticks}}
	us := benchCase{bar: 2, absolute: "us"}
	for _, c := range []struct {
		name string
		c    benchCase
		r    row
		want int
	}{
		{"below its bar", ratio, row{ours: result{NS: 49}, theirs: result{NS: 100}}, 0},
		{"above its bar", ratio, row{ours: result{NS: 51}, theirs: result{NS: 100}}, 1},
		{"above it and noisy", ratio, row{ours: result{NS: 51}, theirs: result{NS: 100}, noisy: true}, 0},
		{"allocates", ratio, row{ours: result{NS: 10, Allocs: 1}, theirs: result{NS: 100}}, 1},
		{"bytes above", ratio, row{ours: result{Bytes: 51}, theirs: result{Bytes: 100}}, 1},
		{"an absolute bar", us, row{ours: result{NS: 1999}, theirs: result{NS: 1}}, 0},
		{"above it", us, row{ours: result{NS: 2001}, theirs: result{NS: 1}}, 1},
	} {
		if got := c.r.missed(c.c); got != c.want {
			t.Errorf("%s: %d figures fall short, want %d", c.name, got, c.want)
		}
	}
	quiet, noisy := row{ours: result{NS: 90}, theirs: result{NS: 100}}, row{ours: result{NS: 10}, theirs: result{NS: 100}, noisy: true}
	if better(noisy, quiet, ratio) || !better(quiet, noisy, ratio) {
		t.Error("a noisy run counts before a quiet one")
	}
}

func TestCasesRun(t *testing.T) {
	for _, c := range cases {
		s := c.spec
		s.Entities, s.Changed = min(s.Entities, 20), min(s.Changed, 20)
		s.Warm, s.Rounds, s.Round = 1, 1, 1
		if s.Kind == decode {
			s.Kind, s.File, s.Messages = encode, t.TempDir()+"/messages", 3
		}
		r, err := run(s)
		if err != nil || r.Bytes == 0 && r.NS == 0 {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

// After the time limit, the rest is not measured and falls short.
func TestTimeIsUp(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	b := &bench{progress: io.Discard, attempts: 3, began: time.Now(), best: map[string]float64{}}
	var out strings.Builder
	if missed, err := b.rooms(ctx, &out, roomCases, time.Second, time.Second); missed != len(roomCases) || err != nil {
		t.Errorf("rooms = %d, %v, want %d: %s", missed, err, len(roomCases), out.String())
	}
}
