// Package client is a client for nano servers, over TCP, TLS and WebSocket.
//
//	c, err := client.Dial(ctx, "game.example.org:3250")
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	c.On("onMessage", func(m *client.Message) {
//		var said Said
//		if err := m.Decode(&said); err == nil {
//			fmt.Println(said.Name, said.Content)
//		}
//	})
//
//	var joined JoinReply
//	if err := c.Request(ctx, "room.join", &JoinRequest{Name: "Ada"}, &joined); err != nil {
//		return err
//	}
//	return c.Notify("room.message", &Said{Name: "Ada", Content: "hello"})
//
// # Payloads
//
// The handshake says whether the server speaks JSON or protobuf, and the client follows; WithSerializer decides
// otherwise. A []byte is sent as it is, and a *[]byte receives the payload as it came. nil is an empty payload, or
// one that is of no interest.
//
// # Handlers
//
// Handlers of pushes, the functions given to RequestFunc, and the hooks of connections run one at a time, in the order in which things
// arrived, on one goroutine of the client that does nothing else. A handler may call every method, Request and
// Close included; while it blocks, pushes wait, up to the bound of WithPushBuffer. A panic in a handler is not
// recovered.
//
// # Connections
//
// Heartbeats go out at the interval that the server names, and a server that is silent for two and a half of them
// is given up with ErrHeartbeat. Once the connection is gone the client has ended: Done is closed, Err says why, and
// every call fails with ErrClosed. With WithReconnect it connects anew instead, and until it has, calls fail
// with ErrDisconnected. Nothing is sent twice: whether the server has seen a request that failed with
// ErrDisconnected is for the program to find out.
//
// # Errors
//
// What a server answers instead of a reply is an *Error; a kick is a *KickError; a refused handshake is a
// *HandshakeError; a context that ended is its own error. Test them with errors.Is and errors.As.
//
// The package knows the wire and nothing of the server: it imports no other part of the library but the serializers.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Client is a connection to a server, or with WithReconnect one connection after the other. Every method may be
// called from any goroutine.
type Client struct {
	opts   options
	dial   func(context.Context) (transport, error) // nil: nothing to reconnect to
	ids    atomic.Uint64                            // of requests; grows over all connections
	inbox  *inbox
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when err is final
	ended  chan struct{} // closed when every goroutine has ended

	attempt int // of reconnecting, the exponent of the backoff; run owns it

	mu        sync.Mutex // guards what follows
	link      *link      // nil while there is no connection
	connected bool       // there has been one
	user      json.RawMessage
	err       error // why the client ended
	closeErr  error // what Close returns
	handlers  map[string]func(*Message)
}

// Dial connects to a server and completes the handshake. addr is one of
//
//	host:port           tcp://host:port           TCP
//	tls://host:port                               TLS over TCP
//	ws://host:port/path                           WebSocket; the port is 80 where none is given
//	wss://host:port/path                          WebSocket over TLS; 443 where none is given
//
// Dial returns when data may be sent, or with an error when ctx ends, when WithDialTimeout has passed or when the
// server refuses (*HandshakeError). It tries once, also with WithReconnect. Once it has returned, ctx has no
// more influence.
func Dial(ctx context.Context, addr string, opts ...Option) (*Client, error) {
	c := newClient(opts)
	dial, err := dialer(addr, &c.opts)
	if err != nil {
		return nil, err
	}
	c.dial = dial
	l, err := c.connect(ctx)
	return c.start(l, err)
}

// New completes the handshake over a connection that was made already, and owns it from then on: on an error it is
// closed. It is how a client runs over net.Pipe. WithReconnect has no effect, since there is nothing to dial; give
// Dial a WithDialer for that.
func New(ctx context.Context, conn net.Conn, opts ...Option) (*Client, error) {
	c := newClient(opts)
	ctx, cancel := context.WithTimeout(ctx, c.opts.dialTimeout)
	defer cancel()
	l, err := c.open(ctx, conn)
	return c.start(l, err)
}

func newClient(opts []Option) *Client {
	c := &Client{opts: newOptions(opts), done: make(chan struct{}), ended: make(chan struct{})}
	c.inbox = newInbox(c.opts.pushBuffer)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.handlers = c.opts.handlers
	c.opts.handlers = nil
	return c
}

// start runs the client on its first connection.
func (c *Client) start(l *link, err error) (*Client, error) {
	if err != nil {
		c.cancel()
		return nil, err
	}
	go c.inbox.run(c.ctx, c.handle)
	go c.run(l)
	return c, nil
}

// connect makes a connection and completes the handshake over it.
func (c *Client) connect(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.dialTimeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return c.open(ctx, conn)
}

// open completes the handshake over conn, which it closes on an error.
func (c *Client) open(ctx context.Context, conn transport) (*link, error) {
	hello, err := c.hello(ctx)
	if err != nil {
		abort(conn)
		return nil, err
	}
	l := newLink(c, conn)
	l.start(hello)
	select {
	case <-l.ready:
	case <-l.broken:
	case <-ctx.Done():
		l.fail(fmt.Errorf("client: handshake: %w", ctx.Err()))
	}
	select {
	case <-l.ready: // if it broke since, whoever watches the link finds out
		return l, nil
	default:
	}
	// The link is broken, but its reader may still be in the middle of a packet.
	l.wg.Wait()
	select {
	case <-l.ready:
		return l, nil
	default:
		return nil, l.reason()
	}
}

// run owns the connections until the client ends.
func (c *Client) run(l *link) {
	defer close(c.ended)
	for {
		closeErr := l.watch()
		cause := l.reason()
		c.mu.Lock()
		c.link = nil
		c.mu.Unlock()
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
		next, err := c.reconnect(l)
		if next == nil {
			c.finish(err, nil, nil)
			return
		}
		l = next
	}
}

// finish ends the client for good. lost is why an established connection ended, if that is what ended the client.
func (c *Client) finish(err, lost, closeErr error) {
	c.mu.Lock()
	c.err, c.closeErr = err, closeErr
	c.mu.Unlock()
	close(c.done)
	if lost != nil {
		c.inbox.event(c.onDisconnect(lost))
	}
	c.inbox.finish()
	<-c.inbox.done
	c.cancel()
}

func (c *Client) onDisconnect(err error) func() {
	if c.opts.onDisconnect == nil {
		return nil
	}
	return func() { c.opts.onDisconnect(err) }
}

// adopt makes l the connection that calls go to. The link's reader calls it, before anything else arrives.
func (c *Client) adopt(l *link, user json.RawMessage) {
	c.mu.Lock()
	c.link = l
	c.user = user
	again := c.connected
	c.connected = true
	c.mu.Unlock()
	c.opts.logger.Info("client: connected", "again", again)
	hook := c.opts.onConnect
	if again {
		hook = c.opts.onReconnect
	}
	if hook != nil {
		c.inbox.event(func() { hook(c) })
	}
}

// current returns the connection, or why there is none.
func (c *Client) current() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, closed(c.err)
	case c.ctx.Err() != nil:
		return nil, ErrClosed
	case c.link == nil:
		return nil, ErrDisconnected
	}
	return c.link, nil
}

// Request sends in to route and waits for the answer, which it decodes into out. Where ctx has no deadline,
// WithRequestTimeout sets one.
//
// An error response comes back as an *Error, as it is. Every other error names the route and wraps its cause: that
// of ctx, ErrDisconnected when the connection was lost meanwhile, ErrClosed, or what the serializer or a hook said.
// While the send buffer is full, Request waits for room.
func (c *Client) Request(ctx context.Context, route string, in, out any) error {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	p := &call{route: route, done: make(chan struct{})}
	l, err := c.begin(ctx, p, in)
	if err != nil {
		return failed("request", route, err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if l.take(p.id) != nil {
			return failed("request", route, ctx.Err())
		}
		<-p.done // answered at the same moment
	}
	if p.err == nil && out != nil {
		p.err = p.answer.Decode(out)
	}
	return failed("request", route, p.err)
}

// RequestFunc sends in to route and returns once it is queued. fn runs once, as a handler does, with the answer or
// with an error as Request returns it; only after Close it does not run any more. Where ctx has no deadline,
// WithRequestTimeout sets one. When RequestFunc itself returns an error, fn does not run.
func (c *Client) RequestFunc(ctx context.Context, route string, in any, fn func(*Message, error)) error {
	ctx, cancel := c.deadline(ctx)
	p := &call{route: route, fn: fn}
	// A context that ends before the call is registered is seen below.
	stop := context.AfterFunc(ctx, func() {
		if l := p.link.Load(); l != nil && l.take(p.id) != nil {
			p.resolve(c.inbox, nil, ctx.Err())
		}
	})
	p.release = func() { stop(); cancel() }
	l, err := c.begin(ctx, p, in)
	if err == nil && ctx.Err() != nil && l.take(p.id) != nil {
		err = ctx.Err()
	}
	if err != nil {
		p.release()
	}
	return failed("request", route, err)
}

// begin registers p and sends its request.
func (c *Client) begin(ctx context.Context, p *call, in any) (*link, error) {
	l, err := c.current()
	if err != nil {
		return nil, err
	}
	p.id = c.ids.Add(1)
	m, err := l.encode(Request, p.id, p.route, in)
	if err != nil {
		return nil, err
	}
	if err := l.register(p); err != nil {
		return nil, err
	}
	p.link.Store(l)
	if err := l.send(ctx, m); err != nil && l.take(p.id) != nil {
		return nil, err
	}
	// A call that somebody else took has its error already.
	return l, nil
}

// Notify sends in to route; there is no answer. It returns when the message is queued: it goes out in the order of
// the calls, and is lost if the connection breaks first. While the send buffer is full, Notify waits for room, up to
// WithRequestTimeout. Errors are those of Request, but for error responses.
func (c *Client) Notify(route string, in any) error {
	return c.NotifyContext(context.Background(), route, in)
}

// NotifyContext is Notify with a context that bounds the wait for room; where it has no deadline,
// WithRequestTimeout sets one.
func (c *Client) NotifyContext(ctx context.Context, route string, in any) error {
	l, err := c.current()
	if err != nil {
		return failed("notify", route, err)
	}
	m, err := l.encode(Notify, 0, route, in)
	if err != nil {
		return failed("notify", route, err)
	}
	return failed("notify", route, l.send(ctx, m))
}

// On sets the handler of the pushes to route, in place of the one before; nil removes it. It stays when the client
// reconnects. A server may push as soon as it has a connection: handlers that must not miss anything are set with
// WithHandler, before there is one. Pushes without a handler go to that of WithFallback, or are dropped.
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

// Handshake returns the user data of the server's handshake response as JSON, nil where it sent none; after
// reconnecting, that of the latest. The caller does not change it.
func (c *Client) Handshake() json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user
}

// Close sends what is queued, closes the connection and waits for the goroutines of the client. Calls that wait for
// an answer fail with ErrClosed at once; pushes that wait for their handlers are dropped, and no handler or hook
// starts any more. It takes two seconds at most, plus the handler that is running, unless that is where Close was
// called. An error tells of queued messages that could not be sent. Further calls wait likewise and return the same.
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

// Done returns a channel that is closed when the client has ended: by Close, or because the connection is gone and
// will not be made again. Pushes that came before may still wait for their handlers then; OnDisconnect comes after
// them.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the client ended: ErrClosed, a *KickError, ErrHeartbeat, ErrProtocol, ErrSlowHandlers, a
// *HandshakeError when reconnecting, or what the network said. It is nil until Done is closed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// deadline gives ctx the request timeout where it has no deadline.
func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || c.opts.requestTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.opts.requestTimeout)
}
