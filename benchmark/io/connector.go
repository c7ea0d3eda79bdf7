package io

import (
	"context"
	"errors"
	"sync"

	"github.com/golang/protobuf/proto"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/serialize/protobuf"
)

var (
	// ErrNotConnected is returned when sending before Start or after a failed Start.
	ErrNotConnected = errors.New("io: the connector is not connected, call Start first")
	// ErrStarted is returned by a second call of Start.
	ErrStarted = errors.New("io: the connector was started before")
)

// Callback is called with the payload of a response or push, which is a []byte.
type Callback func(data any)

// Connector is a connection to a server. Callbacks run one at a time on one goroutine, in
// the order of arrival, and may call every method. Methods may be called concurrently.
type Connector struct {
	mu        sync.Mutex // guards the fields below
	client    *client.Client
	started   bool
	closed    bool
	events    map[string]Callback
	connected func()
}

// NewConnector returns a Connector that is not connected.
func NewConnector() *Connector {
	return &Connector{events: map[string]Callback{}}
}

// Start connects to addr (host:port) and completes the handshake within 10 s. It may be
// called once, and again after an error.
func (c *Connector) Start(addr string) error {
	c.mu.Lock()
	started, closed, connected := c.started, c.closed, c.connected
	c.started = true
	c.mu.Unlock()
	if closed {
		return client.ErrClosed
	}
	if started {
		return ErrStarted
	}

	conn, err := client.Dial(context.Background(), addr,
		client.WithSerializer(protobuf.NewSerializer()),
		client.WithRequestTimeout(0),
		client.WithOnConnect(func(conn *client.Client) {
			c.mu.Lock()
			c.client = conn // the callback may send before Start returns
			c.mu.Unlock()
			if connected != nil {
				connected()
			}
		}),
		client.WithFallback(func(m *client.Message) {
			if callback := c.event(m.Route); callback != nil {
				callback(m.Data)
			}
		}))

	c.mu.Lock()
	if err != nil {
		c.started = false
		c.mu.Unlock()
		return err
	}
	c.client = conn
	closed = c.closed
	c.mu.Unlock()
	if closed {
		conn.Close()
		return client.ErrClosed
	}
	return nil
}

func (c *Connector) event(route string) Callback {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[route]
}

// OnConnected sets the callback that runs once after Start has connected, before all
// other callbacks. It must be called before Start.
func (c *Connector) OnConnected(callback func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = callback
}

// Request sends v to route. The callback, which may be nil, runs once with the response.
// It does not run if the server answers with an error or the connection is lost. If
// Request returns an error, nothing was sent.
func (c *Connector) Request(route string, v proto.Message, callback Callback) error {
	conn, err := c.conn()
	if err != nil {
		return err
	}
	return conn.RequestFunc(context.Background(), route, v, func(m *client.Message, err error) {
		if err == nil && callback != nil {
			callback(m.Data)
		}
	})
}

// Notify sends v to route. There is no answer.
func (c *Connector) Notify(route string, v proto.Message) error {
	conn, err := c.conn()
	if err != nil {
		return err
	}
	return conn.Notify(route, v)
}

func (c *Connector) conn() (*client.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return nil, ErrNotConnected
	}
	return c.client, nil
}

// On sets the callback for pushes to event, and replaces an earlier one. Nil removes it.
func (c *Connector) On(event string, callback Callback) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events[event] = callback
}

// Close sends the queued messages and closes the connection. It waits for a running
// callback, unless a callback calls it. Further calls have no effect.
func (c *Connector) Close() {
	c.mu.Lock()
	c.closed = true
	conn := c.client
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}
