package session

import "errors"

// CloseReason names why a session closed, for metrics and logs. The values and their
// names do not change between versions; later versions may add more.
type CloseReason uint8

// The reasons for which a session closes. Each but ReasonNone has a sentinel error, which
// callbacks of [Session.OnClose] get and [context.Cause] of [Session.Context] returns.
const (
	ReasonNone      CloseReason = iota // the session is open, or the error is none of the sentinels
	ReasonClient                       // ErrClientClosed
	ReasonServer                       // ErrClosed
	ReasonKicked                       // ErrKicked
	ReasonReplaced                     // ErrReplaced
	ReasonHeartbeat                    // ErrHeartbeat
	ReasonHandshake                    // ErrHandshake
	ReasonSlow                         // ErrSlowClient
	ReasonProtocol                     // ErrProtocol
	ReasonLimit                        // ErrLimit
	ReasonShutdown                     // ErrShutdown
)

// closeReasons holds the name and the sentinel of each reason.
var closeReasons = [...]struct {
	name string
	err  error
}{
	ReasonNone:      {"none", nil},
	ReasonClient:    {"client", ErrClientClosed},
	ReasonServer:    {"server", ErrClosed},
	ReasonKicked:    {"kicked", ErrKicked},
	ReasonReplaced:  {"replaced", ErrReplaced},
	ReasonHeartbeat: {"heartbeat", ErrHeartbeat},
	ReasonHandshake: {"handshake", ErrHandshake},
	ReasonSlow:      {"slow", ErrSlowClient},
	ReasonProtocol:  {"protocol", ErrProtocol},
	ReasonLimit:     {"limit", ErrLimit},
	ReasonShutdown:  {"shutdown", ErrShutdown},
}

// ReasonOf returns the close reason of an error, which may wrap a sentinel. It returns
// ReasonNone for nil and for any other error.
func ReasonOf(err error) CloseReason {
	for r := ReasonNone + 1; int(r) < len(closeReasons); r++ {
		if errors.Is(err, closeReasons[r].err) {
			return r
		}
	}
	return ReasonNone
}

// CloseReasons returns every reason for which a session closes, so all but ReasonNone, in
// order.
func CloseReasons() []CloseReason {
	list := make([]CloseReason, 0, len(closeReasons)-1)
	for r := ReasonNone + 1; int(r) < len(closeReasons); r++ {
		list = append(list, r)
	}
	return list
}

// String returns the name of the reason, such as "client" or "heartbeat". These names are
// the keys of Stats.Closed in package nano. It returns "none" for ReasonNone and for an
// unknown value.
func (r CloseReason) String() string {
	if int(r) >= len(closeReasons) {
		r = ReasonNone
	}
	return closeReasons[r].name
}

// Err returns the sentinel error of the reason, nil for ReasonNone and for an unknown
// value.
func (r CloseReason) Err() error {
	if int(r) >= len(closeReasons) {
		return nil
	}
	return closeReasons[r].err
}
