// Tick is a game in rooms: each room runs on a scheduler of its own, so that rooms share the cores, and moves on at a
// fixed tick of 20 a second.
//
//	go run ./examples/tick -addr :3250 -rooms 4
//
// Then open the page that it prints, in two windows.
//
// A client requests lobby.join, which runs on the server's own scheduler, and then sends arena.move, which runs on that of
// its room. It may send both at once: the messages of a session run in order, whichever scheduler each goes to.
package main

import (
	"cmp"
	"embed"
	"flag"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

const (
	tick     = 50 * time.Millisecond
	size     = 20 // fields of the arena, each way
	maxSteps = 8  // that may wait for their ticks, for each player
)

// The keys of what a session holds.
const (
	keyRoom      = "room"
	keyScheduler = "scheduler" // of the room; component.WithSchedulerName refers to it
)

type (
	joinReply struct {
		Room int `json:"room"`
		Size int `json:"size"`
	}
	step struct { // each -1, 0 or 1
		DX int `json:"dx"`
		DY int `json:"dy"`
	}
	position struct {
		ID int64 `json:"id"` // of the session
		X  int   `json:"x"`
		Y  int   `json:"y"`
	}
	whereReply struct {
		position
		Waiting int `json:"waiting"` // steps
	}
	state struct { // pushed as onState
		Tick    int        `json:"tick"`
		Players []position `json:"players"`
	}
)

// player is somebody in a room.
type player struct {
	position
	steps []step // to be taken, one a tick
}

// room is one arena.
type room struct {
	number int
	sched  *scheduler.Scheduler
	group  *nano.Group

	// Of the goroutine of sched.
	ticks   int
	players []*player // in the order they came
}

func newRoom(number int) *room {
	r := &room{number: number, sched: scheduler.New(), group: nano.NewGroup("room")}
	r.sched.NewTimer(tick, r.tick)
	return r
}

// tick takes one step of every player and tells everybody. A tick that comes too late is skipped, never made up for: the
// game slows down under load, and no step gets lost.
func (r *room) tick() {
	r.ticks++
	if len(r.players) == 0 {
		return
	}
	now := state{Tick: r.ticks}
	for _, p := range r.players {
		if len(p.steps) > 0 {
			p.X = min(max(p.X+p.steps[0].DX, 0), size-1)
			p.Y = min(max(p.Y+p.steps[0].DY, 0), size-1)
			p.steps = p.steps[1:]
		}
		now.Players = append(now.Players, p.position)
	}
	_ = r.group.Broadcast("onState", &now) // fails for a payload that does not encode, and this one does
}

func (r *room) enter(s *session.Session) {
	r.players = append(r.players, &player{position: position{ID: s.ID()}})
	_ = r.group.Add(s) // fails where it has closed already, and is about to leave
}

func (r *room) leave(s *session.Session) {
	r.players = slices.DeleteFunc(r.players, func(p *player) bool { return p.ID == s.ID() })
}

func (r *room) player(s *session.Session) *player {
	i := slices.IndexFunc(r.players, func(p *player) bool { return p.ID == s.ID() })
	return r.players[i]
}

// Lobby gives every player a room. It runs on the server's own scheduler.
type Lobby struct {
	site.Announcer
	rooms []*room
	count []int // of players, by room
}

// Init opens the rooms.
func (l *Lobby) Init() {
	for i := range l.count {
		l.rooms = append(l.rooms, newRoom(i))
	}
}

// Shutdown closes them, when all sessions have closed.
func (l *Lobby) Shutdown() {
	for _, r := range l.rooms {
		r.sched.Close()
	}
}

// Join puts the player into the room where the fewest are.
func (l *Lobby) Join(s *session.Session, _ []byte) (*joinReply, error) {
	if s.HasKey(keyRoom) {
		return nil, nano.Errorf("TICK-JOINED", "you are in a room already")
	}
	r := slices.MinFunc(l.rooms, func(a, b *room) int { return cmp.Compare(l.count[a.number], l.count[b.number]) })
	l.count[r.number]++
	s.Set(keyRoom, r)
	s.Set(keyScheduler, r.sched) // from the next message on
	r.sched.Invoke(func() { r.enter(s) })
	s.OnClose(func(s *session.Session, _ error) {
		l.count[r.number]--
		r.sched.Invoke(func() { r.leave(s) })
	})
	return &joinReply{Room: r.number, Size: size}, nil
}

// Arena is what players do in their rooms. It runs on the scheduler of the session's room, so it may touch all of that
// room and nothing of another. Without a room, the library answers with an error.
type Arena struct{ component.Base }

// Move queues a step for one of the next ticks.
func (*Arena) Move(s *session.Session, m *step) error {
	if max(m.DX, -m.DX, m.DY, -m.DY) > 1 {
		return nano.Errorf(nano.CodeBadRequest, "a step goes to one of the fields around")
	}
	p := s.Value(keyRoom).(*room).player(s)
	if len(p.steps) == maxSteps {
		return nano.Errorf(nano.CodeLimit, "%d steps are waiting already", maxSteps)
	}
	p.steps = append(p.steps, *m)
	return nil
}

// Where tells where the player is.
func (*Arena) Where(s *session.Session, _ []byte) (*whereReply, error) {
	p := s.Value(keyRoom).(*room).player(s)
	return &whereReply{p.position, len(p.steps)}, nil
}

func newLobby(rooms int) *Lobby { return &Lobby{count: make([]int, rooms)} }

func options(l *Lobby) []nano.Option {
	components := &component.Components{}
	lower := component.WithNameFunc(strings.ToLower)
	components.Register(l, component.WithName("lobby"), lower)
	components.Register(&Arena{}, component.WithName("arena"), lower, component.WithSchedulerName(keyScheduler))
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	rooms := flag.Int("rooms", runtime.NumCPU(), "`number` of rooms, 1 or more")
	flag.Parse()
	site.Handle(http.DefaultServeMux, web)
	l := newLobby(max(*rooms, 1))
	l.Line = "The arena is at " + site.URL(*addr)
	if nano.Listen(*addr, append(options(l), nano.WithWebSocket("/nano"))...) != nil {
		os.Exit(1) // Listen has logged why
	}
}
