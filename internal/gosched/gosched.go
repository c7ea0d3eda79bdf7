// Package gosched lets other goroutines run before a busy loop takes its next batch: one batch of
// many messages costs less than many batches of one.
//
// That [runtime.Gosched] runs the goroutines that are ready is not documented. With the build
// tag nano_portable a yield does nothing.
package gosched
