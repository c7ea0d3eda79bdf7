// Package mock implements a network entity without a network, for unit tests of handlers.
//
// A test makes a session with the entity, calls a handler with the session, and reads the
// handler's messages from the entity:
//
//	entity := mock.NewNetworkEntity()
//	s := session.New(entity)
//	if err := room.Join(s, &JoinRequest{Name: "Ann"}); err != nil {
//		t.Fatal(err)
//	}
//	reply, ok := entity.LastResponse().(*JoinReply)
//
// Messages are neither encoded nor delivered. Package nanotest runs whole servers in
// memory. Servers do not use this package.
package mock
