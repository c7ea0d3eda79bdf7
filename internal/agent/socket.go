package agent

import (
	"sync"
	"syscall"

	"github.com/lonng/nano/internal/rawio"
)

// rawWriter writes to sockets without blocking, one at a time. The function is bound
// once, so that a write does not allocate.
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
	w.n, w.err = rawio.Write(fd, w.b)
	return true // do not wait here, even if the socket is full
}

// write writes as much of b as the socket accepts. n is less than len(b) when the socket
// is full.
func (w *rawWriter) write(c syscall.RawConn, b []byte) (n int, err error) {
	w.b, w.n, w.err = b, 0, nil
	if err := c.Write(w.f); err != nil {
		w.b = nil
		return 0, err
	}
	w.b = nil
	return w.n, w.err
}
