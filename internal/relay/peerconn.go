package relay

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/internal/message"
)

// peerConn is another node, over one link to it.
type peerConn struct {
	b    *Broker
	link *link.Link
	dead atomic.Bool // a send has found the link down

	// The following fields belong to the link's goroutine.
	listed   bool
	batch    *dispatch.Batch // messages for batchFor that are not delivered yet
	batchFor *proxySession
	room     int               // room of batchFor when batch was started
	served   *proxySession     // session of the last message, nil for none: consecutive messages are often of one session
	handler  *handler.Handler  // handler of the last message
	block    []byte            // the rest of a block into which payloads are copied
	message  message.Message   // reused for messages to clients
	members  []Client          // reused for multicasts
	taken    []waitingRequest  // reused for answers
	answers  []message.Message // likewise

	name   carry.Name    // name of the peer in tokens
	asking chan struct{} // holds a token for each client that waits for the peer's answer to a carry frame

	mu       sync.Mutex
	down     bool                        // the peer has withdrawn or the link is down; mu guards it and the fields below
	clients  map[int64]*forwardedSession // sessions of this node's clients that the peer knows
	sessions map[int64]*proxySession     // sessions of the peer's clients that this node knows
	users    map[int64][]login           // logins of the peer's clients, by uid
	streams  streams                     // streams of carried connections
	watch    queueWatch
	jobs     int // calls that are served for the peer; Broker.callMu guards it and jobSize
	jobSize  int
}

// peerConnOf returns the peerConn of a link that is up.
func peerConnOf(l *link.Link) *peerConn { return l.Owner.(*peerConn) }

// Up is called when a member came up; it is part of mesh.Handler.
func (b *Broker) Up(l *link.Link) {
	pc := &peerConn{
		b: b, link: l,
		clients: make(map[int64]*forwardedSession), sessions: make(map[int64]*proxySession), users: make(map[int64][]login),
		name: carry.NameOf(l.Addr, l.Epoch), asking: make(chan struct{}, maxAsking),
	}
	l.Owner = pc
	for _, s := range l.Hello().GetInfo().GetServices() {
		b.services.LoadOrStore(s, new(atomic.Uint64))
	}
	b.loginMu.Lock()
	defer b.loginMu.Unlock()
	pc.sendLogins()
	b.mu.Lock()
	defer b.mu.Unlock()
	list := append(slices.Clone(*b.peers.Load()), pc)
	b.peers.Store(&list)
}

// listed is called when a member that is up may be chosen.
func (b *Broker) listed(l *link.Link) {
	peerConnOf(l).listed = true
	if b.Changed != nil {
		b.Changed(mesh.MemberOf(l))
	}
}

// Received is called with the frames of a member; it is part of mesh.Handler.
func (b *Broker) Received(l *link.Link, frames []link.Frame) {
	pc := peerConnOf(l)
	b.Gate.Begin()
	defer b.Gate.End()
	for len(frames) > 0 {
		n := 1
		if frames[0].Kind == kindResponse {
			n = pc.responses(frames)
		} else {
			pc.receive(&frames[0])
		}
		frames = frames[n:]
	}
	pc.deliver()
}

// Down is called when a member went down; it is part of mesh.Handler.
func (b *Broker) Down(l *link.Link, err error) {
	pc := peerConnOf(l)
	b.lostProcess(pc) // while it is still in peers
	b.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(*b.peers.Load()), func(other *peerConn) bool { return other == pc })
	b.peers.Store(&list)
	b.mu.Unlock()
	b.Gate.Begin()
	pc.lost()
	b.Gate.End()
	b.dropCalls(pc)
	if pc.listed && b.Changed != nil && !errors.Is(err, mesh.ErrStopped) { // ErrStopped: this node has left
		b.Changed(mesh.MemberOf(l))
	}
}

// receive handles a frame of the peer.
func (pc *peerConn) receive(f *link.Frame) {
	var err error
	switch f.Kind {
	case kindRequest, kindNotify:
		err = pc.serve(f)
	case kindDone:
		err = pc.done(f)
	case kindPush:
		pc.push(f)
	case kindMulticast:
		err = pc.multicast(f)
	case kindKick, kindClose:
		pc.close(f)
	case kindRPC:
		pc.rpc(f)
	case kindUID:
		pc.uid(f)
	case kindRoute:
		pc.route(f)
	case kindClosed:
		pc.closed(f)
	case kindCall:
		err = pc.call(f)
	case kindReturn:
		pc.returned(f)
	case kindCancel:
		pc.b.cancelJob(pc, f.ID)
	case kindLogins:
		err = pc.loggedIn(f)
	case kindPushUser, kindKickUser:
		pc.user(f)
	case kindCarry:
		err = pc.carry(f)
	case kindBytes, kindCredit, kindEnd:
		err = pc.stream(f)
	case kindWill:
		pc.will(f)
	case kindSuspended, kindResumed:
		pc.suspended(f)
	case kindQueued:
		pc.queued(f)
	}
	if err != nil {
		pc.b.Log.Warn("cluster: frame dropped", "member", pc.link.Addr, "kind", f.Kind, "error", err)
	}
}

// lost ends everything that used the link: forwarded sessions, proxy sessions and what waits for delivery.
func (pc *peerConn) lost() {
	pc.dead.Store(true)
	pc.mu.Lock()
	pc.down = true
	clients, sessions := pc.clients, pc.sessions
	pc.clients, pc.sessions, pc.users = nil, nil, nil
	carried := pc.streams.takeAll()
	pc.watch.stop()
	pc.mu.Unlock()
	for _, c := range carried {
		c.OnLost(link.ErrDown)
	}
	pc.served = nil
	if pc.batch != nil {
		pc.batch.Free()
		pc.batch = nil
	}
	for _, fs := range clients {
		pc.lostClient(fs)
	}
	for _, p := range sessions {
		_ = p.shut(errGateDown) // it may be closed already
	}
}

// proxies returns the sessions of the peer's clients that this node knows.
func (pc *peerConn) proxies() []*proxySession {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	list := make([]*proxySession, 0, len(pc.sessions))
	for _, p := range pc.sessions {
		list = append(list, p)
	}
	return list
}

// blockSize is the size of a block for the payloads of handlers, in bytes; larger payloads get memory of their own.
const blockSize = 4 << 10

// Keep copies a payload that outlasts its frame. Only the link's goroutine may call it.
func (pc *peerConn) Keep(data []byte) []byte {
	if len(data) > blockSize/4 {
		return bytes.Clone(data)
	}
	if len(data) > len(pc.block) {
		pc.block = make([]byte, blockSize)
	}
	n := copy(pc.block, data)
	kept := pc.block[:n:n]
	pc.block = pc.block[n:]
	return kept
}

var _ dispatch.Keeper = (*peerConn)(nil)
