package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/room"
)

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on; without a host, other devices may come in")
	bots := flag.Int("bots", 0, "let `N` bots swim too, in a process of their own that connects over TCP")
	length := flag.Duration("for", 0, "with -bots: print what the server uses in this `time`, and exit")
	join := flag.String("join", "", "with -bots: run only the bots, at the server with this TCP `address`")
	flag.Parse()
	var err error
	switch {
	case *bots < 0 || *bots > seats:
		err = fmt.Errorf("-bots %d: want 0 to %d", *bots, seats)
	case *bots == 0 && (*length != 0 || *join != ""):
		err = fmt.Errorf("-for and -join need -bots")
	case *join != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = swim(ctx, *join, *bots, os.Stdout)
	default:
		err = serve(*addr, *bots, *length)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tadpole:", err)
		os.Exit(1)
	}
}

// serve runs the server until a signal, or until it has printed the figures of its bots.
func serve(addr string, bots int, length time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	handle(mux)
	srv := nano.New(append(options(), nano.WithHTTPHandler(mux))...)
	if err := srv.Start(); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeWebSocket(l) }()
	fmt.Println("The pond is at", url(l.Addr()))
	if bots > 0 {
		err = runBots(ctx, srv, bots, length, os.Stdout)
	} else {
		<-ctx.Done()
	}
	stop() // a second signal ends the process
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	closePonds(ending)
	return errors.Join(err, srv.Shutdown(ending), <-served)
}

// closePonds ends the ponds, which never end by themselves. Shutdown would wait for them.
func closePonds(ctx context.Context) {
	for pond := range ponds.List(room.Filter{}) {
		_ = ponds.Do(ctx, pond.ID, func(p *Pond) { p.Close("the server stops") }) // fails if it has ended
	}
}

// url returns the URL of the page of a server that listens on addr.
func url(addr net.Addr) string {
	host, port, _ := net.SplitHostPort(addr.String()) // the address of a listener has both
	if net.ParseIP(host).IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
