package relay

import (
	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/link"
)

// carry handles a carry frame: a client of the peer wants to resume a session of this
// node.
func (pc *peerConn) carry(f *link.Frame) error {
	ask, err := parseAsk(f.Meta)
	end := streamEnd{pc: pc, id: f.Session}
	if err != nil {
		end.Close(nil)
		return err
	}
	c := carry.NewConn(end, nodeAddr(pc.b.Address()), ask.Remote)
	pc.mu.Lock()
	s := &pc.streams
	_, taken := s.served[f.Session]
	if !taken {
		if s.served == nil {
			s.served = make(map[int64]*carry.Conn)
		}
		s.served[f.Session] = c
	}
	pc.mu.Unlock()
	if taken {
		return errMalformed
	}
	if why := pc.b.Gate.Carried(c, ask); why != nil {
		c.Refuse(*why)
	}
	return nil
}
