package room_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/state"
)

// Pond is the room of most tests.
type Pond struct {
	room.Base[struct {
		Round uint16
		Frogs state.Map[room.PlayerID, Frog]
	}]
	log []string
}

type Frog struct {
	Name string
	X    int
	Hand []uint8 `state:"owner"`
}

type PondOptions struct {
	Mode string `json:"mode"`
	Fail bool   `json:"fail"`
}

type JoinOptions struct {
	Name string `json:"name"`
}

type Welcome struct {
	Hello string `json:"hello"`
}

func (p *Pond) note(format string, args ...any) { p.log = append(p.log, fmt.Sprintf(format, args...)) }

func (p *Pond) OnCreate(o *PondOptions) error {
	if o.Fail {
		return nano.Errorf("POND-DRY", "no water")
	}
	if o.Mode != "" {
		p.SetLabel("mode", o.Mode)
	}
	return nil
}

func (p *Pond) OnJoin(pl *room.Player, o *JoinOptions) (*Welcome, error) {
	if o.Name == "thief" {
		return nil, nano.Errorf("POND-THIEF", "go away")
	}
	p.note("join %d %s", pl.ID, o.Name)
	p.State.Frogs.Put(pl.ID, &Frog{Name: o.Name, Hand: []uint8{uint8(pl.ID)}})
	return &Welcome{"hello " + o.Name}, nil
}

func (p *Pond) OnDrop(pl *room.Player)   { p.note("drop %d", pl.ID) }
func (p *Pond) OnReturn(pl *room.Player) { p.note("return %d", pl.ID) }
func (p *Pond) OnClose()                 { p.note("close") }
func (p *Pond) OnLeave(pl *room.Player) {
	p.note("leave %d: %v", pl.ID, pl.Why())
	p.State.Frogs.Delete(pl.ID)
}

type Step struct {
	DX int `json:"dx"`
}

func (p *Pond) Jump(pl *room.Player, m *Step) (*Step, error) {
	if m.DX > 100 {
		return nil, nano.Errorf("POND-FAR", "too far")
	}
	f := p.State.Frogs.Get(pl.ID)
	f.X += m.DX
	return &Step{f.X}, nil
}

func (p *Pond) Shout(pl *room.Player, m *Step) error {
	return errors.Join(p.Broadcast("onShout", m), pl.Send("onEcho", m))
}
func (p *Pond) Quiet(*room.Player, *Step)      {}
func (p *Pond) Panic(*room.Player, *Step)      { panic("frog") }
func (p *Pond) Kick(pl *room.Player, _ *Step)  { pl.Kick("croaked") }
func (p *Pond) LockIt(_ *room.Player, m *Step) { p.Lock(m.DX > 0) }
func (p *Pond) Finish(_ *room.Player, _ *Step) { p.State.Round = 9; p.Close("over") }
func (p *Pond) Later(pl *room.Player, m *Step) {
	p.After(time.Duration(m.DX)*time.Second, func() { _ = pl.Send("onLater", m) })
}
func (p *Pond) NotAMessage(int) string               { return "" }
func (p *Pond) Order(pl *room.Player, m *Step) error { p.note("%d", m.DX); return nil }

// Login binds users.
type Login struct{ component.Base }

func (*Login) As(s *session.Session, uid *int64) error {
	return errors.Join(s.Bind(*uid), s.Response([]byte("{}")))
}

// lake is a server with ponds.
type lake struct {
	*nanotest.Server
	*room.Kind[Pond]
	t *testing.T
}

func newLake(t *testing.T, opts ...room.Option) *lake {
	kind := room.Define[Pond]("pond", opts...)
	cs := &component.Components{}
	cs.Register(&Login{}, component.WithName("login"))
	srv := nanotest.Start(t, kind.Option(), nano.WithComponents(cs), nano.WithSerializer(jsons.NewSerializer()))
	return &lake{srv, kind.On(srv.Server), t}
}

// connect connects the user uid, or a client without a user for 0.
func (l *lake) connect(uid int64) *nanotest.Player {
	l.t.Helper()
	p := l.Connect(l.t)
	if uid != 0 {
		if err := p.Request(l.t.Context(), "login.As", uid, nil); err != nil {
			l.t.Fatal(err)
		}
	}
	return p
}

// join connects the user uid and takes a seat in any pond.
func (l *lake) join(uid int64, name string) (*nanotest.Player, *croom.Room) {
	l.t.Helper()
	p := l.connect(uid)
	r, err := croom.JoinOrCreate(l.t.Context(), p.Client, "pond", JoinOptions{name}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return p, r
}

// rejoin joins a given pond.
func (l *lake) rejoin(p *nanotest.Player, id, name string) (*croom.Room, error) {
	return croom.Join(l.t.Context(), p.Client, id, JoinOptions{name})
}

// log returns the recorded events of a pond.
func (l *lake) log(id string) string {
	l.t.Helper()
	var log []string
	if err := l.Kind.Do(l.t.Context(), id, func(p *Pond) { log = slices.Clone(p.log) }); err != nil {
		return err.Error()
	}
	return strings.Join(log, "; ")
}

func (l *lake) wantLog(id, want string) {
	l.t.Helper()
	synctest.Wait()
	if got := l.log(id); got != want {
		l.t.Errorf("log = %q, want %q", got, want)
	}
}

func (l *lake) infos() []room.Info { return slices.Collect(l.List(room.Filter{})) }

// text returns a state as JSON.
func text(r *croom.Room) string {
	b, err := json.Marshal(r.State())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func code(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, n := range []int{0, 2} {
		t.Run(fmt.Sprintf("schedulers=%d", n), func(t *testing.T) {
			schedulers = n
			synctest.Test(t, f)
		})
	}
}

// schedulers is the number of schedulers for the ponds of a test.
var schedulers int

func ponds(t *testing.T, opts ...room.Option) *lake {
	return newLake(t, append([]room.Option{room.Schedulers(schedulers)}, opts...)...)
}
