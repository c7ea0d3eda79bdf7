// Package room is a client for rooms, for bots and tests. The server uses the library's
// package room.
//
//	c, err := client.Dial(ctx, "localhost:3250")
//	...
//	pond, err := room.JoinOrCreate(ctx, c, "pond", map[string]any{"name": "ann"}, nil)
//	...
//	err = pond.Send("Jump", map[string]any{"dx": 1})
//	x, ok := pond.Get("frogs", "1", "x")
package room
