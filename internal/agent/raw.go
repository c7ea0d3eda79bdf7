package agent

import (
	"net"
	"sync"
	"syscall"
)

// rawConn returns the raw side of a connection that can be read and written without its own buffers and goroutines,
// or nil. Only the concrete types will do: a wrapper with a Read of its own may also satisfy syscall.Conn.
func rawConn(c net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil
	}
	if !rawSupported {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// rawWriter writes to sockets without blocking, one at a time. Its function is bound once, so that a write allocates
// nothing.
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
