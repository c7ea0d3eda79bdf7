// Console measures what an open page of the console costs a loaded server, as a share of the server's CPU profile.
//
//	go run ./benchmark/console [-rate 50000] [-duration 20s] [-clients 64] [-every 5s] [-pages overview,busy,handlers,groups]
//
// The server, the load and the reader of the page run in processes of their own. The reader makes the requests that the
// page makes: when it opens, and then every five seconds. A sample counts for the console if the console, its sampler or
// its HTTP server is on the stack. The exit code is 1 if a share is over -limit, or a message was lost.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
)

const (
	roleServer = "server"
	roleLoad   = "load"
)

var roles = map[string]proc.Role{roleServer: serve, roleLoad: load.Role}

func main() {
	proc.Main(roles)
	b := bench{warm: 2 * time.Second, out: os.Stdout}
	flag.Float64Var(&b.rate, "rate", 50_000, "messages per second")
	flag.DurationVar(&b.duration, "duration", 20*time.Second, "how long the profile of a page takes")
	flag.IntVar(&b.clients, "clients", 64, "how many clients send the messages")
	flag.DurationVar(&b.every, "every", 5*time.Second, "the time between two requests of the page; less makes the cost of one measurable")
	pages := flag.String("pages", "overview,busy,handlers,groups", "the pages to measure, separated by commas")
	limit := flag.Float64("limit", 0.01, "the largest allowed share")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	worst, err := b.run(ctx, strings.Split(*pages, ","))
	if err == nil && worst > *limit {
		err = fmt.Errorf("a page costs %.2f %%, want at most %.2f %%", 100*worst, 100**limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		stop()
		os.Exit(1)
	}
}

// bench holds the settings of the measurements.
type bench struct {
	rate     float64
	duration time.Duration
	warm     time.Duration
	every    time.Duration // between two requests of the page
	clients  int
	out      io.Writer
}

// run measures each page and returns the largest share.
func (b *bench) run(ctx context.Context, pages []string) (worst float64, err error) {
	fmt.Fprintf(b.out, "| page | messages/s | CPU of the server | console | share |\n|---|---|---|---|---|\n")
	for _, page := range pages {
		s, r, err := b.measure(ctx, page)
		if err != nil {
			return worst, fmt.Errorf("%s: %w", page, err)
		}
		fmt.Fprintf(b.out, "| %s | %.0f | %v | %v | %.2f %% |\n", page, float64(r.Done)/r.Took.Seconds(),
			s.All.Round(time.Millisecond), s.Console.Round(time.Millisecond), 100*s.part())
		if n := r.Sum(); n > 0 {
			return worst, fmt.Errorf("%s: faults of the load: %v", page, r.Faults)
		}
		worst = max(worst, s.part())
	}
	return worst, nil
}

// measure profiles a server while a page is open.
func (b *bench) measure(ctx context.Context, page string) (s share, r load.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.warm+b.duration+time.Minute)
	defer cancel()
	srv, err := proc.Start(roleServer, struct{}{}, nil)
	if err != nil {
		return s, r, err
	}
	defer srv.End()
	var at addresses
	if err := srv.Await(ctx, "ready", &at); err != nil {
		return s, r, err
	}
	gen, err := proc.Start(roleLoad, load.Spec{
		Kind: load.Echo, Addr: at.Players, Size: 64, Clients: b.clients, Window: 16, Rate: b.rate, Route: "Bench.Echo",
		Warm: b.warm, Duration: b.duration,
	}, nil)
	if err != nil {
		return s, r, err
	}
	defer gen.End()
	if err := gen.Await(ctx, "begin", nil); err != nil {
		return s, r, err
	}
	if err := srv.Ask(ctx, askBegin, nil); err != nil {
		return s, r, err
	}
	reading, stop := context.WithCancel(ctx)
	read := make(chan error, 1)
	go func() { read <- b.read(reading, at.Console, page) }()
	err = gen.Await(ctx, "end", nil)
	stop()
	if e := <-read; err == nil {
		err = e
	}
	if err != nil {
		return s, r, err
	}
	if err := srv.Ask(ctx, askEnd, &s); err != nil {
		return s, r, err
	}
	if s.Error == "" && s.All == 0 {
		s.Error = "it has no samples"
	}
	if s.Error != "" {
		return s, r, fmt.Errorf("the profile: %s", s.Error)
	}
	return s, r, gen.Await(ctx, "result", &r)
}

// read makes the requests of an open page until ctx ends.
func (b *bench) read(ctx context.Context, console, page string) error {
	after := ""
	t := time.NewTicker(b.every)
	defer t.Stop()
	for {
		body, err := fetch(ctx, console+"api/overview?after="+url.QueryEscape(after))
		if err == nil && page != "overview" {
			_, err = fetch(ctx, console+"api/"+page)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		var o struct{ Time string }
		if err := json.Unmarshal(body, &o); err != nil {
			return err
		}
		after = o.Time
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// fetch gets a page.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s = %d %s", url, res.StatusCode, body)
	}
	return body, err
}
