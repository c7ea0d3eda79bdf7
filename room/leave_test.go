package room_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
)

func TestDropHoldAndReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Hold(10*time.Second), room.Seats(2))
		ann, a := l.join(1, "ann")
		_, b := l.join(2, "bob")
		if err := ann.Close(); err != nil {
			t.Fatal(err)
		}
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; drop 1")
		if _, err := l.rejoin(l.connect(3), a.ID(), "eve"); code(err) != "ROOM-FULL" {
			t.Errorf("join of a held seat = %v, want ROOM-FULL", err)
		}
		time.Sleep(9 * time.Second)
		_, again := l.join(1, "whatever")
		if again.ID() != a.ID() || again.Player() != 1 {
			t.Errorf("the user came back as player %d of %s, want 1 of %s", again.Player(), again.ID(), a.ID())
		}
		time.Sleep(time.Minute)
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; drop 1; return 1")
		if text(again) != strings.Replace(strings.Replace(text(b), `"hand":[]`, `"hand":[1]`, 1), `"hand":[2]`, `"hand":[]`, 1) {
			t.Errorf("after the return: %s, and the other sees %s", text(again), text(b))
		}
	})
}

func TestHoldExpires(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Hold(10*time.Second))
		ann, a := l.join(1, "ann")
		l.join(2, "bob")
		_ = ann.Close()
		time.Sleep(10*time.Second + time.Millisecond)
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; drop 1; leave 1: "+room.ErrHoldExpired.Error())
		if n := l.infos()[0].Players; n != 1 {
			t.Errorf("%d seats taken, want 1", n)
		}
		if _, again := l.join(1, "ann"); again.Player() != 3 {
			t.Errorf("the user joined as player %d, want 3: ids are not used again", again.Player())
		}
	})
}

func TestSecondLoginTakesTheSeatOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, hold := range []time.Duration{0, time.Minute} {
			l := ponds(t, room.Hold(hold))
			first, a := l.join(1, "ann")
			_, again := l.join(1, "ann")
			if again.Player() != 1 || again.ID() != a.ID() {
				t.Fatalf("the second login has seat %d of %s, want 1 of %s", again.Player(), again.ID(), a.ID())
			}
			synctest.Wait()
			if a.Reason() != "taken over" {
				t.Errorf("the first login got the reason %q, want taken over", a.Reason())
			}
			if err := first.Request(t.Context(), "pond.Jump", Step{1}, nil); code(err) != "ROOM-NONE" {
				t.Errorf("a message of the first login = %v, want ROOM-NONE", err)
			}
			_ = first.Close()
			l.wantLog(a.ID(), "join 1 ann; drop 1; return 1")
			if err := again.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestKickAndClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		_, b := l.join(2, "bob")
		if err := a.Request(t.Context(), "Kick", Step{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.Reason() != "croaked" {
			t.Errorf("the kicked player got the reason %q, want croaked", a.Reason())
		}
		l.wantLog(a.ID(), "join 1 ann; join 2 bob; leave 1: "+room.ErrKicked.Error())
		if err := b.Request(t.Context(), "Finish", Step{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if round, _ := b.Get("round"); b.Reason() != "over" || fmt.Sprint(round) != "9" {
			t.Errorf("reason %q, round %v, want over and the last state", b.Reason(), round)
		}
		if len(l.infos()) != 0 {
			t.Errorf("rooms = %v, want none", l.infos())
		}
		if err := b.Request(t.Context(), "Jump", Step{}, nil); code(err) != "ROOM-NONE" {
			t.Errorf("a message to a closed room = %v, want ROOM-NONE", err)
		}
	})
}

// Hut is a room whose hooks take seats away.
type Hut struct {
	room.Base[struct{ Knocks int }]
	how  string // what OnReturn and OnLeave do
	left []string
}

func (h *Hut) OnJoin(_ *room.Player, o *JoinOptions) error {
	h.State.Knocks++
	if h.how = o.Name; h.how == "thief" {
		return nano.Errorf("HUT-THIEF", "go away")
	}
	return nil
}

func (h *Hut) OnReturn(p *room.Player) {
	switch h.how {
	case "kick":
		p.Kick("too late")
	case "close":
		h.Close("too late")
	}
}

func (h *Hut) OnLeave(p *room.Player) {
	h.left = append(h.left, fmt.Sprintf("%d: %v", p.ID, p.Why()))
	h.Close("empty")
}

func huts(t *testing.T) (*nanotest.Server, *room.Kind[Hut]) {
	kind := room.Define[Hut]("hut")
	cs := &component.Components{}
	cs.Register(&Login{}, component.WithName("login"))
	srv := nanotest.Start(t, kind.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()))
	return srv, kind.On(srv.Server)
}

// A client whose seat is taken away by OnReturn does not get it as the answer to its join.
func TestReturnIsRefused(t *testing.T) {
	for how, want := range map[string]string{"kick": "ROOM-REFUSED", "close": "ROOM-404"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				srv, _ := huts(t)
				enter := func(id string) (*croom.Room, error) {
					p := srv.Connect(t)
					if err := p.Request(t.Context(), "login.As", 1, nil); err != nil {
						t.Fatal(err)
					}
					if id == "" {
						return croom.JoinOrCreate(t.Context(), p.Client, "hut", JoinOptions{how}, nil)
					}
					return croom.Join(t.Context(), p.Client, id, nil)
				}
				r, err := enter("")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := enter(r.ID()); code(err) != want {
					t.Errorf("join of a player who is refused = %v, want %s", err, want)
				}
			})
		})
	}
}

// OnLeave runs once for each player, also if it closes the room.
func TestOnLeaveThatCloses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, kind := huts(t)
		var rooms []*croom.Room
		var left func() []string
		for range 2 {
			r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "hut", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			rooms = append(rooms, r)
		}
		if err := kind.Do(t.Context(), rooms[0].ID(), func(h *Hut) { left = func() []string { return h.left } }); err != nil {
			t.Fatal(err)
		}
		if err := rooms[0].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{"1: " + room.ErrLeft.Error(), "2: " + room.ErrClosed.Error()}
		if got := left(); !slices.Equal(got, want) {
			t.Errorf("OnLeave ran for %q, want %q", got, want)
		}
		if rooms[1].Reason() != "empty" {
			t.Errorf("the other player got the reason %q, want empty", rooms[1].Reason())
		}
	})
}

// Den is a room whose OnLeave lets the player, or another login of the user, in again.
type Den struct {
	room.Base[struct{}]
	again func(*room.Player) error
	got   error
	drops int
}

func (d *Den) OnDrop(*room.Player) { d.drops++ }

func (d *Den) OnLeave(p *room.Player) { d.got = d.again(p) }

// A join in OnLeave is refused, because the user has the seat until OnLeave returns.
func TestJoinInOnLeave(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same session %v", same), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				define := room.Define[Den]("den")
				cs := &component.Components{}
				cs.Register(&Login{}, component.WithName("login"))
				srv := nanotest.Start(t, define.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()))
				kind := define.On(srv.Server)
				l := &lake{Server: srv, t: t}
				r, err := croom.JoinOrCreate(t.Context(), l.connect(1).Client, "den", nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				l.connect(1)
				var den *Den
				if err := kind.Do(t.Context(), r.ID(), func(d *Den) {
					den = d
					d.again = func(p *room.Player) error {
						s := p.Session()
						for _, other := range srv.SessionsByUID(1) {
							if !same && other != s {
								s = other
							}
						}
						_, err := kind.Join(t.Context(), s, r.ID(), nil)
						return err
					}
				}); err != nil {
					t.Fatal(err)
				}
				if err := r.Leave(t.Context()); err != nil {
					t.Fatal(err)
				}
				if !errors.Is(den.got, nano.Errorf("ROOM-REFUSED", "")) || den.drops > 0 {
					t.Errorf("Join in OnLeave = %v with %d calls of OnDrop, want ROOM-REFUSED and none", den.got, den.drops)
				}
			})
		})
	}
}

// What OnJoin did to the state before it refused a player is sent.
func TestStateAfterARefusal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		srv, _ := huts(t)
		r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "hut", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := croom.Join(t.Context(), srv.Connect(t).Client, r.ID(), JoinOptions{"thief"}); code(err) != "HUT-THIEF" {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := get(r, "knocks"); got != "2" {
			t.Errorf("knocks = %s, want 2", got)
		}
	})
}

func TestEmptyRoomIsDisposed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Empty(5*time.Second))
		info, err := l.Create(t.Context(), &PondOptions{Mode: "duel"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		ann := l.connect(1)
		r, err := l.rejoin(ann, info.ID, "ann")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(l.infos()) != 1 {
			t.Fatal("a room with a player was disposed of")
		}
		if err := r.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if len(l.infos()) != 1 {
			t.Error("the empty room ended early")
		}
		time.Sleep(1001 * time.Millisecond)
		if len(l.infos()) != 0 {
			t.Error("the empty room did not end after 5 s")
		}
	})
}
