// Chat is a small chat: rooms, nicknames, and who is there. Its handlers and callbacks all run on nano's logic goroutine,
// one at a time, so there is nothing to lock.
package main

import (
	"cmp"
	"embed"
	"flag"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/lonng/nano"
	"github.com/lonng/nano/clients/js"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

// The longest texts, in characters; the page has the same limits. What is longer is cut.
const maxName, maxRoom, maxContent = 20, 30, 500

type (
	joinRequest struct{ Name, Room string } // both may be left out
	joinReply   struct {
		Code   int    `json:"code"` // 0
		Result string `json:"result"`
		Name   string `json:"name"` // the name and the room that were given
		Room   string `json:"room"`
	}
	message struct {
		Name    string `json:"name"` // a new one renames the sender; in onMessage, "" marks a line of the room's own
		Content string `json:"content"`
	}
)

// room is where people talk to each other. It lives while somebody is in.
type room struct {
	name  string
	group *nano.Group
	names map[int64]string // by session id
}

func (r *room) push(route string, v any) {
	if err := r.group.Broadcast(route, v); err != nil {
		log.Printf("chat: %s to %s: %v", route, r.name, err)
	}
}

// call names the session as it wants, with a number behind it where somebody else has that name, and tells the room.
func (r *room) call(s *session.Session, wanted string) string {
	taken := map[string]bool{}
	for id, name := range r.names {
		taken[strings.ToLower(name)] = id != s.ID()
	}
	name := wanted
	for n := 2; taken[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s %d", wanted, n)
	}
	if r.names[s.ID()] != name {
		r.names[s.ID()] = name
		r.push("onMembers", map[string]any{"members": slices.Sorted(maps.Values(r.names))})
	}
	return name
}

// Chat is the component: its routes are room.join and room.message.
type Chat struct {
	component.Base
	rooms   map[string]*room
	started func() // called when the server is ready; may be nil
}

// AfterInit runs when the port is open, right before the first client is accepted.
func (c *Chat) AfterInit() {
	if c.started != nil {
		c.started()
	}
}

// Join takes the session into a room, and out of the one where it was.
func (c *Chat) Join(s *session.Session, req *joinRequest) (*joinReply, error) {
	if !s.HasKey("room") {
		s.OnClose(func(s *session.Session, _ error) { c.leave(s) })
	}
	c.leave(s)
	name := cmp.Or(clean(req.Room, maxRoom), "lobby")
	if c.rooms[name] == nil {
		c.rooms[name] = &room{name: name, group: nano.NewGroup(name), names: map[int64]string{}}
	}
	r := c.rooms[name]
	s.Set("room", r)
	if err := r.group.Add(s); err != nil {
		return nil, err
	}
	nick := r.call(s, cmp.Or(clean(req.Name, maxName), "Guest"))
	r.push("onNewUser", map[string]any{"content": nick + " joined"})
	return &joinReply{Result: "success", Name: nick, Room: name}, nil
}

// Message says something in the room of the session.
func (c *Chat) Message(s *session.Session, msg *message) error {
	r, _ := s.Value("room").(*room)
	if r == nil {
		return nano.Errorf("CHAT-ROOM", "join a room first")
	}
	name := r.call(s, cmp.Or(clean(msg.Name, maxName), r.names[s.ID()]))
	if content := clean(msg.Content, maxContent); content != "" {
		r.push("onMessage", &message{name, content})
	}
	return nil
}

func (c *Chat) leave(s *session.Session) {
	r, _ := s.Value("room").(*room)
	if r == nil {
		return
	}
	name := r.names[s.ID()]
	delete(r.names, s.ID())
	s.Set("room", (*room)(nil))
	_ = r.group.Leave(s) // a session that closed has left already
	if len(r.names) == 0 {
		delete(c.rooms, r.name)
		return
	}
	r.push("onMembers", map[string]any{"members": slices.Sorted(maps.Values(r.names))})
	r.push("onMessage", &message{Content: name + " left"})
}

// clean makes text from a client fit to be shown: printable, on one line, of at most limit characters.
func clean(text string, limit int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) || r == '\u200d' { // the joiner binds the parts of an emoji
			return r
		}
		return -1
	}, strings.Join(strings.Fields(text), " ")))
	return strings.Trim(string(runes[:min(len(runes), limit)]), " \u200d")
}

// options configures the server. Each call makes a chat of its own.
func options(started func()) []nano.Option {
	components := &component.Components{}
	components.Register(&Chat{rooms: map[string]*room{}, started: started}, component.WithName("room"), component.WithNameFunc(strings.ToLower))
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()),
		nano.WithWebSocket("/nano")}
}

// site puts the page on mux.
func site(mux *http.ServeMux) {
	mux.Handle("/web/", http.FileServerFS(web))
	mux.Handle("/web/nano.js", http.StripPrefix("/web", http.FileServerFS(js.FS)))
	mux.Handle("/{$}", http.RedirectHandler("/web/", http.StatusFound))
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on; without a host, other devices may come in")
	flag.Parse()
	site(http.DefaultServeMux)
	host, port, _ := net.SplitHostPort(*addr)
	started := func() {
		fmt.Printf("The chat is at http://%s/web/\n", net.JoinHostPort(cmp.Or(host, "localhost"), port))
	}
	if nano.Listen(*addr, options(started)...) != nil {
		os.Exit(1) // Listen has logged why
	}
}
