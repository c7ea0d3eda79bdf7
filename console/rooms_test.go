package console_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/console"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/state"
)

type card struct {
	Rank int
	Suit string
}

type table struct {
	Round  int
	Name   string
	Odds   float64
	Big    uint64 `state:"big"`
	Top    *card
	None   *card
	Points []int
	Seats  state.Map[room.PlayerID, card]
	Teams  map[string]int
	Deck   []card `state:"-"`
	hidden int
}

// game is a room that does nothing but hold its state.
type game struct{ room.Base[table] }

func (g *game) OnCreate() {
	g.State = table{
		Round: 3, Name: "quoted \"name\"", Odds: 0.5, Big: 1<<60 + 1, Top: &card{7, "hearts"}, Points: []int{1, 2},
		Teams: map[string]int{"red": 2, "blue": 1}, Deck: []card{{1, "secret"}}, hidden: 1,
	}
	g.SetLabel("map", "Desert")
}

func (g *game) OnJoin(p *room.Player) { g.State.Seats.Put(p.ID, &card{int(p.ID), "spades"}) }

// Fill makes the state larger than what the console shows.
func (g *game) Fill(_ *room.Player, _ *struct{}) error {
	g.State.Points = make([]int, 10_000)
	return nil
}

type roomsPage struct {
	Sums  *struct{ Rooms, Seats, Spectators int }
	Kinds []struct {
		Name                                    string
		Rooms, Seats, Taken, Watching, MaxRooms int
		TickRate                                float64
	}
	Total, Found int
	Rooms        []struct {
		ID, Kind     string
		Taken, Seats int
		Spectators   int
		Labels       map[string]any
	}
}

type roomPage struct {
	Room struct {
		ID    string
		Ticks int64
	}
	Members []struct {
		ID                   int
		UID, Session         string
		Spectator, Connected bool
	}
	State json.RawMessage
	Cut   bool
}

// newTable returns a server with a room, a player with uid 1, and a spectator.
func newTable(t *testing.T, opts ...room.Option) (b *bed, ann *nanotest.Player, id string) {
	t.Helper()
	kind := room.Define[game]("game", append([]room.Option{room.Seats(4)}, opts...)...)
	b = newBedWith(t, "hall", console.Options{}, kind.Option())
	ann = b.login(1, "Ann")
	var joined struct{ ID string }
	if err := ann.Request(t.Context(), "room.joinOrCreate", map[string]string{"kind": "game"}, &joined); err != nil {
		t.Fatal(err)
	}
	if err := b.login(2, "Bob").Request(t.Context(), "room.spectate", map[string]string{"id": joined.ID}, nil); err != nil {
		t.Fatal(err)
	}
	return b, ann, joined.ID
}

func TestRooms(t *testing.T) {
	b, _, id := newTable(t, room.TickRate(20))
	for query, found := range map[string]int{
		"": 1, "?q=desert": 1, "?q=" + id[:6]: 1, "?q=nothing": 0, "?kind=game": 1, "?kind=other": 0,
	} {
		got := get[roomsPage](b, "rooms"+query)
		if got.Found != found || len(got.Rooms) != found {
			t.Errorf("rooms%s finds %d rooms, want %d", query, got.Found, found)
		}
		if got.Sums == nil || len(got.Kinds) != 1 || got.Kinds[0].Name != "game" || got.Kinds[0].Rooms != 1 || got.Kinds[0].Taken != 1 ||
			got.Kinds[0].Watching != 1 || got.Kinds[0].Seats != 4 || got.Kinds[0].TickRate != 20 {
			t.Errorf("rooms%s has the kinds %+v, want game with one room, player and spectator", query, got.Kinds)
		}
		if found == 1 && (got.Rooms[0].ID != id || got.Rooms[0].Taken != 1 || got.Rooms[0].Spectators != 1 || got.Rooms[0].Labels["map"] != "Desert") {
			t.Errorf("rooms%s has the rooms %+v, want %s", query, got.Rooms, id)
		}
	}
	if got := get[roomsPage](newBed(t, console.Options{}), "rooms"); got.Sums != nil || len(got.Kinds) != 0 || len(got.Rooms) != 0 {
		t.Errorf("without kinds, the page is %+v, want nothing", got)
	}
}

func TestRoom(t *testing.T) {
	b, ann, id := newTable(t)
	got := get[roomPage](b, "room?id="+id)
	if len(got.Members) != 2 || got.Members[0].UID != "1" || !got.Members[0].Connected || got.Members[0].Spectator || !got.Members[1].Spectator ||
		got.Members[0].Session != fmt.Sprint(b.SessionsByUID(1)[0].ID()) {
		t.Errorf("the members are %+v, want a player with uid 1 and a spectator", got.Members)
	}
	want := `{"Round":3,"Name":"quoted \"name\"","Odds":0.5,"Big":"1152921504606846977","Top":{"Rank":7,"Suit":"hearts"},"None":null,` +
		`"Points":[1,2],"Seats":{"1":{"Rank":1,"Suit":"spades"}},"Teams":{"blue":1,"red":2}}`
	if string(got.State) != want || got.Cut {
		t.Errorf("the state is %s, cut %t; want %s, all of it", got.State, got.Cut, want)
	}
	if err := ann.Request(t.Context(), "game.Fill", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	got = get[roomPage](b, "room?id="+id)
	var cut struct{ Points []int }
	if err := json.Unmarshal(got.State, &cut); err != nil || !got.Cut || len(cut.Points) < 1000 || len(cut.Points) >= 5000 {
		t.Errorf("of a large state, %d points are shown, cut %t (%v), want up to 5,000", len(cut.Points), got.Cut, err)
	}
	if w := b.ask("GET", "/console/api/room?id=none", viewer, ""); w.Code != 404 {
		t.Errorf("a room that does not exist = %d, want 404", w.Code)
	}
}

// Tick holds the logic goroutine for 10 ms, in fake time.
func (g *ticking) Tick() { time.Sleep(10 * time.Millisecond) }

type ticking struct{ room.Base[table] }

// The time of ticks counts for the kind of the room.
func TestBusyRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := room.Define[ticking]("arena", room.TickRate(10), room.Empty(time.Hour))
		b := newBedWith(t, "hall", console.Options{}, kind.Option())
		if _, err := kind.On(b.Server.Server).Create(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15*time.Second + time.Millisecond)
		u := get[busyPage](b, "busy").Users[0]
		if u.Kind != "timer" || u.Name != "rooms of kind arena" || u.Count < 99 || u.Count > 101 || u.Load < 0.099 || u.Load > 0.101 {
			t.Errorf("most of the time took %+v, want 100 ticks of arena with a share of 0.1", u)
		}
	})
}

func TestCloseRoom(t *testing.T) {
	b, ann, id := newTable(t)
	path := "/console/api/close"
	for body, want := range map[string]int{
		`{"room":"none"}`: 404,
		`{"room":"` + id + `","reason":"` + strings.Repeat("x", 201) + `"}`: 400,
		`{"room":"` + id + `","force":true}`:                                400,
	} {
		if w := b.ask("POST", path, operator, body); w.Code != want {
			t.Errorf("close %.40s = %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
	if w := b.ask("POST", path, viewer, `{"room":"`+id+`"}`); w.Code != 403 {
		t.Errorf("close as a viewer = %d, want 403", w.Code)
	}
	if w := b.ask("POST", path, operator, `{"room":"`+id+`","reason":"maintenance"}`); w.Code != 200 {
		t.Fatalf("close = %d %s, want 200", w.Code, w.Body)
	}
	if m := ann.Wait("room.closed", 10*time.Second); !strings.Contains(string(m.Data), "maintenance") {
		t.Errorf("the player is told %s, want the reason", m.Data)
	}
	if log := b.log.String(); !strings.Contains(log, `msg="console: close a room" reason=maintenance room=`+id+` role=operator remote=`) {
		t.Errorf("the log is %s, want the action", log)
	}
	if w := b.ask("POST", path, operator, `{"room":"`+id+`"}`); w.Code != 404 {
		t.Errorf("close again = %d, want 404", w.Code)
	}
	if got := get[roomsPage](b, "rooms"); got.Total != 0 {
		t.Errorf("%d rooms are left, want none", got.Total)
	}
}

// While the scheduler of a room is stuck, its page is an error, and a close that was not answered does not happen later.
func TestRoomStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ann, id := newTable(t)
		if err := ann.Notify("hall.wait", nil); err != nil {
			t.Fatal(err)
		}
		<-b.room.began
		for _, ask := range []func() int{
			func() int { return b.ask("GET", "/console/api/room?id="+id, viewer, "").Code },
			func() int { return b.ask("POST", "/console/api/close", operator, `{"room":"`+id+`"}`).Code },
		} {
			began := time.Now()
			if code, d := ask(), time.Since(began); code != 503 || d != 2*time.Second {
				t.Errorf("the answer is %d after %v, want 503 after 2 s", code, d)
			}
		}
		if got := get[roomsPage](b, "rooms"); got.Total != 1 {
			t.Errorf("meanwhile, %d rooms are listed, want 1", got.Total)
		}
		close(b.room.block)
		if got := get[roomPage](b, "room?id="+id); got.Room.ID != id {
			t.Errorf("afterwards, the room is %+v, want it open", got.Room)
		}
	})
}

type groupsPage struct {
	Total, Found int
	Groups       []struct {
		Name    string
		Count   int
		Members []struct{ Session, UID string }
	}
}

func TestGroups(t *testing.T) {
	b := newBed(t, console.Options{})
	lobby, other := nano.NewGroup("Lobby"), nano.NewGroup("Other")
	for uid := range int64(25) {
		b.login(uid+1, "name")
		s := b.SessionsByUID(uid + 1)[0]
		if err := lobby.Add(s); err != nil {
			t.Fatal(err)
		}
		if uid == 3 {
			if err := other.Add(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := get[groupsPage](b, "groups")
	if got.Total != 2 || len(got.Groups) != 2 || got.Groups[0].Name != "Lobby" || got.Groups[0].Count != 25 || len(got.Groups[0].Members) != 20 ||
		got.Groups[1].Name != "Other" || len(got.Groups[1].Members) != 1 || got.Groups[1].Members[0].UID != "4" {
		t.Errorf("the groups are %+v, want Lobby with 25 members, 20 of them listed, and Other with uid 4", got)
	}
	if got := get[groupsPage](b, "groups?q=OTH"); got.Total != 2 || got.Found != 1 || got.Groups[0].Name != "Other" {
		t.Errorf("groups?q=OTH = %+v, want Other", got)
	}
	found := get[struct {
		Sessions []struct {
			UID    string
			Groups []string
		}
	}](b, "sessions?q=other")
	if len(found.Sessions) != 1 || found.Sessions[0].UID != "4" || fmt.Sprint(found.Sessions[0].Groups) != "[Lobby Other]" {
		t.Errorf("a search for a group finds %+v, want uid 4 with both groups", found)
	}
	if err := other.LeaveAll(); err != nil {
		t.Fatal(err)
	}
	if got := get[groupsPage](b, "groups"); got.Total != 1 {
		t.Errorf("after LeaveAll there are %d groups, want 1", got.Total)
	}
}
