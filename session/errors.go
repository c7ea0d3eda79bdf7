package session

import "errors"

// These errors say why a session closed. Callbacks of [Session.OnClose] get one of them,
// possibly wrapped, and [context.Cause] of [Session.Context] returns it. [ReasonOf]
// returns its name.
var (
	// ErrClientClosed is the reason when the client closed the connection, or the
	// connection broke.
	ErrClientClosed = errors.New("session: the client closed the connection")
	// ErrClosed is the reason when the program called [Session.Close].
	ErrClosed = errors.New("session: closed by the server")
	// ErrKicked is the reason when the program called [Session.Kick].
	ErrKicked = errors.New("session: kicked")
	// ErrReplaced is the reason when the user logged in again and the server allows one
	// login per user.
	ErrReplaced = errors.New("session: replaced by a later login")
	// ErrHeartbeat is the reason when the client was silent for two and a half heartbeat
	// intervals or more.
	ErrHeartbeat = errors.New("session: no heartbeat from the client")
	// ErrHandshake is the reason when the client did not complete the handshake in time,
	// or was refused.
	ErrHandshake = errors.New("session: handshake failed")
	// ErrSlowClient is the reason when the client read more slowly than the server sent.
	ErrSlowClient = errors.New("session: the client is too slow")
	// ErrProtocol is the reason when the client violated the protocol.
	ErrProtocol = errors.New("session: protocol error")
	// ErrLimit is the reason when the client kept sending more than its limits allow.
	ErrLimit = errors.New("session: over the limits")
	// ErrResumeExpired is the reason when a suspended session was not resumed within the
	// window of nano.WithResume. It is joined with the reason of the suspension.
	ErrResumeExpired = errors.New("session: not resumed in time")
	// ErrResumeOverflow is the reason when a session could not be resumed because more was
	// sent than the bounds of nano.WithResume allow to keep. It is joined with
	// [ErrSlowClient].
	ErrResumeOverflow = errors.New("session: too much was sent while the client was away")
	// ErrShutdown is the reason when the server shut down.
	ErrShutdown = errors.New("session: the server shuts down")
)

// These errors are returned by the methods of a session.
var (
	// ErrIllegalUID is returned by [Session.Bind] for a uid below 1.
	ErrIllegalUID = errors.New("session: illegal uid, want 1 or more")
	// ErrNotReady is returned when sending to a client that has not completed its
	// handshake.
	ErrNotReady = errors.New("session: the handshake is not complete")
	// ErrBrokenPipe is returned when sending to a closed session.
	ErrBrokenPipe = errors.New("session: broken pipe: the session is closed")
	// ErrBufferExceed is returned when a message does not fit the client's write buffer.
	ErrBufferExceed = errors.New("session: the client's send buffer is full")
	// ErrCloseClosedSession is returned when closing or kicking a closed session.
	ErrCloseClosedSession = errors.New("session: close of a closed session")
	// ErrSessionOnNotify is returned by an answer if there is no request to answer: the
	// message was a notify, or the request has been answered.
	ErrSessionOnNotify = errors.New("session: no request to respond to")
	// ErrIllegalRoute is returned by a push with a route that is empty or not UTF-8.
	ErrIllegalRoute = errors.New("session: illegal route, want UTF-8 of 1 byte or more")
	// ErrNotSupported is returned if the network entity of the session lacks the
	// operation.
	ErrNotSupported = errors.New("session: the network entity does not support this")
)
