package site

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/console"
)

// ListenConsole listens on an address for a console. Only programs on this machine can connect: any other address than a
// loopback one is an error.
func ListenConsole(addr string) (net.Listener, error) {
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
	return l, nil
}

// ConsoleURL returns the address of a console at a listener of ListenConsole.
func ConsoleURL(l net.Listener) string { return "http://" + l.Addr().String() + "/console/" }

// ConsoleServer returns the server of a console. The people on this machine may use its actions.
func ConsoleServer(srv *nano.Server, name string) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/console/", console.New(srv, console.Options{Authorize: console.Loopback(console.Operator), Name: name}))
	mux.Handle("/{$}", http.RedirectHandler("/console/", http.StatusFound))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
}

// OpenConsole returns a console at a loopback address, nil for the address "". It ends the
// program if the address is not one.
func OpenConsole(name, addr string) *Console {
	if addr == "" {
		return nil
	}
	l, err := ListenConsole(addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return &Console{Name: name, Listener: l}
}

// ConsoleUsage is the help text of the flag -console.
const ConsoleUsage = "loopback `address` of the console, such as 127.0.0.1:3251; none if it is empty"

// Console serves the console of one server at a listener. A nil Console does nothing.
type Console struct {
	Name     string
	Listener net.Listener

	web    *http.Server
	served chan struct{} // closed when web has ended
}

// Start starts the console and prints its address.
func (c *Console) Start(srv *nano.Server) {
	if c == nil {
		return
	}
	c.web, c.served = ConsoleServer(srv, c.Name), make(chan struct{})
	go func() {
		defer close(c.served)
		_ = c.web.Serve(c.Listener) // it ends with Stop
	}()
	fmt.Println("The console is at " + ConsoleURL(c.Listener))
}

// Stop ends the console.
func (c *Console) Stop() {
	if c == nil || c.web == nil {
		return
	}
	_ = c.web.Close()
	<-c.served
}

// Options returns the options of a server that has the console from its start to its end.
func (c *Console) Options() []nano.Option {
	if c == nil {
		return nil
	}
	components := &component.Components{}
	components.Register(&consoleComponent{console: c}, component.WithName("console"))
	return []nano.Option{nano.WithComponents(components)}
}

// consoleComponent is a component that serves a console.
type consoleComponent struct {
	component.Base
	console *Console
}

func (c *consoleComponent) InitServer(srv *nano.Server) { c.console.Start(srv) }
func (c *consoleComponent) Shutdown()                   { c.console.Stop() }

// Address serves console.Address, which only other nodes can call.
func (c *consoleComponent) Address(context.Context, *struct{}) (*string, error) {
	return new(ConsoleURL(c.console.Listener)), nil
}
