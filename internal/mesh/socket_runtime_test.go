//go:build unix && !nano_portable

package mesh

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
)

// socketPair returns the ends of a connection: a socket, and one of package net.
func socketPair(t *testing.T) (*socket, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := sockets{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = far.Close(), near.Close() })
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return near.(*socket), far.(*net.TCPConn)
}

// countedPool counts the buffers that are not returned.
type countedPool struct{ out atomic.Int64 }

func (p *countedPool) Get(size int) *[]byte {
	p.out.Add(1)
	b := make([]byte, size)
	return &b
}

func (p *countedPool) Put(*[]byte) { p.out.Add(-1) }

func TestSocketTransfers(t *testing.T) {
	near, far := socketPair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB: more than both buffers of the kernel hold
	echoed := make(chan error, 1)
	go func() {
		_, err := io.Copy(far, far)
		echoed <- errors.Join(err, far.CloseWrite())
	}()
	wrote := make(chan error, 1)
	go func() {
		n, err := near.Write(sent)
		if n != len(sent) && err == nil {
			err = io.ErrShortWrite
		}
		wrote <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(near, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("the bytes that came back differ from those sent")
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if err := near.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-echoed; err != nil {
		t.Error(err)
	}
	if n, err := near.Read(got); n != 0 || err != io.EOF {
		t.Errorf("Read = %d, %v at the end, want 0, EOF", n, err)
	}
	if n, err := near.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v, want 0, nil", n, err)
	}
}

func TestSocketTakesBufferForBytes(t *testing.T) {
	near, far := socketPair(t)
	pool := new(countedPool)
	if err := near.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if buf, n, err := near.ReadOnReady(100, pool); buf != nil || n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ReadOnReady = %v, %d, %v of a quiet connection, want a timeout", buf, n, err)
	}
	if out := pool.out.Load(); out != 0 {
		t.Errorf("a quiet connection holds %d buffers, want 0", out)
	}
	if err := near.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf, n, err := near.ReadOnReady(100, pool)
	if err != nil || string((*buf)[:n]) != "hello" || len(*buf) != 100 {
		t.Fatalf("ReadOnReady = %v, %d, %v, want hello in 100 bytes", buf, n, err)
	}
	pool.Put(buf)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if buf, n, err = near.ReadOnReady(100, pool); buf != nil || n != 0 || err != io.EOF {
		t.Errorf("ReadOnReady = %v, %d, %v at the end, want EOF", buf, n, err)
	}
	if out := pool.out.Load(); out != 0 {
		t.Errorf("%d buffers are out, want 0", out)
	}
}

func TestSocketErrors(t *testing.T) {
	near, far := socketPair(t)
	if err := far.SetLinger(0); err != nil { // Close sends a reset
		t.Fatal(err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := near.Read(make([]byte, 1))
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "read" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read after a reset: %v, want ECONNRESET of a read", err)
	}
	_, err = near.Write([]byte("x"))
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "write" || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after a reset: %v, want EPIPE of a write", err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v, want net.ErrClosed", err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v, want net.ErrClosed", err)
	}
}

// TestSocketCloseEndsWaits checks that Close ends a read that waits for bytes and a write that waits for room.
func TestSocketCloseEndsWaits(t *testing.T) {
	near, _ := socketPair(t)
	ended := make(chan error, 2)
	go func() {
		_, err := near.Read(make([]byte, 1))
		ended <- err
	}()
	go func() {
		for {
			if _, err := near.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	}()
	_ = near.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a wait ended with %v, want net.ErrClosed", err)
		}
	}
}

var _ mem.BufferPool = (*countedPool)(nil)
