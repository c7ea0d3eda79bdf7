//go:build linux && !nano_portable

package netpoll

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// maxEvents is how many events one system call takes from the kernel.
const maxEvents = 256

// Poller calls a function when sockets become readable. Its methods may be called
// concurrently.
type Poller struct {
	ready func(*Poller, []Event)
	file  *os.File        // the epoll instance, which the runtime's poller watches
	raw   syscall.RawConn // of file
	done  chan struct{}   // closed when the goroutine has ended
}

// New starts a poller. It calls ready, on one goroutine, with the sockets that have become
// readable; ready must not keep the slice. The error is that of the operating system, for
// example if there is no descriptor left.
func New(ready func(*Poller, []Event)) (*Poller, error) {
	if Disabled.Load() {
		return nil, errDisabled
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // otherwise the runtime does not watch the file of os.NewFile
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{ready: ready, file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{})}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails if the runtime does not watch it
	}
	if err != nil {
		_ = p.file.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

// run reports events until the poller is closed.
func (p *Poller) run() {
	defer close(p.done)
	var raw [maxEvents]syscall.EpollEvent
	var events [maxEvents]Event
	_ = p.raw.Read(func(epoll uintptr) bool {
		for n := maxEvents; n == maxEvents; {
			var err error
			if n, err = syscall.EpollWait(int(epoll), raw[:], 0); err == syscall.EINTR {
				n = maxEvents // a signal interrupted the call, so it is repeated
				continue
			}
			for i := range max(n, 0) {
				events[i] = eventOf(&raw[i])
			}
			if n > 0 {
				p.ready(p, events[:n])
			}
		}
		return false // the runtime waits; it has noted if something became ready since the last call
	})
}

// Watch has the poller report the socket of c with id, now if it is readable, and then
// each time that more arrives, until Unwatch. An event says that something has arrived,
// not that it is still there: ready has to read all of it. The id identifies the socket,
// because another socket may have the descriptor when the event is reported.
//
// Closing the socket ends the watch, and nothing is reported. The error is [net.ErrClosed]
// if the socket is closed, [os.ErrClosed] if the poller is, or that of the operating system.
func (p *Poller) Watch(c syscall.RawConn, id int64) error { return p.control(c, watch(id)) }

// Unwatch ends a watch. Events that came before it may still be reported, and so may the
// failure of the socket. The errors are those of Watch.
func (p *Poller) Unwatch(c syscall.RawConn) error { return p.control(c, unwatch()) }

// control changes for which events the poller waits.
func (p *Poller) control(c syscall.RawConn, event syscall.EpollEvent) error {
	a := controls.Get().(*control)
	a.poller, a.event = p, event
	err := c.Control(a.onSocket)
	if err == nil {
		err = a.err
	}
	a.poller, a.err = nil, nil
	controls.Put(a)
	return err
}

// control is one change of a watch. Its functions are bound once, so that the call
// allocates nothing. onSocket calls onEpoll, so both descriptors stay open during the
// system call.
type control struct {
	poller   *Poller
	event    syscall.EpollEvent
	socket   int
	err      error
	onSocket func(fd uintptr)
	onEpoll  func(fd uintptr)
}

var controls = sync.Pool{New: func() any {
	a := &control{}
	a.onSocket = func(fd uintptr) {
		a.socket = int(fd)
		if a.poller.raw.Control(a.onEpoll) != nil {
			a.err = os.ErrClosed
		}
	}
	a.onEpoll = func(epoll uintptr) {
		err := syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_MOD, a.socket, &a.event)
		if err == syscall.ENOENT { // the socket is not in the epoll instance yet
			err = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_ADD, a.socket, &a.event)
		}
		a.err = os.NewSyscallError("epoll_ctl", err)
	}
	return a
}}

// Close ends the poller and waits for a call of ready that runs. It must not be called by
// ready.
func (p *Poller) Close() {
	_ = p.file.Close()
	<-p.done
}

// Events are edge-triggered, so that a socket that stays readable does not keep the poller
// busy. See epoll(7).
const edge = 1 << 31 // EPOLLET, which package syscall declares as a negative number

func watch(id int64) syscall.EpollEvent {
	return syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edge, Fd: int32(id), Pad: int32(id >> 32)}
}

func unwatch() syscall.EpollEvent { return syscall.EpollEvent{Events: edge} }

func eventOf(e *syscall.EpollEvent) Event {
	return Event{
		ID:    int64(e.Pad)<<32 | int64(uint32(e.Fd)),
		Ended: e.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0,
	}
}
