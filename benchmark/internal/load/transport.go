package load

import (
	"context"
	"net"
	"sync"
	"time"
)

// netTransport is the portable transport. One goroutine per connection dials and reads,
// and passes events to the goroutine of the run.
type netTransport struct {
	r      *run
	events chan netEvent
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	timer  *time.Timer
}

// netLink is the state of a client in a netTransport.
type netLink struct {
	tcp  net.Conn
	dial int // number of the current connection; events of earlier ones are ignored
}

type netEvent struct {
	c    *client
	dial int
	conn net.Conn // set when it has connected
	data *[]byte
	err  error // set when it has ended
}

const netBuffer = 16 << 10

var netBuffers = sync.Pool{New: func() any {
	b := make([]byte, netBuffer)
	return &b
}}

func newNetTransport(r *run) *netTransport {
	ctx, cancel := context.WithCancel(context.Background())
	return &netTransport{r: r, events: make(chan netEvent, 256), ctx: ctx, cancel: cancel, timer: time.NewTimer(0)}
}

func (t *netTransport) dial(c *client) error {
	c.conn.dial++
	dial := c.conn.dial
	t.wg.Go(func() {
		var d net.Dialer
		conn, err := d.DialContext(t.ctx, "tcp", t.r.Addr)
		if err != nil {
			t.tell(netEvent{c: c, dial: dial, err: err})
			return
		}
		if !t.tell(netEvent{c: c, dial: dial, conn: conn}) {
			_ = conn.Close()
			return
		}
		for {
			b := netBuffers.Get().(*[]byte)
			n, err := conn.Read((*b)[:netBuffer])
			if err != nil {
				t.tell(netEvent{c: c, dial: dial, err: err})
				return
			}
			*b = (*b)[:n]
			if !t.tell(netEvent{c: c, dial: dial, data: b}) {
				return
			}
		}
	})
	return nil
}

// tell passes an event to the run. It reports false if the run has ended.
func (t *netTransport) tell(e netEvent) bool {
	select {
	case t.events <- e:
		return true
	case <-t.ctx.Done():
		return false
	}
}

func (t *netTransport) flush(c *client) {
	if len(c.out) == 0 || c.conn.tcp == nil {
		return
	}
	_, _ = c.conn.tcp.Write(c.out) // the reader reports the end of the connection
	c.out = c.out[:0]
}

func (t *netTransport) close(c *client) {
	c.conn.dial++
	if c.conn.tcp == nil {
		return
	}
	if tcp, ok := c.conn.tcp.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset leaves no port in TIME_WAIT
	}
	_ = c.conn.tcp.Close()
	c.conn.tcp = nil
}

func (t *netTransport) wait(d time.Duration) error {
	t.timer.Reset(max(d, 0))
	select {
	case e := <-t.events:
		t.event(e)
	case <-t.timer.C:
		return nil
	}
	for range len(t.events) {
		t.event(<-t.events)
	}
	return nil
}

func (t *netTransport) event(e netEvent) {
	current := e.dial == e.c.conn.dial
	switch {
	case e.conn != nil && !current:
		_ = e.conn.Close()
	case e.conn != nil:
		e.c.conn.tcp = e.conn
		t.r.connected(e.c)
	case e.data != nil:
		if current {
			t.r.received(e.c, *e.data)
			t.flush(e.c)
		}
		netBuffers.Put(e.data)
	case current:
		t.r.gone(e.c, e.err)
	}
}

func (t *netTransport) end() {
	t.cancel()
	for _, c := range t.r.clients {
		t.close(c)
	}
	t.wg.Wait()
	for range len(t.events) {
		if e := <-t.events; e.conn != nil {
			_ = e.conn.Close()
		}
	}
}
