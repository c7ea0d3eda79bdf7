package prometheus

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lonng/nano"
)

// Source provides the statistics of a server. *nano.Server implements it.
type Source interface{ Stats() nano.Stats }

// Options configures a collector. Zero values select the defaults.
type Options struct {
	// Labels are added to every metric, such as the name of the node.
	Labels map[string]string
	// MaxRoutes is the number of routes with their own metrics, by default 200. These are
	// the routes with the most calls. The others are counted together under the route
	// "other".
	MaxRoutes int
	// MaxLabel is the maximum length of a label value in bytes, by default 128. Longer
	// values are truncated.
	MaxLabel int
}

// other is the label of all routes beyond MaxRoutes.
const other = "other"

// Collector converts the statistics of a server to metrics. Its methods may be called
// concurrently.
type Collector struct {
	source Source
	opts   Options

	connections, sessions, accepted, messages, bytes, control                   *prometheus.Desc
	queueDepth, queueDelay, panics, handlers, handlerMax                        *prometheus.Desc
	refused, closed                                                             *prometheus.Desc
	suspended, suspensions, resumed, resumeEnded, resumeRefused, replayed, held *prometheus.Desc
	members, carried, clusterMessages, clusterBytes, clusterQueued, clusterLost *prometheus.Desc
}

// New returns a collector to register with a registry.
func New(source Source, opts Options) *Collector {
	opts.MaxRoutes = cmp.Or(max(opts.MaxRoutes, 0), 200)
	opts.MaxLabel = cmp.Or(max(opts.MaxLabel, 0), 128)
	c := &Collector{source: source, opts: opts}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("nano_"+name, help, labels, opts.Labels)
	}
	c.connections = desc("connections", "Open connections.")
	c.sessions = desc("sessions", "Open sessions.")
	c.accepted = desc("accepted_total", "Connections that were accepted.")
	c.messages = desc("messages_total", "Messages of clients (in), and responses and pushes (out).", "direction")
	c.bytes = desc("bytes_total", "Bytes of payloads (in), and of all that was written (out).", "direction")
	c.control = desc("control_total", "Heartbeats and pings of clients.")
	c.queueDepth = desc("queue_depth", "Tasks that wait for the logic goroutine.")
	c.queueDelay = desc("queue_delay_seconds", "How long the oldest task of each batch waited for the logic goroutine.")
	c.panics = desc("panics_total", "Panics of handlers, hooks, serializers and rooms.")
	c.handlers = desc("handler_seconds", "Time of the calls of handlers, for which they held the logic goroutine.", "route")
	c.handlerMax = desc("handler_max_seconds", "The longest call of a handler since the start.", "route")
	c.refused = desc("refused_total", "What the server has refused.", "reason")
	c.closed = desc("closed_total", "Sessions that closed.", "reason")
	c.suspended = desc("resume_suspended", "Sessions that are suspended.")
	c.suspensions = desc("resume_suspensions_total", "Times that a session lost its connection and was kept.")
	c.resumeEnded = desc("resume_ended_total", "Suspended sessions that ended: their time was over (expired), or too much was kept (overflow).", "reason")
	c.resumeRefused = desc("resume_refused_total", "Clients that could not resume.", "reason")
	c.members = desc("cluster_members", "Other nodes that are up.")
	c.carried = desc("cluster_carried", "Clients of this node that resume sessions of other nodes, or have resumed them.")
	c.clusterMessages = desc("cluster_messages_total", "Messages between this node and others.", "direction")
	c.clusterBytes = desc("cluster_bytes_total", "Bytes between this node and others.", "direction")
	c.clusterQueued = desc("cluster_queued_bytes", "Bytes that wait to be sent to other nodes.")
	c.clusterLost = desc("cluster_lost_total", "Messages between nodes that did not arrive: pushes that were not sent (unsent), refused (refused), for clients that are gone (lost), and answers that came too late (late).", "reason")
	c.resumed = desc("resume_resumed_total", "Sessions that were resumed.")
	c.replayed = desc("resume_replayed_total", "Messages that were sent again after a resume.")
	c.held = desc("resume_held_bytes", "Bytes that are kept to be sent again.")
	return c
}

// Describe describes the metrics.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.sessions, c.accepted, c.messages, c.bytes, c.control, c.queueDepth,
		c.queueDelay, c.panics, c.handlers, c.handlerMax, c.refused, c.closed, c.suspended, c.suspensions, c.resumed, c.resumeEnded,
		c.resumeRefused, c.replayed, c.held, c.members, c.carried, c.clusterMessages, c.clusterBytes, c.clusterQueued, c.clusterLost} {
		descs <- d
	}
}

// Collect sends the current metrics.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	st := c.source.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(c.connections, float64(st.Connections))
	gauge(c.sessions, float64(st.Sessions))
	counter(c.accepted, st.Accepted)
	counter(c.messages, st.MessagesIn, "in")
	counter(c.messages, st.MessagesOut, "out")
	counter(c.bytes, st.BytesIn, "in")
	counter(c.bytes, st.BytesOut, "out")
	counter(c.control, st.ControlIn)
	gauge(c.queueDepth, float64(st.QueueDepth))
	metrics <- &histogram{desc: c.queueDelay, times: st.Delays, sum: estimate(st.Delays)}
	counter(c.panics, st.Panics)
	for _, r := range c.routes(st.Routes) {
		metrics <- &histogram{desc: c.handlers, times: r.Times, sum: r.Sum.Seconds(), labels: []string{r.name}}
		gauge(c.handlerMax, r.Max.Seconds(), r.name)
	}
	reasons := func(d *prometheus.Desc, counts map[string]int64) {
		merged := map[string]int64{}
		for reason, n := range counts {
			merged[c.label(reason)] += n
		}
		for _, reason := range slices.Sorted(maps.Keys(merged)) {
			counter(d, merged[reason], reason)
		}
	}
	reasons(c.refused, st.Refused)
	reasons(c.closed, st.Closed)
	gauge(c.suspended, float64(st.Resume.Suspended))
	counter(c.resumed, st.Resume.Resumed)
	counter(c.replayed, st.Resume.Replayed)
	gauge(c.held, float64(st.Resume.BytesHeld))
	counter(c.suspensions, st.Resume.Suspensions)
	counter(c.resumeEnded, st.Resume.Expired, "expired")
	counter(c.resumeEnded, st.Resume.Overflowed, "overflow")
	reasons(c.resumeRefused, st.Resume.Refused)
	if n := st.Cluster; n != nil {
		gauge(c.members, float64(n.Members))
		gauge(c.carried, float64(n.Carried))
		counter(c.clusterMessages, n.MessagesIn, "in")
		counter(c.clusterMessages, n.MessagesOut, "out")
		counter(c.clusterBytes, n.BytesIn, "in")
		counter(c.clusterBytes, n.BytesOut, "out")
		gauge(c.clusterQueued, float64(n.QueuedBytes))
		counter(c.clusterLost, n.Unsent, "unsent")
		counter(c.clusterLost, n.Refused, "refused")
		counter(c.clusterLost, n.Lost, "lost")
		counter(c.clusterLost, n.Late, "late")
	}
}

// route holds the statistics of a route and its label.
type route struct {
	name string
	nano.RouteStats
}

// routes returns the routes with their own metrics, sorted by name, followed by the sum
// of all others. Routes with equal labels are counted together.
func (c *Collector) routes(stats map[string]nano.RouteStats) []route {
	names := slices.SortedFunc(maps.Keys(stats), func(a, b string) int {
		return cmp.Or(cmp.Compare(stats[b].Count, stats[a].Count), cmp.Compare(a, b))
	})
	merged := map[string]nano.RouteStats{}
	for i, name := range names {
		label := c.label(name)
		if _, known := merged[label]; !known && i >= c.opts.MaxRoutes {
			label = other
		}
		merged[label] = add(merged[label], stats[name])
	}
	var list []route
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		list = append(list, route{name, merged[name]})
	}
	return list
}

// add returns the sum of the statistics of two routes.
func add(a, b nano.RouteStats) nano.RouteStats {
	return nano.RouteStats{Count: a.Count + b.Count, Sum: a.Sum + b.Sum, Max: max(a.Max, b.Max), Times: addTimes(a.Times, b.Times)}
}

func addTimes(a, b nano.Histogram) nano.Histogram {
	if len(a.Counts) == 0 {
		return b
	}
	if len(b.Counts) == 0 {
		return a
	}
	first := min(a.First, b.First)
	sum := nano.Histogram{First: first, Counts: make([]int64, max(a.First+len(a.Counts), b.First+len(b.Counts))-first)}
	for _, h := range []nano.Histogram{a, b} {
		for i, n := range h.Counts {
			sum.Counts[h.First-first+i] += n
		}
	}
	return sum
}

// label returns text as a label value: valid UTF-8 of at most MaxLabel bytes.
func (c *Collector) label(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= c.opts.MaxLabel {
		return text
	}
	n := c.opts.MaxLabel
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
