package nanotest

import (
	"context"
	"net"
	"sync"
	"time"
)

// network connects one client with the server, and can be cut.
type network struct {
	listener *Listener

	mu   sync.Mutex    // guards the fields below
	near *clientConn   // the client's end of the latest connection
	far  *serverConn   // the server's
	back chan struct{} // closed when the client may connect again; nil if it may
	made chan struct{} // closed when there is a new connection; nil if no goroutine waits
}

// dial connects the client. While the network is cut, it waits.
func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	for {
		n.mu.Lock()
		back := n.back
		n.mu.Unlock()
		if back == nil {
			break
		}
		select {
		case <-back:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	near, far, err := n.listener.dial(ctx)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.back != nil { // cut meanwhile
		_ = near.Close()
	}
	n.near, n.far = near, far
	if n.made != nil {
		close(n.made)
		n.made = nil
	}
	return near, nil
}

// latest returns the server's end of the latest connection; nil if there was none.
func (n *network) latest() *serverConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.far
}

// cut cuts the connection, and lets the client make no other. It returns the server's end, which is nil if the client
// does not connect over the network. ok is false if the network is cut already.
func (n *network) cut() (far *serverConn, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.back != nil {
		return nil, false
	}
	n.back = make(chan struct{})
	if n.near != nil {
		_ = n.near.Close()
	}
	return n.far, true
}

// mend lets the client connect again. ok is false if the network is not cut.
func (n *network) mend() (ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.back == nil {
		return false
	}
	close(n.back)
	n.back = nil
	return true
}

// next returns both ends of a connection newer than old, or a channel that is closed when there is one.
func (n *network) next(old *serverConn) (*clientConn, *serverConn, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.far != old {
		return n.near, n.far, nil
	}
	if n.made == nil {
		n.made = make(chan struct{})
	}
	return nil, nil, n.made
}

// returnTimeout bounds how long Return waits for a client that connects again.
const returnTimeout = 30 * time.Second

// Drop cuts the player's connection as a lost network does, and keeps the player from connecting until Return. When it
// returns, the server has noticed. If the server has nano.WithResume, the session is suspended and its OnSuspend
// callbacks have run on the logic goroutine. Otherwise the session has begun to close, and the player ends, unless an
// option of the test has it reconnect.
//
// Requests, and messages that the test sends while the player is away, wait for Return. A second Drop without a Return
// fails the test at once. Handlers do not call Drop: it waits for the logic goroutine.
func (p *Player) Drop() {
	p.t.Helper()
	far, ok := p.network.cut()
	switch {
	case !ok:
		p.t.Fatalf("nanotest: Drop: the player is away already")
	case far == nil:
		p.t.Fatalf("nanotest: Drop: the player connects with a dialer of the test")
	}
	<-far.ended
	p.srv.settle()
}

// Return lets a player that was dropped connect again, and waits until the server has accepted it and both may send. If
// the session was resumed, its OnResume callbacks have run on the logic goroutine, and the server has sent the missed
// messages: see [Player.Wait]. If the window has passed, the player has a new session. If the player was kicked while
// it was away, it ends: see [Player.Kicked].
//
// The test fails at once if the player was not dropped, or if it has not reconnected within 30 s.
func (p *Player) Return() {
	p.t.Helper()
	select {
	case <-p.Done():
		p.t.Fatalf("nanotest: Return: the player has ended, because it does not reconnect: %v", p.Err())
	default:
	}
	old := p.network.latest()
	if !p.network.mend() {
		p.t.Fatalf("nanotest: Return: the player was not dropped")
	}
	late := time.NewTimer(returnTimeout)
	defer late.Stop()
	var entered, ended <-chan struct{} // channels of the newest connection
	var near *clientConn
	for {
		made := (<-chan struct{})(nil)
		if entered == nil {
			var far *serverConn
			if near, far, made = p.network.next(old); far != nil {
				entered, ended, old = far.entered, far.ended, far
			}
		}
		select {
		case <-made:
		case <-entered:
			if entered == near.entered {
				p.srv.settle()
				return
			}
			entered = near.entered
		case <-ended: // it tries again, or ends
			entered, ended = nil, nil
		case <-p.Done():
			return
		case <-late.C:
			p.t.Fatalf("nanotest: Return: the player was not let in within %v; %s", returnTimeout, p.list())
		}
	}
}

// settle returns when the logic goroutine has run the tasks queued before.
func (s *Server) settle() {
	done := make(chan struct{})
	if s.Scheduler().Invoke(func() { close(done) }) {
		<-done
	}
}
