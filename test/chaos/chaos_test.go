package chaos_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

var (
	chaosTime    = flag.Duration("chaos", 0, "how long TestClusterChaos runs; 10 s by default, 2 s with -short")
	chaosClients = flag.Int("chaos.clients", 0, "clients of TestClusterChaos; 2,000 with -chaos, 200 without, 60 with -short")
)

// chaos is a cluster of three gates and three backends. Nodes are killed at random and
// restarted at the same address. Clients number their requests. A payload is "client
// number gate".
type chaos struct {
	t     *testing.T
	until time.Time
	pause time.Duration // average pause between two rounds of a client

	mu       sync.Mutex
	gates    []*chaosNode
	backends []*chaosNode
	lost     []*chaosNode // killed nodes

	kills, replies, failures, pushes, cuts atomic.Int64
	faults                                 chan string
}

// chaosNode is one node. It stands for a process.
type chaosNode struct {
	*nano.Server
	addr    string // address for other nodes
	players string
	key     string // key of this node; its address may be reused
	links   *testkit.Links
	clients *testkit.Links
	open    sync.Map // *atomic.Int64 by the gate's key: number of open sessions
	killed  atomic.Bool
	served  chan error
}

// fault records an error of the test.
func (c *chaos) fault(format string, args ...any) {
	select {
	case c.faults <- fmt.Sprintf(format, args...):
	default:
	}
}

// Teller is the component that answers numbered requests.
type Teller struct {
	component.Base
	c    *chaos
	node *chaosNode
}

// Tell responds with the payload. For multiples of eight it pushes the payload first. It
// checks that the numbers of a session grow on one node.
func (h *Teller) Tell(s *session.Session, data []byte) error {
	client, number, gate, err := parseTold(string(data))
	if err != nil {
		return err
	}
	if !s.HasKey("client") {
		s.Set("client", client)
		count, _ := h.node.open.LoadOrStore(gate, new(atomic.Int64))
		count.(*atomic.Int64).Add(1)
		s.OnClose(func(*session.Session, error) { count.(*atomic.Int64).Add(-1) })
	}
	if s.Int("client") != client || number <= s.Int("last") {
		h.c.fault("session %d of client %d got number %d of client %d after %d", s.ID(), s.Int("client"), number, client, s.Int("last"))
	}
	s.Set("last", number)
	if number%8 == 0 {
		if err := s.Push("onTell", data); err != nil && !errors.Is(err, session.ErrBrokenPipe) {
			h.c.fault("push %d of client %d: %v", number, client, err)
		}
	}
	return s.Response(data)
}

func parseTold(data string) (client, number int, gate string, err error) {
	_, err = fmt.Sscanf(data, "%d %d %s", &client, &number, &gate)
	return client, number, gate, err
}

var chaosKeys atomic.Int64

// start starts a node. A backend has no address for players.
func (c *chaos) start(addr string, backend bool, seeds ...string) (*chaosNode, error) {
	n := &chaosNode{
		key:   strconv.FormatInt(chaosKeys.Add(1), 10),
		links: testkit.NewLinks(), clients: testkit.NewLinks(),
		served: make(chan error, 1),
	}
	list := &component.Components{}
	if backend {
		list.Register(&Teller{c: c, node: n}, component.WithName("Room"))
	}
	opts := []nano.Option{
		nano.WithComponents(list), nano.WithSerializer(json.NewSerializer()), nano.WithCluster(), testkit.Quiet,
		nano.WithGrpcOptions(grpc.WithContextDialer(n.links.Dial)),
	}
	for _, s := range seeds {
		opts = append(opts, nano.WithSeeds(s), nano.WithSeedRetry(200*time.Millisecond))
	}
	n.Server = nano.New(opts...)
	l, err := listenAgain(addr)
	if err != nil {
		return nil, err
	}
	if err := n.StartCluster(n.links.Listener(l)); err != nil {
		return nil, err
	}
	n.addr = n.ClusterAddr()
	if backend {
		close(n.served)
		return n, nil
	}
	// On a busy machine a node may start before it knows the services of the others, and
	// would answer NANO-404.
	for len(seeds) > 0 && !slices.ContainsFunc(n.Members(), func(m cluster.Member) bool { return m.Up && slices.Contains(m.Services, "Room") }) {
		if len(c.backends) == 0 {
			break // the first nodes have no others to wait for
		}
		time.Sleep(5 * time.Millisecond)
	}
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	n.players = l.Addr().String()
	go func() {
		n.served <- n.Serve(n.clients.Listener(l))
		close(n.served)
	}()
	return n, nil
}

// listenAgain listens at an address that was closed a moment ago. A connection may still
// use the port.
func listenAgain(addr string) (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", addr); err == nil {
			return l, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, err
}

// kill cuts off a node from the others.
func (n *chaosNode) kill() {
	n.killed.Store(true)
	n.clients.Cut()
	n.links.Cut()
}

// end stops what remains of a node.
func (n *chaosNode) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	err := n.Shutdown(ctx)
	if served := <-n.served; served != nil && !errors.Is(served, nano.ErrServerClosed) {
		return served
	}
	return err
}

// replace kills the node at an index, and starts another one after a pause.
func (c *chaos) replace(place **chaosNode, backend bool) {
	c.mu.Lock()
	old := *place
	seeds := []string{c.gates[0].addr, c.gates[1].addr}
	c.lost = append(c.lost, old)
	c.mu.Unlock()
	c.kills.Add(1)
	old.kill()
	if !backend {
		c.forgotten(old)
	}
	if err := old.end(); err != nil {
		c.fault("Shutdown of a node that was killed: %v", err)
	}
	time.Sleep(rand.N(500 * time.Millisecond))
	n, err := c.start(old.addr, backend, seeds...)
	if err != nil {
		c.fault("restart at %s: %v", old.addr, err)
		return
	}
	c.mu.Lock()
	*place = n
	c.mu.Unlock()
}

// forgotten waits until no backend has sessions of a killed gate.
func (c *chaos) forgotten(gate *chaosNode) {
	began := time.Now()
	for {
		left := int64(0)
		c.mu.Lock()
		for _, b := range c.backends {
			if n, ok := b.open.Load(gate.key); ok && !b.killed.Load() {
				left += n.(*atomic.Int64).Load()
			}
		}
		c.mu.Unlock()
		switch {
		case left == 0:
			return
		case time.Since(began) > testkit.Patience:
			c.fault("%v after a gate was killed, backends have %d sessions of its clients", testkit.Patience, left)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// rage kills and restarts nodes until a given time. Most are backends. It replaces at
// most one node of each kind at a time.
func (c *chaos) rage() {
	var wg sync.WaitGroup
	wg.Go(func() {
		for time.Now().Before(c.until) {
			c.replace(&c.backends[rand.IntN(len(c.backends))], true)
			time.Sleep(rand.N(700 * time.Millisecond))
		}
	})
	wg.Go(func() {
		for time.Now().Before(c.until) {
			time.Sleep(rand.N(3 * time.Second))
			c.replace(&c.gates[rand.IntN(len(c.gates))], false)
		}
	})
	wg.Wait()
}

// teller is one client.
type teller struct {
	c       *chaos
	id      int
	number  int
	gate    *chaosNode
	wire    *testkit.Wire
	pending map[uint64]int // numbers of open requests, by id
	replied int            // number of the last reply
	pushed  int            // number of the last push
}

// run sends requests until a given time. It connects to another gate when its own is
// killed.
func (p *teller) run() {
	for time.Now().Before(p.c.until) {
		p.c.mu.Lock()
		p.gate = p.c.gates[rand.IntN(len(p.c.gates))]
		p.c.mu.Unlock()
		conn, err := net.DialTimeout("tcp", p.gate.players, testkit.Patience)
		if err == nil {
			p.wire = testkit.NewWire(conn)
			p.pending = map[uint64]int{}
			p.replied, p.pushed = 0, 0
			if err = p.wire.Join(); err == nil {
				err = p.talk()
			}
			p.wire.Abort()
		}
		if err != nil {
			if !p.gate.killed.Load() {
				st := p.gate.Stats()
				p.c.fault("client %d, at the gate %s that is well, with %d requests pending: %v; %d tasks wait there, the last did for %v",
					p.id, p.gate.key, len(p.pending), err, st.QueueDepth, st.QueueDelay)
				return
			}
			p.c.cuts.Add(1)
			time.Sleep(rand.N(100 * time.Millisecond))
		}
	}
}

// talk sends requests until a given time or the end of the connection. If it returns nil,
// every request was answered.
func (p *teller) talk() error {
	for time.Now().Before(p.c.until) {
		var out []byte
		for range 1 + rand.IntN(8) {
			p.number++
			id := uint64(p.number)
			p.pending[id] = p.number
			out = append(out, testkit.Request(id, "Room.Tell", fmt.Sprintf("%d %d %s", p.id, p.number, p.gate.key))...)
		}
		if err := p.wire.Send(out); err != nil {
			return err
		}
		for len(p.pending) > 0 {
			m, err := p.wire.Message()
			if err != nil {
				return err
			}
			if err := p.check(m); err != nil {
				p.c.fault("client %d: %v", p.id, err)
				return nil
			}
		}
		time.Sleep(p.c.pause/2 + rand.N(p.c.pause))
	}
	return nil
}

func (p *teller) check(m *message.Message) error {
	if m.Type == message.Push {
		_, number, _, err := parseTold(string(m.Data))
		if err != nil || number <= p.pushed || number <= p.replied {
			return fmt.Errorf("push %q after push %d and reply %d", m.Data, p.pushed, p.replied)
		}
		p.pushed = number
		p.c.pushes.Add(1)
		return nil
	}
	number, ok := p.pending[m.ID]
	if !ok {
		return fmt.Errorf("%v %q came, which does not answer the request", m, m.Data)
	}
	delete(p.pending, m.ID)
	if m.Err {
		if !strings.Contains(string(m.Data), `"`+nano.CodeUnavailable+`"`) {
			return fmt.Errorf("request %d failed with %s, want %s", number, m.Data, nano.CodeUnavailable)
		}
		p.c.failures.Add(1)
		return nil
	}
	if want := fmt.Sprintf("%d %d %s", p.id, number, p.gate.key); string(m.Data) != want || number <= p.replied {
		return fmt.Errorf("request %d was answered by %q after reply %d, want %q", number, m.Data, p.replied, want)
	}
	if number%8 == 0 && p.pushed != number {
		return fmt.Errorf("reply %d came without the push before it", number)
	}
	p.replied = number
	p.c.replies.Add(1)
	return nil
}

// TestClusterChaos kills and restarts nodes. Every request of a client whose gate is alive
// must be answered once, by its own reply or an error, and replies must be in order. The
// sessions of a killed gate must end on all nodes.
func TestClusterChaos(t *testing.T) {
	testkit.SkipInShort(t, "chaos")
	length, clients := 10*time.Second, 200
	if *chaosTime > 0 {
		length, clients = *chaosTime, 2000
	}
	if *chaosClients > 0 {
		clients = *chaosClients
	}
	c := &chaos{t: t, until: time.Now().Add(length), pause: time.Duration(clients) * 250 * time.Microsecond, faults: make(chan string, 1000)}
	var seeds []string
	for i := range 6 {
		n, err := c.start("127.0.0.1:0", i >= 3, seeds...)
		if err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			c.gates = append(c.gates, n)
		} else {
			c.backends = append(c.backends, n)
		}
		if i < 2 {
			seeds = append(seeds, n.addr)
		}
	}
	defer func() {
		var ends sync.WaitGroup
		for _, n := range slices.Concat(c.gates, c.backends) {
			ends.Go(func() {
				if err := n.end(); err != nil && !n.killed.Load() {
					t.Errorf("Shutdown = %v", err)
				}
			})
		}
		ends.Wait()
	}()
	c.meet()
	c.until = time.Now().Add(length)
	var wg sync.WaitGroup
	wg.Go(c.rage)
	for i := range clients {
		p := &teller{c: c, id: i + 1}
		wg.Go(p.run)
	}
	wg.Wait()
	c.meet()
	c.all()
	testkit.Eventually(t, "no node has sessions of clients that are gone", func() bool {
		left := int64(0)
		for _, b := range slices.Concat(c.backends, c.lost) {
			b.open.Range(func(_, n any) bool {
				left += n.(*atomic.Int64).Load()
				return true
			})
		}
		return left == 0
	})
	close(c.faults)
	const shown = 30
	for n := 0; len(c.faults) > 0; n++ {
		if f := <-c.faults; n < shown {
			t.Error(f)
		}
	}
	t.Logf("%d clients for %v: %d nodes killed, %d replies, %d pushes, %d errors, %d connections cut",
		clients, length, c.kills.Load(), c.replies.Load(), c.pushes.Load(), c.failures.Load(), c.cuts.Load())
	if c.kills.Load() == 0 || c.replies.Load() == 0 {
		t.Error("want nodes that are killed, and replies")
	}
}

// meet waits until every node knows that every other one is up.
func (c *chaos) meet() {
	c.t.Helper()
	all := slices.Concat(c.gates, c.backends)
	for _, n := range all {
		testkit.Eventually(c.t, "the nodes know each other", func() bool {
			up := 0
			for _, m := range n.Members() {
				if m.Up && slices.ContainsFunc(all, func(o *chaosNode) bool { return o.addr == m.Addr }) {
					up++
				}
			}
			return up == len(all)-1
		})
	}
}

// all sends requests from a client at each gate until every backend has answered.
func (c *chaos) all() {
	c.t.Helper()
	for _, gate := range c.gates {
		for range 3 { // gates pick backends in turn
			conn, err := net.Dial("tcp", gate.players)
			if err != nil {
				c.t.Fatal(err)
			}
			p := testkit.NewClient(c.t, conn)
			p.Join()
			p.Call(1, "Room.Tell", "1 1 "+gate.key)
			p.Abort()
		}
	}
}
