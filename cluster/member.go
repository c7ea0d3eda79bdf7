package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/session"
)

// Member is a node of the cluster at one moment.
type Member struct {
	ID       uint64 // the node id
	Addr     string // where the node can be dialed, "host:port"
	Epoch    uint64 // tells this process from earlier ones at the address: when it started, Unix nanoseconds
	Label    string
	Services []string      // names of the services that the node serves
	Up       bool          // the link to the node is up
	RTT      time.Duration // round-trip time of the link, smoothed; 0 if it was not measured
}

func member(addr string, epoch uint64, h *clusterpb.Hello, up bool, rtt time.Duration) Member {
	return Member{
		ID: h.GetId(), Addr: addr, Epoch: epoch,
		Label: h.GetInfo().GetLabel(), Services: slices.Clone(h.GetInfo().GetServices()),
		Up: up, RTT: rtt,
	}
}

// MemberOf returns the member at the other end of a link.
func MemberOf(l *Link) Member {
	return member(l.Addr, l.Epoch, l.Hello(), l.Err() == nil, l.RTT())
}

// MemberInfo returns what the member tells programs of itself.
func (m Member) MemberInfo() *clusterpb.MemberInfo {
	return &clusterpb.MemberInfo{Label: m.Label, ServiceAddr: m.Addr, Services: slices.Clone(m.Services)}
}

// String returns the member's label, address and state.
func (m Member) String() string {
	state := "down"
	if m.Up {
		state = "up"
	}
	return fmt.Sprintf("%s@%s (%s)", m.Label, m.Addr, state)
}

// CustomerRemoteServiceRoute chooses the member that serves a session's messages to a service. It is given the members
// that serve it and are up, at least one, and must return one of them; the list is its own. It may be called concurrently.
type CustomerRemoteServiceRoute func(service string, s *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo
