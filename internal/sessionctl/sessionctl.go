// Package sessionctl is the handle by which the owner of a connection ends its session, and follows what other nodes
// say of it. Package session implements it; it is apart, and internal, so that programs cannot end a session behind
// its owner's back.
package sessionctl

// Control ends one session. Its methods may be called concurrently.
type Control interface {
	// End marks the session closed for a reason and cancels its context. It reports whether this call did so:
	// the first one wins.
	End(reason error) bool
	// Reason is nil while the session is open, then why it closed.
	Reason() error
	// Finish runs the close callbacks, then the watchers, once. The owner calls it on the logic goroutine, when
	// every message that the session had accepted has run.
	Finish()
	// Watch has f called when the session has finished. It reports false, and keeps nothing, if that was
	// already so. A second watch under one key replaces the first.
	Watch(key any, f func()) bool
	// Unwatch forgets the watch under key.
	Unwatch(key any)

	// Bind sets the uid, 0 for none, and returns the one before, without the entity being told.
	Bind(uid int64) (old int64)
	// Route binds a service in the session's Router, or unbinds it where address is empty, without the entity being
	// told.
	Route(service, address string)
	// Reroute does so only where the service is bound to old, or is unbound if that is empty. It returns where the service
	// is bound then, and whether this call did it.
	Reroute(service, old, address string) (now string, done bool)
	// Routes returns a copy of the bindings of the session's Router.
	Routes() map[string]string
}

// Attacher is an entity that owns its session's life: session.New hands it the control.
type Attacher interface {
	Attach(Control)
}

// Keeper is an entity that lends the control of its session.
type Keeper interface {
	Control() Control
}

// Deferrer is an entity that binds a deferred answer to its request, also if the client uses the id again.
type Deferrer interface {
	// Serial numbers the request that runs or ran last.
	Serial() uint64
	// ResponseTo is ResponseMid for the request with both the id and the serial number.
	ResponseTo(mid, serial uint64, v any) error
	// Public returns an error as the client may see it, and logs it if that hides what it was.
	Public(err error) error
}
