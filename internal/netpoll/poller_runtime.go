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
	ready func(ids []int64)
	file  *os.File        // the epoll instance, which the runtime's poller watches
	raw   syscall.RawConn // of file
	done  chan struct{}   // closed when the goroutine has ended
}

// New starts a poller. It calls ready, on one goroutine, with the ids of sockets that
// have become readable, have failed or were closed by the peer; ready must not keep the
// slice. The error is that of the operating system, for example if there is no descriptor
// left.
func New(ready func(ids []int64)) (*Poller, error) {
	if Disabled.Load() {
		return nil, errDisabled
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // or os.NewFile would not let the runtime watch it
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
	var events [maxEvents]syscall.EpollEvent
	var ids [maxEvents]int64
	_ = p.raw.Read(func(epoll uintptr) bool {
		for n := maxEvents; n == maxEvents; {
			var err error
			if n, err = syscall.EpollWait(int(epoll), events[:], 0); err == syscall.EINTR {
				n = maxEvents // once more
				continue
			}
			for i := range max(n, 0) {
				ids[i] = idOf(&events[i])
			}
			if n > 0 {
				p.ready(ids[:n])
			}
		}
		return false // the runtime waits; it has noted if something became ready since the last call
	})
}

// Arm asks for one call of ready with id, as soon as the socket of c is readable; it may
// be so already. The caller arms the socket again after that. The id is what tells
// sockets apart: a descriptor may be that of another socket when the event is reported.
//
// Closing the socket takes the request back, and nothing is reported. The error is
// [net.ErrClosed] if the socket is closed, [os.ErrClosed] if the poller is, or that of the
// operating system.
func (p *Poller) Arm(c syscall.RawConn, id int64) error {
	a := armings.Get().(*arming)
	a.poller, a.event = p, eventFor(id)
	err := c.Control(a.onSocket)
	if err == nil {
		err = a.err
	}
	a.poller, a.err = nil, nil
	armings.Put(a)
	return err
}

// arming is one call of Arm. Its functions are bound once, so that the call allocates
// nothing. They run inside of each other: both descriptors are open then, and are what
// they were.
type arming struct {
	poller   *Poller
	event    syscall.EpollEvent
	socket   int
	err      error
	onSocket func(fd uintptr)
	onEpoll  func(fd uintptr)
}

var armings = sync.Pool{New: func() any {
	a := &arming{}
	a.onSocket = func(fd uintptr) {
		a.socket = int(fd)
		if a.poller.raw.Control(a.onEpoll) != nil {
			a.err = os.ErrClosed
		}
	}
	a.onEpoll = func(epoll uintptr) {
		err := syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_MOD, a.socket, &a.event)
		if err == syscall.ENOENT { // its first time
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

// An event is reported once: a socket that stays readable does not keep the poller busy.
func eventFor(id int64) syscall.EpollEvent {
	return syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
}

func idOf(e *syscall.EpollEvent) int64 { return int64(e.Pad)<<32 | int64(uint32(e.Fd)) }
