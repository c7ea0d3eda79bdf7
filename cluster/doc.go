// Package cluster contains what programs see of the other nodes of a cluster: [Member], [Stats], the errors of calls and of
// starting a node, and the function that chooses a node for a session. The options of package nano start nodes.
package cluster
