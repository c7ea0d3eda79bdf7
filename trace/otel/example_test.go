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
	defer provider.Shutdown(context.Background())

	srv := nano.New(nano.WithTracer(nanootel.New(nanootel.Options{Provider: provider})))
	fmt.Println(srv.Start(), srv.Shutdown(context.Background()))
	// Output: <nil> <nil>
}
