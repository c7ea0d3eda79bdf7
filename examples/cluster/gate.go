package main

import (
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// BindService logs players in on a gate.
type BindService struct {
	component.Base
	players map[int64]*session.Session // players that have logged in, by session id
}

func newBindService() *BindService { return &BindService{players: map[int64]*session.Session{}} }

// Login sets a player's name and adds the player to the room. The uid is the session's
// number, which is unique in the cluster.
func (b *BindService) Login(s *session.Session, req *loginRequest) (*loginReply, error) {
	name := clean(req.Nickname, maxName)
	if name == "" {
		return &loginReply{Code: 1}, nil
	}
	if s.UID() == 0 {
		if err := s.Bind(s.ID()); err != nil {
			return nil, err
		}
		b.players[s.ID()] = s
		s.OnClose(func(*session.Session, error) { delete(b.players, s.ID()) })
	}
	s.Set("nickname", name)
	if err := s.RPC("TopicService.NewUser", &joinRequest{Nickname: name}); err != nil {
		logger("gate").Warn("the player has no balance", "player", name, "error", err) // the chat continues without a master
	}
	if err := s.RPC("RoomService.JoinRoom", &joinRequest{Nickname: name}); err != nil {
		return nil, err
	}
	return &loginReply{}, nil
}

// changed moves the players of a chat node that went down to another chat node, as soon
// as there is one.
func (b *BindService) changed(cluster.Member) {
	for _, s := range b.players {
		if _, bound := s.Router().Find("RoomService"); bound {
			continue
		}
		if err := s.RPC("RoomService.JoinRoom", &joinRequest{Nickname: s.String("nickname"), Again: true}); err != nil {
			logger("gate").Warn("the player waits for a chat node", "player", s.String("nickname"), "error", err)
		}
	}
}
