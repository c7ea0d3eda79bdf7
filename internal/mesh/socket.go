package mesh

import (
	"context"
	"net"
)

// sockets is a listener whose connections are wrapped by wrapSocket.
type sockets struct{ net.Listener }

func (l sockets) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	limitUnacked(c)
	return wrapSocket(c), nil
}

// dialSocket dials a node.
func dialSocket(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return wrapSocket(c), nil
}
