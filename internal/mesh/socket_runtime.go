//go:build unix && !nano_portable

package mesh

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/lonng/nano/internal/rawio"

	"google.golang.org/grpc/mem"
)

// socket is a TCP or Unix connection that is read and written by package rawio. With package net, a node that forwards
// requests spent a tenth of its CPU time in the runtime's monitor thread.
type socket struct {
	net.Conn
	raw syscall.RawConn
	in  inbound
	out outbound
}

// wrapSocket returns c as a socket, or c itself if package rawio does not support it.
func wrapSocket(c net.Conn) net.Conn {
	raw := rawio.Of(c)
	if raw == nil {
		return c
	}
	s := &socket{Conn: c, raw: raw}
	s.in.ready, s.out.ready = s.in.read, s.out.write
	return s
}

// inbound is a read of a socket. Its function is bound once, so that a read does not allocate.
type inbound struct {
	mu    sync.Mutex // guards the fields below
	ready func(fd uintptr) bool
	b     []byte         // where the bytes go; nil to take a buffer from pool
	size  int            // of the buffer
	pool  mem.BufferPool // where the buffer comes from when there are bytes
	buf   *[]byte        // the buffer, or nil
	n     int
	err   error
}

func (in *inbound) read(fd uintptr) (done bool) {
	b := in.b
	if b == nil {
		in.buf = in.pool.Get(in.size)
		b = *in.buf
	}
	var again bool
	in.n, again, in.err = rawio.Read(fd, b)
	if in.buf != nil && (again || in.err != nil) {
		in.pool.Put(in.buf)
		in.buf = nil
	}
	return !again
}

// Read reads into b; it is part of net.Conn.
func (s *socket) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	_, n, err = s.receive(b, 0, nil)
	return n, err
}

// ReadOnReady reads into a buffer from the pool, which it takes when there are bytes to read. So a quiet connection holds
// none. gRPC looks for this method.
func (s *socket) ReadOnReady(size int, pool mem.BufferPool) (buf *[]byte, n int, err error) {
	return s.receive(nil, size, pool)
}

// receive is Read if b is not nil, else ReadOnReady.
func (s *socket) receive(b []byte, size int, pool mem.BufferPool) (buf *[]byte, n int, err error) {
	in := &s.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.b, in.size, in.pool = b, size, pool
	in.buf, in.n, in.err = nil, 0, nil
	err = s.raw.Read(in.ready)
	buf, n = in.buf, in.n
	switch {
	case err != nil:
	case in.err != nil:
		err = s.failure("read", in.err)
	case n == 0:
		err = io.EOF
	}
	in.b, in.pool, in.buf = nil, nil, nil
	if err != nil && buf != nil {
		pool.Put(buf)
		buf = nil
	}
	return buf, n, err
}

// outbound is a write to a socket.
type outbound struct {
	mu    sync.Mutex // guards the fields below
	ready func(fd uintptr) bool
	b     []byte // what is left to write
	err   error
}

func (out *outbound) write(fd uintptr) (done bool) {
	n, err := rawio.Write(fd, out.b)
	out.b, out.err = out.b[n:], err
	return len(out.b) == 0 || err != nil
}

// Write writes b; it is part of net.Conn.
func (s *socket) Write(b []byte) (n int, err error) {
	out := &s.out
	out.mu.Lock()
	defer out.mu.Unlock()
	out.b, out.err = b, nil
	err = s.raw.Write(out.ready)
	if err == nil && out.err != nil {
		err = s.failure("write", out.err)
	}
	n = len(b) - len(out.b)
	out.b = nil
	return n, err
}

// failure returns the error of a system call like package net.
func (s *socket) failure(op string, err error) error {
	return &net.OpError{Op: op, Net: s.LocalAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
