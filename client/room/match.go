package room

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/lonng/nano/client"
)

// Matching configures [Match]. The zero value accepts every match at once.
type Matching struct {
	// Accept reports whether the player accepts a match. Match calls it on a goroutine of its own. ctx ends when the time
	// for the answer is up or another player has refused the match.
	Accept func(ctx context.Context, check Check) bool
	// Options are those of the join; see [JoinOrCreate].
	Options any
}

// Check is the ready check of a match.
type Check struct {
	Players int           // number of players in the match
	Within  time.Duration // time limit of the answer
}

// matchEvent is a push of a queue.
type matchEvent struct {
	route   string
	Match   uint64 `json:"match"`
	Players int    `json:"players"`
	Within  int64  `json:"within"` // milliseconds
	ID      string `json:"id"`
	Code    string `json:"code"`
	Msg     string `json:"msg"`
}

// Match waits until the server has matched the player and joins the room. enter sends what makes the server enter the player
// into a queue, such as a request; it is nil if another player of the party does so. When ctx ends, the server cancels the
// ticket of the party. An error of the server is a *client.Error. Call it for one match of a client at a time.
func Match(ctx context.Context, c *client.Client, enter func(context.Context) error, o Matching) (*Room, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)

	events := make(chan matchEvent)
	for _, route := range []string{"room.ready", "room.waiting", "room.found", "room.unmatched"} {
		c.On(route, func(m *client.Message) {
			e := matchEvent{route: route}
			if json.Unmarshal(m.Data, &e) != nil {
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
	}
	entered := make(chan error, 1)
	if enter != nil {
		asking.Go(func() { entered <- enter(ctx) })
	}
	withdraw := func() {}
	for {
		select {
		case err := <-entered:
			if err != nil {
				return nil, err
			}
		case <-c.Done():
			return nil, c.Err()
		case <-ctx.Done():
			_ = c.Notify("room.cancel", []byte("{}")) // fails without a connection, whose end cancels the ticket too
			return nil, context.Cause(ctx)
		case e := <-events:
			withdraw()
			switch e.route {
			case "room.ready":
				check, end := context.WithTimeout(ctx, time.Duration(e.Within)*time.Millisecond)
				withdraw = end
				asking.Go(func() {
					defer end()
					if err := o.answer(check, c, e); err != nil {
						cancel(err)
					}
				})
			case "room.found":
				return Join(ctx, c, e.ID, o.Options)
			case "room.unmatched":
				return nil, &client.Error{Code: e.Code, Message: e.Msg}
			}
		}
	}
}

// answer answers a ready check.
func (o *Matching) answer(ctx context.Context, c *client.Client, e matchEvent) error {
	accepted := o.Accept == nil || o.Accept(ctx, Check{e.Players, time.Duration(e.Within) * time.Millisecond})
	switch {
	case !accepted && ctx.Err() == nil:
		return c.Notify("room.cancel", []byte("{}"))
	case !accepted:
		return nil // too late: the server has ended the check
	}
	body, err := json.Marshal(map[string]uint64{"match": e.Match})
	if err != nil {
		return err
	}
	return c.Notify("room.accept", body) // a late answer has no effect
}
