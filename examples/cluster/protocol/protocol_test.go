package protocol

import (
	"encoding/json"
	"testing"
)

// TestJSON checks that the names do not change, because published nodes and pages use
// them.
func TestJSON(t *testing.T) {
	for want, v := range map[string]any{
		`{"nickname":"ann","gateUid":7}`:               NewUserRequest{Nickname: "ann", GateUid: 7},
		`{"nickname":"ann","gateUid":7,"masterUid":9}`: JoinRoomRequest{Nickname: "ann", GateUid: 7, MasterUid: 9},
		`{"uid":9}`:               MasterStats{Uid: 9},
		`{"content":"ann is in"}`: NewUserBroadcast{Content: "ann is in"},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("Marshal(%#v) = %s, %v, want %s", v, got, err, want)
		}
	}
}
