// Package goid reports whether code runs on a given goroutine.
//
// Go has no documented goroutine identity. The usual build reads the goroutine number from
// the heading of a stack trace. With the build tag nano_portable the package marks the stack
// with its own functions and finds them with [runtime.Callers], which is slower.
package goid

// A Mark identifies the goroutine that is in its Run method. The zero value is ready; at most
// one call of Run is active at a time. Current and Stack may be called concurrently.
type Mark struct{ mark }
