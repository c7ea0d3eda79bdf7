package room_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
)

// Counter is a room in which players count together.
type Counter struct {
	room.Base[struct{ Count int }]
}

type Add struct{ N int }

// Add serves messages with the route counter.Add.
func (c *Counter) Add(_ *room.Player, m *Add) *Add {
	c.State.Count += m.N
	return &Add{c.State.Count}
}

func Example() {
	counters := room.Define[Counter]("counter", room.Seats(4))
	server := nano.New(counters.Option(), nano.WithSerializer(json.NewSerializer()), nano.WithSlog(slog.New(slog.DiscardHandler)))
	listener := nanotest.Listen()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, listener.Addr().String(), client.WithDialer(listener.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	r, err := croom.JoinOrCreate(ctx, c, "counter", nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	changed := make(chan struct{}, 10)
	r.OnChange(func() { changed <- struct{}{} })
	var sum Add
	if err := r.Request(ctx, "Add", Add{3}, &sum); err != nil {
		log.Fatal(err)
	}
	for count, _ := r.Get("count"); fmt.Sprint(count) != "3"; count, _ = r.Get("count") {
		<-changed
	}
	fmt.Println("reply:", sum.N)
	fmt.Println("state:", r.State())
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}
	if err := server.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	if err := <-served; !errors.Is(err, nano.ErrServerClosed) && err != nil {
		log.Fatal(err)
	}
	// Output:
	// reply: 3
	// state: map[count:3]
}

// Chess is a room that can move to another node.
type Chess struct {
	room.Base[struct {
		Turn room.PlayerID
		Left int // seconds of the turn
	}]
	opening string // no client sees it
}

// Save returns what State does not hold.
func (c *Chess) Save() ([]byte, error) { return []byte(c.opening), nil }

// Load continues the room on another node, and starts its timer again.
func (c *Chess) Load(data []byte) error {
	c.opening = string(data)
	c.count()
	return nil
}

func (c *Chess) count() {
	c.After(time.Second, func() {
		c.State.Left--
		c.count()
	})
}

var _ room.Movable = (*Chess)(nil)

// A program moves a room to another node of the cluster. A server that shuts down does so
// by itself.
func ExampleMove() {
	games := room.Define[Chess]("chess")
	start := func(opts ...nano.Option) *nano.Server {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		srv := nano.New(append(opts, games.Option(), nano.WithCluster(), nano.WithSlog(slog.New(slog.DiscardHandler)))...)
		if err := srv.StartCluster(l); err != nil {
			log.Fatal(err)
		}
		return srv
	}
	first := start()
	second := start(nano.WithSeeds(first.ClusterAddr()))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	game, err := games.On(second).Create(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := room.Move(ctx, game.ID, first.ClusterAddr()); err != nil {
		log.Fatal(err)
	}
	err = games.On(first).Do(ctx, game.ID, func(c *Chess) { fmt.Println(c.ID() == game.ID) })
	if err := errors.Join(err, second.Shutdown(ctx), first.Shutdown(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output: true
}
