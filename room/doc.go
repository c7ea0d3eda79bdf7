// Package room runs games in rooms, with seats, an optional fixed tick, and state that is sent to the players.
//
// A room is a struct that embeds [Base] with the type of its state. Its exported methods with a [Player] are its messages:
//
//	type Pond struct {
//		room.Base[struct {
//			Frogs state.Map[room.PlayerID, Frog]
//		}]
//	}
//
//	type Frog struct {
//		Name string
//		X, Y float32 `state:"q=0.1"`
//	}
//
//	// OnJoin gives every player a frog.
//	func (p *Pond) OnJoin(pl *room.Player, o *struct{ Name string }) {
//		p.State.Frogs.Put(pl.ID, &Frog{Name: o.Name})
//	}
//
//	// Jump serves messages with the route pond.Jump.
//	func (p *Pond) Jump(pl *room.Player, m *struct{ DX, DY float32 }) {
//		f := p.State.Frogs.Get(pl.ID)
//		f.X, f.Y = f.X+m.DX, f.Y+m.DY
//	}
//
//	var Ponds = room.Define[Pond]("pond", room.Seats(50), room.TickRate(20))
//
//	func main() {
//		nano.Listen(":3250", Ponds.Option(), nano.WithSerializer(json.NewSerializer()))
//	}
//
// # Methods of a room
//
// All are optional. O, M and R are types that the server's serializer supports. [Define] checks the signatures.
//
//	OnCreate(), OnCreate(*O)               before the first player; an error refuses the room
//	OnJoin(*Player), OnJoin(*Player, *O)   a player takes a seat; returns R, an error, both or nothing
//	OnDrop(*Player)                        the player's connection is lost; the seat is held
//	OnReturn(*Player)                      the player is back
//	OnLeave(*Player)                       the player gives the seat up; see Player.Why
//	OnClose()                              the room ends
//	Tick()                                 at the tick rate
//	View(*Player, *state.View)             before each flush: selects what the player sees
//	any other name (*Player, *M)           serves messages; returns R, an error, both or nothing
//
// A message whose type embeds [Input] waits for the next tick.
//
// # Concurrency
//
// All methods of one room run on its scheduler, one at a time, so they need no locks. Methods of [Base], [Player] and the
// state are for that scheduler too, unless their comments say otherwise. Other goroutines use [Kind.Do].
//
// # Clusters
//
// In a cluster, rooms live on the nodes that were given their kind. Clients join, list and watch the rooms of all nodes at
// any gate. A new room is made on the least loaded node that does not shut down. If a node dies, its rooms end. Rooms that
// are [Movable] move to other nodes when their node shuts down: see [Move].
//
// # Routes
//
// Clients join with requests to the routes room.create, room.join, room.joinOrCreate, room.spectate, room.leave and
// room.list, and answer a [Queue] with room.accept and room.cancel. The payloads are JSON with every serializer. A message
// has the route NAME.Method. The server pushes room.state, whose bytes package state describes, and room.left and
// room.closed with {"reason": ...}. A queue pushes room.ready, room.waiting, room.found and room.unmatched. Package
// client/room and clients/js/room.js implement the client.
package room
