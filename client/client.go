package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Client is a connection to a server. With WithReconnect, it is a sequence of
// connections. Its methods may be called concurrently.
type Client struct {
	opts   options
	dial   func(context.Context) (transport, error) // nil if the client cannot reconnect
	inbox  *inbox
	ctx    context.Context // canceled by Close
	cancel context.CancelFunc
	done   chan struct{} // closed when err is final
	ended  chan struct{} // closed when every goroutine has ended

	attempt int // number of failed attempts in a row, for the backoff; owned by run

	mu       sync.Mutex // guards the fields below
	session  *session   // the latest session; nil before the first handshake is complete
	again    bool       // there was a connection before
	user     json.RawMessage
	err      error // why the client ended
	closeErr error // result of Close
	handlers map[string]func(*Message)
}

// Dial connects to a server and completes the handshake. addr is one of
//
//	host:port           tcp://host:port           TCP
//	tls://host:port                               TLS over TCP
//	ws://host:port/path                           WebSocket; the default port is 80
//	wss://host:port/path                          WebSocket over TLS; the default port is 443
//
// Dial returns when data may be sent, or with an error when ctx ends, when WithDialTimeout has
// passed or when the server refuses ([HandshakeError]). If the server expects another scheme
// and the client can see that, the error is [ErrWrongTransport]. Dial tries once, also with
// WithReconnect. After it has returned, ctx has no effect.
func Dial(ctx context.Context, addr string, opts ...Option) (*Client, error) {
	c := newClient(opts)
	dial, err := dialer(addr, &c.opts)
	if err = errors.Join(append(c.opts.faults, err)...); err != nil {
		return nil, err
	}
	c.dial = dial
	return c.start(ctx, c.connect)
}

// New completes the handshake over a connection that carries packets without WebSocket frames,
// such as one end of a net.Pipe. The client owns conn, and closes it also on an error.
// WithReconnect has no effect; use Dial and WithDialer for that.
func New(ctx context.Context, conn net.Conn, opts ...Option) (*Client, error) {
	c := newClient(opts)
	if err := errors.Join(c.opts.faults...); err != nil {
		abort(conn)
		return nil, err
	}
	return c.start(ctx, func(ctx context.Context) (*connection, error) {
		ctx, cancel := context.WithTimeout(ctx, c.opts.dialTimeout)
		defer cancel()
		return c.open(ctx, transport{conn: conn})
	})
}

func newClient(opts []Option) *Client {
	c := &Client{opts: newOptions(opts), done: make(chan struct{}), ended: make(chan struct{})}
	c.inbox = newInbox(c.opts.pushBuffer)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.handlers = c.opts.handlers
	c.opts.handlers = nil
	return c
}

// start makes the first connection, and starts the client on it.
func (c *Client) start(ctx context.Context, connect func(context.Context) (*connection, error)) (*Client, error) {
	go c.inbox.run(c.ctx, c.handle)
	c.status(Status{State: Connecting})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel) // the program may close the client in a hook
	conn, err := connect(ctx)
	stop()
	if err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		close(c.done)
		c.inbox.finish()
		<-c.inbox.done
		c.closedStatus(err)
		c.cancel()
		close(c.ended)
		return nil, err
	}
	go c.run(conn)
	return c, nil
}

// connect makes a connection and completes the handshake.
func (c *Client) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.dialTimeout)
	defer cancel()
	t, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return c.open(ctx, t)
}

// open completes the handshake over a transport, which it closes on an error.
func (c *Client) open(ctx context.Context, t transport) (*connection, error) {
	hello, err := c.hello(ctx)
	if err != nil {
		abort(t.conn)
		return nil, err
	}
	conn := newConnection(c, t)
	conn.start(hello)
	select {
	case <-conn.ready:
	case <-conn.broken:
	case <-ctx.Done():
		err := fmt.Errorf("client: handshake: %w", ctx.Err())
		if c.resumes() && errors.Is(err, context.Canceled) {
			conn.leave(err)
		}
		conn.fail(err)
	}
	select {
	case <-conn.ready: // if the connection has ended since, watch returns the error
		return conn, nil
	default:
	}
	// The connection has ended, but its reader may still be in the middle of a packet.
	conn.wg.Wait()
	select {
	case <-conn.ready:
		return conn, nil
	default:
		return nil, conn.reason()
	}
}

// run manages the connections until the client ends.
func (c *Client) run(conn *connection) {
	defer close(c.ended)
	for {
		closeErr := conn.watch()
		cause := conn.reason()
		c.opts.logger.Info("client: disconnected", "error", cause)
		if c.ctx.Err() != nil {
			c.finish(ErrClosed, nil, closeErr)
			return
		}
		if !c.retries(cause) {
			c.finish(cause, cause, nil)
			return
		}
		c.inbox.event(c.onDisconnect(cause))
		next, err := c.reconnect(conn, cause)
		if next == nil {
			if s := c.resumable(); s != nil && s.unsent() {
				closeErr = errUnsent
			}
			c.finish(err, nil, closeErr)
			return
		}
		conn = next
	}
}

// finish ends the client. lost is the error of the connection, if it ended the client.
func (c *Client) finish(err, lost, closeErr error) {
	c.mu.Lock()
	c.err, c.closeErr = err, closeErr
	s := c.session
	c.mu.Unlock()
	s.end(closed(err))
	close(c.done)
	if lost != nil {
		c.inbox.event(c.onDisconnect(lost))
	}
	c.inbox.finish()
	<-c.inbox.done
	c.closedStatus(err)
	c.cancel()
}

func (c *Client) onDisconnect(err error) func() {
	if c.opts.onDisconnect == nil {
		return nil
	}
	return func() { c.opts.onDisconnect(err) }
}

// connected reports to the program that messages may be sent.
func (c *Client) connected(s Status) {
	c.mu.Lock()
	again := c.again
	c.again = true
	c.mu.Unlock()
	c.opts.logger.Info("client: connected", "again", again, "resumed", s.Resumed)
	c.status(s)
	hook := c.opts.onConnect
	switch {
	case s.Resumed:
		hook = nil
	case again:
		hook = c.opts.onReconnect
	}
	if hook != nil {
		c.inbox.event(func() { hook(c) })
	}
}

// current returns the session, or the error if there is none.
func (c *Client) current() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, closed(c.err)
	case c.ctx.Err() != nil:
		return nil, ErrClosed
	case c.session == nil:
		return nil, ErrDisconnected
	}
	return c.session, nil
}

// On sets the handler of the pushes to route, in place of the previous one; nil removes it. It
// stays when the client reconnects. A server may push as soon as the handshake is complete: to
// miss no push, set the handler with WithHandler. A push without a handler goes to that of
// WithFallback, or is dropped.
func (c *Client) On(route string, fn func(*Message)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fn == nil {
		delete(c.handlers, route)
		return
	}
	c.handlers[route] = fn
}

// handle runs the handler of a push.
func (c *Client) handle(m *Message) {
	c.mu.Lock()
	fn := c.handlers[m.Route]
	c.mu.Unlock()
	if fn == nil {
		fn = c.opts.fallback
	}
	if fn == nil {
		c.opts.logger.Debug("client: push dropped: no handler", "route", m.Route)
		return
	}
	fn(m)
}

// Handshake returns the user data of the server's latest handshake response as JSON, or nil if
// it had none. The caller must not change it.
func (c *Client) Handshake() json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user
}

// Close sends the queued messages, closes the connection and waits for the goroutines of the
// client. Calls that wait for an answer fail with ErrClosed at once. Pushes that wait for their
// handlers are dropped, and no handler or hook starts any more.
//
// Close takes two seconds at most, plus the time of a handler that runs, unless that handler
// called Close. It returns an error if queued messages could not be sent. Further calls wait as
// well and return the same.
//
// The client tells the server that nothing follows, and reads until the server closes its side,
// so that the server gets everything that was sent. Without WebSocket frames this takes a
// CloseWrite method, which the connections of packages net and crypto/tls have; that of a
// connection behind a NetConn method is used too. Without it, the client reads until two seconds
// after it last wrote, or 16 MiB.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	if !c.inbox.inside() {
		<-c.ended
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closeErr
}

// Done returns a channel that is closed when the client has ended: by Close, or because the
// connection was lost and the client does not connect again. Pushes that came before may still
// wait for their handlers then; the hook of WithOnDisconnect runs after them.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the client ended: [ErrClosed], a [*KickError], [ErrHeartbeat], [ErrProtocol],
// [ErrSlowHandlers], a [*CloseError], a [*HandshakeError] when reconnecting, or an error of the
// network. It is nil until Done is closed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// deadline adds the request timeout to ctx if ctx has no deadline.
func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || c.opts.requestTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.opts.requestTimeout)
}
