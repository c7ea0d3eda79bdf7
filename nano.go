package nano

import "github.com/lonng/nano/scheduler"

// VERSION is the version of the library.
var VERSION = "1.0.0"

// Listen serves clients at addr, such as ":3250". It blocks until the process gets SIGINT
// or SIGTERM, until [Shutdown] is called, or until the context of [WithContext] ends. It
// then shuts down as [Server.Shutdown] does, within the time of [WithShutdownTimeout],
// and returns nil.
//
// Listen opens its ports first, then runs Init and AfterInit of the components, and then
// accepts clients. If it is asked to end meanwhile, it shuts down as soon as they return.
// After the first signal, the signals have their default action again, so a second one
// ends the process at once.
//
// With [WithWebSocket], clients connect by WebSocket, and Listen serves the pages of
// [WithHTTPHandler] on the same address.
//
// An option such as [WithCluster] or [WithSeeds] makes the server a node. Then other
// nodes dial it at addr, and clients connect to the address of [WithClientAddr], if there
// is one. On any other server, the address of WithClientAddr replaces addr.
//
// Listen logs the error that it returns. It may be called again after it has returned;
// until then, another call returns [ErrRunning].
func Listen(addr string, opts ...Option) error {
	o := newOptions(opts)
	stop, ok := standard.enter()
	if !ok {
		o.logger().Error("nano: Listen", "error", ErrRunning)
		return ErrRunning
	}
	defer standard.leave()
	s := newServer(scheduler.Default(), o)
	err := s.listen(addr, stop)
	if err != nil {
		s.log.Error("nano: Listen", "error", err.Error()) // only the text: a wrapped error prints its stack
	}
	return err
}

// Shutdown makes [Listen] shut down and return. It returns at once, so a handler may call
// it. It also has an effect while the components of Listen start. If Listen does not run,
// Shutdown does nothing.
func Shutdown() { standard.stop() }

// Invoke runs f on the logic goroutine of the server of [Listen]. It never blocks, and
// any goroutine may call it. Before Listen, f waits until Listen starts the server.
func Invoke(f func()) { scheduler.Invoke(f) }
