// Mahjong is a game of Sichuan mahjong, xuezhan daodi, for three or four players.
package main

import (
	"cmp"
	"embed"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/clients/js"
	"github.com/lonng/nano/examples/demo/mahjong/sim"
	"github.com/lonng/nano/scheduler"
)

//go:embed web
var web embed.FS

// emptyTime is how long a table without players is kept.
const emptyTime = 10 * time.Second

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on; without a host, other devices may come in")
	file := flag.String("db", "", "SQLite `file` with players and hands; without one they are lost at the end")
	simulate := flag.Int("simulate", 0, "play `N` hands by bots, check every state, and exit")
	seed := flag.Uint64("seed", 1, "the seed of -simulate; the same seed gives the same hands")
	tables := flag.Int("tables", 0, "run `N` tables of bots, print their load, and exit")
	length := flag.Duration("for", time.Minute, "how long -tables runs")
	consoleAddr := flag.String("console", "", "loopback `address` of the console, such as 127.0.0.1:3251; none if it is empty")
	flag.Parse()
	var err error
	switch {
	case *simulate > 0:
		r := sim.Run(*simulate, *seed)
		r.Print(os.Stdout)
		if r.FaultCount() > 0 {
			os.Exit(1)
		}
	case *tables > 0:
		err = load(os.Stdout, *tables, *length)
	default:
		err = serve(*addr, *file, *consoleAddr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(addr, file, consoleAddr string) error {
	var opts []nano.Option
	if consoleAddr != "" {
		w, err := newWatch(consoleAddr)
		if err != nil {
			return err
		}
		opts = append(opts, w.option())
	}
	store, err := OpenStore(file)
	if err != nil {
		return err
	}
	app := newApp(store, scheduler.Default(), usual(), emptyTime)
	app.ready = func() { fmt.Println("The game is at " + url(addr)) }
	handle(http.DefaultServeMux)
	opts = append(opts, app.options()...)
	err = nano.Listen(addr, append(opts, nano.WithWebSocket("/nano"))...)
	return cmp.Or(store.Close(), err)
}

// handle serves the page and the modules of the JavaScript client.
func handle(mux *http.ServeMux) {
	mux.Handle("/web/", http.FileServerFS(web))
	mux.Handle("/js/", http.StripPrefix("/js", http.FileServerFS(js.FS)))
	mux.Handle("/{$}", http.RedirectHandler("/web/", http.StatusFound))
}

// url returns the URL of the page of a server that listens on addr.
func url(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr // Listen reports the error
	}
	return "http://" + net.JoinHostPort(cmp.Or(host, "localhost"), port) + "/web/"
}
