package room

import (
	"fmt"
	"io"
	"time"
)

// Option configures a kind.
type Option func(*options)

type options struct {
	seats      int
	spectators int
	tickRate   float64
	sendRate   float64
	catchUp    int
	hold       time.Duration
	reserve    time.Duration
	empty      time.Duration
	inputs     int
	schedulers int
	private    bool
	maxRooms   int
	seed       *[32]byte
	queues     []*Queue
	record     func(Info) (io.WriteCloser, error)

	createBurst int
	createEvery time.Duration
}

// Seats sets how many players a room has, without spectators: 16 by default, 1 to 1,048,576.
func Seats(n int) Option { return func(o *options) { o.seats = n } }

// Spectators sets how many spectators a room has. The default is 100; 0 refuses them.
func Spectators(n int) Option { return func(o *options) { o.spectators = n } }

// TickRate sets how often a second Tick runs: 0.1 to 240, or 0 for a room that only reacts to messages and timers. The
// default is 0.
func TickRate(hz float64) Option { return func(o *options) { o.tickRate = hz } }

// SendRate sets how often a second the state is sent, at most the tick rate. The default is the tick rate.
func SendRate(hz float64) Option { return func(o *options) { o.sendRate = hz } }

// CatchUp sets how many ticks more than one may run at once when the room is late. Further ticks are skipped and counted in
// Stats. The default is 3.
func CatchUp(n int) Option { return func(o *options) { o.catchUp = n } }

// Hold sets how long the seat of a player who lost the connection is held. The default is 30 s; 0 holds no seat.
func Hold(d time.Duration) Option { return func(o *options) { o.hold = d } }

// Reserve sets how long a reserved seat waits for its player: 10 s by default, any time above 0.
func Reserve(d time.Duration) Option { return func(o *options) { o.reserve = d } }

// Empty sets how long a room without players stays: 5 s by default, any time above 0. Players whose seats are held count,
// spectators do not.
func Empty(d time.Duration) Option { return func(o *options) { o.empty = d } }

// Inputs sets how many inputs of one player may wait for a tick: 8 by default, 1 or more. If more arrive, the oldest are
// dropped and counted in Stats.
func Inputs(n int) Option { return func(o *options) { o.inputs = n } }

// Schedulers distributes the rooms over n separate schedulers, 1,024 at most, and so over up to n cores.
// The default is 0: all rooms run on the logic goroutine.
func Schedulers(n int) Option { return func(o *options) { o.schedulers = n } }

// Private leaves the rooms out of lists and of JoinOrCreate, and gives each a code: see Base.Code. They are joined by code or
// id. A client may send 5 wrong codes at once and then one every 6 s; all clients of an address may send 30 at once and then
// one every 10 s. Over that they get [ErrRate].
func Private() Option { return func(o *options) { o.private = true } }

// MaxRooms sets how many rooms of the kind a node may have: 10,000 by default, 1 or more.
func MaxRooms(n int) Option { return func(o *options) { o.maxRooms = n } }

// CreateRate sets how many rooms of the kind one session may make with room.create and room.joinOrCreate: burst at once, and
// one more each interval. A client gets [ErrRate] over that. The default is 20 at once and one more each second. With a
// burst of 0, only the program makes rooms. The limit counts at the node that serves the session's room requests.
func CreateRate(burst int, every time.Duration) Option {
	return func(o *options) { o.createBurst, o.createEvery = burst, every }
}

// Queues shares queues of the kind in a cluster: parties may enter at any node that has
// the kind, and get matches with each other. The rooms of matches are made on the least
// loaded nodes. One node of the cluster owns the queues of a kind, and the nodes agree on
// it. If that node goes away, another one continues. Each queue has a Name, and all nodes
// give the same queues to Define. Without a cluster, the option has no effect.
func Queues(q ...*Queue) Option {
	return func(o *options) { o.queues = append(o.queues, q...) }
}

// Seed sets the seed of Base.Rand of every room, for tests.
func Seed(seed [32]byte) Option { return func(o *options) { o.seed = &seed } }

func (o *options) check() []error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(o.seats < 1 || o.seats > 1<<20, "Seats(%d): want 1 to %d", o.seats, 1<<20)
	fault(o.spectators < 0, "Spectators(%d): want 0 or more", o.spectators)
	fault(o.tickRate != 0 && (o.tickRate < 0.1 || o.tickRate > 240), "TickRate(%v): want 0, or 0.1 to 240", o.tickRate)
	fault(o.sendRate < 0 || o.sendRate > o.tickRate, "SendRate(%v): want 0 to the tick rate, %v", o.sendRate, o.tickRate)
	fault(o.catchUp < 0, "CatchUp(%d): want 0 or more", o.catchUp)
	fault(o.hold < 0, "Hold(%v): want 0 or more", o.hold)
	fault(o.reserve <= 0, "Reserve(%v): want more than 0", o.reserve)
	fault(o.empty <= 0, "Empty(%v): want more than 0", o.empty)
	fault(o.inputs < 1, "Inputs(%d): want 1 or more", o.inputs)
	fault(o.schedulers < 0 || o.schedulers > 1024, "Schedulers(%d): want 0 to 1024", o.schedulers)
	fault(o.createBurst < 0 || o.createEvery <= 0, "CreateRate(%d, %v): want 0 or more, and an interval above 0", o.createBurst, o.createEvery)
	fault(o.maxRooms < 1, "MaxRooms(%d): want 1 or more", o.maxRooms)
	names := map[string]bool{}
	for _, q := range o.queues {
		fault(q == nil, "Queues: a queue is nil")
		if q == nil {
			continue
		}
		fault(q.Name == "" || names[q.Name], "Queues: the name %q is empty or used twice", q.Name)
		names[q.Name] = true
		if _, err := q.withDefaults(o.seats); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
