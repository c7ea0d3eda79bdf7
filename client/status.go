package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// State is the connection state of a client.
type State int

// These are the states of a client.
const (
	Connecting   State = iota + 1 // Dial makes the first connection
	Connected                     // messages may be sent
	Reconnecting                  // the connection was lost or an attempt has failed, and the client tries again
	Closed                        // the client has ended
)

// String returns the name of the state in lower case.
func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Reconnecting:
		return "reconnecting"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("state %d", int(s))
}

// Reason says why a connection ended, or why a session was not resumed. It is one of the
// constants, or the code of a kick that has none.
type Reason string

// These are the reasons why a connection ended, in the states Reconnecting and Closed.
const (
	ReasonClient   Reason = "client"   // the program has closed the client, or ended the context of Dial
	ReasonLost     Reason = "lost"     // the connection broke or could not be made, or the server closed it
	ReasonTimeout  Reason = "timeout"  // the server was silent, or the handshake took too long
	ReasonProtocol Reason = "protocol" // the server sent bytes that are not of the protocol
	ReasonOverflow Reason = "overflow" // the session needs messages that are not kept any more
	ReasonRefused  Reason = "refused"  // the server has refused the handshake
	ReasonKicked   Reason = "kicked"   // the server's program has kicked the client
	ReasonReplaced Reason = "replaced" // the user has logged in elsewhere
	ReasonLimit    Reason = "limit"    // the client has passed a limit of the server
	ReasonShutdown Reason = "shutdown" // the server shuts down
)

// These are the reasons why a session was not resumed, in the state Connected, together with
// ReasonOverflow.
const (
	ReasonUnknown Reason = "unknown" // the server does not know the session: it was restarted, or another one
	ReasonExpired Reason = "expired" // the client was away for longer than the server's window
	ReasonEnded   Reason = "ended"   // the session was ended, by the server or by a farewell of the client
)

// Status describes the state that a client has come to. [WithOnStatus] passes it to the program.
//
// In the state Connected, Resumed says what the program has to do. If it is true,
// nothing: the session continued, and no message was lost, repeated or reordered. If it
// is false, the server has a new session: the program logs in and joins again. After a
// session that could have been resumed, Reason then says why it was not.
type Status struct {
	State State

	// Resumed reports whether the session continued. It is for the state Connected.
	Resumed bool
	// Reason says why the connection ended, or why the session was not resumed. It is empty in
	// the state Connecting, and in Connected if there was no session to resume.
	Reason Reason
	// Err is why the connection ended or could not be made. In the state Connected it is the
	// kick that ended the session before, or nil.
	Err error
	// Unconfirmed is how many messages of the session before the server may not have
	// received. It is for the state Connected.
	Unconfirmed int
	// Attempt is the number of the attempt that follows, from 1, and Delay the wait before it.
	// They are for the state Reconnecting. Attempts are counted until a connection has lasted
	// for [Reconnect].Max.
	Attempt int
	Delay   time.Duration
}

// WithOnStatus sets a function that is called for each state that the client comes to, in
// order: Connecting, then Connected, Reconnecting and Connected in turn, and Closed at last. It
// runs as a handler does, before the handlers of pushes that come over the new connection. The
// state Closed follows the last handler, also after [Client.Close]; if [Dial] fails, it comes
// before Dial returns.
func WithOnStatus(fn func(*Client, Status)) Option {
	return func(o *options) { o.onStatus = fn }
}

// status queues a call of the program's function with s.
func (c *Client) status(s Status) {
	if fn := c.opts.onStatus; fn != nil {
		c.inbox.event(func() { fn(c, s) })
	}
}

// closedStatus calls the program's function when the client has ended. The inbox has
// ended before.
func (c *Client) closedStatus(err error) {
	if fn := c.opts.onStatus; fn != nil {
		c.inbox.goid.Run(func() { fn(c, Status{State: Closed, Reason: reasonOf(err), Err: err}) })
	}
}

// reasonOf returns the Reason for the error that ended a connection.
func reasonOf(err error) Reason {
	if kick, ok := errors.AsType[*KickError](err); ok {
		return kick.reason()
	}
	refused := &HandshakeError{}
	switch {
	case errors.As(err, &refused):
		return ReasonRefused
	case errors.Is(err, ErrProtocol), errors.Is(err, ErrWrongTransport) && !hungUp(err):
		return ReasonProtocol
	case errors.Is(err, ErrResumeOverflow):
		return ReasonOverflow
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		return ReasonClient
	case errors.Is(err, ErrHeartbeat), errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	}
	return ReasonLost
}
