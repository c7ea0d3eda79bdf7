package room_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
)

// Wall is a room with a large state.
type Wall struct {
	room.Base[struct {
		Text  string
		Count int
	}]
}

func (w *Wall) Paint(_ *room.Player, m *Step) {
	w.State.Count++
	w.State.Text = strings.Repeat("x", 20<<10+m.DX)
}

// A client that does not read skips patches, stays connected, and later gets a snapshot.
// This holds with and without a gate.
func TestSlowClientAndGate(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	for _, name := range []string{"without a gate", "with a gate"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*testkit.Patience)
			defer cancel()
			kind := room.Define[Wall]("wall")
			backend := testkit.StartNode(t, nil, nil, kind.Option())
			gate := backend
			if name == "with a gate" {
				gate = testkit.StartNode(t, nil, []*testkit.Node{backend})
			}
			l := nanotest.Listen() // its connections have no buffers
			served := make(chan error, 1)
			go func() { served <- gate.Serve(l) }()
			t.Cleanup(func() { _, _ = l.Close(), <-served })
			conn := &slowConn{}
			slow, err := client.Dial(ctx, "gate:1", client.WithDialer(func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
				conn.Conn, err = l.DialContext(ctx, network, addr)
				return conn, err
			}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = slow.Close() })
			r, err := croom.JoinOrCreate(ctx, slow, "wall", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			painter, err := croom.JoinOrCreate(ctx, gate.Connect().Client, "wall", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			pause := make(chan struct{})
			conn.gate.Store(&pause)
			slowClients := func() int64 { return kind.On(backend.Server).Stats()[0].SlowClients }
			painted := 0
			paint := func() {
				painted++
				if err := painter.Request(ctx, "Paint", Step{painted % 7}, nil); err != nil {
					t.Fatal(err)
				}
			}
			// 200 patches are 4 MiB, of which the server would keep 1 MiB before it closes the session.
			for painted < 200 {
				paint()
			}
			testkit.Eventually(t, "patches are skipped", func() bool { paint(); return slowClients() > 100 })
			skipped := slowClients()
			conn.gate.Store(nil)
			close(pause)
			testkit.Eventually(t, "the slow client sees what the other one sees", func() bool {
				return text(r) == text(painter) && get(r, "count") != "0"
			})
			if err := slow.Err(); err != nil || r.Err() != nil || !r.Synced() {
				t.Errorf("the slow client: connection %v, state %v", err, r.Err())
			}
			if n := kind.On(backend.Server).Stats()[0].SlowClients; n > skipped+100 {
				t.Errorf("%d patches were skipped after the client reads again", n-skipped)
			}
			// The client gets every patch again.
			before := slowClients()
			paint()
			testkit.Eventually(t, "the slow client sees the last patch", func() bool { return text(r) == text(painter) })
			if n := slowClients(); n != before {
				t.Errorf("%d patches were skipped although the client reads", n-before)
			}
		})
	}
}

// A slow client of a room without a tick rate catches up even if the state does not
// change.
func TestSlowClientOfAQuietRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		kind := room.Define[Wall]("wall", room.Schedulers(schedulers))
		srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(jsons.NewSerializer()))
		conn := &slowConn{}
		slow, err := client.Dial(t.Context(), "wall:1", client.WithDialer(func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			conn.Conn, err = srv.Listener.DialContext(ctx, network, addr)
			return conn, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		r, err := croom.JoinOrCreate(t.Context(), slow, "wall", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		painter, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "wall", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		pause := make(chan struct{})
		conn.gate.Store(&pause)
		for i := range 20 {
			if err := painter.Request(t.Context(), "Paint", Step{i}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		conn.gate.Store(nil)
		close(pause)
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if text(r) != text(painter) || get(r, "count") != "20" {
			t.Errorf("the slow client is at %s, the other at %s, want 20", get(r, "count"), get(painter, "count"))
		}
	})
}

// A state that is larger than what the server queues for a client is logged.
func TestStateThatIsTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		logs := testkit.NewLogCapture()
		srv := nanotest.Start(t, room.Define[Wall]("wall").Option(), nano.WithSerializer(jsons.NewSerializer()), logs.Option())
		r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "wall", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Request(t.Context(), "Paint", Step{2 << 20}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if id, _ := logs.Find("nano: a player gets no room state", "room"); id != r.ID() {
			t.Errorf("the log names the room %q, want %q", id, r.ID())
		}
	})
}
