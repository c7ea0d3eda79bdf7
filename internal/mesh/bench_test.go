package mesh

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/lonng/nano/internal/link"
)

// pair returns two linked nodes that pass frames to got, and the link of the first node.
func pair(b *testing.B, first, second func(l *link.Link, frames []link.Frame)) *link.Link {
	one := newTestNode(b, Config{ID: 1})
	one.Got = first
	one.serve(listen(b, "127.0.0.1:0"))
	two := newTestNode(b, Config{ID: 2, Seeds: []string{one.addr}})
	two.Got = second
	two.serve(listen(b, "127.0.0.1:0"))
	one.within(patience, "up", one.HasUp(two.addr))
	return one.link(two.addr)
}

// BenchmarkOneWay sends frames of 64 bytes as fast as the peer reads them.
func BenchmarkOneWay(b *testing.B) {
	var taken atomic.Int64
	done := make(chan struct{}, 1)
	l := pair(b, nil, func(_ *link.Link, frames []link.Frame) {
		taken.Add(int64(len(frames)))
		select {
		case done <- struct{}{}:
		default:
		}
	})
	f := &link.Frame{Kind: link.FirstKind, Session: 123456789012, Route: "Room.Message", Data: make([]byte, 64)}
	b.ReportAllocs()
	var sent int64
	for b.Loop() {
		for l.Send(f) != nil {
			<-done
		}
		sent++
	}
	for taken.Load() < sent {
		<-done
	}
}

// BenchmarkRoundTrip sends a frame to the peer and back for each session.
func BenchmarkRoundTrip(b *testing.B) {
	for _, sessions := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			free := make(chan struct{}, sessions)
			l := pair(b, func(_ *link.Link, frames []link.Frame) {
				for range frames {
					free <- struct{}{}
				}
			}, func(l *link.Link, frames []link.Frame) {
				for i := range frames {
					_ = l.Send(&frames[i])
				}
			})
			for range sessions {
				free <- struct{}{}
			}
			data := make([]byte, 64)
			f := &link.Frame{Kind: link.FirstKind, Session: 123456789012, ID: 1, Route: "Room.Message", Data: data}
			b.ReportAllocs()
			var n uint64
			for b.Loop() {
				<-free
				n++
				binary.BigEndian.PutUint64(data, n)
				if err := l.Send(f); err != nil {
					b.Fatal(err)
				}
			}
			for range sessions {
				<-free
			}
		})
	}
}
