package agent

import (
	"sync"
	"syscall"
)

// rawWriter writes to sockets without blocking, one at a time. Its function is bound
// once, so that a write allocates nothing.
type rawWriter struct {
	f    func(fd uintptr) bool
	b    []byte
	n    int
	err  error
	sent sent
}

var rawWriters = sync.Pool{New: func() any {
	w := &rawWriter{}
	w.f = w.try
	return w
}}

func (w *rawWriter) try(fd uintptr) bool {
	w.n, w.err = rawWrite(fd, w.b)
	return true // full or not, never wait here
}

// write writes what the socket takes of b at once: n is less than len(b) when it is full.
func (w *rawWriter) write(c syscall.RawConn, b []byte) (n int, err error) {
	w.b, w.n, w.err = b, 0, nil
	if err := c.Write(w.f); err != nil {
		w.b = nil
		return 0, err
	}
	w.b = nil
	return w.n, w.err
}
