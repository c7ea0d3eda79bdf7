package cluster_test

import (
	"fmt"

	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/session"
)

// Players of a room are served by the node whose label is the room's name. A player
// without a room may be served by any node.
func ExampleCustomerRemoteServiceRoute() {
	var byRoom cluster.CustomerRemoteServiceRoute = func(service string, s *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
		for _, m := range members {
			if m.Label == s.String("room") {
				return m
			}
		}
		return members[0]
	}

	s := session.New(nil)
	s.Set("room", "castle")
	node := byRoom("Room", s, []*clusterpb.MemberInfo{
		{Label: "forest", ServiceAddr: "10.0.0.1:34580", Services: []string{"Room"}},
		{Label: "castle", ServiceAddr: "10.0.0.2:34580", Services: []string{"Room"}},
	})
	fmt.Println(node.ServiceAddr)
	// Output: 10.0.0.2:34580
}
