package room

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Queue matches parties of players and gives each match a room. A party enters it with
// [Kind.Enter]. Define a queue once, as a package variable: its fields are read when the
// first party enters. A queue exists in one process, unless the option [Queues] shares it
// in the cluster.
type Queue struct {
	// Name identifies a shared queue of the kind. See [Queues].
	Name string
	// Teams is the number of teams in a match. The default is 2.
	Teams int
	// PerTeam is the number of players in a team, 1 to 100. The default is 1. A match has
	// at most 1,000 players, and at most as many as the room has seats.
	PerTeam int
	// Window returns the rank window of a party that has waited for the given time. The
	// ranks in a match differ by at most the narrowest window of its parties. By default
	// a party accepts all ranks. Window is called on a goroutine of the queue.
	Window func(waited time.Duration) float64
	// Alone is how long a party waits until it gets a room without others. By default it
	// waits without a limit.
	Alone time.Duration
	// Ready is the time that the players have to accept a match. By default there is no
	// ready check. A session may send 20 room.accept and room.cancel at once and then one a
	// second. Over that it gets [ErrRate].
	Ready time.Duration
}

// Party is a group of players who want to be on one team.
type Party struct {
	Players []*session.Session // with users, see [session.Session.Bind]; at most PerTeam
	Rank    float64            // rank of the party, such as the mean of its players
	Where   map[string]any     // strings, bools and numbers that must be equal for all parties of a match; they become labels of the room
}

// Ticket is a party in a queue. Its methods may be called from any goroutine.
type Ticket struct {
	id      string
	lobby   *lobby
	queue   *queue
	where   string // key of party.Where
	party   Party
	uids    []int64
	kind    *kind
	entered time.Time
	done    chan struct{}
	from    string        // at the owner of a shared queue: name of the entry node
	shared  *sharedTicket // at the entry node of a shared queue

	// The lobby's mu guards the fields below.
	state ticketState
	match *proposal // while state is ticketAsked or ticketPlaced
	room  string
	err   error
}

type ticketState int

const (
	ticketWaits  ticketState = iota
	ticketAsked              // its players must accept the match
	ticketPlaced             // its match is waiting for a room
	ticketEnded
)

// These errors end or refuse a [Ticket]. Clients receive their codes.
var (
	ErrParty    = message.Errorf("ROOM-PARTY", "a party needs a rank, and 1 player or more but no more than a team")
	ErrQueued   = message.Errorf("ROOM-QUEUED", "a player is in a queue already")
	ErrCanceled = message.Errorf("ROOM-CANCELED", "the ticket was canceled")
	ErrNotReady = message.Errorf("ROOM-NOT-READY", "a player of the party did not accept the match")
	ErrPartner  = message.Errorf("ROOM-PARTNER", "a player of the party has closed the session")
	ErrNoMatch  = message.Errorf("ROOM-NO-MATCH", "there is no such match to accept")
)

// Enter puts a party into a queue for rooms of the kind and does not wait. Once there is a match, a room is made, the seats
// of its players are reserved, and each player gets the push room.found; the field Team of a [Player] is 1 for the first
// team. If the queue has a ready check, each player gets the push room.ready first. If one party does not accept, its ticket
// ends, and the others wait on as if they had never left the queue. The push room.unmatched says that a ticket has ended
// without a match.
//
// A ticket survives the suspension of its players' sessions, but gets no match meanwhile. It ends when one of the sessions
// closes or the server shuts down.
//
// A ticket of a shared queue (see [Queues]) goes to the node that owns the queue. If that node refuses it, the players get
// room.unmatched, for example with the code of [ErrQueued]. The ticket stays in the queue if this node shuts down. Done is
// closed then, with [ErrDraining].
//
// Enter returns [ErrParty], [ErrDraining] and faults of the queue, and [ErrQueued] if a player has a ticket already. It
// returns [session.ErrIllegalUID] for a player without a user, and [session.ErrBrokenPipe] for a closed session.
func (k *Kind[R]) Enter(q *Queue, p Party) (*Ticket, error) {
	n, err := k.node()
	if err != nil {
		return nil, err
	}
	return n.lobby.enter(q, k.kind, p)
}

// ID returns the id of the ticket, which the pushes to its players contain.
func (t *Ticket) ID() string { return t.id }

// Done returns a channel that is closed when the ticket has a room or has ended without one.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Room returns the id of the room after Done. The error is the reason if there is none:
// [ErrCanceled], [ErrNotReady], [ErrPartner] or [ErrDraining]. Before Done, both are
// zero.
func (t *Ticket) Room() (id string, err error) {
	t.lobby.mu.Lock()
	defer t.lobby.mu.Unlock()
	return t.room, t.err
}

// Cancel removes the party from the queue. It returns false if the ticket has a room or
// has ended. During a ready check, Cancel refuses the match.
//
// The ticket of a shared queue may get a room while another node is asked. So Cancel
// returns true for it if the ticket has not ended as far as this node knows.
func (t *Ticket) Cancel() bool {
	if t.shared != nil {
		return t.lobby.cancelShared(t)
	}
	t.lobby.mu.Lock()
	ok := t.lobby.end(t, ErrCanceled)
	t.lobby.mu.Unlock()
	t.lobby.deliver()
	return ok
}

// Waited returns how long the party has been in the queue.
func (t *Ticket) Waited() time.Duration { return time.Since(t.entered) }

// maxMatch is the maximum number of players in a match, and maxTeam in a team.
const (
	maxMatch = 1000
	maxTeam  = 100
)

// withDefaults checks the queue for rooms with the given number of seats, and fills in
// the defaults.
func (q Queue) withDefaults(seats int) (Queue, error) {
	if q.Teams == 0 {
		q.Teams = 2
	}
	if q.PerTeam == 0 {
		q.PerTeam = 1
	}
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("room: queue: "+format, args...))
		}
	}
	fault(q.Teams < 1 || q.Teams > maxMatch, "Teams is %d, want 1 to %d", q.Teams, maxMatch)
	fault(q.PerTeam < 1 || q.PerTeam > maxTeam, "PerTeam is %d, want 1 to %d", q.PerTeam, maxTeam)
	fault(len(errs) == 0 && q.Teams*q.PerTeam > min(seats, maxMatch),
		"%d teams of %d players, want at most %d players", q.Teams, q.PerTeam, min(seats, maxMatch))
	fault(q.Alone < 0, "Alone is %v, want 0 or more", q.Alone)
	fault(q.Ready < 0, "Ready is %v, want 0 or more", q.Ready)
	return q, errors.Join(errs...)
}

// window returns the maximum distance of ranks for a party that has waited for the given
// time.
func (q *Queue) window(waited time.Duration) float64 {
	if q.Window == nil {
		return math.Inf(1)
	}
	if w := q.Window(waited); w > 0 {
		return w
	}
	return 0 // also for NaN
}

// check returns the users of a party, or an error if the party cannot enter.
func (p *Party) check(perTeam int) (uids []int64, err error) {
	if len(p.Players) == 0 || len(p.Players) > perTeam || math.IsNaN(p.Rank) || math.IsInf(p.Rank, 0) {
		return nil, ErrParty
	}
	for _, s := range p.Players {
		switch {
		case s == nil:
			return nil, ErrParty
		case s.Closed():
			return nil, session.ErrBrokenPipe
		case s.UID() < 1:
			return nil, session.ErrIllegalUID
		case slices.Contains(uids, s.UID()):
			return nil, ErrQueued
		}
		uids = append(uids, s.UID())
	}
	for _, v := range p.Where {
		switch normal(v).(type) {
		case string, bool, float64:
		default:
			return nil, ErrParty
		}
	}
	return uids, nil
}
