// Package session owns what the server knows of one connected user: an id, the uid that the program bound, the
// program's own data, and the way back to the client. It does not know how bytes travel: a NetworkEntity does,
// the agent of a connection in a server, or mock.NetworkEntity in a unit test.
package session

import (
	"context"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/lonng/nano/internal/sessionctl"
)

// NetworkEntity is the connection behind a session. Its methods may be called concurrently.
type NetworkEntity interface {
	// Push sends a message that is not an answer.
	Push(route string, v any) error
	// RPC sends a notify to the node that serves the route.
	RPC(route string, v any) error
	// LastMid is the id of the request whose handler ran last; 0 for a notify.
	LastMid() uint64
	// Response answers the request of the running handler.
	Response(v any) error
	// ResponseMid answers the request with the id mid.
	ResponseMid(mid uint64, v any) error
	// Close ends the connection when what is queued has been sent.
	Close() error
	// RemoteAddr is the client's address.
	RemoteAddr() net.Addr
}

// lastID counts the sessions over entities that do not number them, as in unit tests of handlers.
var lastID atomic.Int64

// Session is one connected user. Its methods may be called concurrently. What a handler does with it is in order:
// the messages of one session run one at a time.
type Session struct {
	id     int64
	uid    atomic.Int64
	entity NetworkEntity
	router atomic.Pointer[Router]

	mu   sync.RWMutex
	data map[string]any // made by the first Set; mu guards it

	end ending
}

// New makes a session over entity. The server makes the sessions of its clients itself; programs need New in
// tests.
func New(entity NetworkEntity) *Session {
	s := &Session{entity: entity}
	if n, ok := entity.(interface{ SessionID() int64 }); ok {
		s.id = n.SessionID()
	} else {
		s.id = lastID.Add(1)
	}
	if a, ok := entity.(sessionctl.Attacher); ok {
		a.Attach((*control)(s))
	}
	return s
}

// NetworkEntity returns the connection behind the session.
func (s *Session) NetworkEntity() NetworkEntity { return s.entity }

// ID returns the session's number. Numbers grow, and no two nodes of a cluster give the same.
func (s *Session) ID() int64 { return s.id }

// UID returns the uid that was bound, or 0.
func (s *Session) UID() int64 { return s.uid.Load() }

// Bind ties the session to a user of the program. A uid below 1 is ErrIllegalUID. Binding again replaces the uid.
// With single login, other sessions of the uid are closed with ErrReplaced.
func (s *Session) Bind(uid int64) error {
	if uid < 1 {
		return ErrIllegalUID
	}
	return s.bound(s.uid.Swap(uid), uid)
}

// bound tells the entity of another uid, 0 for none.
func (s *Session) bound(old, uid int64) error {
	if b, ok := s.entity.(interface {
		Bound(s *Session, old, uid int64) error
	}); ok {
		return b.Bound(s, old, uid)
	}
	return nil
}

// Push sends v to the client as a message of the given route and returns without waiting for the network. A []byte goes
// as it is, and any other value through the server's serializer. Push returns:
//   - [ErrIllegalRoute] if the route is empty or not UTF-8,
//   - [ErrNotReady] before the client has completed its handshake,
//   - [ErrBrokenPipe] if the session is closed,
//   - [ErrSlowClient] or [ErrBufferExceed] if the message does not fit the client's write buffer, as the policy of
//     nano.WithWriteBuffer says,
//   - the error of the serializer or of a hook.
func (s *Session) Push(route string, v any) error {
	if err := CheckRoute(route); err != nil {
		return err
	}
	return s.entity.Push(route, v)
}

// CheckRoute returns [ErrIllegalRoute] if no client can handle a push of this route: it is empty or not UTF-8.
func CheckRoute(route string) error {
	if route == "" || !utf8.ValidString(route) {
		return ErrIllegalRoute
	}
	return nil
}

// Response answers the request of the running handler, once. An *Error (of nano.Errorf) makes it an error response.
// ErrSessionOnNotify if there is nothing to answer; other errors are those of Push.
func (s *Session) Response(v any) error { return s.entity.Response(v) }

// RPC sends v as a notify to the node of the cluster that serves route, this one included, and returns without
// waiting. The session travels with it, and keeps to the node that served the service before. An error says that
// nobody serves the route, or that the notify could not be sent; it is delivered at most once.
func (s *Session) RPC(route string, v any) error { return s.entity.RPC(route, v) }

// Call sends in as a request to the node of the cluster that serves route, this one included, waits for the reply and
// decodes it into out, nil to drop it. A []byte goes as it is, and *[]byte gets the reply as it came. The session
// travels with the request, which runs in order with the session's other messages there, and keeps to the node that
// served the service before. A ctx without a deadline gets one of 10 s; the handler's context bears it.
//
// An error of the handler or of the library is an *Error with its code: NANO-404 if nobody serves the route, NANO-503 if
// the node went down, NANO-504 when the deadline has passed. ErrNotSupported if the session has no server behind it,
// as in unit tests.
//
// Call waits, so a handler calls it on a goroutine of its own: the logic goroutine would serve nobody meanwhile. There,
// a call that this node itself would have to serve is refused.
func (s *Session) Call(ctx context.Context, route string, in, out any) error {
	if c, ok := s.entity.(interface {
		Call(ctx context.Context, route string, in, out any) error
	}); ok {
		return c.Call(ctx, route, in, out)
	}
	return ErrNotSupported
}

// Router returns the bindings of this session to nodes of the cluster.
func (s *Session) Router() *Router {
	if r := s.router.Load(); r != nil {
		return r
	}
	r := &Router{}
	if e, ok := s.entity.(interface {
		Routed(s *Session, service, address string)
	}); ok {
		r.changed = func(service, address string) { e.Routed(s, service, address) }
	}
	s.router.CompareAndSwap(nil, r)
	return s.router.Load()
}

// RemoteAddr returns the client's address.
func (s *Session) RemoteAddr() net.Addr { return s.entity.RemoteAddr() }

// Close ends the session with ErrClosed when what is queued has been sent. It returns at once; the close callbacks
// follow on the logic goroutine. Closing twice does nothing.
func (s *Session) Close() { _ = s.entity.Close() }

// Kick sends the client a kick packet with {"reason": reason} and ends the session with ErrKicked when it has been
// flushed. It returns at once; ErrCloseClosedSession if the session is closed. Over an entity that cannot kick it is
// Close.
func (s *Session) Kick(reason string) error {
	if k, ok := s.entity.(interface{ Kick(string) error }); ok {
		return k.Kick(reason)
	}
	return s.entity.Close()
}

// Remove forgets the value under key.
func (s *Session) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, key)
}

// Set keeps value under key.
func (s *Session) Set(key string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = make(map[string]any)
	}
	s.data[key] = value
}

// HasKey reports whether there is a value under key.
func (s *Session) HasKey(key string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.data[key]
	return ok
}

// Value returns the value under key, or nil.
func (s *Session) Value(key string) any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.data[key]
}

// typed returns the value under key if it is of type T, or T's zero value.
func typed[T any](s *Session, key string) T {
	v, _ := s.Value(key).(T)
	return v
}

// Int returns the int under key, or 0 if there is none of that very type; so do its siblings for their types.
func (s *Session) Int(key string) int { return typed[int](s, key) }

// Int8 returns the int8 under key, or 0.
func (s *Session) Int8(key string) int8 { return typed[int8](s, key) }

// Int16 returns the int16 under key, or 0.
func (s *Session) Int16(key string) int16 { return typed[int16](s, key) }

// Int32 returns the int32 under key, or 0.
func (s *Session) Int32(key string) int32 { return typed[int32](s, key) }

// Int64 returns the int64 under key, or 0.
func (s *Session) Int64(key string) int64 { return typed[int64](s, key) }

// Uint returns the uint under key, or 0.
func (s *Session) Uint(key string) uint { return typed[uint](s, key) }

// Uint8 returns the uint8 under key, or 0.
func (s *Session) Uint8(key string) uint8 { return typed[uint8](s, key) }

// Uint16 returns the uint16 under key, or 0.
func (s *Session) Uint16(key string) uint16 { return typed[uint16](s, key) }

// Uint32 returns the uint32 under key, or 0.
func (s *Session) Uint32(key string) uint32 { return typed[uint32](s, key) }

// Uint64 returns the uint64 under key, or 0.
func (s *Session) Uint64(key string) uint64 { return typed[uint64](s, key) }

// Float32 returns the float32 under key, or 0.
func (s *Session) Float32(key string) float32 { return typed[float32](s, key) }

// Float64 returns the float64 under key, or 0.
func (s *Session) Float64(key string) float64 { return typed[float64](s, key) }

// String returns the string under key, or "".
func (s *Session) String(key string) string { return typed[string](s, key) }

// State returns a copy of all values, to be kept, or given to Restore of another session. It is never nil.
func (s *Session) State() map[string]any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.data == nil {
		return map[string]any{}
	}
	return maps.Clone(s.data)
}

// Restore replaces all values by a copy of data.
func (s *Session) Restore(data map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = maps.Clone(data)
}

// Clear unbinds the uid and forgets all values.
func (s *Session) Clear() {
	s.mu.Lock()
	s.data = nil
	s.mu.Unlock()
	if old := s.uid.Swap(0); old != 0 {
		_ = s.bound(old, 0)
	}
}

// Context returns a context that ends when the session closes; context.Cause is why. It bears no deadline.
func (s *Session) Context() context.Context { return s.end.context() }

// OnClose has f called when the session has closed, on the logic goroutine, after every message that the session
// had accepted, with the reason: one of the sentinels of this package. If the callbacks have run already, f is called
// at once, on the caller's goroutine.
func (s *Session) OnClose(f func(s *Session, reason error)) {
	s.end.onClose(func() { f(s, s.end.Reason()) })
}

// Closed reports whether the session has begun to close: nothing can be sent any more.
func (s *Session) Closed() bool { return s.end.Reason() != nil }
