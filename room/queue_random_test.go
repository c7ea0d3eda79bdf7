package room_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
)

// Players enter, leave, accept and ignore at random. Each ticket ends once, in one room with others whose ranks are within
// its window, on one team with its party.
func TestQueueAtRandom(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			l := newLake(t, room.Seats(6))
			narrow := func(waited time.Duration) float64 { return 20 + 10*waited.Seconds() }
			q := &room.Queue{Teams: 1 + rng.IntN(3), PerTeam: 1 + rng.IntN(2), Ready: time.Duration(rng.IntN(2)) * 5 * time.Second, Window: narrow}
			const users = 40
			players := map[int64]*nanotest.Player{}
			type entry struct {
				ticket  *room.Ticket
				rank    float64
				uids    []int64
				entered time.Time
				ended   time.Time // at the latest
			}
			var entries []*entry
			at := map[int64]*entry{} // the last of a user
			for uid := int64(1); uid <= users; uid++ {
				players[uid] = l.connect(uid)
			}
			settle := func() {
				for _, e := range entries {
					if e.ended.IsZero() && roomOf(e.ticket) != "waits" {
						e.ended = time.Now()
					}
				}
			}
			free := func(uid int64) bool { return at[uid] == nil || roomOf(at[uid].ticket) != "waits" }
			for range 300 {
				uid := 1 + rng.Int64N(users)
				switch {
				case free(uid):
					e := &entry{rank: float64(rng.IntN(300)), uids: []int64{uid}, entered: time.Now()}
					if other := uid%users + 1; q.PerTeam == 2 && rng.IntN(2) == 0 && free(other) {
						e.uids = append(e.uids, other)
					}
					e.ticket = l.queue(q, e.rank, e.uids...)
					entries = append(entries, e)
					for _, u := range e.uids {
						at[u] = e
					}
				case rng.IntN(5) == 0:
					at[uid].ticket.Cancel()
				}
				time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
				settle()
				for _, p := range players {
					for _, c := range pushed[check](t, p, "room.ready") {
						if rng.IntN(8) == 0 {
							continue // too slow
						}
						_ = p.Request(t.Context(), "room.accept", map[string]uint64{"match": c.Match}, nil) // or too late
					}
				}
			}
			time.Sleep(10 * time.Second)
			settle()
			got := map[string]map[int64]found{} // by ticket and user
			for uid, p := range players {
				for _, f := range pushed[found](t, p, "room.found") {
					if got[f.Ticket] == nil {
						got[f.Ticket] = map[int64]found{}
					}
					if _, twice := got[f.Ticket][uid]; twice {
						t.Fatalf("seed %d: user %d got two rooms for one ticket", seed, uid)
					}
					got[f.Ticket][uid] = f
				}
			}
			rooms := map[string][]*entry{}
			for _, e := range entries {
				id, err := e.ticket.Room()
				if (id != "") != (len(got[e.ticket.ID()]) == len(e.uids)) || id == "" && got[e.ticket.ID()] != nil {
					t.Fatalf("seed %d: ticket of %v: room %q, %v, told %+v", seed, e.uids, id, err, got[e.ticket.ID()])
				}
				if id == "" {
					continue
				}
				rooms[id] = append(rooms[id], e)
				team := 0
				for _, uid := range e.uids {
					f := got[e.ticket.ID()][uid]
					if f.ID != id || team != 0 && f.Team != team {
						t.Errorf("seed %d: the party %v is split: %+v", seed, e.uids, got[e.ticket.ID()])
					}
					team = f.Team
				}
			}
			for id, members := range rooms {
				sizes := map[int]int{}
				least, most, last := math.Inf(1), math.Inf(-1), time.Time{}
				for _, e := range members {
					sizes[got[e.ticket.ID()][e.uids[0]].Team] += len(e.uids)
					least, most = min(least, e.rank), max(most, e.rank)
					if e.entered.After(last) {
						last = e.entered
					}
				}
				for team := 1; team <= q.Teams; team++ {
					if sizes[team] != q.PerTeam {
						t.Errorf("seed %d: room %s has teams of %v, want %d of %d", seed, id, sizes, q.Teams, q.PerTeam)
					}
				}
				if window := narrow(members[0].ended.Sub(last)); most-least > window {
					t.Errorf("seed %d: the ranks of a match are %v apart, the window is at most %v", seed, most-least, window)
				}
			}
			if len(rooms) < 5 {
				t.Errorf("seed %d: %d matches, want more to look at", seed, len(rooms))
			}
		})
	}
}
