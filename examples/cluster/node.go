package main

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/serialize/json"
)

//go:embed web
var web embed.FS

// config is what a node is made of.
type config struct {
	label   string // what kind of node it is
	listen  string // where the other nodes dial it
	players string // where players connect, "" for no players
	web     string // where the page is, "" for no page
	console string // where the console is, "" for no console
	opts    []nano.Option
	// components makes the components of a node that others dial at addr, and the options that belong to them.
	components func(addr string) (c *component.Components, opts []nano.Option)
}

// withConsole returns the config with a console at a loopback address, "" for none.
func (c config) withConsole(addr string) config {
	c.console = addr
	return c
}

// node is a node that runs.
type node struct {
	config
	*nano.Server
	addr    string // where players connect
	url     string // of the page
	watch   string // the address of the console
	pages   []*http.Server
	serving int        // goroutines that serve players or pages
	served  chan error // what each of them returned
}

// start starts a node. When it returns, the node has joined the others that it found.
func start(c config) (*node, error) {
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return nil, err
	}
	components, opts := c.components(l.Addr().String())
	opts = append(opts, c.opts...)
	opts = append(opts, nano.WithLabel(c.label), nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()),
		nano.WithWebSocket("/nano"), nano.WithSlog(logger(c.label)))
	n := &node{config: c, Server: nano.New(opts...), served: make(chan error)}
	if err := n.StartCluster(l); err != nil {
		return nil, err
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// logger returns the log of a node: each record has the kind of node, because one process may hold several.
func logger(label string) *slog.Logger { return slog.Default().With("node", label) }

// open serves players and the page.
func (n *node) open() error {
	if n.players != "" {
		l, err := net.Listen("tcp", n.players)
		if err != nil {
			return err
		}
		n.addr = l.Addr().String()
		n.serve(func() error { return n.ServeWebSocket(l) })
	}
	if n.web != "" {
		l, err := net.Listen("tcp", n.web)
		if err != nil {
			return err
		}
		n.url = "http://" + l.Addr().String() + "/web/"
		mux := http.NewServeMux()
		site.Handle(mux, web)
		n.servePage(&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, l)
	}
	if n.console != "" {
		l, err := site.ListenConsole(n.console)
		if err != nil {
			return err
		}
		n.watch = site.ConsoleURL(l)
		n.servePage(site.ConsoleServer(n.Server, n.label+" node"), l)
	}
	return nil
}

// servePage serves a page until stop.
func (n *node) servePage(page *http.Server, l net.Listener) {
	n.pages = append(n.pages, page)
	n.serve(func() error { return page.Serve(l) })
}

// serve runs f until stop; that it was stopped is no error.
func (n *node) serve(f func() error) {
	n.serving++
	go func() {
		err := f()
		if errors.Is(err, nano.ErrServerClosed) || errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		n.served <- err
	}()
}

// stop ends the node: it takes leave of the others.
func (n *node) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := n.Shutdown(ctx)
	for _, page := range n.pages {
		err = errors.Join(err, page.Shutdown(ctx))
	}
	for range n.serving {
		err = errors.Join(err, <-n.served)
	}
	return err
}

func (n *node) String() string {
	text := n.label + " node at " + n.ClusterAddr()
	if n.addr != "" {
		text += ", players at ws://" + n.addr + "/nano"
	}
	if n.url != "" {
		text += ", page at " + n.url
	}
	if n.watch != "" {
		text += ", console at " + n.watch
	}
	return text
}

func masterNode(listen, web string) config {
	return config{label: "master", listen: listen, web: web, opts: []nano.Option{nano.WithCluster()},
		components: func(string) (*component.Components, []nano.Option) {
			c := &component.Components{}
			c.Register(&TopicService{balances: map[int64]int64{}})
			return c, nil
		}}
}

func gateNode(listen, players, master string) config {
	return config{label: "gate", listen: listen, players: players, opts: []nano.Option{nano.WithSeeds(master)},
		components: func(string) (*component.Components, []nano.Option) {
			b := newBindService()
			c := &component.Components{}
			c.Register(b)
			return c, []nano.Option{nano.WithMemberCallback(b.changed)}
		}}
}

func chatNode(listen, master string) config {
	return config{label: "chat", listen: listen, opts: []nano.Option{nano.WithSeeds(master)},
		components: func(addr string) (*component.Components, []nano.Option) {
			r := newRoomService(earPrefix + addr)
			c := &component.Components{}
			c.Register(r)
			c.Register(&Ear{room: r}, component.WithName(r.ear))
			return c, []nano.Option{nano.WithMemberCallback(r.changed)}
		}}
}

// clean makes text from a player fit to be shown: on one line, of at most limit characters.
func clean(text string, limit int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	return strings.TrimSpace(string(runes[:min(len(runes), limit)]))
}

// The longest texts, in characters; what is longer is cut.
const maxName, maxContent = 20, 500

var errName = nano.Errorf("CHAT-NAME", "log in first, with a nickname of 1 to %d characters", maxName)
