// Package sessionctl declares how the network entity of a session ends the session and
// follows changes from other nodes. Package session implements it. It is internal, so
// that programs cannot end a session without its entity.
package sessionctl

// Control controls one session. Its methods may be called concurrently.
type Control interface {
	// End marks the session closed for a reason, cancels its context and calls the
	// watchers of WatchEnd. It reports whether this call did so: the first one counts.
	End(reason error) bool
	// Reason returns nil while the session is open, and then the reason why it closed.
	Reason() error
	// Finish runs the close callbacks and then the watchers of Watch, once. The entity
	// calls it on the logic goroutine, after every message that the session had accepted.
	Finish()
	// Discard is Finish for a session that was never open: it does not run the callbacks
	// of Lifetime.
	Discard()
	// Watch registers f to be called when the session has finished. It reports false, and
	// registers nothing, if the session has finished already. A second watch with the
	// same key replaces the first.
	Watch(key any, f func()) bool
	// WatchEnd is Watch for the moment when End marks the session closed, before the
	// close callbacks. f runs on the goroutine of End.
	WatchEnd(key any, f func()) bool
	// Unwatch removes the watches with the key.
	Unwatch(key any)
	// WatchKeys appends the keys of the watches of WatchEnd to dst.
	WatchKeys(dst []any) []any

	// Suspend runs the callbacks of OnSuspend with the reason why the connection was lost.
	// The entity calls it on the logic goroutine, in order with the session's messages.
	Suspend(reason error)
	// Resume runs the callbacks of OnResume, in the same way.
	Resume()

	// Bind sets the uid, 0 for none, and returns the previous one. It does not tell the
	// entity.
	Bind(uid int64) (old int64)
	// Route binds a service in the session's Router, or unbinds it if address is empty.
	// It does not tell the entity.
	Route(service, address string)
	// Reroute is Route if the service is bound to old; an empty old means unbound. It
	// returns the address that the service is bound to afterwards, and whether this call
	// changed it.
	Reroute(service, old, address string) (now string, done bool)
	// Routes returns a copy of the bindings of the session's Router.
	Routes() map[string]string
}

// Attacher is a network entity that controls its session. session.New passes it the
// control.
type Attacher interface {
	Attach(Control)
}

// Keeper is a network entity that gives access to the control of its session.
type Keeper interface {
	Control() Control
}

// Suspender is a network entity whose session can outlive its connection.
type Suspender interface {
	// Suspended reports whether the session waits for its client to reconnect.
	Suspended() bool
}

// Deferrer is a network entity that binds a deferred answer to its request, also if the
// client uses the id again.
type Deferrer interface {
	// Serial returns the number of the request that runs or ran last.
	Serial() uint64
	// ResponseTo is ResponseMid for the request with both the id and the serial number.
	ResponseTo(mid, serial uint64, v any) error
	// Public returns an error as the client may see it, and logs the error if the result
	// hides its text.
	Public(err error) error
}
