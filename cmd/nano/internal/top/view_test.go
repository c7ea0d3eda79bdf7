package top

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// full returns a state with figures of every kind.
func full() *state {
	v := func(f float64) *float64 { return &f }
	s := &state{address: "http://console.test/console/"}
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	to := &snapshot{
		overview: overview{Name: "game", Role: "viewer", Time: now},
		failures: failures{Window: 60, Panics: count{"panics", 3, 1}, Refused: []count{{"rate", 9, 4}, {"send", 1, 0}}, Closed: []count{{"client", 7, 2}}},
		nodes: nodes{Node: true, Address: "10.0.0.1:3250", Members: []member{
			{"10.0.0.2:3250", "chat", true, 0.0012}, {"10.0.0.3:3250", "数据库", false, 0},
		}},
	}
	for i := range 30 {
		to.Samples = append(to.Samples, point{Time: now.Add(time.Duration(i-29) * 5 * time.Second), MessagesIn: v(float64(i) * 1000), Connections: i,
			Heap: 5 << 20, QueueDelay: 0.00012, HandlerLoad: v(0.125)})
	}
	for i := range 40 {
		to.routes = append(to.routes, route{Route: "room.move" + strings.Repeat("x", i), Rate: v(1234), Mean: v(0.0000123), Load: v(0.5), Max: 1.5})
	}
	s.update(to)
	return s
}

func TestView(t *testing.T) {
	s := full()
	for _, size := range [][2]int{{80, 24}, {200, 60}, {20, 10}, {1, 1}, {0, 0}} {
		lines := s.view(time.Now(), size[0], size[1])
		if size[1] > 0 && len(lines) > size[1] {
			t.Errorf("%d lines for a terminal of %d", len(lines), size[1])
		}
		for _, l := range lines {
			if n := columns(l); size[0] > 0 && n > size[0] {
				t.Errorf("the line %q has %d columns, the terminal %d", l, n, size[0])
			}
		}
	}
	all := strings.Join(s.view(time.Now(), 100, 40), "\n")
	for _, want := range []string{
		"game  http://console.test/console/", "29 connections", "29.0k/s in", "12.5% busy", "delay 120µs", "5.0 MiB heap", "3 panics",
		"refused   in 60 s: rate 4\n", "closed    in 60 s: client 2\n", "panics    in 60 s: panics 1", "this node", "chat", "1.2ms", "数据库", "down", "12.3µs",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the screen shows\n%s\nwant %q", all, want)
		}
	}
	if strings.Contains(all, "send") {
		t.Error("a reason without refusals in the last minute is shown")
	}
	if lines := s.view(time.Now(), 100, 24); !strings.Contains(strings.Join(lines, "\n"), "10.0.0.2:3250") {
		t.Error("the handlers leave no room for the nodes")
	}
}

// TestHostileText checks that text of the server cannot control the terminal.
func TestHostileText(t *testing.T) {
	s := full()
	bad := "a\x1b]0;title\x07\r\nb\u202e\u009b2J"
	s.Name, s.Role, s.problem, s.routes[0].Route, s.nodes.Members[0].Label = bad, bad, bad, bad, bad
	s.failures.Refused[0].Name = bad
	for _, l := range s.view(time.Now(), 0, 0) {
		if i := strings.IndexFunc(l, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 || r == 0x202e }); i >= 0 {
			t.Errorf("the line %q has a control character", l)
		}
	}
}

// TestStrangeFigures checks that no figure of the server stops the view.
func TestStrangeFigures(t *testing.T) {
	for _, f := range []float64{0, -1, 1e-300, 1e300, math.MaxFloat64, -math.MaxFloat64} {
		s := full()
		for i := range s.history {
			s.history[i].MessagesIn, s.history[i].HandlerMean, s.history[i].BytesIn = &f, &f, &f
			s.history[i].QueueDelay = f
		}
		s.routes[0].Max, s.nodes.Members[0].RTT = f, f
		if lines := s.view(time.Now(), 80, 24); len(lines) == 0 {
			t.Errorf("no lines for the figure %v", f)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := full()
	for i := range 1000 {
		at := s.Time.Add(5 * time.Second)
		s.update(&snapshot{overview: overview{Time: at, Samples: []point{{Time: at, Connections: i}}}})
	}
	if n := len(s.history); n != 181 {
		t.Errorf("%d samples are kept, want those of 15 minutes", n)
	}
}

func TestFormats(t *testing.T) {
	v := func(f float64) *float64 { return &f }
	got := []string{
		rate(nil), rate(v(0)), rate(v(999.94)), rate(v(1234)), rate(v(5.6e6)), rate(v(7e9)),
		size(0), size(1023), size(1024), size(1.5 * (1 << 30)), percent(nil), percent(v(0.1234)),
		seconds(nil), seconds(v(0)), seconds(v(0.0000123456)), seconds(v(1.23456)), seconds(v(0.5)),
	}
	want := []string{
		"-", "0.0", "999.9", "1.2k", "5.6M", "7.0G",
		"0 B", "1023 B", "1.0 KiB", "1.5 GiB", "-", "12.3%",
		"-", "0s", "12.3µs", "1.23s", "500ms",
	}
	if !slices.Equal(got, want) {
		t.Errorf("formats are\n%q, want\n%q", got, want)
	}
	for text, want := range map[string]int{"": 0, "abc": 3, "数据": 4, "e\u0301": 1, "ｶﾞ": 2, "\u30ab": 2} {
		if n := columns(text); n != want {
			t.Errorf("columns(%q) = %d, want %d", text, n, want)
		}
	}
	if got := cut("数据库", 5); got != "数据" {
		t.Errorf("cut to 5 columns = %q", got)
	}
}
