// Tictactoe is a game for two with matchmaking, a turn timer, reconnection and
// spectators.
package main

import (
	"cmp"
	"embed"
	"flag"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/clients/js"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

//go:embed web
var web embed.FS

const holdTime = 60 * time.Second

var turnTime = 20 * time.Second // a variable for tests

// Game is one game. The mark of the first player is 1, that of the second player is 2.
// It is the Team of the player.
type Game struct {
	room.Base[Board]
	stopTimer func()
}

// Board is the state that players and spectators see.
type Board struct {
	Cells   [9]uint8
	Players [2]Seat
	Turn    uint8  // the mark whose turn it is; 0 before and after the game
	Turns   int    // counts turns, so that clients notice each one
	Winner  uint8  // a mark, or 3 for a draw
	Reason  string // why the game ended
}

// Seat is one of the two players.
type Seat struct {
	ID   room.PlayerID // 0 while the seat is free
	Name string
	Away bool
}

// Hello is the join option of a player.
type Hello struct {
	Name string `json:"name"`
}

// Move sets the player's mark in a cell from 0 to 8.
type Move struct {
	Cell int `json:"cell"`
}

var games = room.Define[Game]("tictactoe", room.Seats(2), room.Hold(holdTime))

// OnJoin starts the game when the second player has joined.
func (g *Game) OnJoin(p *room.Player, o *Hello) {
	name := []rune(cmp.Or(o.Name, "Guest"))
	p.Team = 1
	if g.seat(p).ID != 0 {
		p.Team = 2
	}
	*g.seat(p) = Seat{ID: p.ID, Name: string(name[:min(len(name), 20)])}
	if p.Team == 2 {
		g.Lock(true)
		g.next(1)
	}
}

func (g *Game) OnDrop(p *room.Player)   { g.seat(p).Away = true }
func (g *Game) OnReturn(p *room.Player) { g.seat(p).Away = false }

// OnLeave ends the game. The remaining player wins.
func (g *Game) OnLeave(p *room.Player) {
	g.end(3-uint8(p.Team), "the other player left")
}

// Play handles a move.
func (g *Game) Play(p *room.Player, m *Move) error {
	switch {
	case uint8(p.Team) != g.State.Turn:
		return nano.Errorf("TURN", "it is not your turn")
	case m.Cell < 0 || m.Cell > 8 || g.State.Cells[m.Cell] != 0:
		return nano.Errorf("CELL", "this cell is taken")
	}
	g.State.Cells[m.Cell] = g.State.Turn
	switch {
	case g.won(g.State.Turn):
		g.end(g.State.Turn, "three in a row")
	case !slices.Contains(g.State.Cells[:], 0):
		g.end(3, "the board is full")
	default:
		g.next(3 - g.State.Turn)
	}
	return nil
}

func (g *Game) seat(p *room.Player) *Seat { return &g.State.Players[p.Team-1] }

// next starts the turn of a player, who loses when the time is over.
func (g *Game) next(mark uint8) {
	if g.stopTimer != nil {
		g.stopTimer()
	}
	g.State.Turn, g.State.Turns = mark, g.State.Turns+1
	g.stopTimer = g.After(turnTime, func() { g.end(3-mark, "time is up") })
}

func (g *Game) end(winner uint8, reason string) {
	if g.State.Winner == 0 {
		g.State.Turn, g.State.Winner, g.State.Reason = 0, winner, reason
		g.Close(reason)
	}
}

func (g *Game) won(mark uint8) bool {
	for _, l := range [][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}} {
		if c := &g.State.Cells; c[l[0]] == mark && c[l[1]] == mark && c[l[2]] == mark {
			return true
		}
	}
	return false
}

// Login identifies users by a key that each browser stores.
type Login struct {
	site.Announcer
	users map[string]int64
}

type loginRequest struct {
	Key string `json:"key"`
}

type loginReply struct {
	UID int64 `json:"uid"`
}

// As binds the session to the user with a key.
func (l *Login) As(s *session.Session, req *loginRequest) (*loginReply, error) {
	if len(req.Key) < 16 || len(req.Key) > 64 {
		return nil, nano.Errorf("KEY", "a key has 16 to 64 bytes")
	}
	if l.users[req.Key] == 0 {
		l.users[req.Key] = int64(len(l.users) + 1)
	}
	return &loginReply{l.users[req.Key]}, s.Bind(l.users[req.Key])
}

// options configures the server, which prints line when it is ready.
func options(line string) []nano.Option {
	components := &component.Components{}
	login := &Login{Announcer: site.Announcer{Line: line}, users: map[string]int64{}}
	components.Register(login, component.WithName("login"))
	return []nano.Option{games.Option(), nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}
}

func handle(mux *http.ServeMux) {
	site.Handle(mux, web)
	mux.Handle("/js/", http.StripPrefix("/js", http.FileServerFS(js.FS)))
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	consoleAddr := flag.String("console", "", site.ConsoleUsage)
	flag.Parse()
	handle(http.DefaultServeMux)
	line := "The game is at " + site.URL(*addr)
	opts := append(options(line), site.OpenConsole("tictactoe", *consoleAddr).Options()...)
	if nano.Listen(*addr, append(opts, nano.WithWebSocket("/nano"))...) != nil {
		os.Exit(1) // Listen has logged the cause
	}
}
