package testkit

import (
	"net"
	"sync"
)

// PipeListener is a listener whose connections are pipes.
type PipeListener struct {
	Conns  chan net.Conn
	Closed chan struct{}
	once   sync.Once
}

func NewPipeListener() *PipeListener {
	return &PipeListener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
}

func (m *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-m.Conns:
		return c, nil
	case <-m.Closed:
		return nil, net.ErrClosed
	}
}

func (m *PipeListener) Dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.Conns <- server:
		return client, nil
	case <-m.Closed:
		return nil, net.ErrClosed
	}
}

func (m *PipeListener) Close() error {
	m.once.Do(func() { close(m.Closed) })
	return nil
}

func (m *PipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }
