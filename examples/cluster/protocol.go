package main

import "encoding/json"

// These are the JSON messages between players and nodes.
type (
	// loginRequest is the request of BindService.Login from players.
	loginRequest struct {
		Nickname string `json:"nickname"`
	}
	loginReply struct {
		Code int `json:"code"` // 0, or 1 for an invalid nickname
	}
	// message is sent by players to RoomService.SyncMessage, and pushed to them as
	// onMessage.
	message struct {
		Name    string `json:"name"`
		Content string `json:"content"`
	}
	members struct { // onMembers
		Members []string `json:"members"`
	}
	newUser struct { // onNewUser
		Content string `json:"content"`
	}
	balance struct { // onBalance
		CurrentBalance int64 `json:"currentBalance"`
	}

	// joinRequest is the request of RoomService.JoinRoom from gates.
	joinRequest struct {
		Nickname string `json:"nickname"`
		Again    bool   `json:"again"` // the player's chat node went down
	}
	// news is a message from one chat node to another.
	news struct {
		From    string          `json:"from"`    // the ear of the sending node
		Members []string        `json:"members"` // people at the node
		Route   string          `json:"route"`   // route of the push to everybody; "" for none
		Content json.RawMessage `json:"content"`
	}
)
