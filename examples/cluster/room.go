package main

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// These are the pushes to everybody in the room. Tools find them here and generate typed
// clients.
var (
	onMessage = nano.PushRoute[message]("onMessage") // a new message
	onMembers = nano.PushRoute[members]("onMembers") // somebody joined, left or changed the name
	onNewUser = nano.PushRoute[newUser]("onNewUser") // somebody joined
)

// RoomService is the room on a chat node. Every chat node serves some of the people in
// the room and sends their messages to the other chat nodes. All methods run on the
// node's logic goroutine.
type RoomService struct {
	component.Base
	srv *nano.Server
	ear string // the service name under which other chat nodes call this one

	group  *nano.Group
	names  map[int64]string    // names of the people at this node, by session id
	others map[string]*other   // other chat nodes that are up, by ear
	away   map[string][]string // names of people at other nodes, by ear

	ctx    context.Context // canceled by Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines that send to the other nodes
}

// other is another chat node.
type other struct{ queue chan *news }

// backlog is the number of messages that may wait for one other node. Further messages to
// it are lost.
const backlog = 1024

// earPrefix is the prefix of the names of ears. The node's address follows it, so that
// each node can be called by name.
const earPrefix = "Ear@"

func newRoomService(ear string) *RoomService {
	r := &RoomService{
		ear: ear, group: nano.NewGroup("room"), names: map[int64]string{}, others: map[string]*other{}, away: map[string][]string{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// InitServer receives the server, through which the room calls other nodes.
func (r *RoomService) InitServer(s *nano.Server) { r.srv = s }

// JoinRoom adds a player to the room. Gates send it.
func (r *RoomService) JoinRoom(s *session.Session, req *joinRequest) error {
	name := clean(req.Nickname, maxName)
	if name == "" || s.UID() == 0 {
		return errName
	}
	_, here := r.names[s.ID()]
	r.join(s, name)
	if req.Again || here {
		r.tell("", nil)
	} else {
		r.tell(onNewUser.Route(), &newUser{name + " joined"})
	}
	return nil
}

func (r *RoomService) join(s *session.Session, name string) {
	if _, ok := r.names[s.ID()]; !ok {
		_ = r.group.Add(s) // the group drops closed sessions at once
		s.OnClose(func(*session.Session, error) {
			delete(r.names, s.ID())
			r.members()
			r.tell("", nil)
		})
	}
	r.names[s.ID()] = name
	r.members()
}

// SyncMessage sends a message to everybody.
func (r *RoomService) SyncMessage(s *session.Session, msg *message) error {
	name, ok := r.names[s.ID()]
	if !ok {
		// The player's previous node is about to shut down.
		if name = clean(msg.Name, maxName); name == "" || s.UID() == 0 {
			return errName
		}
		r.join(s, name)
	}
	content := clean(msg.Content, maxContent)
	if content == "" {
		return nil
	}
	if err := s.RPC("TopicService.Spend", []byte{}); err != nil {
		logger("chat").Warn("the message is not charged", "player", name, "error", err)
	}
	r.tell(onMessage.Route(), &message{name, content})
	return nil
}

// members pushes the list of people in the room to everybody at this node.
func (r *RoomService) members() {
	all := slices.Collect(maps.Values(r.names))
	for _, names := range r.away {
		all = append(all, names...)
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	r.push(onMembers.Route(), &members{all})
}

func (r *RoomService) push(route string, v any) {
	if err := r.group.Broadcast(route, v); err != nil {
		logger("chat").Error("a push failed", "route", route, "error", err)
	}
}

// tell pushes v to everybody, at this and the other chat nodes. It also sends them the
// list of people here.
func (r *RoomService) tell(route string, v any) {
	n := &news{From: r.ear, Members: slices.Sorted(maps.Values(r.names)), Route: route}
	if route != "" {
		content, err := json.Marshal(v)
		if err != nil {
			logger("chat").Error("a push failed", "route", route, "error", err)
			return
		}
		n.Content = content
		r.push(route, content)
	}
	for ear, o := range r.others {
		select {
		case o.queue <- n:
		default:
			logger("chat").Warn("the queue to another node is full", "ear", ear, "route", route)
		}
	}
}

// changed is called when another node comes up or goes down.
func (r *RoomService) changed(m cluster.Member) {
	ear := earPrefix + m.Addr
	if o, ok := r.others[ear]; ok {
		close(o.queue)
		r.forget(ear)
	}
	if !m.Up || !slices.Contains(m.Services, ear) || r.ctx.Err() != nil {
		return // after Shutdown nothing would close the queue
	}
	o := &other{queue: make(chan *news, backlog)}
	r.others[ear] = o
	o.queue <- &news{From: r.ear, Members: slices.Sorted(maps.Values(r.names))}
	r.wg.Go(func() {
		for n := range o.queue {
			ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
			if err := r.srv.Call(ctx, ear+".Hear", n, nil); err != nil && r.ctx.Err() == nil {
				logger("chat").Warn("another node was not reached", "ear", ear, "error", err)
			}
			cancel()
		}
	})
}

func (r *RoomService) forget(ear string) {
	delete(r.others, ear)
	if len(r.away[ear]) > 0 {
		delete(r.away, ear)
		r.members()
	}
}

// Shutdown stops the goroutines that send to other nodes.
func (r *RoomService) Shutdown() {
	r.cancel()
	for _, o := range r.others {
		close(o.queue)
	}
	clear(r.others)
	r.wg.Wait()
}

// Ear receives the messages of other chat nodes. Its service name differs on every node.
type Ear struct {
	component.Base
	room *RoomService
}

// Hear handles news. It has no session parameter, so only other nodes can call it.
func (e *Ear) Hear(_ context.Context, n *news) (*struct{}, error) {
	r := e.room
	if !slices.Equal(r.away[n.From], n.Members) {
		r.away[n.From] = n.Members
		r.members()
	}
	if n.Route != "" {
		r.push(n.Route, []byte(n.Content))
	}
	return nil, nil
}
