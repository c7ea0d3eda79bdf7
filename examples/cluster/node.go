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

// config is the configuration of a node.
type config struct {
	label   string // the kind of the node
	listen  string // address for other nodes
	players string // address for players; "" for none
	web     string // address of the page; "" for none
	console string // loopback address of the console; "" for none
	shown   bool   // the consoles of other nodes show this one, also without a console of its own
	opts    []nano.Option
	// components returns the components of a node that others dial at addr, and the
	// options for them.
	components func(addr string) (c *component.Components, opts []nano.Option)
}

// shownIf returns the config of a node that the consoles of other nodes show, if shown is true.
func (c config) shownIf(shown bool) config {
	c.shown = shown
	return c
}

// withConsole returns the config with the address of a console, "" for none.
func (c config) withConsole(addr string) config {
	c.console = addr
	return c
}

// node is a running node.
type node struct {
	config
	*nano.Server
	addr    string // address for players
	url     string // address of the page
	watch   string // address of the console
	pages   []*http.Server
	serving int        // number of goroutines that serve players or pages
	served  chan error // receives the result of each
}

// start starts a node and returns when the node has joined the members it found.
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

// logger returns the log of a node. Each record has the kind of the node, because a
// process may hold several nodes.
func logger(label string) *slog.Logger { return slog.Default().With("node", label) }

// open starts to serve players and the page.
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
	if n.shown {
		site.ConsoleServer(n.Server, n.label+" node") // other nodes ask it; it has no address of its own
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

// serve runs f until stop. The error of stopping is ignored.
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

// stop shuts the node down, so that it leaves the cluster.
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

// clean returns a player's text as one line of at most limit characters.
func clean(text string, limit int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	return strings.TrimSpace(string(runes[:min(len(runes), limit)]))
}

// These are the longest texts, in characters. Longer ones are cut.
const maxName, maxContent = 20, 500

var errName = nano.Errorf("CHAT-NAME", "log in first, with a nickname of 1 to %d characters", maxName)
