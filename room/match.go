package room

import (
	"cmp"
	"slices"
	"sort"
)

// entrant is a ticket during one pass of a queue.
type entrant struct {
	ticket *Ticket
	size   int     // number of players
	rank   float64 // rank of the party
	window float64 // maximum distance to the ranks of the others
	number int     // position in the order of entering
	place  int     // position in the order of ranks
}

// off returns the distance between the ranks of c and e. It is negative for e itself.
func (c *entrant) off(e *entrant) float64 {
	if c == e {
		return -1
	}
	return max(c.rank-e.rank, e.rank-c.rank)
}

// matcher forms matches of the entrants of one pass. Its work grows with n log n of the
// entrants: for each party size it only checks as many neighbors of an entrant as a match
// could take.
type matcher struct {
	teams, per int
	byRank     []*entrant
	waiting    []indexSet // by size: the places of available entrants
	packs      map[string][][]int
	steps      int // entrants checked and teams tried, for tests

	near   []*entrant // scratch
	counts []int      // by size
	key    []byte
	packer packer
}

// run returns the matches: the entrants of each team of each match. The ranks of a match differ by no more than the
// narrowest of its windows.
func (m *matcher) run(list []*entrant) (matches [][][]*entrant) {
	for i, e := range list {
		e.number = i
	}
	m.byRank = slices.Clone(list)
	slices.SortFunc(m.byRank, func(a, b *entrant) int { return cmp.Or(cmp.Compare(a.rank, b.rank), a.number-b.number) })
	for i, e := range m.byRank {
		e.place = i
	}
	m.waiting = make([]indexSet, m.per+1)
	for size := 1; size <= m.per; size++ {
		m.waiting[size] = newIndexSet(len(list))
	}
	m.packs = map[string][][]int{}
	m.counts = make([]int, m.per+1)

	// Entrants are added in the order of their windows, the widest first. So the added
	// entrant has the narrowest window.
	byWindow := slices.Clone(list)
	slices.SortFunc(byWindow, func(a, b *entrant) int { return cmp.Or(cmp.Compare(b.window, a.window), a.number-b.number) })
	for _, e := range byWindow {
		m.waiting[e.size].add(e.place)
		match := m.match(e)
		if match == nil {
			continue
		}
		for _, team := range match {
			for _, member := range team {
				m.waiting[member.size].remove(member.place)
			}
		}
		matches = append(matches, match)
	}
	return matches
}

// match returns a match of e with waiting entrants, or nil if there is none.
func (m *matcher) match(e *entrant) [][]*entrant {
	m.lookAround(e)
	if m.teamsOf(m.near, e) == nil {
		return nil
	}
	slices.SortFunc(m.near, func(a, b *entrant) int { return a.place - b.place })
	span := m.span(e)
	if span == nil {
		return nil
	}
	teams := m.teamsOf(span, e)
	members := closest(e, span, teams)

	// A smaller number of entrants on both sides of e may be closer.
	byDistance(m.near, e)
	n := sort.Search(len(m.near), func(n int) bool { return m.teamsOf(m.near[:n], e) != nil })
	around := m.teamsOf(m.near[:n], e)
	if both := closest(e, m.near[:n], around); spread(both) <= min(e.window, spread(members)) {
		members, teams = both, around
	}
	return assign(members, teams)
}

// lookAround sets near to e and the entrants within its window that a match could take.
func (m *matcher) lookAround(e *entrant) {
	m.near = append(m.near[:0], e)
	for size := 1; size <= m.per; size++ {
		most := m.teams * (m.per / size)
		take := func(place int) bool {
			m.steps++
			c := m.byRank[place]
			if c.off(e) > e.window {
				return false
			}
			m.near = append(m.near, c)
			return true
		}
		waiting := &m.waiting[size]
		for n, at := 0, waiting.next(e.place+1); n < most && at >= 0 && take(at); n++ {
			at = waiting.next(at + 1)
		}
		for n, at := 0, waiting.before(e.place); n < most && at >= 0 && take(at); n++ {
			at = waiting.before(at)
		}
	}
}

// span returns entrants of near that fill the teams and include e. Their ranks differ by
// at most the window of e.
func (m *matcher) span(e *entrant) []*entrant {
	clear(m.counts)
	self := slices.Index(m.near, e)
	to, total := self, 0
	for ; to < len(m.near) && m.near[to].rank-e.rank <= e.window; to++ {
		m.counts[m.near[to].size]++
		total += m.near[to].size
	}
	for from := self; ; {
		if total >= m.teams*m.per && m.pack(e.size) != nil {
			return m.near[from:to]
		}
		if from--; from < 0 {
			return nil
		}
		m.steps++
		m.counts[m.near[from].size]++
		total += m.near[from].size
		for ; m.near[to-1].rank-m.near[from].rank > e.window; to-- { // this loop stops at e
			m.counts[m.near[to-1].size]--
			total -= m.near[to-1].size
		}
	}
}

// teamsOf returns how many parties of each size each team takes. All teams are full of
// entrants of the list, including e. It returns nil if there are no such teams.
func (m *matcher) teamsOf(list []*entrant, e *entrant) [][]int {
	clear(m.counts)
	total := 0
	for _, c := range list {
		m.counts[c.size]++
		total += c.size
	}
	m.steps += len(list)
	if total < m.teams*m.per {
		return nil
	}
	return m.pack(e.size)
}

// pack is teamsOf for the number of parties of each size in counts. One party of size
// must is included.
func (m *matcher) pack(must int) [][]int {
	m.key = append(m.key[:0], byte(must))
	for size := 1; size <= m.per; size++ {
		n := min(m.counts[size], m.teams*(m.per/size)) // more cannot be used
		m.key = append(m.key, byte(n), byte(n>>8))
	}
	if teams, known := m.packs[string(m.key)]; known {
		return teams
	}
	p := &m.packer
	p.begin(m.teams, m.per, m.counts)
	p.take(0, must)
	var teams [][]int
	if p.fill(0, m.per, m.per-must) {
		teams = make([][]int, m.teams)
		for i := range teams {
			teams[i] = slices.Clone(p.teams[i])
		}
	}
	m.steps += p.steps
	m.packs[string(m.key)] = teams
	return teams
}

// packer fills teams with parties, the largest first.
type packer struct {
	per    int
	counts []int   // remaining parties by size
	teams  [][]int // parties of each team, by size
	steps  int
	most   int // limit of steps
}

// begin clears the teams, and limits the steps of the search to a small multiple of the
// number of places.
func (p *packer) begin(teams, per int, counts []int) {
	p.per, p.steps, p.most = per, 0, 100+2*teams*per
	p.counts = append(p.counts[:0], counts...)
	for len(p.teams) < teams {
		p.teams = append(p.teams, make([]int, per+1))
	}
	for _, t := range p.teams {
		clear(t)
	}
}

func (p *packer) take(team, size int) { p.counts[size]--; p.teams[team][size]++ }
func (p *packer) give(team, size int) { p.counts[size]++; p.teams[team][size]-- }

// fill fills the free places of a team with parties of up to size players, and then the
// later teams.
func (p *packer) fill(team, size, free int) bool {
	if p.steps++; p.steps > p.most {
		return false
	}
	if free == 0 {
		if team++; team == len(p.teams) {
			return true
		}
		return p.fill(team, p.per, p.per)
	}
	for size = min(size, free); size > 0; size-- {
		if p.counts[size] == 0 {
			continue
		}
		p.take(team, size)
		if p.fill(team, size, free-size) {
			return true
		}
		p.give(team, size)
	}
	return false
}

// closest returns as many parties of each size as the teams take. They are those with the
// ranks closest to e, in the order of ranks.
func closest(e *entrant, list []*entrant, teams [][]int) (members []*entrant) {
	need := make([]int, len(teams[0]))
	for _, t := range teams {
		for size, n := range t {
			need[size] += n
		}
	}
	list = slices.Clone(list)
	byDistance(list, e)
	for _, c := range list {
		if need[c.size] > 0 {
			need[c.size]--
			members = append(members, c)
		}
	}
	slices.SortFunc(members, func(a, b *entrant) int { return a.place - b.place })
	return members
}

// byDistance sorts entrants: e first, then by distance of the rank, then by time of
// entering.
func byDistance(list []*entrant, e *entrant) {
	slices.SortFunc(list, func(a, b *entrant) int { return cmp.Or(cmp.Compare(a.off(e), b.off(e)), a.number-b.number) })
}

// spread returns the difference between the highest and the lowest rank of members, which
// are sorted by rank.
func spread(members []*entrant) float64 { return members[len(members)-1].rank - members[0].rank }

// assign divides the members, which are sorted by rank, into teams with similar ranks.
func assign(members []*entrant, teams [][]int) [][]*entrant {
	left := make([][]int, len(teams))
	for i := range teams {
		left[i] = slices.Clone(teams[i])
	}
	out := make([][]*entrant, len(teams))
	sums := make([]float64, len(teams))
	for size := len(teams[0]) - 1; size > 0; size-- {
		for _, c := range slices.Backward(members) {
			if c.size != size {
				continue
			}
			to := -1
			for i := range out {
				if left[i][size] > 0 && (to < 0 || sums[i] < sums[to]) {
					to = i
				}
			}
			left[to][size]--
			out[to] = append(out[to], c)
			sums[to] += c.rank * float64(size)
		}
	}
	return out
}
