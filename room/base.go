package room

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/state"
)

// Base makes a struct a room. S is the struct type of the room's state: see package state for what it may hold.
type Base[S any] struct {
	// State is sent to the players after each tick, and after each message if the room has no tick rate.
	State S

	core *core
}

// embedded is the part of Base that Define and the room's core use.
type embedded interface {
	attach(*core)
	newSync() (*state.Sync, error)
	state() reflect.Value // the state, for the console
}

func (b *Base[S]) attach(c *core) { b.core = c }

func (b *Base[S]) state() reflect.Value { return reflect.ValueOf(&b.State).Elem() }

func (b *Base[S]) newSync() (*state.Sync, error) {
	s, err := state.New(&b.State, state.Owner[PlayerID]())
	if err == nil && b.core != nil && b.core.dt > 0 {
		s.History(b.core.kind.historyTicks())
	}
	return s, err
}

// ID returns the id of the room. It may be called from any goroutine.
func (b *Base[S]) ID() string { return b.core.id }

// Code returns the code of a room whose kind has the option [Private], "" of any other: 6 letters and digits without 0, O, 1
// and I, which no other room of the cluster has. It may be called from any goroutine.
func (b *Base[S]) Code() string { return b.core.getCode() }

// Players returns the players and spectators in the order in which they took their seats.
func (b *Base[S]) Players() []*Player { return slices.Clone(b.core.players) }

// Player returns the player with an id, nil if that seat is empty.
func (b *Base[S]) Player(id PlayerID) *Player { return b.core.player(id) }

// Broadcast sends a message to all players and spectators who are connected. It is written together with the next flush
// of the state, before it. It returns the first error of [session.Session.Push] other than that of a closed session.
func (b *Base[S]) Broadcast(route string, v any) error { return b.core.broadcast(route, v) }

// Ticks returns the number of the running or latest tick, 0 before the first.
func (b *Base[S]) Ticks() uint64 { return b.core.ticks }

// Dt returns the time between two ticks, 0 if the room has no tick rate.
func (b *Base[S]) Dt() time.Duration { return b.core.dt }

// Lag returns how late the running tick began.
func (b *Base[S]) Lag() time.Duration { return b.core.lag }

// After calls f once, after d on the room's clock. The clock stops between ticks: with a
// tick rate, f runs at the start of the first tick that is due. If f calls After, that call
// runs in a later tick. f does not run after the room has closed. The returned function
// cancels the call.
func (b *Base[S]) After(d time.Duration, f func()) (cancel func()) { return b.core.after(d, f) }

// Rand returns the room's random source. Its seed is random, or the seed of the option
// [Seed].
func (b *Base[S]) Rand() *rand.Rand { return b.core.rng }

// SetLabel sets a property that filters of joins and lists can test. A nil value removes it. The value is a string, a bool
// or a number.
func (b *Base[S]) SetLabel(key string, value any) { b.core.setLabel(key, value) }

// Label returns the value of a label, nil if there is none. Numbers are float64. A room that JoinOrCreate makes has the labels
// of its filter before OnCreate runs.
func (b *Base[S]) Label(key string) any { return b.core.label(key) }

// Reserve holds a seat for each user until the user joins, as long as the option [Reserve] says. A user who has a seat in
// the room gets no second one. It holds all or none: the error is [ErrFull].
func (b *Base[S]) Reserve(uids ...int64) error { return b.core.reserve(uids) }

// Lock refuses new players until Lock(false). Returning players and players with a reservation are not refused.
func (b *Base[S]) Lock(locked bool) { b.core.lock(locked) }

// Close ends the room. It runs OnLeave for each player and OnClose, and sends the last
// state. Then the clients get the push room.closed with the reason. Further calls have no
// effect.
func (b *Base[S]) Close(reason string) { b.core.close(reason) }

// Scheduler returns the scheduler on which the room runs. It may be called from any goroutine.
func (b *Base[S]) Scheduler() *scheduler.Scheduler { return b.core.sched }
