package protocol

// NewUserRequest announces a user of a gate to the master.
type NewUserRequest struct {
	Nickname string `json:"nickname"`
	GateUid  int64  `json:"gateUid"`
}

// JoinRoomRequest lets a user into the chat room. GateUid and MasterUid are the uids that the gate
// and the master gave the user.
type JoinRoomRequest struct {
	Nickname  string `json:"nickname"`
	GateUid   int64  `json:"gateUid"`
	MasterUid int64  `json:"masterUid"`
}

// MasterStats asks the master to count a message of the user with this uid.
type MasterStats struct {
	Uid int64 `json:"uid"`
}

// NewUserBroadcast tells the members of a room that a user joined.
type NewUserBroadcast struct {
	Content string `json:"content"`
}
