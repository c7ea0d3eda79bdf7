package relay

import (
	"net"

	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/link"
)

// streams holds this node's ends of the streams of one link. peerConn.mu guards it.
type streams struct {
	last   int64                 // number of the last stream that this node has opened
	opened map[int64]*carry.Conn // streams opened by this node, the carrier
	served map[int64]*carry.Conn // streams opened by the peer for sessions of this node
	ended  bool                  // the link is down
}

// of returns the streams opened by this node, or those opened by the peer.
func (s *streams) of(opened bool) map[int64]*carry.Conn {
	if opened {
		return s.opened
	}
	return s.served
}

// takeAll removes all streams, and allows no more. The caller holds mu.
func (s *streams) takeAll() []*carry.Conn {
	list := make([]*carry.Conn, 0, len(s.opened)+len(s.served))
	for _, c := range s.opened {
		list = append(list, c)
	}
	for _, c := range s.served {
		list = append(list, c)
	}
	*s = streams{ended: true}
	return list
}

// streamEnd sends the frames of one end of a stream.
type streamEnd struct {
	pc     *peerConn
	id     int64
	opened bool // opened by this node
}

var _ carry.Sender = streamEnd{}

// frame returns a frame of the stream.
func (e streamEnd) frame(kind link.Kind) link.Frame {
	f := link.Frame{Kind: kind, Session: e.id}
	if !e.opened {
		f.Flags = flagToCarrier
	}
	return f
}

func (e streamEnd) Data(b []byte) (wait <-chan struct{}, err error) {
	f := e.frame(kindBytes)
	f.Data = b
	return e.pc.link.SendBulk(&f)
}

func (e streamEnd) Credit(n int) {
	f := e.frame(kindCredit)
	f.ID = uint64(n)
	_ = e.pc.link.SendReserved(&f) // the stream ends when the link ends
}

func (e streamEnd) CloseWrite() {
	f := e.frame(kindEnd)
	f.ID = endHalf
	_ = e.pc.link.SendReserved(&f)
}

func (e streamEnd) Close(why *carry.Refusal) {
	e.pc.forgetStream(e.id, e.opened)
	f := e.frame(kindEnd)
	if why != nil {
		f.Flags |= flagRefused
		f.Route, f.Data = why.Reason, why.Kick
	}
	_ = e.pc.link.SendReserved(&f)
}

func (pc *peerConn) forgetStream(id int64, opened bool) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	delete(pc.streams.of(opened), id)
}

// stream handles a frame of a stream.
func (pc *peerConn) stream(f *link.Frame) error {
	opened := f.Flags&flagToCarrier != 0
	pc.mu.Lock()
	c := pc.streams.of(opened)[f.Session]
	pc.mu.Unlock()
	switch {
	case c == nil: // this end is closed
		return nil
	case f.Kind == kindBytes:
		return c.OnData(f.Data)
	case f.Kind == kindCredit:
		return c.OnCredit(f.ID)
	case f.ID == endHalf:
		c.OnCloseWrite()
		return nil
	}
	pc.forgetStream(f.Session, opened)
	var why *carry.Refusal
	if f.Flags&flagRefused != 0 && opened {
		why = &carry.Refusal{Reason: f.Route}
		if len(f.Data) > 0 {
			why.Kick = append([]byte(nil), f.Data...)
		}
	}
	c.OnClose(why)
	return nil
}

// nodeAddr is the address of a node.
type nodeAddr string

func (nodeAddr) Network() string { return "nano" }

func (a nodeAddr) String() string { return string(a) }

var _ net.Addr = nodeAddr("")
