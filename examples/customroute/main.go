// Customroute shows how a program chooses the node that serves a player. Each region has its own nodes, whose label is the
// name of the region. One node of the region serves all players in a room, whichever gates they are connected to.
//
//	go run ./examples/customroute gate
//	go run ./examples/customroute room --label europe --listen 127.0.0.1:34581
//	go run ./examples/customroute room --label europe --listen 127.0.0.1:34582
//	go run ./examples/customroute room --label asia   --listen 127.0.0.1:34583
//
// Open the page that the gate prints, in two windows. It sends requests as JSON over WebSocket: Gate.Enter {"region":"europe","room":"blue"}, then
// Room.Say {"text":"hello"}, which pushes onSay to everybody in the room.
package main

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"log"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

type (
	enterRequest struct {
		Region string `json:"region"`
		Room   string `json:"room"`
	}
	enterReply struct {
		Node string `json:"node"` // the node that serves the room
	}
	said struct {
		Text string `json:"text"`
		Node string `json:"node,omitempty"` // the node that serves the room
	}
)

// Gate is the component of gates.
type Gate struct {
	site.Announcer
	calls sync.WaitGroup
}

// Enter moves the player to a room. It responds when the node of the room has confirmed.
func (g *Gate) Enter(s *session.Session, req *enterRequest) error {
	if s.HasKey("entering") {
		return nano.Errorf("GATE-BUSY", "wait until you are in")
	}
	s.Set("entering", true)
	r := s.Defer()
	g.calls.Go(func() { // enter waits for other nodes, so it must not run on the logic goroutine
		reply, err := enter(s, req)
		s.Remove("entering")
		if err != nil {
			err = r.Fail(err)
		} else {
			err = r.Reply(reply)
		}
		if err != nil {
			log.Printf("customroute: %v", err)
		}
	})
	return nil
}

// enter makes the previous room's node remove the player, and then the new room's node
// add the player.
func enter(s *session.Session, req *enterRequest) (*enterReply, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	if _, bound := s.Router().Find("Room"); bound {
		if err := s.Call(ctx, "Room.Leave", req, nil); err != nil {
			log.Printf("customroute: leaving: %v", err) // the node may be down
		}
		s.Router().Delete("Room")
	}
	s.Set("region", req.Region)
	s.Set("room", req.Room)
	reply := &enterReply{}
	return reply, s.Call(ctx, "Room.Join", req, reply)
}

// Shutdown waits for running calls.
func (g *Gate) Shutdown() { g.calls.Wait() }

// route chooses the node for an unbound session among the members that serve the service.
// It runs on the gate, so it can use the values that the gate has set in the session.
func route(service string, s *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
	if service != "Room" {
		return members[0]
	}
	region := slices.DeleteFunc(members, func(m *clusterpb.MemberInfo) bool { return m.GetLabel() != s.String("region") })
	if len(region) == 0 {
		return nil // the player gets NANO-503
	}
	// Every gate finds the same node with the largest hash. When a node comes or goes,
	// only its own rooms move.
	return slices.MaxFunc(region, func(a, b *clusterpb.MemberInfo) int {
		return cmp.Compare(weight(s.String("room"), a), weight(s.String("room"), b))
	})
}

func weight(room string, m *clusterpb.MemberInfo) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s\x00%s", room, m.GetServiceAddr())
	x := h.Sum64() // the high bits of FNV hardly differ for texts with equal ends
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

// Room is the component that serves rooms.
type Room struct {
	component.Base
	node  string
	rooms map[string]*nano.Group
}

// Join adds a player to a room. Gates call it.
func (r *Room) Join(s *session.Session, req *enterRequest) (*enterReply, error) {
	if !s.HasKey("room") {
		s.OnClose(func(s *session.Session, _ error) { r.leave(s) })
	}
	r.leave(s)
	s.Set("room", req.Room)
	if r.rooms[req.Room] == nil {
		r.rooms[req.Room] = nano.NewGroup(req.Room)
	}
	return &enterReply{r.node}, r.rooms[req.Room].Add(s)
}

// Leave removes a player from the room. The player's new room may be on another node.
// Gates call it.
func (r *Room) Leave(s *session.Session, _ *enterRequest) (*enterReply, error) {
	r.leave(s)
	return &enterReply{r.node}, nil
}

func (r *Room) leave(s *session.Session) {
	name := s.String("room")
	s.Set("room", "")
	g := r.rooms[name]
	if g == nil {
		return
	}
	_ = g.Leave(s)
	if g.Count() == 0 {
		delete(r.rooms, name)
	}
}

var onSay = nano.PushRoute[said]("onSay")

// Say pushes a message to everybody in the player's room.
func (r *Room) Say(s *session.Session, req *said) error {
	g := r.rooms[s.String("room")]
	if g == nil {
		return nano.Errorf("ROOM-NONE", "enter a room first")
	}
	if err := onSay.Broadcast(g, &said{Text: req.Text, Node: r.node}); err != nil {
		return err
	}
	return s.Response([]byte("{}"))
}

// gateOptions configures a gate, which prints line when it is ready.
func gateOptions(line string) []nano.Option {
	c := &component.Components{}
	c.Register(&Gate{Announcer: site.Announcer{Line: line}})
	return []nano.Option{nano.WithComponents(c), nano.WithSerializer(json.NewSerializer()), nano.WithLabel("gate"),
		nano.WithCluster(), nano.WithNodeSelector(route)}
}

func roomOptions(node, label, gate string) []nano.Option {
	c := &component.Components{}
	c.Register(&Room{node: node, rooms: map[string]*nano.Group{}})
	return []nano.Option{nano.WithComponents(c), nano.WithSerializer(json.NewSerializer()), nano.WithLabel(label),
		nano.WithSeeds(gate)}
}

func command() *cli.Command {
	const gate = "127.0.0.1:34570"
	listen := func(addr string) cli.Flag {
		return &cli.StringFlag{Name: "listen", Value: addr, Usage: "`address` for the other nodes"}
	}
	return &cli.Command{
		Name:  "customroute",
		Usage: "nodes that are chosen by region and room",
		Commands: []*cli.Command{
			{
				Name: "gate", Usage: "start the node that players connect to",
				Flags: []cli.Flag{listen(gate), &cli.StringFlag{Name: "players", Value: "127.0.0.1:3250", Usage: "`address` for players"}},
				Action: func(_ context.Context, c *cli.Command) error {
					mux := http.NewServeMux()
					site.Handle(mux, web)
					players := c.String("players")
					return nano.Listen(c.String("listen"), append(gateOptions("The page is at "+site.URL(players)),
						nano.WithClientAddr(players), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...)
				},
			},
			{
				Name: "room", Usage: "start a node that serves the rooms of a region",
				Flags: []cli.Flag{
					listen("127.0.0.1:34581"),
					&cli.StringFlag{Name: "label", Value: "europe", Usage: "`name` of the region"},
					&cli.StringFlag{Name: "gate", Value: gate, Usage: "`address` of the gate, or of any node"},
				},
				Action: func(_ context.Context, c *cli.Command) error {
					return nano.Listen(c.String("listen"), roomOptions(c.String("listen"), c.String("label"), c.String("gate"))...)
				},
			},
		},
	}
}

func main() {
	if command().Run(context.Background(), os.Args) != nil {
		os.Exit(1) // the cause was printed
	}
}
