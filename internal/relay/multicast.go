package relay

import (
	"errors"
	"slices"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/session"
)

// Multicast pushes one message to sessions of other nodes' clients, with one frame for each gate and 4,096 sessions. The
// zero value is ready for one message. It must not be used concurrently.
type Multicast struct {
	gates []gateMembers
}

type gateMembers struct {
	pc  *peerConn
	ids []int64
}

// maxMembers bounds the sessions that one frame is for.
const maxMembers = 4096

// Add adds the session of a network entity. It reports false if the session does not belong to another node's client.
func (m *Multicast) Add(e session.NetworkEntity) bool {
	r, ok := e.(*proxySession)
	if !ok {
		return false
	}
	if r.closed.Load() {
		return true
	}
	i := slices.IndexFunc(m.gates, func(g gateMembers) bool { return g.pc == r.pc })
	if i < 0 {
		i = len(m.gates)
		m.gates = append(m.gates, gateMembers{pc: r.pc})
	}
	m.gates[i].ids = append(m.gates[i].ids, r.id)
	return true
}

// Send pushes v to the sessions that were added. It returns an error only if v cannot be encoded or does not fit a packet.
// A gate whose queue is full gets nothing; that is counted in Stats.Unsent.
func (m *Multicast) Send(route string, v any) error {
	var data []byte
	var last *Broker
	for _, g := range m.gates {
		if b := g.pc.b; b != last {
			var err error
			if data, err = payload.Encode(b.Dispatcher.Serializer, v); err != nil {
				return err
			}
			if err := g.pc.fits(&link.Frame{Route: route, Data: data}); err != nil {
				return err
			}
			last = b
		}
		for ids := range slices.Chunk(g.ids, maxMembers) {
			err := g.pc.link.Send(&link.Frame{Kind: kindMulticast, Route: route, Meta: appendIDs(nil, ids), Data: data})
			if errors.Is(err, link.ErrQueueFull) {
				g.pc.b.counts.unsent.Add(1)
			}
		}
	}
	return nil
}
