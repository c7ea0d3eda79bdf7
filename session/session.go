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

// NetworkEntity sends to the client of a session. Its methods may be called concurrently.
type NetworkEntity interface {
	// Push sends a message that is not an answer.
	Push(route string, v any) error
	// RPC sends a notify to the node that serves the route.
	RPC(route string, v any) error
	// LastMid returns the id of the request whose handler runs or ran last; 0 for a
	// notify.
	LastMid() uint64
	// Response answers the request whose handler runs.
	Response(v any) error
	// ResponseMid answers the request with the id mid.
	ResponseMid(mid uint64, v any) error
	// Close closes the connection after it has sent the queued messages.
	Close() error
	// RemoteAddr returns the client's address.
	RemoteAddr() net.Addr
}

// These are the optional interfaces of a network entity, beside those of package
// sessionctl.
type (
	// numbered is an entity that numbers its session.
	numbered interface{ SessionID() int64 }
	// binder is an entity that the session tells when its uid changes; 0 is for no uid.
	binder interface {
		Bound(s *Session, old, uid int64) error
	}
	// caller is an entity that can call other nodes.
	caller interface {
		Call(ctx context.Context, route string, in, out any) error
	}
	// routed is an entity that the session tells when its Router changes.
	routed interface {
		Routed(s *Session, service, address string)
	}
	// kicker is an entity that can kick its client.
	kicker interface{ Kick(reason string) error }
)

// lastID numbers the sessions of entities that do not number them, as in unit tests of
// handlers.
var lastID atomic.Int64

// Session is one connected client. Its methods may be called concurrently. The messages
// of one session run one at a time, in the order in which the client sent them.
type Session struct {
	id     int64
	uid    atomic.Int64
	entity NetworkEntity
	router atomic.Pointer[Router]

	mu   sync.Mutex
	data map[string]any // made by the first Set; mu guards it

	end ending
}

// New makes a session that sends through entity. A server makes the sessions of its
// clients itself; programs need New in tests.
func New(entity NetworkEntity) *Session {
	s := &Session{entity: entity}
	if n, ok := entity.(numbered); ok {
		s.id = n.SessionID()
	} else {
		s.id = lastID.Add(1)
	}
	if a, ok := entity.(sessionctl.Attacher); ok {
		a.Attach((*control)(s))
	}
	return s
}

// NetworkEntity returns the entity through which the session sends.
func (s *Session) NetworkEntity() NetworkEntity { return s.entity }

// ID returns the number of the session. Later sessions of a server have larger numbers,
// and no two sessions of a cluster have the same.
func (s *Session) ID() int64 { return s.id }

// UID returns the uid that [Session.Bind] bound last, or 0.
func (s *Session) UID() int64 { return s.uid.Load() }

// Bind binds the session to a user of the program, in place of the user that it was bound
// to before. It returns [ErrIllegalUID] for a uid below 1. With nano.WithSingleLogin, the
// server closes other sessions of the uid with [ErrReplaced]; if the handshake is not
// complete yet, it does so when it is.
func (s *Session) Bind(uid int64) error {
	if uid < 1 {
		return ErrIllegalUID
	}
	return s.bound(s.uid.Swap(uid), uid)
}

// bound tells the entity that the uid has changed; 0 is for no uid.
func (s *Session) bound(old, uid int64) error {
	if b, ok := s.entity.(binder); ok {
		return b.Bound(s, old, uid)
	}
	return nil
}

// Push sends v to the client as a message of the given route and returns without waiting
// for the network. A []byte goes as it is, and any other value through the server's
// serializer. Push returns:
//   - [ErrIllegalRoute] if the route is empty or not UTF-8,
//   - [ErrNotReady] before the client has completed its handshake,
//   - [ErrBrokenPipe] if the session is closed,
//   - [ErrSlowClient] or [ErrBufferExceed] if the message does not fit the client's write
//     buffer, as the policy of nano.WithWriteBuffer says,
//   - the error of the serializer or of a hook.
func (s *Session) Push(route string, v any) error {
	if err := CheckRoute(route); err != nil {
		return err
	}
	return s.entity.Push(route, v)
}

// CheckRoute returns [ErrIllegalRoute] if no client can handle a push of this route: it
// is empty or not UTF-8.
func CheckRoute(route string) error {
	if route == "" || !utf8.ValidString(route) {
		return ErrIllegalRoute
	}
	return nil
}

// Response answers the request whose handler runs, once. The values are those of
// [Session.Push], and an *Error of package nano makes an error response. It returns
// [ErrSessionOnNotify] if the message is a notify or has been answered, and otherwise the
// errors of Push.
func (s *Session) Response(v any) error { return s.entity.Response(v) }

// RPC sends v as a notify to the node that serves the route, which may be this one, and
// returns without waiting. The handler there gets this session, and the session keeps to
// the node that served the service before. RPC returns an error if no node serves the
// route or the notify could not be sent. The notify is delivered at most once.
func (s *Session) RPC(route string, v any) error { return s.entity.RPC(route, v) }

// Call sends a request to the node that serves the route, which may be this one, and
// waits for the reply. in is encoded by the server's serializer, and the reply is decoded
// into out; a []byte and a *[]byte are passed through, and a nil out drops the reply. If
// the handler returns a nil reply, out stays unchanged. The handler gets this session,
// and runs in order with the session's other messages there. The session keeps to the
// node that served the service before. If ctx has no deadline, Call uses one of 10 s; the
// handler's context has it too.
//
// An error of the handler or of the library is an *Error of package nano with its code:
// NANO-404 if no node serves the route, NANO-503 if the node went down, NANO-504 if the
// deadline has passed. Call returns [ErrNotSupported] if the session belongs to no
// server, as in unit tests.
//
// Call blocks, so a handler must not call it on the logic goroutine. On the logic
// goroutine, a call that this node has to serve itself is refused.
func (s *Session) Call(ctx context.Context, route string, in, out any) error {
	if c, ok := s.entity.(caller); ok {
		return c.Call(ctx, route, in, out)
	}
	return ErrNotSupported
}

// Router returns the router of the session, which binds services to nodes of the cluster.
func (s *Session) Router() *Router {
	if r := s.router.Load(); r != nil {
		return r
	}
	r := &Router{}
	if e, ok := s.entity.(routed); ok {
		r.changed = func(service, address string) { e.Routed(s, service, address) }
	}
	s.router.CompareAndSwap(nil, r)
	return s.router.Load()
}

// RemoteAddr returns the client's address. Behind a proxy, see nano.WithTrustedProxies.
func (s *Session) RemoteAddr() net.Addr { return s.entity.RemoteAddr() }

// Close closes the session with [ErrClosed] and returns at once. The server sends the
// queued messages, closes the connection, and runs the close callbacks on the logic
// goroutine. Closing a closed session does nothing.
func (s *Session) Close() { _ = s.entity.Close() }

// Kick is [Session.Close] with [ErrKicked], after a kick packet that tells the client the
// reason: {"reason": reason, "code": "kicked"}. It returns [ErrCloseClosedSession] if the session is
// closed. If the network entity cannot kick, Kick closes it.
func (s *Session) Kick(reason string) error {
	if k, ok := s.entity.(kicker); ok {
		return k.Kick(reason)
	}
	return s.entity.Close()
}

// Remove deletes the value under key.
func (s *Session) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, key)
}

// Set stores value under key, for the life of the session.
func (s *Session) Set(key string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = make(map[string]any)
	}
	s.data[key] = value
}

// HasKey reports whether the session has a value under key.
func (s *Session) HasKey(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.data[key]
	return ok
}

// Value returns the value under key, or nil.
func (s *Session) Value(key string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[key]
}

// typed returns the value under key if it is of type T, or T's zero value.
func typed[T any](s *Session, key string) T {
	v, _ := s.Value(key).(T)
	return v
}

// Int returns the value under key if it is an int, and 0 otherwise. The methods for other
// types work likewise.
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

// State returns a copy of the map of all values, for example for [Session.Restore] of
// another session. It is never nil.
func (s *Session) State() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		return map[string]any{}
	}
	return maps.Clone(s.data)
}

// Restore replaces all values by those of a copy of data.
func (s *Session) Restore(data map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = maps.Clone(data)
}

// Clear unbinds the uid and deletes all values.
func (s *Session) Clear() {
	s.mu.Lock()
	s.data = nil
	s.mu.Unlock()
	if old := s.uid.Swap(0); old != 0 {
		_ = s.bound(old, 0)
	}
}

// Context returns a context that ends when the session begins to close. [context.Cause]
// then returns the reason. It has no deadline.
func (s *Session) Context() context.Context { return s.end.context() }

// OnClose registers a callback for the end of the session. It runs once, on the logic
// goroutine, after every message that the session had accepted. It also runs if the
// session was never open because its handshake was refused. The reason is a sentinel of
// this package, possibly wrapped; see [ReasonOf]. Callbacks run in the order of
// registration. If they have run already, OnClose calls f at once.
func (s *Session) OnClose(f func(s *Session, reason error)) {
	s.end.onClose(func() { f(s, s.end.Reason()) })
}

// Closed reports whether the session has begun to close, after which nothing can be sent
// to it.
func (s *Session) Closed() bool { return s.end.Reason() != nil }
