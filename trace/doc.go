// Package trace declares the interface between a server and a tracing library.
//
// A server with the option nano.WithTracer makes a span for each message that a handler
// serves or that a gate sends to another node. Session.Call and Server.Call have spans
// too. Between nodes the spans are linked by the W3C trace context, which travels in the
// frames of the cluster. Package trace/otel implements [Tracer] with OpenTelemetry; it is
// a module of its own.
//
//	srv := nano.New(nano.WithTracer(tracer)) // tracer implements trace.Tracer
package trace
