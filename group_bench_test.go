package nano_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

// BenchRoom is a room with every client as a member.
type BenchRoom struct {
	component.Base
	group   *nano.Group
	entered chan error
}

// Enter adds the session to the room.
func (r *BenchRoom) Enter(s *session.Session, _ []byte) error {
	r.entered <- r.group.Add(s)
	return nil
}

// BenchmarkGroupBroadcast measures broadcasts to a room until the last member's bytes are
// written. held-ns/op is the time for which one broadcast occupies the logic goroutine.
func BenchmarkGroupBroadcast(b *testing.B) {
	for _, members := range []int{100, 5000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) { benchmarkBroadcast(b, members) })
	}
}

func benchmarkBroadcast(b *testing.B, members int) {
	room := &BenchRoom{group: nano.NewGroup("bench"), entered: make(chan error, 16)}
	components := &component.Components{}
	components.Register(room)
	srv := nano.New(nano.WithComponents(components))
	crowd := &crowd{left: members, gone: make(chan struct{}), all: make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(crowd) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			b.Errorf("Shutdown = %v", err)
		}
		if err := <-served; err != nil {
			b.Errorf("Serve = %v", err)
		}
	}()
	for range members {
		if err := <-room.entered; err != nil {
			b.Fatal(err)
		}
	}

	payload := make([]byte, 64)
	const frame = 4 + 1 + 1 + len("msg") // bytes before the payload
	size := int64(members) * int64(frame+len(payload))
	var held time.Duration
	b.ReportAllocs()
	for b.Loop() {
		crowd.await.Store(size)
		srv.Invoke(func() {
			start := time.Now()
			if err := room.group.Broadcast("msg", payload); err != nil {
				b.Error(err)
			}
			held += time.Since(start)
		})
		<-crowd.all
	}
	b.ReportMetric(float64(held.Nanoseconds())/float64(b.N), "held-ns/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
}

// crowd is a listener that accepts a fixed number of clients. They enter the room and
// read everything at once.
type crowd struct {
	left  int
	gone  chan struct{}
	once  sync.Once
	await atomic.Int64  // bytes to be written before all is signaled
	all   chan struct{} // capacity 1
}

func (c *crowd) Accept() (net.Conn, error) {
	if c.left == 0 {
		<-c.gone
		return nil, net.ErrClosed
	}
	c.left--
	return &member{crowd: c, left: []string{greets, enters}, answered: make(chan struct{}), closed: make(chan struct{})}, nil
}

func (c *crowd) Close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

func (c *crowd) Addr() net.Addr { return mock.NetAddr{} }

// A member sends a handshake, and after the answer an ack and a notify.
const (
	greets = "\x01\x00\x00\x00"
	enters = "\x02\x00\x00\x00" + "\x04\x00\x00\x11" + "\x02" + "\x0fBenchRoom.Enter"
)

// member is a connection in memory.
type member struct {
	crowd    *crowd
	left     []string // items to send, one per read
	answered chan struct{}
	first    sync.Once
	closed   chan struct{}
	once     sync.Once
}

func (m *member) Read(b []byte) (int, error) {
	if len(m.left) == 1 {
		<-m.answered
	}
	if len(m.left) > 0 {
		n := copy(b, m.left[0])
		m.left = m.left[1:]
		return n, nil
	}
	<-m.closed
	return 0, net.ErrClosed
}

func (m *member) Write(b []byte) (int, error) {
	if m.crowd.await.Add(-int64(len(b))) == 0 {
		m.crowd.all <- struct{}{}
	}
	m.first.Do(func() { close(m.answered) })
	return len(b), nil
}

func (m *member) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *member) LocalAddr() net.Addr { return mock.NetAddr{} }

func (m *member) RemoteAddr() net.Addr { return mock.NetAddr{} }

func (m *member) SetDeadline(time.Time) error { return nil }

func (m *member) SetReadDeadline(time.Time) error { return nil }

func (m *member) SetWriteDeadline(time.Time) error { return nil }
