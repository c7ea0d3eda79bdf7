package room

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file stops a room for a move. While it is stopped, its ticks and timers do not
// run, and work and messages for it are kept in order.

// parked holds the work that a stopped room does later.
type parked struct {
	since    time.Time
	work     []func() // also of the messages
	messages []*incoming
	held     map[*Player]int // number of messages by player
}

// incoming is a player's message that was received for a room.
type incoming struct {
	method *method
	player *Player
	from   *session.Session
	msg    reflect.Value
	answer *session.Responder // nil after the message was answered or moved
}

// park stops the room. It runs on the room's scheduler.
func (c *core) park() {
	c.parked = &parked{since: time.Now(), held: map[*Player]int{}}
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
}

// unpark ends the stop, and runs the kept work. The room's clock did not advance
// meanwhile.
func (c *core) unpark() {
	p := c.parked
	c.parked = nil
	c.base = c.base.Add(time.Since(p.since))
	c.runKept(p.work)
	c.touch()
	c.setAlarm()
}

// runKept runs work that has waited. A panic costs that work alone.
func (c *core) runKept(work []func()) {
	for _, f := range work {
		c.call("kept work", f)
	}
}

// receive serves a message on the room's scheduler, and answers it.
func (c *core) receive(m incoming) {
	if c.parked == nil {
		c.run(&m, m.answer)
		return
	}
	kept := m // the common case needs no memory
	if err := c.hold(&kept); err != nil {
		c.answer(m.answer, nil, err)
	}
}

// hold keeps a message until the room continues. It returns [ErrBusy] if too many messages
// of the player are kept.
func (c *core) hold(m *incoming) error {
	if c.parked.held[m.player] >= maxHops {
		return ErrBusy
	}
	c.parked.held[m.player]++
	c.parked.messages = append(c.parked.messages, m)
	c.parked.work = append(c.parked.work, func() { c.serveHeld(m) })
	return nil
}

// serveHeld serves a message and answers it, unless the message has moved with the room.
func (c *core) serveHeld(m *incoming) {
	r := m.answer
	if r == nil {
		return
	}
	m.answer = nil
	if c.away {
		c.node.sendOn(c, m, r)
		return
	}
	c.run(m, r)
}

// run serves a message and answers it with r.
func (c *core) run(m *incoming, r *session.Responder) {
	reply, err := c.serve(m.method, m.player, m.from, m.msg)
	if reply == nil {
		reply = []byte{}
	}
	c.answer(r, reply, err)
}

// sendOn sends a message to the node that has the room, to which its session is bound.
func (n *node) sendOn(c *core, m *incoming, r *session.Responder) {
	n.later(func(v any, err error) { c.answer(r, v, err) }, func(ctx context.Context) (any, error) {
		payload, err := n.serializer.Marshal(m.msg.Interface())
		if err != nil {
			return nil, err
		}
		reply := []byte{}
		err = m.from.Call(ctx, c.kind.name+"."+m.method.name, payload, &reply)
		return reply, err
	})
}

// leaveThere sends room.leave to the node to which the session is bound.
func (n *node) leaveThere(s *session.Session, answer func(any, error)) {
	n.later(answer, func(ctx context.Context) (any, error) {
		return struct{}{}, s.Call(ctx, service+".leave", []byte("{}"), nil)
	})
}

// movedMessage is a message that moves with a room.
type movedMessage struct {
	Player  PlayerID `json:"player"`
	Method  string   `json:"method"`
	Payload []byte   `json:"payload"`
}

// movedReply is the answer to a movedMessage.
type movedReply struct {
	Payload []byte         `json:"payload,omitempty"`
	Err     *message.Error `json:"error,omitempty"`
}

// waiting returns the waiting inputs and the kept messages of the room, in the order in
// which they run. The second result has the kept messages alone, which are the last ones
// of the first result.
func (c *core) waiting() (list []movedMessage, held []*incoming, err error) {
	add := func(p *Player, h *method, msg reflect.Value) {
		payload, e := c.node.serializer.Marshal(msg.Interface())
		err = errors.Join(err, e)
		list = append(list, movedMessage{p.ID, h.name, payload})
	}
	for _, p := range c.players {
		for _, in := range p.inputs {
			add(p, in.method, in.msg)
		}
	}
	for _, m := range c.parked.messages {
		if m.player.why == nil && m.player.session == m.from {
			add(m.player, m.method, m.msg)
			held = append(held, m)
		}
	}
	return list, held, err
}

// serveMoved runs a message that has moved with the room.
func (c *core) serveMoved(m *movedMessage) movedReply {
	p := c.player(m.Player)
	i := slices.IndexFunc(c.kind.messages, func(h *method) bool { return h.name == m.Method })
	if p == nil || p.session == nil || i < 0 {
		return c.movedReply(nil, ErrNotJoined)
	}
	h := c.kind.messages[i]
	msg := reflect.New(h.request)
	if err := c.node.serializer.Unmarshal(m.Payload, msg.Interface()); err != nil {
		return c.movedReply(nil, badRequest("the message does not decode"))
	}
	reply, err := c.serve(h, p, p.session, msg)
	if reply == nil || err != nil {
		return c.movedReply(nil, err)
	}
	payload, ok := reply.([]byte)
	if !ok {
		payload, err = c.node.serializer.Marshal(reply)
	}
	return c.movedReply(payload, err)
}

// movedReply returns the answer to a message that has moved. It logs an error that the
// client may not see.
func (c *core) movedReply(payload []byte, err error) movedReply {
	if err == nil {
		return movedReply{Payload: payload}
	}
	var public *message.Error
	if !errors.As(err, &public) {
		c.log.Error("nano: a message to a room failed", "room", c.id, "error", err)
		public = errPanic
	}
	return movedReply{Err: public}
}

// errAnswerLost is the answer to a message whose reply was lost. The message may have run.
var errAnswerLost = message.Errorf(message.CodeUnavailable, "the answer was lost when the room moved")

// answerMoved answers kept messages with the last replies of the node to which they
// moved, or with an error if there are no replies.
func (c *core) answerMoved(held []*incoming, replies []movedReply) {
	first := len(replies) - len(held) // the first replies belong to inputs
	for i, m := range held {
		r := m.answer
		m.answer = nil
		switch {
		case first < 0:
			c.answer(r, nil, errAnswerLost)
		case replies[first+i].Err != nil:
			c.answer(r, nil, replies[first+i].Err)
		default:
			c.answer(r, append([]byte{}, replies[first+i].Payload...), nil)
		}
	}
}
