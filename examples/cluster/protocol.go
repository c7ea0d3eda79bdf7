package main

import "encoding/json"

// What players and nodes send each other, as JSON.
type (
	// loginRequest comes from players: BindService.Login.
	loginRequest struct {
		Nickname string `json:"nickname"`
	}
	loginReply struct {
		Code int `json:"code"` // 0, or 1 for a nickname that will not do
	}
	// message comes from players, RoomService.SyncMessage, and goes to them: onMessage.
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

	// joinRequest comes from gates: RoomService.JoinRoom.
	joinRequest struct {
		Nickname string `json:"nickname"`
		Again    bool   `json:"again"` // the chat node where the player was is gone
	}
	// news goes from one chat node to the others.
	news struct {
		From    string          `json:"from"`    // the ear of the node
		Members []string        `json:"members"` // who is at the node
		Route   string          `json:"route"`   // what to push to everybody; "" for nothing
		Content json.RawMessage `json:"content"`
	}
)
