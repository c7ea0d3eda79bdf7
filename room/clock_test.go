package room_test

import (
	"testing"
	"time"

	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
)

func TestAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, rate := range []float64{0, 10} {
			l := ponds(t, room.TickRate(rate))
			ann, a := l.join(1, "ann")
			for _, s := range []int{3, 1} {
				if err := a.Request(t.Context(), "Later", Step{s}, nil); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range []int{0, 1, 1, 2} {
				if got := len(ann.Pushes("onLater")); got != want-max(0, []int{0, 0, 1, 1}[i]) {
					t.Errorf("rate %v: after %d s %d timers have run, want %d in all", rate, i, got, want)
				}
				time.Sleep(1100 * time.Millisecond)
			}
		}
	})
}

// Metronome starts the same timer again and again.
type Metronome struct {
	room.Base[struct{ Beats int }]
}

func (m *Metronome) OnCreate() { m.beat() }
func (m *Metronome) beat() {
	if m.State.Beats++; m.State.Beats < 1000 {
		m.After(0, m.beat)
	}
}

// A timer that starts itself runs once a tick.
func TestAfterInATimer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		kind := room.Define[Metronome]("metronome", room.TickRate(10))
		srv := nanotest.Start(t, kind.Option())
		r, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "metronome", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1050 * time.Millisecond)
		if got := get(r, "beats"); got != "11" {
			t.Errorf("%s beats after 10 ticks, want 11", got)
		}
	})
}
