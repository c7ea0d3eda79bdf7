package gents

import (
	"fmt"
	"strings"

	"github.com/lonng/nano/cmd/nano/internal/contract"
)

// conflicts returns an error if a name stands for two things that clients cannot tell apart.
func (g *generator) conflicts() error {
	for i, p := range g.pushes {
		if i > 0 && g.pushes[i-1].Route == p.Route {
			return fmt.Errorf("gen ts: the push %q is declared with two types", p.Route)
		}
	}
	if g.contract.Serializer != "protobuf" {
		return nil
	}
	var names []string // of the codecs
	for _, r := range g.contract.Routes {
		if !r.Internal {
			names = append(names, r.Route)
		}
	}
	for _, p := range g.pushes {
		names = append(names, p.Route)
	}
	for _, r := range g.contract.Rooms {
		names = append(names, r.Kind)
		if r.Create != nil {
			names = append(names, r.Kind+".create")
		}
		for _, m := range r.Messages {
			names = append(names, r.Kind+"."+m.Route)
		}
	}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			return fmt.Errorf("gen ts: %q names two of the routes, pushes and kinds of rooms, which a protobuf client cannot tell apart: rename one", name)
		}
		seen[name] = true
	}
	return nil
}

// routes writes the types of the routes. A push and a handler of one route share a property.
func (g *generator) routes() {
	g.line("")
	g.line("/** The routes of the server: what is requested, sent and pushed. */")
	g.line("export interface Routes {")
	pushes := map[string]contract.Push{} // those that are not written yet
	for _, p := range g.pushes {
		pushes[p.Route] = p
	}
	for _, r := range g.contract.Routes {
		if r.Internal {
			continue
		}
		parts := []string{"notify: " + g.payload(r.Request)}
		if r.Reply != nil {
			parts = []string{"request: " + g.payload(r.Request), "reply: " + g.payload(r.Reply)}
		}
		doc := r.Doc
		if p, ok := pushes[r.Route]; ok {
			parts = append(parts, "push: "+g.payload(p.Type))
			doc = strings.Trim(doc+"\n\n"+p.Doc, "\n")
			delete(pushes, p.Route)
		}
		g.doc("  ", doc)
		g.line("  %s: { %s };", key(r.Route), strings.Join(parts, "; "))
	}
	for _, p := range g.pushes {
		if _, ok := pushes[p.Route]; ok {
			g.doc("  ", p.Doc)
			g.line("  %s: { push: %s };", key(p.Route), g.payload(p.Type))
		}
	}
	g.line("}")
}
