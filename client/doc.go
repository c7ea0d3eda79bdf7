// Package client is a client for nano servers, over TCP, TLS and WebSocket.
//
//	c, err := client.Dial(ctx, "game.example.org:3250")
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	c.On("onMessage", func(m *client.Message) {
//		var said Said
//		if err := m.Decode(&said); err == nil {
//			fmt.Println(said.Name, said.Content)
//		}
//	})
//
//	var joined JoinReply
//	if err := c.Request(ctx, "room.join", &JoinRequest{Name: "Ada"}, &joined); err != nil {
//		return err
//	}
//	return c.Notify("room.message", &Said{Name: "Ada", Content: "hello"})
//
// # Payloads
//
// The client uses the serializer that the server names in the handshake, JSON or protobuf;
// WithSerializer sets another one. A []byte is sent as it is, and a *[]byte receives the payload
// unchanged. nil is the zero value of the request: {} in JSON and an empty payload otherwise.
//
// # Handlers
//
// One goroutine of the client runs the handlers of pushes, the functions given to RequestFunc, and
// the hooks of connections. They run one at a time, in the order of arrival. A handler may call
// every method, Request and Close included. While it blocks, pushes wait, up to the bound of
// WithPushBuffer. A panic in a handler is not recovered.
//
// # Connections
//
// The client sends heartbeats at the interval that the server names. If the server is silent
// for two and a half intervals, the connection ends with ErrHeartbeat; time in which the process
// was stopped does not count. When the connection has ended the client has ended: Done is
// closed, Err returns the reason, and every call fails with ErrClosed. With WithReconnect the
// client connects again, and until then calls fail with ErrDisconnected. No message is sent
// twice: after ErrDisconnected a request may have been executed or not.
//
// With WithResume the session continues over the next connection, if the server has resume too and
// the client returns within its window. Then no message is lost, repeated or reordered, and calls
// wait for the connection. WithOnStatus tells the program of each state, and whether the session is
// a new one.
//
// # Errors
//
// An error response is an *Error, a kick a *KickError, and a refused handshake a
// *HandshakeError. If a context has ended, the error is that of the context. Test them with
// errors.Is and errors.As.
//
// The package does not import the server.
package client
