package cluster

// Stats counts the traffic between this node and the other nodes. The counters only grow, also when links end and new
// ones come up. The other fields are current values. Everything that nodes send each other except pings counts as a
// message: a client's message or its answer, a push, a call, a user's login.
type Stats struct {
	Members  int // other nodes that are up
	Sessions int // sessions of other nodes' clients that this node knows
	Carried  int // clients of this node that resume sessions of other nodes, or have resumed them

	MessagesIn  int64 // messages received from other nodes
	MessagesOut int64 // messages sent to other nodes
	BytesIn     int64 // bytes of MessagesIn, including headers
	BytesOut    int64 // bytes of MessagesOut, including headers

	Queued      int // messages that wait to be sent to other nodes
	QueuedBytes int // bytes of these messages

	Multicasts int64 // pushes from other nodes for many clients of this one, one for each group and node
	Unsent     int64 // pushes for many clients of another node that were dropped because the queue to it was full
	Refused    int64 // messages of other nodes' clients that were refused because too many of the session waited
	Lost       int64 // answers and pushes of other nodes that could not be sent to a client of this one
	Late       int64 // answers and replies that came when the request or call had ended
}
