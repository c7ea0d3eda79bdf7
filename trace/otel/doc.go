// Package otel makes the spans of a server with OpenTelemetry.
//
//	srv := nano.New(nano.WithTracer(nanootel.New(nanootel.Options{Provider: provider})))
//
// A request that a gate forwards has three spans. The span of the gate ends with the answer.
// Its child at the backend begins when the request arrives there, so it includes the time for
// which the request waits. The child of that is the call of the handler. A message that needs
// no other node has the span of its handler alone.
//
// A handler with a context gets its span in it. So the program can make child spans, and
// Session.Call and Server.Call continue the trace at the node that they call.
//
// The name of a span is the route. Its attributes are rpc.system, rpc.service, rpc.method and
// nano.operation, which is forward, receive, handle or call. If they are known, nano.session,
// nano.uid and nano.node, the address of the node, follow. The server's log has the same values.
package otel
