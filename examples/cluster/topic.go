package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// credit is the initial balance of a player. A message costs one.
const credit = 1000

var onBalance = nano.PushRoute[balance]("onBalance")

// TopicService keeps the players' balances, on the master.
type TopicService struct {
	component.Base
	balances map[int64]int64 // by uid
}

// NewUser sets the initial balance of a player who logged in. Gates send it.
func (t *TopicService) NewUser(s *session.Session, _ *joinRequest) error {
	return t.add(s, 0)
}

// Spend charges a player for a message. Chat nodes send it.
func (t *TopicService) Spend(s *session.Session, _ []byte) error {
	return t.add(s, -1)
}

// add changes a balance and pushes it to the player. A restarted master does not know the
// player yet.
func (t *TopicService) add(s *session.Session, n int64) error {
	uid := s.UID()
	if uid == 0 {
		return nil // the player has not logged in
	}
	if _, ok := t.balances[uid]; !ok {
		t.balances[uid] = credit
		s.OnClose(func(*session.Session, error) { delete(t.balances, uid) })
	}
	t.balances[uid] += n
	return onBalance.Send(s, &balance{t.balances[uid]})
}
