package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/console"
)

// watch is a component that serves the console of the game. Only programs on this machine
// reach it, and they may use its actions.
type watch struct {
	component.Base
	listener net.Listener
	page     *http.Server
	served   chan struct{} // closed when page has ended
}

// newWatch listens on an address for the console. Any other address than a loopback one is
// an error.
func newWatch(addr string) (*watch, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("console: %s is not a loopback address such as 127.0.0.1:3251", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return &watch{listener: l, served: make(chan struct{})}, nil
}

// option returns the option of a server that has the console.
func (w *watch) option() nano.Option {
	components := &component.Components{}
	components.Register(w, component.WithName("console"))
	return nano.WithComponents(components)
}

func (w *watch) url() string { return "http://" + w.listener.Addr().String() + "/console/" }

// Address serves console.Address, which only other nodes can call.
func (w *watch) Address(context.Context, *struct{}) (*string, error) { return new(w.url()), nil }

// InitServer starts the console.
func (w *watch) InitServer(srv *nano.Server) {
	mux := http.NewServeMux()
	mux.Handle("/console/", console.New(srv, console.Options{Authorize: console.Loopback(console.Operator), Name: "mahjong"}))
	mux.Handle("/{$}", http.RedirectHandler("/console/", http.StatusFound))
	w.page = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(w.served)
		_ = w.page.Serve(w.listener) // it ends with Shutdown
	}()
	fmt.Println("The console is at " + w.url())
}

// Shutdown stops the console.
func (w *watch) Shutdown() {
	if w.page != nil {
		_ = w.page.Close()
		<-w.served
	}
}
