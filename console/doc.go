// Package console implements a web page that shows what a server does, and its JSON API.
//
//	mux.Handle("/console/", console.New(srv, console.Options{
//		Authorize: console.Token(viewerToken, operatorToken),
//	}))
//
// The page and the API are below the path of [Options]:
//
//	GET  api/overview?after=TIME               samples of the last 15 minutes
//	GET  api/busy                              what took the time of the logic goroutine
//	GET  api/handlers                          calls and times by route
//	GET  api/sessions?q=TEXT&before=ID         up to 100 sessions with their data
//	GET  api/groups?q=TEXT                     up to 100 groups with some members
//	GET  api/rooms?kind=NAME&q=TEXT            kinds of rooms, and up to 100 rooms
//	GET  api/room?id=ID                        one room with its members and its state
//	GET  api/errors                            refusals, closed sessions, panics
//	GET  api/cluster                           the other nodes, and the traffic with them
//	GET  api/routes                            the routes with the types of their requests
//	GET  api/play?client=ID&after=N            pushes to a test client
//	POST api/play/open   {"user"}
//	POST api/play/send   {"client", "route", "payload", "notify"}
//	POST api/play/close  {"client"}
//	POST api/kick   {"session" or "uid", "reason"}
//	POST api/push   {"session" or "uid", "route", "payload"}
//	POST api/close  {"room", "reason"}
//	POST api/drain  {"seconds"}
//
// With the parameter node=ID, the request goes to the console of another node of the
// cluster.
//
// Answers are JSON. Ids are strings, because they exceed what a JavaScript number can
// hold, times are RFC 3339, and durations are seconds. An error is {"error": text} with a
// status of 400 or above.
package console
