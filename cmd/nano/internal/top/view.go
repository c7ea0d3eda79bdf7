package top

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
)

// state holds the data of the screen.
type state struct {
	address string
	*snapshot
	history []point   // samples of the last 15 minutes, the oldest first
	problem string    // why the last request failed; "" if it did not
	since   time.Time // when the first of these requests failed
}

// view returns the lines of a screen. width and height are those of the terminal; 0 is
// without a limit.
func (s *state) view(now time.Time, width, height int) []string {
	lines := append(s.head(now), s.chart(width)...)
	end := append(s.failureLines(), s.nodeLines()...)
	routes := s.routeLines()
	if height > 0 { // the routes get the lines that are left, but at least four
		room := max(height-len(lines)-len(end), 4)
		routes = routes[:min(len(routes), room)]
	}
	lines = slices.Concat(lines, routes, end)
	if height > 0 {
		lines = lines[:min(len(lines), height)]
	}
	for i := range lines {
		lines[i] = cut(lines[i], width)
	}
	return lines
}

// head returns the figures of the last sample.
func (s *state) head(now time.Time) []string {
	title := fmt.Sprintf("%s  %s", clean(s.Name), s.address)
	when := fmt.Sprintf("sample of %s, role %s", s.Time.Local().Format(time.TimeOnly), clean(s.Role))
	if s.problem != "" {
		when = fmt.Sprintf("NO ANSWER for %v: %s", now.Sub(s.since).Round(time.Second), clean(s.problem))
	}
	var p point
	if n := len(s.history); n > 0 {
		p = s.history[n-1]
	}
	return []string{
		title,
		when,
		"",
		fmt.Sprintf("clients   %d connections, %d sessions", p.Connections, p.Sessions),
		fmt.Sprintf("messages  %s/s in, %s/s out, %s/s refused", rate(p.MessagesIn), rate(p.MessagesOut), rate(p.Refused)),
		fmt.Sprintf("bytes     %s/s in, %s/s out", byteRate(p.BytesIn), byteRate(p.BytesOut)),
		fmt.Sprintf("logic     %s busy in handlers, mean %s, delay %s, %d tasks wait",
			percent(p.HandlerLoad), seconds(p.HandlerMean), seconds(&p.QueueDelay), p.QueueDepth),
		fmt.Sprintf("memory    %s heap, %s mapped, %d goroutines, %d panics", size(float64(p.Heap)), size(float64(p.Memory)), p.Goroutines, s.failures.Panics.Total),
	}
}

// bars are the heights of a chart.
var bars = []rune(" ▁▂▃▄▅▆▇█")

// maxBars is the width of a chart in a terminal of any width.
const maxBars = 60

// chart returns a chart of the incoming messages.
func (s *state) chart(width int) []string {
	const label = "in        "
	n := maxBars
	if width > 0 {
		n = min(n, width-len(label))
	}
	values := make([]float64, 0, len(s.history))
	most := 0.0
	for _, p := range s.history[max(len(s.history)-max(n, 0), 0):] {
		v := 0.0
		if p.MessagesIn != nil && !math.IsNaN(*p.MessagesIn) {
			v = max(*p.MessagesIn, 0)
		}
		values = append(values, v)
		most = max(most, v)
	}
	if len(values) < 2 || most == 0 {
		return []string{""}
	}
	var b strings.Builder
	for _, v := range values {
		b.WriteRune(bars[int(math.Ceil(v/most*float64(len(bars)-1)))])
	}
	return []string{label + b.String(), ""}
}

// routeLines returns the table of the handlers, which the console has sorted by their load.
func (s *state) routeLines() []string {
	rows := [][]string{{"ROUTE", "CALLS/S", "LOAD", "MEAN", "P50", "P99", "MAX"}}
	for _, r := range s.routes {
		rows = append(rows, []string{clean(r.Route), rate(r.Rate), percent(r.Load), seconds(r.Mean), seconds(r.P50), seconds(r.P99), seconds(&r.Max)})
	}
	if len(rows) == 1 {
		rows = append(rows, []string{"no handler was called yet"})
	}
	return table(rows)
}

// failureLines returns what failed in the last minute.
func (s *state) failureLines() []string {
	lines := []string{""}
	for _, group := range []struct {
		name   string
		counts []count
	}{{"refused", s.failures.Refused}, {"closed", s.failures.Closed}, {"panics", []count{s.failures.Panics}}} {
		var list []string
		for _, c := range group.counts {
			if c.Recent > 0 {
				list = append(list, fmt.Sprintf("%s %d", clean(c.Name), c.Recent))
			}
		}
		if len(list) > 0 {
			lines = append(lines, fmt.Sprintf("%-9s in %.0f s: %s", group.name, s.failures.Window, strings.Join(list, ", ")))
		}
	}
	return lines
}

// nodeLines returns the table of the nodes; nil if the server is not a node.
func (s *state) nodeLines() []string {
	if !s.nodes.Node {
		return nil
	}
	rows := [][]string{{"NODE", "STATE", "RTT", "LABEL"}, {clean(s.nodes.Address), "this node", "", ""}}
	for _, m := range s.nodes.Members {
		up, rtt := "down", "-"
		if m.Up {
			up = "up"
		}
		if m.RTT > 0 {
			rtt = seconds(&m.RTT)
		}
		rows = append(rows, []string{clean(m.Address), up, rtt, clean(m.Label)})
	}
	return append([]string{""}, table(rows)...)
}

// maxCell is the number of columns of a cell.
const maxCell = 40

// table returns rows as lines with aligned columns: the first to the left, the others to the
// right.
func table(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i] = cut(row[i], maxCell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(row[i]))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, cell := range row {
			pad := strings.Repeat(" ", widths[j]-columns(cell))
			if j == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// clean returns text of the server without control characters, which would reach the
// terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// wide are the characters that take two columns of a terminal.
var wide = []*unicode.RangeTable{unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana,
	{R16: []unicode.Range16{{0x3000, 0x303f, 1}, {0xff01, 0xff60, 1}}, R32: []unicode.Range32{{0x1f300, 0x1faff, 1}}}}

// columns returns how many columns of a terminal text takes.
func columns(text string) (n int) {
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case 0xff61 <= r && r <= 0xffdc: // half-width forms
		return 1
	case unicode.In(r, wide...):
		return 2
	}
	return 1
}

// cut returns the beginning of text that fits into width columns; 0 is without a limit.
func cut(text string, width int) string {
	n := 0
	for i, r := range text {
		if n += runeColumns(r); width > 0 && n > width {
			return text[:i]
		}
	}
	return text
}

// The following functions format a figure; nil is one that is not known.

func rate(v *float64) string {
	if v == nil {
		return "-"
	}
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if *v >= unit.size {
			return fmt.Sprintf("%.1f%s", *v/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.1f", *v)
}

func byteRate(v *float64) string {
	if v == nil {
		return "-"
	}
	return size(*v)
}

func size(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

func percent(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *v*100)
}

func seconds(v *float64) string {
	if v == nil {
		return "-"
	}
	const most = 1e8 // three years
	d := time.Duration(min(max(*v, 0), most) * float64(time.Second))
	step := time.Duration(1)
	for step*1000 <= d { // three digits
		step *= 10
	}
	return d.Round(step).String()
}
