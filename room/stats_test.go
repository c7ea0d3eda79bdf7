package room_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
)

// Factory is a room whose ticks take time.
type Factory struct {
	room.Base[struct{ Smoke string }]
	work time.Duration
}

type Work struct {
	For time.Duration `json:"for"`
}

func (f *Factory) Work(_ *room.Player, m *Work) { f.work = m.For }
func (f *Factory) Tick() {
	time.Sleep(f.work)
	f.State.Smoke = strings.Repeat("x", int(f.Ticks()%2)) + strings.Repeat("y", 98)
}

func joinKind(t *testing.T, p *nanotest.Player, kind string) *croom.Room {
	t.Helper()
	r, err := croom.JoinOrCreate(t.Context(), p.Client, kind, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTickHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := room.Define[Factory]("factory", room.TickRate(10), room.Seats(1), room.Schedulers(2), room.CatchUp(1))
		srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(json.NewSerializer()))
		if st := srv.Stats().Rooms; st == nil || st.Rooms != 0 || len(st.Loudest) != 0 {
			t.Fatalf("Stats().Rooms = %+v before the first room", st)
		}
		var ids []string
		for i := range 3 {
			p := srv.Connect(t)
			r := joinKind(t, p, "factory")
			ids = append(ids, r.ID())
			if err := r.Request(t.Context(), "Work", Work{time.Duration(i) * 30 * time.Millisecond}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10*time.Second + 50*time.Millisecond) // no tick is due now
		list := kind.On(srv.Server).Stats()
		if len(list) != 3 || list[0].ID != ids[2] || list[1].ID != ids[1] || list[2].ID != ids[0] {
			t.Fatalf("Stats = %+v, want the loudest room first", list)
		}
		for i, load := range []float64{0.6, 0.3, 0} {
			s := list[i]
			if s.Load < load-0.05 || s.Load > load+0.05 || s.Busy < time.Duration(load*9.5*float64(time.Second)) {
				t.Errorf("room %d: load %v, busy %v, want %v and as much of 10 s", i, s.Load, s.Busy, load)
			}
			// About 100 bytes a tick, 10 ticks a second, and one player.
			if s.BytesPerPlayer < 950 || s.BytesPerPlayer > 1150 || s.Age < 10*time.Second || s.Ticks < 95 {
				t.Errorf("room %d: %v bytes per player and second, age %v, %d ticks", i, s.BytesPerPlayer, s.Age, s.Ticks)
			}
		}
		st := srv.Stats().Rooms
		if st.Rooms != 3 || st.Seats != 3 || st.Ticks != list[0].Ticks+list[1].Ticks+list[2].Ticks || st.Skipped != 0 ||
			len(st.Loudest) != 3 || st.Loudest[0].ID != ids[2] || st.Loudest[0].Kind != "factory" ||
			st.BytesPerPlayer < 950 || st.BytesPerPlayer > 1150 {
			t.Errorf("Stats().Rooms = %+v, want the sums of 3 rooms", st)
		}

		// A room whose ticks take 250 ms skips some of 100 ms.
		p := srv.Connect(t)
		if err := joinKind(t, p, "factory").Request(t.Context(), "Work", Work{250 * time.Millisecond}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		slow := kind.On(srv.Server).Stats()[0]
		if slow.Skipped < 10 || slow.LagP50 < 50*time.Millisecond || slow.LagP99 < slow.LagP50 || slow.Load < 0.8 {
			t.Errorf("the slow room: %+v, want skipped ticks and a high lag", slow)
		}
		if st := srv.Stats().Rooms; st.Skipped < slow.Skipped || st.LagP99 < 50*time.Millisecond || st.Loudest[0].ID != slow.ID {
			t.Errorf("Stats().Rooms = %+v, want the skipped ticks of the slow room", st)
		}
	})
}

// A disconnected player is sent nothing and does not count.
func TestBytesPerPlayerCountsPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := room.Define[Factory]("factory", room.TickRate(10), room.Seats(2), room.Hold(time.Hour))
		srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(json.NewSerializer()))
		joinKind(t, srv.Connect(t), "factory")
		p := srv.Connect(t)
		joinKind(t, p, "factory")
		_ = p.Close()
		time.Sleep(20 * time.Second)
		if s := kind.On(srv.Server).Stats()[0]; s.Players != 2 || s.BytesPerPlayer < 950 || s.BytesPerPlayer > 1150 {
			t.Errorf("%d seats, %v bytes per player and second, want 2 and about 1,000", s.Players, s.BytesPerPlayer)
		}
	})
}
