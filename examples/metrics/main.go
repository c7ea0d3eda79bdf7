// Metrics shows the statistics of a server to Prometheus, to package expvar and to health checks.
//
//	go run ./examples/metrics -addr :3250 -http localhost:9100
//	open http://localhost:9100/web/   # a page that sends requests and shows the figures
//	curl localhost:9100/metrics       # for Prometheus
//	curl localhost:9100/debug/vars    # the same as JSON
//	curl localhost:9100/healthz       # 200 while the logic goroutine answers, 503 when it is stuck or shut down
//
// The second address is for operators only: do not expose it to the internet.
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
	nanoprometheus "github.com/lonng/nano/metrics/prometheus"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

// healthy is how fast the logic goroutine of a healthy server answers.
const healthy = time.Second

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
	registry.MustRegister(nanoprometheus.New(srv, nanoprometheus.Options{}))
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
