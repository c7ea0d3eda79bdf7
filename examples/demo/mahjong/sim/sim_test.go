package sim

import (
	"bytes"
	"os"
	"testing"

	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

func TestSimulation(t *testing.T) {
	hands := 2000
	if testing.Short() {
		hands = 300
	}
	r := Run(hands, 7)
	if r.FaultCount() > 0 {
		r.Print(os.Stderr)
		t.Fatalf("%d faults", r.FaultCount())
	}
}

func TestSameSeed(t *testing.T) {
	text := func(seed uint64) string {
		var b bytes.Buffer
		Run(200, seed).Print(&b)
		return b.String()
	}
	if a, b := text(7), text(7); a != b {
		t.Errorf("the same seed plays\n%s\nand\n%s", a, b)
	}
	if text(7) == text(8) {
		t.Error("two seeds play the same hands")
	}
}

// Each fault breaks one rule in every hand. The checker must detect it.
func TestPlantedFaults(t *testing.T) {
	for name, plant := range map[string]func(s *rules.State, a *rules.Action){
		"a tile twice": func(s *rules.State, _ *rules.Action) {
			if len(s.Wall) == 40 {
				s.Wall[0] = s.Wall[1]
			}
		},
		"a tile lost": func(s *rules.State, _ *rules.Action) {
			if len(s.Wall) == 40 {
				s.Wall = s.Wall[1:]
			}
		},
		"a payment too high": func(s *rules.State, _ *rules.Action) {
			if n := len(s.Payments); n > 0 {
				s.Payments[n-1].Amount++
			}
		},
		"a payment to the wrong player": func(s *rules.State, _ *rules.Action) {
			if n := len(s.Payments); n > 0 {
				s.Payments[n-1].To = s.Payments[n-1].From
			}
		},
		"another cap":        func(s *rules.State, _ *rules.Action) { s.Config.Cap = 12 },
		"another self-draw":  func(s *rules.State, _ *rules.Action) { s.Config.SelfDraw = rules.SelfDrawNone },
		"concealed hand off": func(s *rules.State, _ *rules.Action) { s.Config.NoConcealed = true },
		"the discarder does not pay the flower alone": func(s *rules.State, _ *rules.Action) { s.Config.FlowerByDiscarder = false },
		"the last four may pass":                      func(s *rules.State, _ *rules.Action) { s.Config.LastFourMustWin = false },
		"kong money is kept": func(s *rules.State, _ *rules.Action) {
			for i := range s.Kongs {
				s.Kongs[i].Transferred = true
			}
		},
		"transferred money is returned": func(s *rules.State, _ *rules.Action) {
			for i := range s.Kongs {
				s.Kongs[i].Transferred = false
			}
		},
		"a passed win is forgotten": func(s *rules.State, _ *rules.Action) {
			for i := range s.Seats {
				s.Seats[i].Passed = -1
			}
		},
		"a drawn tile counts as kept": func(s *rules.State, _ *rules.Action) { s.Draws = nil },
		"a kong is forgotten":         func(s *rules.State, _ *rules.Action) { s.AfterKong = -1 },
		"a kong shot is forgotten":    func(s *rules.State, _ *rules.Action) { s.ShotKong = -1 },
		"a first hand late":           func(s *rules.State, _ *rules.Action) { s.Untouched = true; s.Seats[s.Turn].Acted = false },
		"the wrong next dealer": func(s *rules.State, _ *rules.Action) {
			if s.FirstWin >= 0 {
				s.FirstWin = (s.FirstWin + 1) % len(s.Seats)
			}
		},
		"a seat is passed over": func(s *rules.State, a *rules.Action) {
			if a == nil && s.Phase == rules.Turn && s.Fresh {
				s.Turn = (s.Turn + 1) % len(s.Seats)
			}
		},
		"a pong in the missing suit": func(s *rules.State, a *rules.Action) {
			if s.Phase != rules.Claim || a.Kind != rules.Discard {
				return
			}
			for i := range s.Seats {
				if s.Seats[i].Hand[s.Claimed] >= 2 && s.Claimed.Suit() == s.Seats[i].Missing && i != s.Turn {
					s.Options[i] |= rules.MayPong
				}
			}
		},
		"no missing suit": func(s *rules.State, _ *rules.Action) {
			if s.Phase == rules.Over {
				return
			}
			for i := range s.Seats {
				s.Seats[i].Missing = rules.NoSuit
			}
		},
		"a winner goes on playing": func(s *rules.State, _ *rules.Action) {
			for i := range s.Seats {
				s.Seats[i].Won = false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := run(4000, 7, plant); r.FaultCount() == 0 {
				t.Error("0 faults, want some")
			}
		})
	}
}
