// Package room runs games in rooms: seats, a fixed tick, and state that reaches the players by itself.
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
//	func main() { nano.Listen(":3250", Ponds.Option(), nano.WithWebSocket("/nano")) }
//
// # Methods of a room
//
// All are optional. O, M and R are types that the server's serializer supports.
//
//	OnCreate() / OnCreate(*O)            before the first player; may return an error, which refuses the room
//	OnJoin(*Player) / OnJoin(*Player, *O)  a player takes a seat; may return a reply, an error, or both
//	OnDrop(*Player)                      the player's connection was lost; the seat is held
//	OnReturn(*Player)                    the player is back
//	OnLeave(*Player)                     the player gives the seat up; Player.Why says why
//	OnClose()                            the room ends
//	Tick()                               at the tick rate
//	View(*Player, *state.View)           before each flush: what this player sees
//	Save() ([]byte, error), Load([]byte) error
//	anything else (*Player, *M)          a message; may return a reply, an error, or both
//
// [Define] checks the signatures. A message type that embeds [Input] waits for the next tick.
//
// All methods of one room run on its scheduler, one at a time, so they need no locks. Methods of [Base], [Player] and the
// state are for that scheduler too, unless their comments say otherwise. Use [Kind.Do] from other goroutines.
package room
