// Gws serves the loads of the benchmarks with github.com/lxzan/gws, set up as its
// documentation advises for small messages: without parallel handlers and compression.
package main

import (
	"log"
	"net/http"

	"github.com/lxzan/gws"

	"github.com/lonng/nano/benchmark/peers/wire"
)

type echo struct{ gws.BuiltinEventHandler }

func (echo) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	_ = c.WriteMessage(m.Opcode, m.Bytes())
}

type rooms struct {
	gws.BuiltinEventHandler
	rooms wire.Rooms[*gws.Conn]
}

func (r *rooms) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	r.rooms.Serve(c, m.Bytes(), func(b []byte) {
		c.WriteAsync(gws.OpcodeBinary, b, nil)
	}, func(members []*gws.Conn, b []byte) {
		all := gws.NewBroadcaster(gws.OpcodeBinary, b)
		defer all.Close()
		for _, member := range members {
			_ = all.Broadcast(member)
		}
	})
}

func main() {
	addr, inRooms := wire.Main()
	var handler gws.Event = echo{}
	if inRooms {
		handler = &rooms{}
	}
	up := gws.NewUpgrader(handler, &gws.ServerOption{})
	log.Fatal(http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop() // frees the HTTP server's goroutine and buffers
	})))
}
