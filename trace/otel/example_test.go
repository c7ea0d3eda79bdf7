package otel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/lonng/nano"
	nanootel "github.com/lonng/nano/trace/otel"
)

// A program has an exporter of its own, such as otlptracegrpc, in place of the exporter in
// memory.
func Example() {
	exporter := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	srv := nano.New(nano.WithTracer(nanootel.New(nanootel.Options{Provider: provider})))
	fmt.Println(srv.Start())

	fmt.Println(srv.Shutdown(context.Background()))
	fmt.Println(provider.Shutdown(context.Background())) // exports the last spans
	// Output:
	// <nil>
	// <nil>
	// <nil>
}
