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
	ID       uint64        // the node id
	Addr     string        // where the node can be dialed, "host:port"
	Epoch    uint64        // start time of the process in Unix nanoseconds; it differs after a restart
	Label    string        // name of the node or of its kind; see nano.WithLabel
	Services []string      // names of the services that the node serves
	Up       bool          // the link to the node is up
	RTT      time.Duration // smoothed round-trip time of the link; 0 if it was not measured

	Queued      int // messages that wait to be sent over the link
	QueuedBytes int // bytes of these messages
}

// MemberInfo returns the member as a CustomerRemoteServiceRoute gets it.
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

// CustomerRemoteServiceRoute chooses the member that serves a session's messages to a service. members are those that
// serve it and are up, at least one. The function must return one of them, and may change the slice. It may be called
// concurrently.
type CustomerRemoteServiceRoute func(service string, s *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo
