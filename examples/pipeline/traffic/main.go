// Traffic counts what passes a server, by direction and route, with an inbound and an outbound hook.
//
//	go run ./examples/pipeline/traffic -addr :3250
//
// The page that it prints sends messages and shows the table.
// It echoes what clients send to Echo.Say, and logs a table every ten seconds.
package main

import (
	"cmp"
	"embed"
	stdjson "encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

// maxRoutes bounds the table, because clients may send any number of routes.
const maxRoutes = 1000

// flow is one line of the table.
type flow struct {
	Direction string `json:"direction"`
	Route     string `json:"route"`
	Messages  int    `json:"messages"`
	Bytes     int    `json:"bytes"`
}

// traffic counts messages. Hooks run concurrently on the goroutines of connections and
// senders.
type traffic struct {
	mu    sync.Mutex
	flows map[[2]string]*flow // by direction and route; mu guards it
}

// pipeline returns the hooks that count. They are the last hooks for incoming and the
// first for outgoing messages. They count payloads as handlers see them, without the
// overhead of encryption.
func (t *traffic) pipeline() pipeline.Pipeline {
	p := pipeline.New()
	p.Inbound().PushBack(t.count("in"))
	p.Outbound().PushFront(t.count("out"))
	return p
}

func (t *traffic) count(direction string) pipeline.Func {
	return func(_ *session.Session, m *pipeline.Message) error {
		// An error response for an unknown route has no route.
		t.add(direction, cmp.Or(m.Route, "not served"), len(m.Data))
		return nil
	}
}

func (t *traffic) add(direction, route string, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[[2]string{direction, route}]
	if f == nil && len(t.flows) >= maxRoutes {
		route = "others"
		f = t.flows[[2]string{direction, route}]
	}
	if f == nil {
		f = &flow{Direction: direction, Route: route}
		t.flows[[2]string{direction, route}] = f
	}
	f.Messages++
	f.Bytes += bytes
}

// list returns the counts, sorted by bytes in descending order.
func (t *traffic) list() []flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []flow{}
	for _, f := range t.flows {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b flow) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Route, b.Route))
	})
	return list
}

// String returns the table as text.
func (t *traffic) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\troute\tmessages\tbytes")
	for _, f := range t.list() {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", f.Direction, f.Route, f.Messages, f.Bytes)
	}
	_ = w.Flush() // writes to memory
	return b.String()
}

// Echo is a component that causes traffic.
type Echo struct{ site.Announcer }

type line struct{ Text string }

var onShout = nano.PushRoute[line]("onShout")

// Say responds with the payload.
func (e *Echo) Say(_ *session.Session, l *line) (*line, error) { return l, nil }

// Shout pushes the payload in upper case.
func (e *Echo) Shout(s *session.Session, l *line) error {
	return onShout.Send(s, &line{strings.ToUpper(l.Text)})
}

// ServeHTTP responds with the table as JSON.
func (t *traffic) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := stdjson.NewEncoder(w).Encode(t.list()); err != nil {
		log.Printf("traffic: %v", err) // the client has disconnected
	}
}

// options configures the server, which prints line when it is ready.
func options(t *traffic, line string) []nano.Option {
	components := &component.Components{}
	components.Register(&Echo{site.Announcer{Line: line}})
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithPipeline(t.pipeline())}
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	flag.Parse()
	t := &traffic{flows: map[[2]string]*flow{}}
	site.Handle(http.DefaultServeMux, web)
	http.Handle("/traffic", t)
	scheduler.NewTimer(10*time.Second, func() { log.Printf("so far:\n%s", t) })
	if nano.Listen(*addr, append(options(t, "The page is at "+site.URL(*addr)), nano.WithWebSocket("/nano"))...) != nil {
		os.Exit(1) // Listen has logged the cause
	}
}
