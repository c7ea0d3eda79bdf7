package prometheus

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	serializer "github.com/lonng/nano/serialize/json"
)

// ruleTest is a file for promtool test rules, whose YAML may be JSON:
// https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
type ruleTest struct {
	RuleFiles []string   `json:"rule_files"`
	Tests     []testCase `json:"tests"`
}

type testCase struct {
	Interval string      `json:"interval"`
	Series   []series    `json:"input_series"`
	Queries  []queryTest `json:"promql_expr_test,omitempty"`
}

type series struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

type queryTest struct {
	Expr     string   `json:"expr"`
	EvalTime string   `json:"eval_time"`
	Samples  []sample `json:"exp_samples"`
}

type sample struct {
	Labels string  `json:"labels"`
	Value  float64 `json:"value"`
}

// promtool runs the rule tests with the engine of Prometheus.
func promtool(t *testing.T, test ruleTest) (output string, err error) {
	t.Helper()
	data, err := json.Marshal(test)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "promtool", "test", "rules", file).CombinedOutput()
	return string(out), err
}

// needPromtool skips the test if there is no promtool, unless NANO_REQUIRE_PROMTOOL is set.
func needPromtool(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("NANO_REQUIRE_PROMTOOL") != "" {
			t.Fatal("there is no promtool on PATH, and NANO_REQUIRE_PROMTOOL is set")
		}
		t.Skip("there is no promtool on PATH; Debian has it in the package prometheus")
	}
}

// scrape returns the samples of a scrape in the text format, by series.
func scrape(t *testing.T, source Source) map[string]float64 {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(registry(source, Options{}), promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	samples := map[string]float64{}
	for lines := bufio.NewScanner(rec.Body); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndex(line, " ")
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		samples[line[:i]] = v
	}
	return samples
}

// withCluster is a server with the figures of a cluster.
type withCluster struct{ *nano.Server }

func (s withCluster) Stats() nano.Stats {
	st := s.Server.Stats()
	st.Cluster = &cluster.Stats{Members: 2, MessagesIn: st.MessagesIn, MessagesOut: st.MessagesOut}
	return st
}

// window is an interval that is long enough for the rate of samples one minute apart.
const window = "5m"

// TestQueries checks that each query of the dashboard and of the alerts has a result for the scrapes of a server.
func TestQueries(t *testing.T) {
	needPromtool(t)
	components := &component.Components{}
	components.Register(&echo{}, component.WithName("echo"))
	srv := nanotest.Start(t, nano.WithComponents(components), nano.WithSerializer(serializer.NewSerializer()))
	source := withCluster{srv.Server}
	player := srv.Connect(t)
	play := func() map[string]float64 {
		for range 10 {
			if err := player.Request(t.Context(), "echo.Say", &line{"hi"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		return scrape(t, source)
	}
	before, after := play(), play()
	c := testCase{Interval: "1m"}
	for name, v := range after {
		c.Series = append(c.Series, series{withInstance(name), fmt.Sprintf("%v+%vx10", v, max(v-before[name], 0))})
	}
	queries := dashboard(t)
	if len(queries) < 16 {
		t.Errorf("the dashboard has %d queries, want one for each panel", len(queries))
	}
	for _, q := range append(queries, alerts(t)...) {
		c.Queries = append(c.Queries, queryTest{"count(" + q + ") > bool 0", "10m", []sample{{"{}", 1}}})
	}
	if out, err := promtool(t, ruleTest{Tests: []testCase{c}}); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// withInstance adds the label that Prometheus adds to what it scrapes.
func withInstance(name string) string {
	if base, labels, ok := strings.Cut(name, "{"); ok {
		return base + `{instance="a",` + labels
	}
	return name + `{instance="a"}`
}

// dashboard returns the queries of the dashboard, with values for its variables.
func dashboard(t *testing.T) (queries []string) {
	t.Helper()
	data, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries = append(queries, strings.NewReplacer("$__rate_interval", window, "$instance", ".*").Replace(target.Expr))
		}
	}
	return queries
}

var (
	expr       = regexp.MustCompile(`(?m)^ *expr: (.*)$`)
	comparison = regexp.MustCompile(` (>|==) [0-9.]+$`)
)

// alerts returns the queries of the alerts without the comparison, which is false for a healthy server.
func alerts(t *testing.T) (queries []string) {
	t.Helper()
	data, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range expr.FindAllStringSubmatch(string(data), -1) {
		q := comparison.ReplaceAllString(m[1], "")
		if q == m[1] {
			t.Errorf("the alert %s does not compare", q)
		}
		queries = append(queries, q)
	}
	if len(queries) == 0 {
		t.Error("there are no alerts")
	}
	return queries
}

// TestAlerts checks that each alert fires for a server that has what it is about, and not for one that has not.
func TestAlerts(t *testing.T) {
	needPromtool(t)
	file, err := filepath.Abs("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ill := []series{
		{`nano_queue_delay_seconds_bucket{instance="a",le="0.0625"}`, "0+0x30"},
		{`nano_queue_delay_seconds_bucket{instance="a",le="0.5"}`, "0+100x30"},
		{`nano_queue_delay_seconds_bucket{instance="a",le="+Inf"}`, "0+100x30"},
		{`nano_handler_seconds_bucket{instance="a",route="r",le="0.03125"}`, "0+0x30"},
		{`nano_handler_seconds_bucket{instance="a",route="r",le="0.125"}`, "0+100x30"},
		{`nano_handler_seconds_bucket{instance="a",route="r",le="+Inf"}`, "0+100x30"},
		{`nano_panics_total{instance="a"}`, "0+1x30"},
		{`nano_refused_total{instance="a",reason="rate"}`, "0+600x30"},
		{`nano_closed_total{instance="a",reason="slow"}`, "0+120x30"},
		{`nano_resume_ended_total{instance="a",reason="overflow"}`, "0+10x30"},
		{`nano_cluster_members{instance="a"}`, "0x30"},
	}
	var healthy []series
	for _, s := range ill {
		values := "0x30"
		switch {
		case strings.Contains(s.Series, "_bucket"):
			values = "0+100x30" // all of them in the first bucket
		case strings.HasPrefix(s.Series, "nano_cluster_members"):
			values = "2x30"
		}
		healthy = append(healthy, series{s.Series, values})
	}
	sick, well := testCase{Interval: "1m", Series: ill}, testCase{Interval: "1m", Series: healthy}
	firing := queryTest{"count by (alertname) (ALERTS{alertstate=\"firing\"})", "30m", nil}
	well.Queries = []queryTest{firing}
	for _, name := range []string{"NanoHandlerSlow", "NanoLogicGoroutineSlow", "NanoNodeAlone", "NanoPanics", "NanoRefusals", "NanoResumeOverflow", "NanoSlowClients"} {
		firing.Samples = append(firing.Samples, sample{`{alertname="` + name + `"}`, 1})
	}
	sick.Queries = []queryTest{firing}
	if got, want := len(firing.Samples), len(alerts(t)); got != want {
		t.Errorf("%d alerts are tested, and there are %d", got, want)
	}
	if out, err := promtool(t, ruleTest{RuleFiles: []string{file}, Tests: []testCase{well}}); err != nil {
		t.Errorf("a healthy server: %v\n%s", err, out)
	}
	out, err := promtool(t, ruleTest{RuleFiles: []string{file}, Tests: []testCase{sick}})
	if err != nil {
		t.Errorf("a sick server: %v\n%s", err, out)
	}
}
