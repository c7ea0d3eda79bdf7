//go:build nano_portable

package gosched

// Yielder yields for one goroutine. The zero value is ready.
type Yielder struct{}

// Yield does nothing in this build.
func (y *Yielder) Yield() {}
