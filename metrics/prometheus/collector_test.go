package prometheus

import (
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// echo is the component of the test server.
type echo struct{ component.Base }

type line struct{ Text string }

func (*echo) Say(_ *session.Session, l *line) (*line, error) { return l, nil }

// figures is a source of fixed statistics.
type figures nano.Stats

func (f figures) Stats() nano.Stats { return nano.Stats(f) }

// registry returns a registry with a collector. It reports metrics that contradict their description.
func registry(source Source, opts Options) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(New(source, opts))
	return r
}

// gather returns the metrics of a registry by name.
func gather(t *testing.T, r *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// This test scrapes a server in the text format, as Prometheus does.
func TestScrape(t *testing.T) {
	components := &component.Components{}
	components.Register(&echo{}, component.WithName("echo"))
	srv := nanotest.Start(t, nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()))
	p := srv.Connect(t)
	for range 100 {
		if err := p.Request(t.Context(), "echo.Say", &line{"hi"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	rec := httptest.NewRecorder()
	r := registry(srv.Server, Options{Labels: map[string]string{"node": "a"}})
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`nano_sessions{node="a"} 1`,
		`nano_messages_total{direction="in",node="a"} 100`,
		`nano_handler_seconds_bucket{node="a",route="echo.Say",le="+Inf"} 100`,
		`nano_handler_seconds_count{node="a",route="echo.Say"} 100`,
		`nano_refused_total{node="a",reason="request"} 0`,
		`nano_queue_delay_seconds_bucket{node="a",le="64"}`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("the scrape lacks %s:\n%s", want, rec.Body)
		}
	}
}

// Both forms of a histogram count the same.
func TestHistogram(t *testing.T) {
	times := nano.Histogram{First: 79, Counts: []int64{3, 4, 0, 0, 5}} // up to 0.84 s, 1 s and 2 s
	r := registry(figures{Routes: map[string]nano.RouteStats{"a": {Count: 12, Sum: 13 * time.Second, Times: times}}}, Options{})
	h := gather(t, r)["nano_handler_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 12 || h.GetSampleSum() != 13 {
		t.Errorf("count and sum are %d and %v, want 12 and 13", h.GetSampleCount(), h.GetSampleSum())
	}
	for _, b := range h.GetBucket() {
		want := uint64(0)
		switch {
		case b.GetUpperBound() >= 2:
			want = 12
		case b.GetUpperBound() >= 1:
			want = 7
		}
		if b.GetCumulativeCount() != want {
			t.Errorf("up to %v s there are %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
		}
	}
	// The index i of a native histogram of schema 2 counts durations over 2^((i-1)/4) s, up to 2^(i/4) s.
	got, index, count := map[int32]int64{}, int32(0), int64(0)
	deltas := h.GetPositiveDelta()
	for _, s := range h.GetPositiveSpan() {
		index += s.GetOffset()
		for range s.GetLength() {
			count += deltas[0]
			deltas = deltas[1:]
			got[index] = count
			index++
		}
	}
	if h.GetSchema() != 2 || len(got) != 3 || got[-1] != 3 || got[0] != 4 || got[3] != 5 {
		t.Errorf("the native buckets of schema %d are %v, want 3, 4 and 5 at -1, 0 and 3", h.GetSchema(), got)
	}
}

// A long histogram keeps the durations over the last bound.
func TestOverflow(t *testing.T) {
	r := registry(figures{Delays: nano.Histogram{First: 105, Counts: []int64{2}}}, Options{})
	h := gather(t, r)["nano_queue_delay_seconds"].GetMetric()[0].GetHistogram()
	last := h.GetBucket()[len(h.GetBucket())-1]
	if h.GetSampleCount() != 2 || last.GetUpperBound() != 64 || last.GetCumulativeCount() != 0 {
		t.Errorf("%d in all and %d up to %v s, want 2, and 0 up to 64 s", h.GetSampleCount(), last.GetCumulativeCount(), last.GetUpperBound())
	}
	if s := h.GetPositiveSpan(); len(s) != 1 || s[0].GetOffset() != 25 {
		t.Errorf("the native buckets begin at %v, want one at 25", s)
	}
}

// Labels are bounded in number and length, and no call is lost.
func TestLabels(t *testing.T) {
	st := nano.Stats{Routes: map[string]nano.RouteStats{}, Closed: map[string]int64{"client": 2}, Cluster: &cluster.Stats{Members: 3, Carried: 2}}
	total := int64(0)
	for i := range 50 {
		n := int64(i + 1)
		total += n
		st.Routes[strings.Repeat("é", 20)+string(rune('A'+i))] = nano.RouteStats{Count: n, Sum: time.Second, Times: nano.Histogram{First: i, Counts: []int64{n}}}
	}
	st.Routes["\xff"] = nano.RouteStats{Count: 1000, Times: nano.Histogram{First: 1, Counts: []int64{1000}}}
	m := gather(t, registry(figures(st), Options{MaxRoutes: 3, MaxLabel: 43}))
	names, sum := "", uint64(0)
	for _, h := range m["nano_handler_seconds"].GetMetric() {
		names += h.GetLabel()[0].GetValue() + " "
		sum += h.GetHistogram().GetSampleCount()
	}
	e := strings.Repeat("é", 20)
	if want := "other " + e + "q " + e + "r " + "\ufffd "; names != want {
		t.Errorf("the routes are %q, want %q", names, want)
	}
	if sum != uint64(total+1000) {
		t.Errorf("%d calls in all, want %d", sum, total+1000)
	}
	m = gather(t, registry(figures(st), Options{MaxLabel: 40}))
	if n := len(m["nano_handler_seconds"].GetMetric()); n != 2 {
		t.Errorf("%d routes have figures, want 2: the labels of 50 are the same when they are cut", n)
	}
	if v := m["nano_cluster_carried"].GetMetric()[0].GetGauge().GetValue(); v != 2 {
		t.Errorf("nano_cluster_carried is %v, want 2", v)
	}
	if v := m["nano_cluster_members"].GetMetric()[0].GetGauge().GetValue(); v != 3 {
		t.Errorf("nano_cluster_members is %v, want 3", v)
	}
}

// Reasons with equal labels are counted together.
func TestReasonsThatAreCut(t *testing.T) {
	st := nano.Stats{Refused: map[string]int64{"handshake": 1, "handshake size": 2, "rate": 4}}
	m := gather(t, registry(figures(st), Options{MaxLabel: 9}))
	got := map[string]float64{}
	for _, c := range m["nano_refused_total"].GetMetric() {
		got[c.GetLabel()[0].GetValue()] = c.GetCounter().GetValue()
	}
	if want := map[string]float64{"handshake": 3, "rate": 4}; !maps.Equal(got, want) {
		t.Errorf("nano_refused_total = %v, want %v", got, want)
	}
}

// The sum of delays is estimated within the width of a bucket.
func TestEstimate(t *testing.T) {
	for bucket := range 105 {
		d := nano.HistogramBound(bucket).Seconds()
		got := estimate(nano.Histogram{First: bucket, Counts: []int64{10}}) / 10
		if got > d || got < d*math.Exp2(-.25) {
			t.Errorf("a duration in the bucket up to %v s counts as %v s", d, got)
		}
	}
}
