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
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
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
	members struct {
		Members []string `json:"members"` // the names of everybody in the room, sorted
	}
	notice struct {
		Content string `json:"content"`
	}
)

// The pushes to everybody in a room. Tools find them here and generate typed clients.
var (
	onMessage = nano.PushRoute[message]("onMessage") // somebody said something
	onMembers = nano.PushRoute[members]("onMembers") // somebody came, left or has another name
	onNewUser = nano.PushRoute[notice]("onNewUser")  // somebody came
)

// room is where people talk to each other. It lives while somebody is in.
type room struct {
	name  string
	group *nano.Group
	names map[int64]string // by session id
}

func push[T any](r *room, p nano.Push[T], v *T) {
	if err := p.Broadcast(r.group, v); err != nil {
		log.Printf("chat: %s to %s: %v", p.Route(), r.name, err)
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
		push(r, onMembers, &members{slices.Sorted(maps.Values(r.names))})
	}
	return name
}

// Chat is the component: its routes are room.join and room.message.
type Chat struct {
	site.Announcer
	rooms map[string]*room
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
	push(r, onNewUser, &notice{nick + " joined"})
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
		push(r, onMessage, &message{name, content})
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
	push(r, onMembers, &members{slices.Sorted(maps.Values(r.names))})
	push(r, onMessage, &message{Content: name + " left"})
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

// options configures the server, which prints line when it is ready. Each call makes a chat of its own. A page that lost
// its connection has 10 s to come back without a loss; then the person has left.
func options(line string) []nano.Option {
	components := &component.Components{}
	components.Register(&Chat{Announcer: site.Announcer{Line: line}, rooms: map[string]*room{}},
		component.WithName("room"), component.WithNameFunc(strings.ToLower))
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()),
		nano.WithWebSocket("/nano"), nano.WithResume(nano.Resume{Window: 10 * time.Second})}
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on; without a host, other devices may come in")
	flag.Parse()
	site.Handle(http.DefaultServeMux, web)
	if nano.Listen(*addr, options("The chat is at "+site.URL(*addr))...) != nil {
		os.Exit(1) // Listen has logged why
	}
}
