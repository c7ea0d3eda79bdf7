// Nbio serves the loads of the benchmarks with the WebSockets of
// github.com/lesismal/nbio, on its pollers.
package main

import (
	"log"
	"net/http"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/lonng/nano/benchmark/peers/wire"
)

func main() {
	addr, inRooms := wire.Main()
	logging.SetLevel(logging.LevelNone)
	up := websocket.NewUpgrader()
	up.CheckOrigin = func(*http.Request) bool { return true }
	if inRooms {
		var rooms wire.Rooms[*websocket.Conn]
		up.OnMessage(func(c *websocket.Conn, _ websocket.MessageType, b []byte) {
			rooms.Serve(c, b, func(b []byte) {
				_ = c.WriteMessage(websocket.BinaryMessage, b)
			}, func(members []*websocket.Conn, b []byte) {
				for _, member := range members {
					_ = member.WriteMessage(websocket.BinaryMessage, b)
				}
			})
		})
	} else {
		up.OnMessage(func(c *websocket.Conn, t websocket.MessageType, b []byte) { _ = c.WriteMessage(t, b) })
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{addr}, IOMod: nbhttp.IOModNonBlocking, ReleaseWebsocketPayload: true,
		ServerExecutor: func(f func()) { f() }, // handlers run on the poller, which is the fastest
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = up.Upgrade(w, r, nil)
		}),
	})
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	select {}
}
