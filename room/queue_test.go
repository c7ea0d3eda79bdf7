package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// aPass is longer than the time between two passes of a queue.
const aPass = 500 * time.Millisecond

// sessions returns the sessions of users.
func (l *lake) sessions(uids ...int64) []*session.Session {
	l.t.Helper()
	var list []*session.Session
	for _, uid := range uids {
		of := l.SessionsByUID(uid)
		if len(of) != 1 {
			l.t.Fatalf("user %d has %d sessions, want 1", uid, len(of))
		}
		list = append(list, of[0])
	}
	return list
}

// queue puts a party into a queue.
func (l *lake) queue(q *room.Queue, rank float64, uids ...int64) *room.Ticket {
	l.t.Helper()
	ticket, err := l.Enter(q, room.Party{Players: l.sessions(uids...), Rank: rank})
	if err != nil {
		l.t.Fatal(err)
	}
	return ticket
}

// wait runs a pass of the queue, and returns the room of a ticket, or the reason why it
// has none.
func roomOf(t *room.Ticket) string {
	synctest.Wait()
	select {
	case <-t.Done():
	default:
		return "waits"
	}
	id, err := t.Room()
	if err != nil {
		return code(err)
	}
	return id
}

// pushed returns the received pushes of a route.
func pushed[T any](t *testing.T, p *nanotest.Player, route string) (list []T) {
	t.Helper()
	synctest.Wait()
	for _, m := range p.Pushes(route) {
		var v T
		if err := json.Unmarshal(m.Data, &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

type (
	found struct {
		Ticket, ID, Kind string
		Team             int
	}
	check struct {
		Ticket  string
		Match   uint64
		Players int
		Within  int64
	}
	unmatched struct{ Ticket, Code, Msg string }
)

func TestQueueMakesAMatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		ann, bob := l.connect(1), l.connect(2)
		q := &room.Queue{}
		a := l.queue(q, 0, 1)
		time.Sleep(aPass)
		if got := roomOf(a); got != "waits" {
			t.Fatalf("a party without an opponent: %s", got)
		}
		b := l.queue(q, 1e6, 2)
		time.Sleep(aPass)
		id := roomOf(a)
		if roomOf(b) != id || id == "waits" {
			t.Fatalf("the rooms are %s and %s, want one", id, roomOf(b))
		}
		teams := 0
		for i, p := range []*nanotest.Player{ann, bob} {
			list := pushed[found](t, p, "room.found")
			if len(list) != 1 || list[0].ID != id || list[0].Kind != "pond" || list[0].Ticket != []*room.Ticket{a, b}[i].ID() {
				t.Fatalf("player %d got %+v, want room.found of %s", i, list, id)
			}
			teams += list[0].Team
			if _, err := l.rejoin(p, id, "frog"); err != nil {
				t.Fatal(err)
			}
			if err := l.Kind.Do(t.Context(), id, func(pond *Pond) {
				if got := pond.Players()[i].Team; got != list[0].Team {
					t.Errorf("Player.Team = %d, want %d", got, list[0].Team)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		if teams != 3 {
			t.Errorf("the teams sum up to %d, want 1 + 2", teams)
		}
		if infos := l.infos(); len(infos) != 1 || infos[0].Players != 2 {
			t.Errorf("rooms = %+v, want one with 2 players", infos)
		}
		l.queue(q, 0, 1) // a second ticket
	})
}

// The seats of a match belong to its players.
func TestQueueReservesSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t, room.Seats(2))
		l.connect(1)
		l.connect(2)
		q := &room.Queue{}
		a := l.queue(q, 0, 1)
		l.queue(q, 0, 2)
		time.Sleep(aPass)
		if _, err := l.rejoin(l.connect(3), roomOf(a), "thief"); code(err) != "ROOM-FULL" {
			t.Errorf("the join of another player = %v, want ROOM-FULL", err)
		}
	})
}

func TestQueueWindowsWiden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		q := &room.Queue{Window: func(waited time.Duration) float64 { return 10 + 10*waited.Seconds() }}
		for uid := range int64(4) {
			l.connect(uid + 1)
		}
		a := l.queue(q, 1000, 1)
		time.Sleep(10 * time.Second) // its window is 110
		b := l.queue(q, 1050, 2)
		time.Sleep(3 * time.Second) // 40
		if roomOf(a) != "waits" || roomOf(b) != "waits" {
			t.Fatalf("the window of the second party is too narrow, but the rooms are %s and %s", roomOf(a), roomOf(b))
		}
		c := l.queue(q, 1200, 3)
		time.Sleep(2 * time.Second) // 60
		if roomOf(a) == "waits" || roomOf(a) != roomOf(b) || roomOf(c) != "waits" {
			t.Fatalf("the rooms are %s, %s and %s, want one for the first two", roomOf(a), roomOf(b), roomOf(c))
		}
		d := l.queue(q, 1201, 4)
		time.Sleep(aPass)
		if roomOf(c) == "waits" || roomOf(c) != roomOf(d) || roomOf(c) == roomOf(a) {
			t.Errorf("the rooms are %s and %s, want a second one for both", roomOf(c), roomOf(d))
		}
	})
}

func TestQueueKeepsPartiesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		q := &room.Queue{Teams: 2, PerTeam: 3}
		players := map[int64]*nanotest.Player{}
		for uid := int64(1); uid <= 6; uid++ {
			players[uid] = l.connect(uid)
		}
		pair, single, trio := l.queue(q, 0, 1, 2), l.queue(q, 0, 3), l.queue(q, 0, 4, 5, 6)
		time.Sleep(aPass)
		if id := roomOf(pair); id == "waits" || roomOf(single) != id || roomOf(trio) != id {
			t.Fatalf("the rooms are %s, %s and %s, want one", id, roomOf(single), roomOf(trio))
		}
		team := map[int64]int{}
		for uid, p := range players {
			team[uid] = pushed[found](t, p, "room.found")[0].Team
		}
		if team[1] != team[2] || team[1] != team[3] || team[4] != team[5] || team[4] != team[6] || team[1] == team[4] {
			t.Errorf("teams = %v, want 1, 2, 3 against 4, 5, 6", team)
		}
	})
}

func TestQueueWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		q := &room.Queue{}
		enter := func(uid int64, where map[string]any) *room.Ticket {
			l.connect(uid)
			ticket, err := l.Enter(q, room.Party{Players: l.sessions(uid), Where: where})
			if err != nil {
				t.Fatal(err)
			}
			return ticket
		}
		a := enter(1, map[string]any{"mode": "duel", "map": 1})
		b := enter(2, map[string]any{"mode": "duel", "map": 2})
		c := enter(3, map[string]any{"map": 1.0, "mode": "duel"})
		d, e := enter(4, nil), enter(5, map[string]any{})
		time.Sleep(aPass)
		if roomOf(a) == "waits" || roomOf(a) != roomOf(c) || roomOf(b) != "waits" || roomOf(d) == "waits" || roomOf(d) != roomOf(e) {
			t.Errorf("the rooms are %s, %s, %s, %s, %s, want 1 with 3 and 4 with 5", roomOf(a), roomOf(b), roomOf(c), roomOf(d), roomOf(e))
		}
		for _, info := range l.infos() {
			if info.ID == roomOf(a) && fmt.Sprint(info.Label) != "map[map:1 mode:duel]" {
				t.Errorf("labels = %v, want those of the parties", info.Label)
			}
		}
	})
}

func TestQueueAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		l.connect(1)
		a := l.queue(&room.Queue{Alone: 20 * time.Second}, 0, 1)
		time.Sleep(19 * time.Second)
		if got := roomOf(a); got != "waits" {
			t.Fatalf("after 19 s: %s", got)
		}
		time.Sleep(time.Second + aPass)
		if infos := l.infos(); len(infos) != 1 || infos[0].ID != roomOf(a) || infos[0].Players != 1 {
			t.Errorf("rooms = %+v, want that of the ticket with its player", infos)
		}
	})
}

func TestQueueRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t, room.Seats(4))
		q := &room.Queue{Teams: 2, PerTeam: 2}
		for uid := int64(1); uid <= 3; uid++ {
			l.connect(uid)
		}
		gone := l.connect(4)
		s := l.sessions(1, 2, 3, 4)
		_ = gone.Close()
		synctest.Wait()
		stranger := session.New(nil)
		enter := func(q *room.Queue, p room.Party) error {
			_, err := l.Enter(q, p)
			return err
		}
		for _, c := range []struct {
			name string
			q    *room.Queue
			p    room.Party
			want error
		}{
			{"no players", q, room.Party{}, room.ErrParty},
			{"nil", q, room.Party{Players: []*session.Session{nil}}, room.ErrParty},
			{"too many", q, room.Party{Players: s[:3]}, room.ErrParty},
			{"no rank", q, room.Party{Players: s[:1], Rank: math.NaN()}, room.ErrParty},
			{"a list as label", q, room.Party{Players: s[:1], Where: map[string]any{"a": []int{1}}}, room.ErrParty},
			{"no number as label", q, room.Party{Players: s[:1], Where: map[string]any{"a": math.Inf(1)}}, room.ErrParty},
			{"twice", q, room.Party{Players: []*session.Session{s[0], s[0]}}, room.ErrQueued},
			{"no user", q, room.Party{Players: []*session.Session{stranger}}, session.ErrIllegalUID},
			{"closed", q, room.Party{Players: s[3:]}, session.ErrBrokenPipe},
		} {
			if err := enter(c.q, c.p); !errors.Is(err, c.want) {
				t.Errorf("%s: Enter = %v, want %v", c.name, err, c.want)
			}
		}
		for _, q := range []*room.Queue{{Teams: 3, PerTeam: 2}, {Teams: -1}, {PerTeam: 101}, {Ready: -1}, {Alone: -1}} {
			if err := enter(q, room.Party{Players: s[:1]}); err == nil {
				t.Errorf("Enter of the queue %+v succeeds", q)
			}
		}
		ticket := l.queue(q, 0, 1, 2)
		if err := enter(&room.Queue{}, room.Party{Players: s[1:2]}); !errors.Is(err, room.ErrQueued) {
			t.Errorf("Enter of a player with a ticket = %v, want ErrQueued", err)
		}
		if !ticket.Cancel() || ticket.Cancel() {
			t.Error("Cancel reports no end, or two")
		}
		if got := roomOf(ticket); got != "ROOM-CANCELED" {
			t.Errorf("a canceled ticket: %s", got)
		}
		l.queue(q, 0, 2)
	})
}

// accept answers the last ready check of a player.
func accept(t *testing.T, p *nanotest.Player) error {
	t.Helper()
	checks := pushed[check](t, p, "room.ready")
	if len(checks) == 0 {
		t.Fatal("no ready check has come")
	}
	return p.Request(t.Context(), "room.accept", map[string]uint64{"match": checks[len(checks)-1].Match}, nil)
}

func TestReadyCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		q := &room.Queue{Ready: 10 * time.Second}
		ann, bob := l.connect(1), l.connect(2)
		a, b := l.queue(q, 0, 1), l.queue(q, 0, 2)
		time.Sleep(aPass)
		checks := pushed[check](t, ann, "room.ready")
		if len(checks) != 1 || checks[0].Players != 2 || checks[0].Within != 10_000 || checks[0].Ticket != a.ID() {
			t.Fatalf("room.ready = %+v, want 2 players and 10,000 ms", checks)
		}
		body := map[string]uint64{"match": checks[0].Match + 1}
		if err := ann.Request(t.Context(), "room.accept", body, nil); code(err) != "ROOM-NO-MATCH" {
			t.Errorf("the acceptance of another match = %v, want ROOM-NO-MATCH", err)
		}
		if err := l.connect(3).Request(t.Context(), "room.accept", body, nil); code(err) != "ROOM-NO-MATCH" {
			t.Errorf("the acceptance of a player without a ticket = %v, want ROOM-NO-MATCH", err)
		}
		body["match"]--
		for range 2 { // the second one has no effect
			if err := ann.Request(t.Context(), "room.accept", body, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := roomOf(a); got != "waits" {
			t.Fatalf("Bob has not accepted: %s", got)
		}
		if err := accept(t, bob); err != nil {
			t.Fatal(err)
		}
		if id := roomOf(a); id == "waits" || id != roomOf(b) {
			t.Errorf("the rooms are %s and %s, want one", id, roomOf(b))
		}
		if len(pushed[found](t, bob, "room.found")) != 1 {
			t.Error("Bob got no room.found")
		}
	})
}

// A ready check that fails returns the others to the queue with the time they have waited.
func TestReadyCheckFails(t *testing.T) {
	for _, how := range []string{"late", "cancel", "close"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLake(t)
				q := &room.Queue{Ready: 10 * time.Second, Window: func(waited time.Duration) float64 { return waited.Seconds() }}
				ann, bob := l.connect(1), l.connect(2)
				a := l.queue(q, 0, 1)
				time.Sleep(60 * time.Second)
				b := l.queue(q, 0, 2)
				time.Sleep(aPass)
				if err := accept(t, ann); err != nil {
					t.Fatal(err)
				}
				want := ""
				switch how {
				case "late":
					time.Sleep(10 * time.Second)
					want = "ROOM-NOT-READY"
				case "cancel":
					if err := bob.Request(t.Context(), "room.cancel", []byte("{}"), nil); err != nil {
						t.Fatal(err)
					}
					want = "ROOM-CANCELED"
				case "close":
					_ = bob.Close()
					want = "ROOM-PARTNER"
				}
				if got := roomOf(b); got != want {
					t.Errorf("Bob's ticket: %s, want %s", got, want)
				}
				if how != "close" {
					if list := pushed[unmatched](t, bob, "room.unmatched"); len(list) != 1 || list[0].Code != want {
						t.Errorf("room.unmatched = %+v, want %s", list, want)
					}
				}
				if got := roomOf(a); got != "waits" {
					t.Fatalf("Ann's ticket: %s", got)
				}
				if n := len(pushed[check](t, ann, "room.waiting")); n != 1 {
					t.Errorf("Ann got %d room.waiting, want 1", n)
				}
				if a.Waited() < 60*time.Second {
					t.Errorf("Waited = %v, want more than 60 s", a.Waited())
				}
				// Her window is that of over 60 s, and Cem's will be after a minute.
				cem := l.connect(3)
				c := l.queue(q, 60, 3)
				time.Sleep(59 * time.Second)
				if len(pushed[check](t, cem, "room.ready")) != 0 {
					t.Fatal("Cem is matched although his window is too narrow")
				}
				time.Sleep(time.Second + aPass)
				if err := errors.Join(accept(t, cem), accept(t, ann)); err != nil {
					t.Fatal(err)
				}
				if id := roomOf(a); id == "waits" || id != roomOf(c) {
					t.Errorf("the rooms are %s and %s, want one", id, roomOf(c))
				}
			})
		})
	}
}

func TestQueueAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		l.connect(1)
		l.connect(2)
		s := l.sessions(1, 2)
		a := l.queue(&room.Queue{}, 0, 1)
		if err := l.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := roomOf(a); got != "ROOM-DRAINING" {
			t.Errorf("the ticket: %s, want ROOM-DRAINING", got)
		}
		if _, err := l.Enter(&room.Queue{}, room.Party{Players: s[1:]}); err == nil {
			t.Error("Enter succeeds after Shutdown")
		}
	})
}

// A ticket outlives a lost connection, gets no match meanwhile, and gets one after the return.
func TestTicketSurvivesALostConnection(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			kind := room.Define[Pond]("pond")
			cs := &component.Components{}
			cs.Register(&Login{}, component.WithName("login"))
			srv := nanotest.Start(t, kind.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()),
				nano.WithResume(nano.Resume{Window: 30 * time.Second}))
			l := &lake{srv, kind.On(srv.Server), t}
			var ann testkit.ResumeClient
			connect := func() *testkit.Wire {
				conn, err := l.Listener.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				w := testkit.NewWire(conn)
				if _, err := ann.Connect(w); err != nil {
					t.Fatal(err)
				}
				return w
			}
			next := func(w *testkit.Wire, route string, v any) {
				for {
					m, err := ann.Next(w)
					if err != nil {
						t.Fatalf("%s: %v", route, err)
					}
					if m.Type == message.Push && m.Route == route {
						if err := json.Unmarshal(m.Data, v); err != nil {
							t.Fatal(err)
						}
						return
					}
				}
			}
			send := func(id uint64, route, body string) {
				b, err := (&message.Message{Type: message.Request, ID: id, Route: route, Data: []byte(body)}).Encode()
				if err != nil {
					t.Fatal(err)
				}
				ann.Send(testkit.Pack(packet.Data, string(b)))
			}
			w := connect()
			send(1, "login.As", "1")
			synctest.Wait()
			q := &room.Queue{Ready: 5 * time.Second}
			a := l.queue(q, 0, 1)
			bob := l.connect(2)
			var b *room.Ticket
			if asked { // during the ready check
				b = l.queue(q, 0, 2)
				next(w, "room.ready", &check{})
			}
			_ = w.Conn.Close()
			ann.Lost()
			synctest.Wait()
			if asked {
				time.Sleep(5 * time.Second)
				if got := roomOf(b); got != "ROOM-NOT-READY" {
					t.Errorf("Bob's ticket: %s, want ROOM-NOT-READY: he could answer", got)
				}
				pushed[check](t, bob, "room.ready")
			}
			b = l.queue(q, 0, 2)
			time.Sleep(10 * time.Second)
			if len(pushed[check](t, bob, "room.ready")) != 0 {
				t.Fatal("Bob is matched with a player who is away")
			}
			w = connect()
			synctest.Wait()
			time.Sleep(aPass)
			var c check
			for next(w, "room.ready", &c); asked && c.Match == 1; next(w, "room.ready", &c) {
			}
			send(2, "room.accept", fmt.Sprintf(`{"match":%d}`, c.Match))
			if err := accept(t, bob); err != nil {
				t.Fatal(err)
			}
			if id := roomOf(a); id == "waits" || id != roomOf(b) {
				t.Errorf("the rooms are %s and %s, want one", id, roomOf(b))
			}
		})
	}
}

// The client's Match enters, accepts and joins.
func TestMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		q := &room.Queue{Ready: 10 * time.Second}
		enter := func(uid int64) func(context.Context) error {
			return func(context.Context) error {
				_, err := l.Enter(q, room.Party{Players: l.sessions(uid)})
				return err
			}
		}
		type result struct {
			r   *croom.Room
			err error
		}
		match := func(ctx context.Context, uid int64, o croom.Matching) (*nanotest.Player, chan result) {
			p, c := l.connect(uid), make(chan result, 1)
			go func() {
				r, err := croom.Match(ctx, p.Client, enter(uid), o)
				c <- result{r, err}
			}()
			return p, c
		}
		refuse := croom.Matching{Accept: func(_ context.Context, c croom.Check) bool {
			if c.Players != 2 || c.Within != 10*time.Second {
				t.Errorf("Check = %+v, want 2 players and 10 s", c)
			}
			return false
		}}
		_, ann := match(t.Context(), 1, croom.Matching{Options: JoinOptions{"ann"}})
		_, eve := match(t.Context(), 2, refuse)
		if r := <-eve; !errors.Is(r.err, &client.Error{Code: "ROOM-CANCELED"}) {
			t.Errorf("the refusal = %v, want ROOM-CANCELED", r.err)
		}
		_, bob := match(t.Context(), 3, croom.Matching{Options: JoinOptions{"bob"}})
		a, b := <-ann, <-bob
		if a.err != nil || b.err != nil || a.r.ID() != b.r.ID() {
			t.Fatalf("Match = %v, %v, want one room", a.err, b.err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, cem := match(ctx, 4, croom.Matching{})
		synctest.Wait()
		cancel()
		if r := <-cem; !errors.Is(r.err, context.Canceled) {
			t.Errorf("Match after its context = %v, want context.Canceled", r.err)
		}
		synctest.Wait()
		l.queue(q, 0, 4) // the ticket is canceled
	})
}
