// Package mock implements a session.NetworkEntity without a network, for unit tests of handlers.
//
//	entity := mock.NewNetworkEntity()
//	s := session.New(entity)
//	if err := room.Join(s, &JoinRequest{Name: "Ada"}); err != nil {
//		t.Fatal(err)
//	}
//	reply := entity.LastResponse()
//
// The entity records what the handler sends. It encodes and delivers nothing. Package nanotest runs
// a whole server in memory.
package mock
