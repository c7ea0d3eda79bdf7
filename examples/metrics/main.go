// Metrics shows the statistics of a server to Prometheus, to package expvar and to health checks.
//
//	go run ./examples/metrics -addr :3250 -http localhost:9100
//	open http://localhost:9100/web/   # a page that sends requests and shows the figures
//	curl localhost:9100/metrics       # for Prometheus
//	curl localhost:9100/debug/vars    # the same as JSON
//	curl localhost:9100/healthz       # 200 while the logic goroutine answers, 503 when it is stuck or shut down
//
// The second address is for operators: it does not belong on the open internet.
package main

import (
	"context"
	"embed"
	"errors"
	"expvar"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

// healthy is how fast the logic goroutine of a healthy server answers.
const healthy = time.Second

// collector reads a server's statistics when Prometheus asks for them, so it costs
// nothing between requests.
type collector struct{ srv *nano.Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nano_"+name, help, labels, nil)
}

var (
	connections = desc("connections", "Open connections.")
	sessions    = desc("sessions", "Open sessions.")
	accepted    = desc("accepted_total", "Connections that were accepted.")
	messages    = desc("messages_total", "Messages.", "direction")
	bytes       = desc("bytes_total", "Bytes: payloads in, all that is written out.", "direction")
	control     = desc("control_total", "Heartbeats and pings that came.")
	queueDepth  = desc("queue_depth", "Tasks that wait for the logic goroutine.")
	queueDelay  = desc("queue_delay_seconds", "How long the tasks that began last had waited.")
	panics      = desc("panics_total", "Panics of handlers, hooks and serializers.")
	handlers    = desc("handler_seconds", "Calls of handlers, and the time they held the logic goroutine.", "route")
	handlerMax  = desc("handler_max_seconds", "The longest call of a handler.", "route")
	refused     = desc("refused_total", "What was not served.", "reason")
	closed      = desc("closed_total", "Sessions that closed.", "reason")
)

// Describe describes no metrics, so Prometheus does not check what Collect sends.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the current statistics.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	st := c.srv.Stats()
	gauge(connections, float64(st.Connections))
	gauge(sessions, float64(st.Sessions))
	counter(accepted, st.Accepted)
	counter(messages, st.MessagesIn, "in")
	counter(messages, st.MessagesOut, "out")
	counter(bytes, st.BytesIn, "in")
	counter(bytes, st.BytesOut, "out")
	counter(control, st.ControlIn)
	gauge(queueDepth, float64(st.QueueDepth))
	gauge(queueDelay, st.QueueDelay.Seconds())
	counter(panics, st.Panics)
	for route, r := range st.Routes {
		metrics <- prometheus.MustNewConstSummary(handlers, uint64(r.Count), r.Sum.Seconds(), nil, route)
		gauge(handlerMax, r.Max.Seconds(), route)
	}
	for reason, n := range st.Refused {
		counter(refused, n, reason)
	}
	for reason, n := range st.Closed {
		counter(closed, n, reason)
	}
}

// health responds with 200 if the logic goroutine runs a task in time, otherwise with
// 503.
func health(srv *nano.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthy)
		defer cancel()
		alive := make(chan struct{})
		srv.Invoke(func() { close(alive) })
		select {
		case <-alive:
			_, _ = w.Write([]byte("ok\n"))
		case <-ctx.Done():
			http.Error(w, "the logic goroutine does not answer", http.StatusServiceUnavailable)
		}
	})
}

// pages returns the handler of the pages for operators.
func pages(srv *nano.Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{srv})
	mux := http.NewServeMux()
	site.Handle(mux, web)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/debug/vars", expvar.Handler())
	mux.Handle("/healthz", health(srv))
	return mux
}

// Echo is a component that causes traffic.
type Echo struct{ component.Base }

// Say responds with the payload.
func (e *Echo) Say(s *session.Session, data []byte) error { return s.Response(data) }

func newServer() *nano.Server {
	components := &component.Components{}
	components.Register(&Echo{})
	return nano.New(nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithWebSocket("/nano"))
}

// vars is the statistics for package expvar.
func vars(srv *nano.Server) expvar.Var { return expvar.Func(func() any { return srv.Stats() }) }

// run serves players and operators until ctx ends or one of the two fails.
func run(ctx context.Context, srv *nano.Server, players, operators net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	web := &http.Server{Handler: pages(srv), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	for _, serve := range []func() error{
		func() error { return srv.ServeWebSocket(players) },
		func() error { return web.Serve(operators) },
	} {
		go func() {
			failed <- serve()
			stop()
		}()
	}
	<-ctx.Done()
	// The server shuts down first, so operators can watch it.
	late, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := srv.Shutdown(late)
	err = errors.Join(err, web.Shutdown(late))
	for range cap(failed) {
		if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func main() {
	addr := flag.String("addr", ":3250", "`address` for players")
	ops := flag.String("http", "localhost:9100", "`address` for operators")
	flag.Parse()
	players, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	operators, err := net.Listen("tcp", *ops)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	srv := newServer()
	expvar.Publish("nano", vars(srv))
	_, port, _ := net.SplitHostPort(players.Addr().String()) // a listener's address has a port
	log.Printf("players connect to ws://%s/nano, figures are at http://%s/metrics", players.Addr(), operators.Addr())
	log.Printf("the page is at %s?players=localhost:%s", site.URL(*ops), port)
	if err := run(ctx, srv, players, operators); err != nil {
		log.Fatal(err)
	}
}
