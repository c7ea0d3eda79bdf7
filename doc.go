// Package nano is a networking library for game servers.
//
// A program registers components, whose exported methods become handlers for the messages
// of clients. It calls [Listen], and pushes messages to players through their sessions.
//
//	type Room struct{ component.Base }
//
//	func (r *Room) Join(s *session.Session, req *JoinRequest) (*JoinReply, error) { ... }
//
//	func main() {
//		components := &component.Components{}
//		components.Register(&Room{})
//		if nano.Listen(":3250", nano.WithComponents(components)) != nil {
//			os.Exit(1) // Listen has logged why
//		}
//	}
//
// Clients speak a small binary protocol over TCP or WebSocket. A request with the route
// "Room.Join" runs the method Join. Package component documents which methods are
// handlers.
//
// # Logic goroutine
//
// One goroutine runs all handlers, timers and close callbacks of a server, one after the
// other. Game logic therefore needs no locks. It must not block: slow work runs on
// another goroutine, which passes its result to the logic goroutine with [Server.Invoke].
// The messages of one session run in the order in which they were sent. Decoding, hooks
// and writing happen on other goroutines.
//
// # Answers
//
// A handler answers a request with its result, or with [session.Session.Response]. To
// answer later, it calls [session.Session.Defer] and keeps the responder.
//
// # Pushes
//
// [session.Session.Push] sends to one session, a [Group] to many, and [Server.Push] to a
// user. None of them waits for the network.
//
// # Servers
//
// [Listen] runs the process's default server, which package functions such as [Invoke]
// and [Shutdown] use. [New] makes further servers, on any net.Listener or http mux.
// Package nanotest runs servers in memory, for tests.
//
// # Clusters
//
// Several servers form a cluster with [WithCluster] and [WithSeeds]. A node forwards a
// message to a node that serves its route, so handlers are the same with one node or with
// many.
package nano
