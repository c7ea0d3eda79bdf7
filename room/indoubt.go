package room

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/lonng/nano/session"
)

// This file ends moves whose commit has no answer: the other node may have started the
// room. The node that moves the room asks it, directly and through gates of the players,
// and the room stays stopped meanwhile. If there is no answer for doubtTime, the room
// continues here. Then this node makes the other one drop its copy as soon as it can be
// reached. A copy that cannot be reached ends by itself: it loses its players, and is
// empty when their seats are held no longer.

const (
	doubtTime  = 3 * time.Second        // how long the other node is asked before the room continues
	doubtPause = 100 * time.Millisecond // between two questions
	doubtAsks  = 4                      // number of sessions through whose gates the other node is asked
	// doubtStay is how long a room stays on its node because of a copy at another one.
	doubtStay = 30 * time.Second
	// dropTime is how long the other node is told to drop its copy.
	dropTime = 10 * time.Minute
)

// askEnd asks the other node how a move has ended until it answers, for doubtTime at
// most. A move without a commit ends.
func (n *node) askEnd(ctx context.Context, to peer, token string, sessions map[PlayerID]*session.Session) (e moveEnd, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, doubtTime)
	defer cancel()
	body, err := json.Marshal(&moveToken{token})
	if err != nil {
		return e, false
	}
	asks := []func(reply *[]byte) error{func(reply *[]byte) error {
		return n.server.Call(ctx, nodeService(to.name)+"."+methodAbort, body, reply)
	}}
	for _, s := range sessions {
		if len(asks) > doubtAsks {
			break
		}
		asks = append(asks, func(reply *[]byte) error {
			return s.Call(ctx, nodeService(to.name)+"."+methodAsked, body, reply)
		})
	}
	answers := make(chan moveEnd, len(asks))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, ask := range asks {
		wg.Go(func() {
			for {
				var reply []byte
				var e moveEnd
				if ask(&reply) == nil && json.Unmarshal(reply, &e) == nil {
					answers <- e
					return
				}
				select {
				case <-time.After(doubtPause):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	select {
	case e = <-answers:
		return e, true
	case <-ctx.Done():
		return e, false
	}
}

// asked serves an abort that came through the gate of a session.
func (s *server) asked(from *session.Session, data any) (any, error) {
	var t moveToken
	if err := json.Unmarshal(data.([]byte), &t); err != nil {
		return nil, badRequest("%v", err)
	}
	s.node.abort(&t, deferReply(from))
	return nil, nil
}

// copyAt names a copy of a room that may exist on another node.
type copyAt struct {
	Node  string `json:"node"`  // name of that node
	Token string `json:"token"` // of the move that made the copy
}

// stayInDoubt continues the room here although another node may have a copy.
func (c *core) stayInDoubt(at copyAt) {
	c.stay()
	c.copies = append(c.copies, at)
	c.doubt = time.Now().Add(doubtStay)
	c.resetViews()
}

// resetViews sends all players a snapshot next, because they may have got the state of a
// copy.
func (c *core) resetViews() {
	for _, p := range c.players {
		p.view.Reset()
	}
	c.touch()
}

// copyDrop makes a node drop its copy of a room that continues elsewhere.
type copyDrop struct {
	Token  string  `json:"token"` // of the move that made the copy
	ID     string  `json:"id"`
	Seated []int64 `json:"seated"` // ids of the players' sessions at the node that has the room
	// Node is the name of the node that has the room, if other nodes may ask the node with the copy where the room is.
	Node string `json:"node,omitempty"`
}

// dropCopy makes another node drop its copy, as soon as it can be reached. It returns when
// that node has answered, or dropTime has passed. It also returns when the room has moved
// on, because the node that has the room then calls dropCopy.
func (n *node) dropCopy(c *core, at copyAt) {
	ctx, cancel := context.WithTimeout(n.ctx, dropTime)
	defer cancel()
	tick := time.NewTicker(memberTime)
	defer tick.Stop()
	for {
		d := &copyDrop{Token: at.Token, ID: c.id}
		away := false
		_ = c.onRoom(ctx, func() error { // fails for a room that has ended, whose copy ends too
			away = c.away
			if !c.closed && at.Node != n.name && slices.Contains(c.records, at.Node) {
				d.Node = n.name
			}
			for _, p := range c.players {
				if p.session != nil && !c.closed {
					d.Seated = append(d.Seated, p.session.ID())
				}
			}
			return nil
		})
		if away {
			return
		}
		call, cancel := context.WithTimeout(ctx, askTime)
		err := n.call(call, at.Node, methodDrop, d, &struct{}{})
		cancel()
		if err == nil {
			c.do(func() {
				c.forgetCopy(at)
				if !c.closed {
					c.resetViews()
				}
			})
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if n.ctx.Err() == nil { // the copy has ended by itself
				c.do(func() { c.forgetCopy(at) })
			}
			return
		}
	}
}

// forgetCopy removes a copy that does not exist any more. It runs on the room's scheduler.
func (c *core) forgetCopy(at copyAt) {
	c.copies = slices.DeleteFunc(slices.Clone(c.copies), func(o copyAt) bool { return o == at })
	if len(c.copies) == 0 {
		c.doubt = time.Time{}
	}
}

// dropFor serves a copyDrop. Players who are connected here alone get room.closed.
func (n *node) dropFor(d *copyDrop, done func(any, error)) {
	dropped := func() {
		if d.Node != "" && n.room(d.ID) == nil {
			n.noteMove(d.ID, d.Node) // enlist has deleted the record
		}
		done(struct{}{}, nil)
	}
	c := n.room(d.ID)
	if c == nil || c.token != d.Token {
		n.abort(&moveToken{d.Token}, func(v any, _ error) { // a late commit must not start it
			if e, ok := v.(moveEnd); ok && e.Committed {
				done(nil, ErrMoving) // it has just started: the next question finds it
				return
			}
			dropped()
		})
		return
	}
	if !c.direct(func() {
		if c.parked != nil {
			done(nil, ErrMoving)
			return
		}
		if !c.closed {
			for _, p := range c.players {
				if p.session != nil && !slices.Contains(d.Seated, p.session.ID()) {
					_ = p.session.Push(routeClosed, nodeDown)
				}
			}
			c.vacate()
		}
		dropped()
	}) {
		dropped()
	}
}
