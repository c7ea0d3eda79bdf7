// Package cluster declares the public types of clusters: [Member] and [Stats], the errors of calls and of starting a
// node, and the function that chooses a node for a session. The options of package nano start nodes.
//
//	nano.Listen(":3250", nano.WithSeeds("10.0.0.1:3250"),
//		nano.WithMemberCallback(func(m cluster.Member) {
//			log.Printf("node %s, up: %t", m.Addr, m.Up)
//		}))
package cluster
