package room

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// crowd returns n entrants of random parties.
func crowd(rng *rand.Rand, n, per int, ranks, window float64) []*entrant {
	list := make([]*entrant, n)
	for i := range list {
		list[i] = &entrant{size: 1 + rng.IntN(per), rank: math.Round(rng.Float64() * ranks), window: math.Round(rng.Float64() * window)}
	}
	return list
}

// fits reports whether entrants may be in one match.
func fits(members []*entrant) bool {
	least, most, window := math.Inf(1), math.Inf(-1), math.Inf(1)
	for _, e := range members {
		least, most, window = min(least, e.rank), max(most, e.rank), min(window, e.window)
	}
	return most-least <= window
}

func checkMatch(m *matcher, match [][]*entrant, seen map[*entrant]bool) error {
	var members []*entrant
	if len(match) != m.teams {
		return fmt.Errorf("%d teams, want %d", len(match), m.teams)
	}
	for i, team := range match {
		players := 0
		for _, e := range team {
			if seen[e] {
				return fmt.Errorf("an entrant is matched twice")
			}
			seen[e] = true
			players += e.size
		}
		if players != m.per {
			return fmt.Errorf("team %d has %d players, want %d", i, players, m.per)
		}
		members = append(members, team...)
	}
	if !fits(members) {
		return fmt.Errorf("ranks are out of a window: %+v", members)
	}
	return nil
}

func TestMatchesAreValid(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := matcher{teams: 1 + rng.IntN(4), per: 1 + rng.IntN(5)}
		list := crowd(rng, rng.IntN(200), m.per, 1000, 400)
		seen := map[*entrant]bool{}
		for _, match := range m.run(list) {
			if err := checkMatch(&m, match, seen); err != nil {
				t.Fatalf("seed %d, %d teams of %d: %v", seed, m.teams, m.per, err)
			}
		}
	}
}

// split reports whether the sizes of the members fill the teams, by trying all ways.
func split(members []*entrant, free []int) bool {
	if len(members) == 0 {
		return true
	}
	for i := range free {
		if free[i] < members[0].size {
			continue
		}
		free[i] -= members[0].size
		ok := split(members[1:], free)
		free[i] += members[0].size
		if ok {
			return true
		}
	}
	return false
}

// No match is possible among the remaining entrants.
func TestMatchesAreAllThereAre(t *testing.T) {
	found := 0
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m := matcher{teams: 1 + rng.IntN(3), per: 1 + rng.IntN(4)}
		list := crowd(rng, 3+rng.IntN(8), m.per, 100, 60)
		seen := map[*entrant]bool{}
		for _, match := range m.run(list) {
			found++
			if err := checkMatch(&m, match, seen); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		var rest []*entrant
		for _, e := range list {
			if !seen[e] {
				rest = append(rest, e)
			}
		}
		for set := range 1 << len(rest) {
			var members []*entrant
			players := 0
			for i, e := range rest {
				if set>>i&1 == 1 {
					members = append(members, e)
					players += e.size
				}
			}
			free := make([]int, m.teams)
			for i := range free {
				free[i] = m.per
			}
			if players == m.teams*m.per && fits(members) && split(members, free) {
				t.Fatalf("seed %d: %d teams of %d: a match of %d parties is left", seed, m.teams, m.per, len(members))
			}
		}
	}
	if found < 500 {
		t.Errorf("%d matches in all, want more to look at", found)
	}
}

// most returns how many teams of 4 or of 1 can be formed of the given numbers of parties
// of each size.
func most(per int, parties []int) int {
	if per == 1 {
		return parties[1]
	}
	pairs := min(parties[3], parties[1])
	return parties[4] + pairs + (parties[2]+(parties[1]-pairs)/2)/2
}

// No match is possible among the remaining entrants of large matches either.
func TestLargeMatchesAreAllThereAre(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m := matcher{teams: 2 + rng.IntN(30), per: 1}
		if seed%2 == 0 {
			m.per = 4
		}
		list := crowd(rng, 400, m.per, 1000, []float64{100, 400, 1000}[rng.IntN(3)])
		if seed%3 == 0 { // windows of one length
			for _, e := range list {
				e.window = 150
			}
		}
		if seed%5 == 0 { // few parties that complete a team
			for _, e := range list {
				if e.size == 1 && m.per > 1 && rng.IntN(3) > 0 {
					e.size = 3
				}
			}
		}
		seen := map[*entrant]bool{}
		for _, match := range m.run(list) {
			if err := checkMatch(&m, match, seen); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		rest := slices.DeleteFunc(list, func(e *entrant) bool { return seen[e] })
		slices.SortFunc(rest, func(a, b *entrant) int { return cmp.Compare(a.rank, b.rank) })
		for _, narrow := range rest {
			// parties counts the entrants from rank first on that fit the window of narrow.
			parties, first := make([]int, 5), 0
			for _, e := range rest {
				if e.window < narrow.window {
					continue
				}
				parties[e.size]++
				for ; e.rank-rest[first].rank > narrow.window; first++ {
					if rest[first].window >= narrow.window {
						parties[rest[first].size]--
					}
				}
				if n := most(m.per, parties); n >= m.teams {
					t.Fatalf("seed %d: %d teams of %d: %d teams are left from rank %v with the window %v",
						seed, m.teams, m.per, n, rest[first].rank, narrow.window)
				}
			}
		}
	}
}

// The closest opponent is taken, and the teams are even.
func TestMatchesAreClose(t *testing.T) {
	m := matcher{teams: 2, per: 1}
	var list []*entrant
	for _, rank := range []float64{0, 100, 110, 200} {
		list = append(list, &entrant{size: 1, rank: rank, window: 50})
	}
	matches := m.run(list)
	if len(matches) != 1 || matches[0][0][0].rank+matches[0][1][0].rank != 210 {
		t.Errorf("%d matches, want one of 100 and 110", len(matches))
	}

	m = matcher{teams: 2, per: 2}
	list = nil
	for _, rank := range []float64{10, 20, 30, 40} {
		list = append(list, &entrant{size: 1, rank: rank, window: 50})
	}
	matches = m.run(list)
	if len(matches) != 1 {
		t.Fatalf("%d matches, want one", len(matches))
	}
	for i, team := range matches[0] {
		if sum := team[0].rank + team[1].rank; sum != 50 {
			t.Errorf("team %d has the ranks %v and %v, want 50 together", i, team[0].rank, team[1].rank)
		}
	}
}

// queues lists the queues of the benchmark and of the test that counts steps.
var queues = []struct {
	name          string
	teams, per    int
	ranks, window float64
	entrants      func(list []*entrant)
}{
	{"duels, narrow windows", 2, 1, 3000, 1, nil},
	{"duels, wide windows", 2, 1, 3000, 3000, nil},
	{"duels, one rank", 2, 1, 0, 10, nil},
	{"5 against 5, parties", 2, 5, 3000, 100, nil},
	{"5 against 5, no windows", 2, 5, 3000, 3000, nil},
	{"parties that fill no team", 2, 3, 3000, 3000, func(list []*entrant) {
		for _, e := range list {
			e.size = 2
		}
	}},
	{"a team that is one player short", 2, 5, 0, 10, func(list []*entrant) {
		for i, e := range list {
			if e.size = 3; i == 0 {
				e.size = 2
			}
		}
	}},
	{"25 squads of 4", 25, 4, 3000, 3000, nil},
	{"25 squads of 4, windows too narrow", 25, 4, 3000, 40, func(list []*entrant) {
		for i, e := range list {
			e.rank, e.window = float64(i), 36
		}
	}},
	{"25 squads of 4, too many of 3", 25, 4, 3000, 3000, func(list []*entrant) {
		for i, e := range list {
			if e.size < 3 && i%8 > 0 {
				e.size = 3
			}
		}
	}},
	{"free for all of 100", 100, 1, 3000, 3000, nil},
	{"free for all of 100, windows too narrow", 100, 1, 3000, 3000, func(list []*entrant) {
		for i, e := range list {
			e.rank, e.window = float64(i), 98
		}
	}},
	{"free for all of 1,000", 1000, 1, 3000, 3000, nil},
	{"10 teams of 100", 10, 100, 3000, 3000, nil},
	{"10 teams of 100, parties of up to 5", 10, 100, 3000, 3000, func(list []*entrant) {
		for i, e := range list {
			e.size = 1 + i%5
		}
	}},
}

func queueOf(i, n int) (*matcher, []*entrant) {
	q := queues[i]
	list := crowd(rand.New(rand.NewPCG(7, uint64(n))), n, q.per, q.ranks, q.window)
	if q.entrants != nil {
		q.entrants(list)
	}
	return &matcher{teams: q.teams, per: q.per}, list
}

// The steps for four times the entrants are about four times as many.
func TestMatchingIsNotQuadratic(t *testing.T) {
	t.Parallel()
	for i, q := range queues {
		few := 5000
		if q.name == "10 teams of 100" { // it takes many steps, and fewer entrants show the same growth
			few = 1250
		}
		steps := func(n int) int {
			m, list := queueOf(i, n)
			m.run(list)
			return m.steps
		}
		if least, most := steps(few), steps(4*few); most > 6*least {
			t.Errorf("%s: %d steps for %d entrants and %d for %d, want 6 times as many at most", q.name, least, few, most, 4*few)
		}
	}
}

// BenchmarkPass matches 10,000 tickets.
func BenchmarkPass(b *testing.B) {
	for i, q := range queues {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			m, list := queueOf(i, 10_000)
			for b.Loop() {
				m.run(list)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 4096, 4097, 10_000} {
		rng := rand.New(rand.NewPCG(uint64(n), 3))
		p, want := newIndexSet(n), map[int]bool{}
		for range 300 {
			i := rng.IntN(n)
			if rng.IntN(3) == 0 {
				p.remove(i)
				delete(want, i)
			} else {
				p.add(i)
				want[i] = true
			}
			at := rng.IntN(n + 1)
			next, before := -1, -1
			for j := range want {
				if j >= at && (next < 0 || j < next) {
					next = j
				}
				if j < at && j > before {
					before = j
				}
			}
			if got := p.next(at); got != next {
				t.Fatalf("of %d: next(%d) = %d, want %d", n, at, got, next)
			}
			if got := p.before(at); got != before {
				t.Fatalf("of %d: before(%d) = %d, want %d", n, at, got, before)
			}
		}
	}
}

func TestSums(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64, 100, 1000} {
		rng := rand.New(rand.NewPCG(uint64(n), 4))
		s, want := newSums(n), make([]int, n)
		for range 200 {
			i, by := rng.IntN(n), rng.IntN(4)
			s.add(i, by-want[i])
			want[i] = by
			sum, at := 0, rng.IntN(n+1)
			for _, n := range want[:at] {
				sum += n
			}
			if got := s.below(at); got != sum {
				t.Fatalf("of %d: below(%d) = %d, want %d", n, at, got, sum)
			}
			if at < n && want[at] > 0 {
				if got := s.find(sum + rng.IntN(want[at])); got != at {
					t.Fatalf("of %d: find = %d, want %d", n, got, at)
				}
			}
		}
	}
}
