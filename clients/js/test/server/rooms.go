package main

import (
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/session"
)

// text is the only protobuf message of the rooms.
type text = wrapperspb.StringValue

// Inn is a room whose payloads are protobuf messages.
type Inn struct {
	room.Base[struct{ Sign, Guest string }]
}

// OnCreate puts up the sign of the inn.
func (i *Inn) OnCreate(sign *text) { i.State.Sign = sign.Value }

// OnJoin greets the player.
func (i *Inn) OnJoin(_ *room.Player, name *text) (*text, error) {
	i.State.Guest = name.Value
	return wrapperspb.String("hello " + name.Value), nil
}

// Rename has no reply.
func (i *Inn) Rename(_ *room.Player, name *text) { i.State.Guest = name.Value }

// Ask has a reply, and a push before it.
func (i *Inn) Ask(p *room.Player, question *text) (*text, error) {
	return wrapperspb.String(question.Value + "?"), p.Send("onNoise", question)
}

// Shut closes the room with a reason.
func (i *Inn) Shut(_ *room.Player, reason *text) { i.Close(reason.Value) }

// Duel is a room of a queue. It has a scheduler of its own.
type Duel struct {
	room.Base[struct{ Round int }]
}

// OnJoin returns the name of the player.
func (*Duel) OnJoin(_ *room.Player, name *text) (*text, error) { return name, nil }

// Next has no reply.
func (d *Duel) Next(_ *room.Player, _ *text) { d.State.Round++ }

var (
	inns  = room.Define[Inn]("inn")
	duels = room.Define[Duel]("duel", room.Seats(2), room.Schedulers(1))
	queue = &room.Queue{Ready: 30 * time.Second}
)

// Lobby puts players into the queue.
type Lobby struct {
	component.Base
	users int64
}

// Find logs the player in as a new user and puts it into the queue.
func (l *Lobby) Find(s *session.Session, name *text) (*text, error) {
	l.users++
	if err := s.Bind(l.users); err != nil {
		return nil, err
	}
	_, err := duels.Enter(queue, room.Party{Players: []*session.Session{s}})
	return name, err
}
