package testkit

import (
	"context"
	"net"
	"sync"
)

// Links holds the connections between a node and other nodes, and can cut them.
type Links struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
	apart map[string]bool // addresses to which Part has cut the links
}

// NewLinks returns Links without connections.
func NewLinks() *Links { return &Links{conns: map[net.Conn]bool{}} }

// Mend allows new connections again.
func (w *Links) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		clear(w.conns)
	}
	w.dead = false
	clear(w.apart)
}

// Listener wraps l, so that accepted connections belong to the links.
func (w *Links) Listener(l net.Listener) net.Listener { return linksListener{l, w} }

// Cut closes every connection, and refuses new ones until Mend.
func (w *Links) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for c := range w.conns {
		_ = c.Close()
	}
}

// Part closes the connections that were dialed to addr, and dials no more until Mend.
// Called for both of two nodes, it cuts the link between them alone.
func (w *Links) Part(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.apart == nil {
		w.apart = map[string]bool{}
	}
	w.apart[addr] = true
	for c := range w.conns {
		if c.RemoteAddr().String() == addr {
			_ = c.Close()
		}
	}
}

// Dial dials addr with TCP. The connection belongs to the links.
func (w *Links) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return w.add(c)
}

// add registers c, or closes it if the links are cut.
func (w *Links) add(c net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead || w.apart[c.RemoteAddr().String()] {
		_ = c.Close()
		return nil, errCut
	}
	w.conns[c] = true
	return c, nil
}

// linksListener registers each connection that it accepts.
type linksListener struct {
	net.Listener
	links *Links
}

func (l linksListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, err = l.links.add(c); err == nil {
			return c, nil
		}
	}
}
