package gents

import "github.com/lonng/nano/cmd/nano/internal/contract"

// rooms writes the types of the kinds of rooms.
func (g *generator) rooms() {
	if len(g.contract.Rooms) == 0 {
		return
	}
	g.line("")
	g.line("/** The kinds of rooms: their state, the options and the reply of a join, the options of a creation, and their messages. */")
	g.line("export interface Rooms {")
	for _, r := range g.contract.Rooms {
		g.doc("  ", r.Doc)
		g.line("  %s: {", key(r.Kind))
		g.line("    state: %s;", g.typ(r.State, false))
		for _, o := range []struct {
			name string
			t    *contract.Type
		}{{"join", r.Join}, {"reply", r.Reply}, {"create", r.Create}} {
			if o.t != nil {
				g.line("    %s: %s;", o.name, g.payload(o.t))
			}
		}
		g.line("    messages: {")
		for _, m := range r.Messages {
			g.doc("      ", m.Doc)
			reply := ""
			if m.Reply != nil {
				reply = "; reply: " + g.payload(m.Reply)
			}
			g.line("      %s: { request: %s%s };", key(m.Route), g.payload(m.Request), reply)
		}
		g.line("    };")
		g.line("  };")
	}
	g.line("}")
	g.line("")
	g.line("/** A room of the kind K that the client is in. */")
	g.line("export type RoomOf<K extends keyof Rooms> = TypedRoom<Rooms[K]>;")
}
