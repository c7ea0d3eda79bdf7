// Package cluster declares the public types of clusters: [Member] and [Stats], the errors of calls and of starting a
// node, and the function that chooses a node for a session. The options of package nano start nodes.
package cluster
