// Package session implements the session of a connected client. A session has an id, the
// uid that the program bound, the program's own data, and methods to send to the client.
//
// A handler gets the session of the client whose message it handles. It may keep the
// session and push to it later, from any goroutine:
//
//	func (r *Room) Join(s *session.Session, req *JoinRequest) error {
//		if err := s.Bind(req.UserID); err != nil {
//			return err
//		}
//		s.Set("room", r.name)
//		s.OnClose(func(s *session.Session, reason error) { r.leave(s) })
//		return s.Response(&JoinReply{})
//	}
//
// # Life of a session
//
// A session exists from the connection on, and is open from the end of the handshake.
// Only open sessions are found, are counted and get messages. A session begins to close
// when the client leaves, when the program or the server closes it, or when the client
// violates a limit; from then on nothing can be sent to it. When the messages that it had
// accepted have run, the close callbacks follow on the logic goroutine. [CloseReason]
// lists the reasons.
//
// # Answers
//
// A handler answers its request with its result or with [Session.Response]. To answer
// after the handler has returned, it calls [Session.Defer].
//
// # Tests
//
// In a server, a network entity connects a session to its client. A unit test of a
// handler makes a session with session.New(mock.NewNetworkEntity()), and asks the entity
// what the handler sent.
package session
