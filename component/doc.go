// Package component declares what a program registers with a server: values whose exported
// methods serve the routes that clients call.
//
//	type Room struct{ component.Base }
//
//	func (r *Room) Join(s *session.Session, req *JoinRequest) (*JoinReply, error) { ... }
//
//	components := &component.Components{}
//	components.Register(&Room{})
//	nano.Listen(":3250", nano.WithComponents(components))
//
// # Routes
//
// A route is the name of the service, a dot and the name of the method: here "Room.Join". The
// service has the name of its type, or of [WithName]; [WithNameFunc] changes the names of methods.
// A name is UTF-8 text without blanks and control characters.
//
// # Handlers
//
// A handler is an exported method with one of these signatures:
//
//	func(s *session.Session, req *Request) error
//	func(s *session.Session, data []byte) error
//	func(s *session.Session, req *Request) (*Reply, error)
//	func(ctx context.Context, req *Request) (*Reply, error)
//
// The request is a pointer to a type that the serializer decodes, or []byte for the payload
// itself. An empty payload is the zero request. The first three may take a leading
// context.Context, which ends with the session. The fourth has no session: other nodes of a
// cluster may call it, clients may not.
//
// When the server starts, it logs each exported method that takes a session or a context but is not
// a handler, with the reason. In debug mode it logs the table of routes.
//
// # Answers
//
// A returned *Reply answers the request, and so does a returned error. If a handler with a reply
// returns nil and nil, the client gets JSON null or an empty protobuf message. This does not happen
// if the handler has deferred the answer with Session.Defer or Session.LastMid. A handler without a
// reply answers with Session.Response, at once or later. If it returns nil and no answer came
// within 30 seconds, the server logs that once for each route.
//
// # Concurrency
//
// The messages of one session run one at a time, in order. All handlers run on the logic
// goroutine of the server, so they need no locks; they must not block. [WithSchedulerName] moves
// the messages of a component to another goroutine.
package component
