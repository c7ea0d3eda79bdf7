package load

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// link is the state of a client in the transports.
type link struct {
	netLink
	fd      int
	dialing bool
	writing bool // the socket was full, so wait for it to become writable
}

func newTransport(r *run) (transport, error) {
	if r.Goroutines {
		return newNetTransport(r), nil
	}
	return newPoller(r)
}

// poller is the epoll transport. It uses raw non-blocking sockets, one buffer and one
// goroutine.
type poller struct {
	r      *run
	fd     int
	to     syscall.SockaddrInet4
	events []syscall.EpollEvent
	buf    []byte
}

func newPoller(r *run) (*poller, error) {
	to, err := netip.ParseAddrPort(r.Addr)
	if err != nil || !to.Addr().Is4() {
		return nil, fmt.Errorf("want the IPv4 address and port of a server, got %q", r.Addr)
	}
	p := &poller{
		r: r, to: syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()},
		events: make([]syscall.EpollEvent, 4096), buf: make([]byte, 1<<20),
	}
	for _, c := range r.clients {
		c.conn.fd = -1
	}
	p.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return p, os.NewSyscallError("epoll_create", err)
}

func (p *poller) end() {
	for _, c := range p.r.clients {
		p.close(c)
	}
	_ = syscall.Close(p.fd)
}

// bindAddressNoPort is IP_BIND_ADDRESS_NO_PORT. The kernel then chooses the port when the
// socket connects, so sockets to different servers can share a port.
const bindAddressNoPort = 24

func (p *poller) dial(c *client) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c.conn.fd, c.conn.dialing, c.conn.writing = fd, true, true
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1)
	if p.to.Addr[0] == 127 { // one address has a limited number of ports
		from := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, byte(1 + c.n/250%250), byte(1 + c.n%250)}}
		if err := syscall.Bind(fd, from); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if err := syscall.Connect(fd, &p.to); err != nil && err != syscall.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return p.control(c, syscall.EPOLL_CTL_ADD)
}

func (p *poller) control(c *client, op int) error {
	e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.n)}
	if c.conn.writing {
		e.Events |= syscall.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, op, c.conn.fd, &e))
}

// watchWrites turns events for a writable socket on or off.
func (p *poller) watchWrites(c *client, on bool) {
	if c.conn.writing == on {
		return
	}
	c.conn.writing = on
	if err := p.control(c, syscall.EPOLL_CTL_MOD); err != nil {
		p.r.failed = err
	}
}

func (p *poller) close(c *client) {
	if c.conn.fd < 0 {
		return
	}
	// The reset leaves no port in TIME_WAIT.
	_ = syscall.SetsockoptLinger(c.conn.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	_ = syscall.Close(c.conn.fd)
	c.conn.fd = -1
}

// The sockets never block, so the raw system calls need no notice to the runtime, which
// makes them cheaper.

func (p *poller) read(c *client) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.conn.fd), uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)))
	return int(n), e
}

func (p *poller) flush(c *client) {
	if len(c.out) == 0 || c.conn.fd < 0 || c.conn.dialing {
		return
	}
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.conn.fd), uintptr(unsafe.Pointer(&c.out[0])), uintptr(len(c.out)))
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		n = 0
	case e != 0:
		return // wait reports the end of the connection
	}
	c.out = append(c.out[:0], c.out[n:]...)
	p.watchWrites(c, len(c.out) > 0)
}

// poll returns the number of pending events without waiting.
func (p *poller) poll() int {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

func (p *poller) wait(d time.Duration) error {
	n := p.poll()
	if n == 0 && d > 0 {
		// There are no events. This call lets the runtime use the thread for other
		// goroutines.
		var err error
		n, err = syscall.EpollWait(p.fd, p.events, int((d+time.Millisecond-1)/time.Millisecond))
		switch {
		case err == syscall.EINTR:
			n = 0
		case err != nil:
			return os.NewSyscallError("epoll_wait", err)
		}
	}
	for i := range p.events[:n] {
		p.event(p.r.clients[p.events[i].Fd], p.events[i].Events)
	}
	return nil
}

func (p *poller) event(c *client, events uint32) {
	if c.conn.fd < 0 {
		return
	}
	const failed = syscall.EPOLLERR | syscall.EPOLLHUP
	if c.conn.dialing {
		if events&(syscall.EPOLLOUT|failed) == 0 {
			return
		}
		c.conn.dialing = false
		if v, err := syscall.GetsockoptInt(c.conn.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || v != 0 {
			p.r.gone(c, os.NewSyscallError("connect", syscall.Errno(v)))
			return
		}
		p.watchWrites(c, false)
		p.r.connected(c)
		return
	}
	if events&(syscall.EPOLLIN|failed) != 0 {
		switch n, e := p.read(c); {
		case e == syscall.EAGAIN || e == syscall.EINTR:
		case e != 0:
			p.r.gone(c, os.NewSyscallError("read", e))
			return
		case n == 0:
			p.r.gone(c, nil)
			return
		default:
			p.r.received(c, p.buf[:n])
		}
	}
	p.flush(c)
}
