package session

import "errors"

// Why a session closed: what OnClose is told, and context.Cause of Context.
var (
	// ErrClientClosed: the client went away, or its connection broke.
	ErrClientClosed = errors.New("session: the client closed the connection")
	// ErrClosed: the program closed the session.
	ErrClosed = errors.New("session: closed by the server")
	// ErrKicked: the program kicked the client.
	ErrKicked = errors.New("session: kicked")
	// ErrReplaced: the user logged in again elsewhere, and only one login is allowed.
	ErrReplaced = errors.New("session: replaced by a later login")
	// ErrHeartbeat: the client was silent for longer than two and a half heartbeat intervals.
	ErrHeartbeat = errors.New("session: no heartbeat from the client")
	// ErrHandshake: the client did not complete the handshake in time, or the validator refused it.
	ErrHandshake = errors.New("session: handshake failed")
	// ErrSlowClient: the client reads more slowly than it is sent to.
	ErrSlowClient = errors.New("session: the client is too slow")
	// ErrProtocol: the client sent bytes that are not of the protocol.
	ErrProtocol = errors.New("session: protocol error")
	// ErrLimit: the client went on sending more than its limits allow.
	ErrLimit = errors.New("session: over the limits")
	// ErrShutdown: the server shuts down.
	ErrShutdown = errors.New("session: the server shuts down")
)

// What the methods of a session return.
var (
	// ErrIllegalUID tells of a uid below 1.
	ErrIllegalUID = errors.New("session: illegal uid, want 1 or more")
	// ErrBrokenPipe tells of something sent to a session that is closed.
	ErrBrokenPipe = errors.New("session: broken pipe: the session is closed")
	// ErrBufferExceed tells of a message that does not fit what may be queued for the client.
	ErrBufferExceed = errors.New("session: the client's send buffer is full")
	// ErrCloseClosedSession tells of a session that was closed before.
	ErrCloseClosedSession = errors.New("session: close of a closed session")
	// ErrSessionOnNotify tells of a response where there is no request to answer: in the handler of a notify, or
	// when the request has been answered.
	ErrSessionOnNotify = errors.New("session: no request to respond to")
	// ErrNotSupported tells of something that the session's network entity cannot do.
	ErrNotSupported = errors.New("session: the network entity does not support this")
)
