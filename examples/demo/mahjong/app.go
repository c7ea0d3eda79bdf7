package main

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

const (
	maxName   = 16 // characters
	maxMissed = 20 // wrong codes per session
)

// App is the game with its lobby, tables and store. Everything except the store runs on
// the logic goroutine.
type App struct {
	store  *Store
	sched  *scheduler.Scheduler
	tables *room.Kind[Table]
	times  Times
	codes  map[string]*Table // tables by their code, until they close
	open   []*Table          // public tables that have not started, the oldest first
	at     map[int64]string  // the table where a user has a seat

	deal    func(rules.Config, int, [32]byte) (*rules.State, error) // rules.New, except in tests
	actions int                                                     // number of actions
	lag     func(time.Duration)                                     // called with the delay of each table timer; may be nil
	ready   func()                                                  // called when the server listens; may be nil
}

// newApp returns a game whose server runs on sched. A table without players is closed
// after empty.
func newApp(store *Store, sched *scheduler.Scheduler, times Times, empty time.Duration) *App {
	return &App{
		store: store, sched: sched, times: times, deal: rules.New, codes: map[string]*Table{}, at: map[int64]string{},
		tables: room.Define[Table]("table", room.Private(), room.Seats(4), room.Hold(holdTime), room.Empty(empty), room.Spectators(50)),
	}
}

// options returns the options of the server.
func (a *App) options() []nano.Option {
	components := &component.Components{}
	components.Register(&Lobby{app: a}, component.WithName("lobby"), component.WithNameFunc(strings.ToLower))
	return []nano.Option{
		a.tables.Option(), nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithScheduler(a.sched),
		nano.WithResume(nano.Resume{Window: time.Minute}),
	}
}

// letters are the characters of a code. No two look alike.
const letters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

// opened registers a table and returns its code.
func (a *App) opened(t *Table) string {
	for {
		b := make([]byte, 6)
		for i := range b {
			b[i] = letters[rand.IntN(len(letters))]
		}
		code := string(b)
		if a.codes[code] != nil {
			continue
		}
		a.codes[code] = t
		if t.quick {
			a.open = append(a.open, t)
		}
		return code
	}
}

func (a *App) closed(t *Table) {
	delete(a.codes, t.State.Code)
	a.leaveLists(t)
}

// leaveLists removes a table from quick match.
func (a *App) leaveLists(t *Table) {
	a.open = slices.DeleteFunc(a.open, func(o *Table) bool { return o == t })
}

// Lobby serves the routes with the prefix lobby.
type Lobby struct {
	component.Base
	app *App
}

// AfterInit runs when the port is open.
func (l *Lobby) AfterInit() {
	if l.app.ready != nil {
		l.app.ready()
	}
}

type loginRequest struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

type loginReply struct {
	Account
	Now   int64  `json:"now"`             // Unix milliseconds
	Table string `json:"table,omitempty"` // the id of the table at which the user has a seat
}

// Login logs a guest in. The token of an earlier login finds the same account; without one, it is a new account.
func (l *Lobby) Login(s *session.Session, req *loginRequest) error {
	if len(req.Token) > 64 {
		return nano.Errorf("TOKEN", "a token has at most 64 bytes")
	}
	var account Account
	l.store(s, func(tx *sql.Tx) (err error) {
		account, err = login(tx, req.Token, clean(req.Name))
		return err
	}, func() (any, error) {
		if err := s.Bind(account.ID); err != nil {
			return nil, err
		}
		s.Set("name", account.Name)
		return &loginReply{account, now(), l.app.at[account.ID]}, nil
	})
	return nil
}

// store runs a job, and then runs the function that the job returned on the logic
// goroutine. The result answers the request.
func (l *Lobby) store(s *session.Session, run func(*sql.Tx) error, then func() (any, error)) {
	r := s.Defer()
	l.app.store.Do(run, func(err error) {
		l.app.sched.Invoke(func() {
			var v any
			if err == nil {
				v, err = then()
			}
			if err != nil {
				_ = r.Fail(err) // a closed session needs no answer
				return
			}
			_ = r.Reply(v)
		})
	})
}

type found struct {
	ID   string `json:"id"`
	Code string `json:"code,omitempty"`
}

var errLogin = nano.Errorf("LOGIN", "log in first")

// Create creates a private table with settings, the fields of rules.Config. Missing
// fields have their default.
func (l *Lobby) Create(s *session.Session, raw []byte) (*found, error) {
	c := rules.Default()
	if len(raw) > 0 {
		if err := json.NewSerializer().Unmarshal(raw, &c); err != nil {
			return nil, nano.Errorf("SETTINGS", "the settings do not decode")
		}
	}
	return l.make(s, &Opening{Config: c, app: l.app})
}

func (l *Lobby) make(s *session.Session, o *Opening) (*found, error) {
	if s.UID() == 0 {
		return nil, errLogin
	}
	info, err := l.app.tables.Create(context.Background(), o)
	if err != nil {
		return nil, err
	}
	f := &found{ID: info.ID}
	err = l.app.tables.Do(context.Background(), info.ID, func(t *Table) { f.Code = t.State.Code })
	return f, err
}

type findRequest struct {
	Code string `json:"code"`
}

// Find returns the table with a code.
func (l *Lobby) Find(s *session.Session, req *findRequest) (*found, error) {
	missed := s.Int("missed")
	if missed >= maxMissed {
		return nil, nano.Errorf("CODE-LIMIT", "too many wrong codes")
	}
	code := strings.ToUpper(strings.TrimSpace(req.Code))
	t := l.app.codes[code]
	if t == nil {
		s.Set("missed", missed+1)
		return nil, nano.Errorf("CODE", "there is no table with this code")
	}
	return &found{t.ID(), code}, nil
}

type quickRequest struct {
	Players int `json:"players"` // 3 or 4
}

// Quick finds or creates a public table.
func (l *Lobby) Quick(s *session.Session, req *quickRequest) (*found, error) {
	c := rules.Default()
	if req.Players != 0 {
		c.Players = req.Players
	}
	for _, t := range l.app.open {
		if t.State.Config == c && slices.Contains(t.players, 0) {
			return &found{ID: t.ID()}, nil
		}
	}
	return l.make(s, &Opening{Config: c, app: l.app, quick: true})
}

// History lists the last hands of the user.
func (l *Lobby) History(s *session.Session, _ *struct{}) error {
	var list []Past
	l.store(s, func(tx *sql.Tx) (err error) {
		list, err = past(tx, s.UID())
		return err
	}, func() (any, error) { return map[string]any{"hands": list}, nil })
	return nil
}

type replayRequest struct {
	ID int64 `json:"id"`
}

// Replay returns a past hand of the user.
func (l *Lobby) Replay(s *session.Session, req *replayRequest) error {
	var reply Replay
	l.store(s, func(tx *sql.Tx) error {
		r, seat, err := played(tx, s.UID(), req.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return nano.Errorf("HAND", "there is no such hand of yours")
		} else if err != nil {
			return err
		}
		reply.Seat = seat
		reply.Hand = &Past{ID: req.ID, Ended: r.Ended, Code: r.Code, Number: r.Number, Seat: seat, Names: r.Names, Totals: r.Totals}
		reply.Boards, err = r.Boards()
		return err
	}, func() (any, error) { return &reply, nil })
	return nil
}

// clean makes a name printable, on one line and short enough.
func clean(name string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, strings.Join(strings.Fields(name), " ")))
	return strings.TrimSpace(string(runes[:min(len(runes), maxName)]))
}
