package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/client/room"
	"github.com/lonng/nano/examples/demo/mahjong/bot"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a server with its game. It runs in a synctest bubble.
type house struct {
	*nanotest.Server
	app *App
}

func open(t *testing.T, file string) *house {
	t.Helper()
	store, err := OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // after the server has ended
	app := newApp(store, scheduler.New(), usual(), emptyTime)
	return &house{nanotest.Start(t, app.options()...), app}
}

// guest is a player with the state of the player's client.
type guest struct {
	*nanotest.Player
	*room.Room
	loginReply
	t *testing.T
}

func (h *house) login(t *testing.T, name, token string) *guest {
	t.Helper()
	g := &guest{Player: h.Connect(t), t: t}
	if err := g.Player.Request(t.Context(), "lobby.login", loginRequest{name, token}, &g.loginReply); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *guest) ask(route string, req, reply any) error {
	return g.Player.Request(g.t.Context(), route, req, reply)
}

func (g *guest) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// sit joins the table with an id.
func (g *guest) sit(id string) {
	g.t.Helper()
	r, err := room.Join(g.t.Context(), g.Player.Client, id, nil)
	g.must(err)
	g.Room = r
	synctest.Wait()
}

func (g *guest) do(name string, m any) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Second)
	defer cancel()
	return g.Room.Request(ctx, name, m, nil)
}

// board returns the client's state of the table.
func (g *guest) board() (b Board) {
	g.t.Helper()
	synctest.Wait()
	text, err := json.Marshal(g.State())
	g.must(err)
	g.must(json.Unmarshal(text, &b))
	return b
}

func (g *guest) want(path, want string) {
	g.t.Helper()
	synctest.Wait()
	if v, _ := g.Get(path); fmt.Sprint(v) != want {
		g.t.Errorf("%s = %v, want %s", path, v, want)
	}
}

func code(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// table returns the only table, to check state that clients do not see.
func (h *house) table(f func(*Table)) {
	h.Do(func() {
		for _, t := range h.app.codes {
			f(t)
		}
	})
}

// playOn lets a bot play for the guest until the hand is over.
func (g *guest) playOn(h *house, seat int) {
	g.t.Helper()
	b := bot.New(1)
	for range 2000 {
		var a rules.Action
		step, has, over := 0, false, false
		h.table(func(t *Table) {
			over = t.State.Stage != Playing
			if over || t.hand.Phase == rules.Over {
				return
			}
			for _, i := range t.hand.Waiting() {
				if i == seat {
					a, has, step = b.Act(t.hand.View(seat)), true, t.State.Step
				}
			}
		})
		if over {
			return
		}
		if has {
			if err := g.do("Act", ActRequest{step, a.Kind, a.Tile, a.Tiles, a.Suit}); err != nil {
				g.t.Fatalf("Act(%+v) = %v", a, err)
			}
			continue
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.t.Fatal("the hand does not end")
}

func TestFriends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		ann, bob := h.login(t, " Ann  ", ""), h.login(t, "Bob", "")
		var f found
		ann.must(ann.ask("lobby.create", map[string]any{"players": 3, "cap": 5, "hands": 4, "exchangeAny": true}, &f))
		ann.sit(f.ID)
		if err := bob.ask("lobby.find", findRequest{"nothing"}, nil); code(err) != "CODE" {
			t.Errorf("a wrong code = %v, want CODE", err)
		}
		var same found
		bob.must(bob.ask("lobby.find", findRequest{f.Code}, &same))
		bob.sit(same.ID)
		b := bob.board()
		if len(b.Seats) != 3 || b.Seats[0].Name != "Ann" || b.Seats[1].Name != "Bob" || b.Code != f.Code || b.Stage != Gathering {
			t.Fatalf("the table is %+v, want Ann and Bob at seats of three", b)
		}
		ann.must(ann.do("Fill", nil))
		if b := bob.board(); !b.Seats[2].Bot || b.Stage != Gathering {
			t.Errorf("after Fill: %+v, want a bot and no hand yet", b)
		}
		ann.must(ann.do("Ready", nil))
		bob.must(bob.do("Ready", nil))
		bob.want("stage", fmt.Sprint(Playing))
		if err := h.login(t, "Eve", "").ask("room.join", map[string]string{"id": f.ID}, nil); code(err) != "ROOM-LOCKED" {
			t.Errorf("a fourth player joins: %v, want ROOM-LOCKED", err)
		}
	})
}

func TestCreateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		ann := h.login(t, "Ann", "")
		if err := ann.ask("lobby.create", map[string]int{"cap": 9}, nil); code(err) != "SETTINGS" {
			t.Errorf("a cap of 9 = %v, want SETTINGS", err)
		}
		if err := ann.ask("room.create", map[string]any{"kind": "table", "options": map[string]int{"players": 4}}, nil); code(err) != "LOBBY" {
			t.Errorf("room.create = %v, want LOBBY", err)
		}
		stranger := h.Connect(t)
		for route, body := range map[string]any{"lobby.create": nil, "lobby.quick": quickRequest{4}} {
			if err := stranger.Request(t.Context(), route, body, nil); code(err) != "LOGIN" {
				t.Errorf("%s without a login = %v, want LOGIN", route, err)
			}
		}
		for range maxMissed {
			_ = ann.ask("lobby.find", findRequest{"x"}, nil)
		}
		if err := ann.ask("lobby.find", findRequest{"x"}, nil); code(err) != "CODE-LIMIT" {
			t.Errorf("after %d wrong codes: %v, want CODE-LIMIT", maxMissed, err)
		}
	})
}

func TestQuickMatchAndBots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		var f, g found
		ann, bob := h.login(t, "Ann", ""), h.login(t, "Bob", "")
		ann.must(ann.ask("lobby.quick", quickRequest{4}, &f))
		ann.sit(f.ID)
		bob.must(bob.ask("lobby.quick", quickRequest{4}, &g))
		bob.sit(g.ID)
		if f.ID != g.ID {
			t.Fatalf("tables %s and %s, want one", f.ID, g.ID)
		}
		ann.must(ann.do("Ready", nil))
		time.Sleep(usual().Fill)
		b := ann.board()
		if !b.Seats[2].Bot || !b.Seats[3].Bot || b.Stage != Gathering {
			t.Errorf("after %v: %+v, want two bots and a ready check", usual().Fill, b.Seats)
		}
		// Bob is not ready in time. A bot takes his seat after another wait.
		time.Sleep(usual().Ready + usual().Fill)
		synctest.Wait()
		if bob.Reason() != "not ready" {
			t.Errorf("Bob left for %q, want not ready", bob.Reason())
		}
		ann.want("stage", fmt.Sprint(Playing))
		if b := ann.board(); !b.Seats[1].Bot {
			t.Errorf("seat 1 is %+v, want a bot", b.Seats[1])
		}
	})
}

// alone seats one guest with three bots and starts the first hand.
func (h *house) alone(t *testing.T, g *guest) {
	t.Helper()
	var f found
	g.must(g.ask("lobby.create", nil, &f))
	g.sit(f.ID)
	g.must(g.do("Ready", nil))
	g.must(g.do("Fill", nil))
	g.want("stage", fmt.Sprint(Playing))
}

func TestHandIsStoredAndReplayed(t *testing.T) {
	file := t.TempDir() + "/mahjong.db"
	var ann loginReply
	var hand Past
	synctest.Test(t, func(t *testing.T) {
		h := open(t, file)
		g := h.login(t, "Ann", "")
		h.alone(t, g)
		if b := g.board(); b.Seed != "" {
			t.Errorf("the seed %s is told before the end of the hand", b.Seed)
		}
		g.playOn(h, 0)
		b := g.board()
		if len(b.Seed) != 64 || b.Stage != Between {
			t.Errorf("after the hand: stage %d, seed %q, want the seed in 64 letters", b.Stage, b.Seed)
		}
		var list struct{ Hands []Past }
		g.must(g.ask("lobby.history", nil, &list))
		if len(list.Hands) != 1 {
			t.Fatalf("%d past hands, want 1", len(list.Hands))
		}
		hand, ann = list.Hands[0], g.loginReply
		for i := range b.Seats {
			if b.Seats[i].Score != hand.Totals[i] {
				t.Errorf("seat %d has the score %d, and %d in the history", i, b.Seats[i].Score, hand.Totals[i])
			}
		}
	})
	// After a restart, the file contains the hand, the balance and the account.
	synctest.Test(t, func(t *testing.T) {
		h := open(t, file)
		g := h.login(t, "", ann.Token)
		if g.loginReply.ID() != ann.ID() || g.Name != "Ann" || g.Balance != int64(hand.Totals[0]) {
			t.Errorf("after a restart the account is %+v, want Ann with %d", g.Account, hand.Totals[0])
		}
		var r Replay
		g.must(g.ask("lobby.replay", replayRequest{hand.ID}, &r))
		last := r.Boards[len(r.Boards)-1]
		for i := range last.Seats {
			if last.Seats[i].Change != hand.Totals[i] || len(last.Seats[i].Hand) == 0 {
				t.Errorf("the replay ends with %+v at seat %d, want %d and an open hand", last.Seats[i], i, hand.Totals[i])
			}
		}
		eve := h.login(t, "Eve", "")
		if err := eve.ask("lobby.replay", replayRequest{hand.ID}, nil); code(err) != "HAND" {
			t.Errorf("another's hand = %v, want HAND", err)
		}
	})
}

// ID returns the id of the account.
func (r loginReply) ID() int64 { return r.Account.ID }

func TestTimeoutsPlayForAPlayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		g := h.login(t, "Ann", "")
		h.alone(t, g)
		time.Sleep(2*usual().Exchange + time.Second) // the exchange and the missing suit
		b := g.board()
		if !b.Seats[0].Auto || rules.Phase(b.Phase) < rules.Turn {
			t.Errorf("after two timeouts: auto-play %v, phase %d; want auto-play in the hand", b.Seats[0].Auto, b.Phase)
		}
		g.must(g.do("Auto", AutoRequest{false}))
		if g.board().Seats[0].Auto {
			t.Error("auto-play is still on")
		}
		if err := g.do("Act", ActRequest{Step: -1}); code(err) != "LATE" {
			t.Errorf("an action of another step = %v, want LATE", err)
		}
		time.Sleep(time.Hour) // all hands, and the room is closed
		synctest.Wait()
		if g.Reason() != "finished" {
			t.Errorf("the room ended with %q, want finished", g.Reason())
		}
	})
}

func TestPlayerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		g := h.login(t, "Ann", "")
		h.alone(t, g)
		watcher := h.login(t, "Eve", "")
		r, err := room.Spectate(t.Context(), watcher.Player.Client, g.Room.ID())
		watcher.must(err)
		watcher.Room = r
		mine, _ := g.Get("mine", fmt.Sprint(g.Room.Player()))
		if m, ok := mine.(map[string]any); !ok || len(m["hand"].([]any)) < 13 {
			t.Fatalf("Ann sees %v of her own, want her hand", mine)
		}
		if v, ok := watcher.Get("mine", fmt.Sprint(g.Room.Player()), "hand"); ok && len(v.([]any)) > 0 {
			t.Errorf("a spectator sees the hand %v", v)
		}
		if err := watcher.do("Ready", nil); code(err) != "ROOM-SPECTATOR" {
			t.Errorf("a spectator is ready: %v", err)
		}
		_ = g.Player.Close()
		synctest.Wait()
		if !watcher.board().Seats[0].Away {
			t.Error("Ann is not marked as away")
		}
		time.Sleep(20 * time.Second)
		back := h.login(t, "", g.Token)
		if back.loginReply.Table != g.Room.ID() {
			t.Fatalf("the login says table %q, want %q", back.loginReply.Table, g.Room.ID())
		}
		back.sit(back.loginReply.Table)
		if b := back.board(); b.Seats[0].Away || b.Hand != 1 || b.Stage != Playing {
			t.Errorf("Ann is back at %+v, want the same hand", b)
		}
	})
}

func TestDissolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, "")
		ann, bob := h.login(t, "Ann", ""), h.login(t, "Bob", "")
		var f found
		ann.must(ann.ask("lobby.create", nil, &f))
		ann.sit(f.ID)
		bob.sit(f.ID)
		for _, g := range []*guest{ann, bob} {
			g.must(g.do("Ready", nil))
		}
		ann.must(ann.do("Fill", nil))
		ann.must(ann.do("Vote", VoteRequest{true}))
		bob.want("voteBy", "0")
		bob.must(bob.do("Vote", VoteRequest{false}))
		ann.want("voteBy", fmt.Sprint(none))
		time.Sleep(2 * usual().Vote)
		ann.want("voteBy", fmt.Sprint(none))
		ann.must(ann.do("Vote", VoteRequest{true}))
		bob.must(bob.do("Vote", VoteRequest{true}))
		synctest.Wait()
		if ann.Reason() != "dissolved" || bob.Reason() != "dissolved" {
			t.Errorf("the room ended with %q and %q, want dissolved", ann.Reason(), bob.Reason())
		}
		var again found
		ann.must(ann.ask("lobby.create", nil, &again)) // both are free for another table
		ann.sit(again.ID)
	})
}
