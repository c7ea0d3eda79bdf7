package offline

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/clients/js"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

// wait is the longest time that a test waits for one event.
const wait = time.Minute

// Feed pushes numbers to one session, 50 a second.
type Feed struct {
	component.Base
	server  *nano.Server
	timer   *scheduler.Timer // used by the logic goroutine only, like pushed
	pushed  int
	wanted  int // reached is closed when this many numbers were pushed
	reached chan struct{}
}

func (f *Feed) Watch(s *session.Session, _ []byte) error {
	f.timer = f.server.Scheduler().NewTimer(20*time.Millisecond, func() {
		if s.Push("onTick", f.pushed) == nil {
			f.pushed++
		}
		if f.reached != nil && f.pushed >= f.wanted {
			close(f.reached)
			f.reached = nil
		}
	})
	return s.Response([]byte("{}"))
}

// Stop ends the feed, and responds with the count of pushed numbers.
func (f *Feed) Stop(s *session.Session, _ []byte) error {
	f.timer.Stop()
	return s.Response(f.pushed)
}

// count returns how many numbers were pushed.
func (f *Feed) count() int {
	n := make(chan int, 1)
	f.server.Invoke(func() { n <- f.pushed })
	return <-n
}

// await waits until n numbers were pushed.
func (f *Feed) await(n int) {
	reached := make(chan struct{})
	f.server.Invoke(func() { f.wanted, f.reached = n, reached })
	<-reached
}

// start serves the page and the feed. It returns their address.
func start(t *testing.T) (*Feed, string) {
	t.Helper()
	f := &Feed{}
	components := &component.Components{}
	components.Register(f)
	f.server = nano.New(nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithResume(nano.Resume{}),
		nano.WithHeartbeatInterval(time.Second))
	if err := f.server.Start(); err != nil {
		t.Fatal(err)
	}
	pages, err := fs.Sub(web, "web")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/nano", f.server.WebSocketHandler())
	mux.Handle("/nano.js", http.FileServerFS(js.FS))
	mux.Handle("/", http.FileServerFS(pages))
	site := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		site.Close()
	})
	return f, site.Listener.Addr().String()
}

// network is a proxy that can cut its connections.
type network struct {
	addr string

	mu    sync.Mutex // guards the fields below
	down  bool
	conns map[net.Conn]struct{}
}

// connect starts a network in front of a server. The end of the test stops it.
func connect(t *testing.T, server string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{addr: l.Addr().String(), conns: map[net.Conn]struct{}{}}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { n.relay(near, server) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.cut()
		relays.Wait()
	})
	return n
}

func (n *network) relay(near net.Conn, server string) {
	defer near.Close()
	far, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer far.Close()
	n.mu.Lock()
	down := n.down
	n.conns[near] = struct{}{}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, near)
	}()
	if down {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	_, _ = io.Copy(far, near)
	_ = far.Close()
	back.Wait()
}

// cut ends all connections and refuses new ones until mend.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for conn := range n.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

// page is the test's page in a browser.
type page struct{ *browsertest.Page }

// until waits until an expression in the page is true.
func (p page) until(expression string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), wait)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		so, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err != nil {
			p.Fatalf("waiting for %s: %v", expression, err)
		}
		if so {
			return
		}
		<-tick.C
	}
}

// emulate puts the page offline or online, as the developer tools do.
func (p page) emulate(offline bool) {
	p.Helper()
	p.Do("emulating a network", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		return t.Call(ctx, "Network.emulateNetworkConditions", map[string]any{
			"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
		}, nil)
	}))
}

// TestOffline checks that every number arrives once if a page or its worker loses the
// network ten times. The server pushes 50 numbers a second.
func TestOffline(t *testing.T) {
	browser := browsertest.Start(t)
	for _, where := range []string{"page", "worker"} {
		t.Run(where, func(t *testing.T) {
			f, server := start(t)
			n := connect(t, server)
			tab, closeTab := browser.Tab()
			defer closeTab()
			p := page{tab}
			p.Do("opening the page", chromedp.Navigate("http://"+n.addr+"/#"+where))
			p.until("globalThis.seen?.next > 10")
			missed := 0
			for i := range 10 {
				// Chromium emulates a lost network: it refuses new connections and stalls
				// open ones. The proxy cuts them. A page notices that when it sends or
				// misses heartbeats, a worker at once.
				p.emulate(true)
				n.cut()
				if where == "worker" || i%3 == 0 {
					p.until(`globalThis.seen.state === "reconnecting"`)
				}
				before := f.count()
				f.await(before + 10)
				missed += f.count() - before
				n.mend()
				p.emulate(false)
				p.until(fmt.Sprintf(`globalThis.seen.state === "connected" && globalThis.seen.next > %d`, f.count()))
			}
			type result struct{ Next, Faults, Sessions, Resumes, Pushed int }
			got, err := chromedp.Run(p.Context(), chromedp.Evaluate[result](`stop().then((pushed) => ({ ...globalThis.seen, pushed }))`,
				chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v, %d of them while the page was offline", got, missed)
			if got.Faults != 0 || got.Next != got.Pushed || got.Sessions != 1 || got.Resumes < 10 { // a slow device may miss heartbeats, too
				t.Errorf("%+v, want every number once, in one session that was resumed at least 10 times", got)
			}
		})
	}
}
