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
	ranks      []float64  // by place
	sizes      []int      // party sizes of the entrants, ascending
	waiting    []indexSet // by size: the places of available entrants
	players    sums       // by place: the sizes of available entrants
	packs      map[string][][]int
	steps      int // entrants checked and teams tried, for tests
	searches   int // searches for teams
	effort     int // steps that searches without a result may still take in this pass

	near   []int // scratch: places
	sorter indexSet
	counts tally
	failed []int // by size: the counts that last filled no teams
	key    []byte
	packer packer
}

// tally counts parties that a match could take.
type tally struct {
	limits  []int // by size: the most parties of that size that the teams have room for
	counts  []int // by size: parties, of which those above the limit are useless
	players int   // in parties up to the limits
}

func (t *tally) reset() {
	clear(t.counts)
	t.players = 0
}

func (t *tally) add(size int) {
	if t.counts[size]++; t.counts[size] <= t.limits[size] {
		t.players += size
	}
}

func (t *tally) remove(size int) {
	if t.counts[size]--; t.counts[size] < t.limits[size] {
		t.players -= size
	}
}

// useful returns how many of the parties of a size the teams have room for.
func (t *tally) useful(size int) int { return min(t.counts[size], t.limits[size]) }

// run returns the matches: the entrants of each team of each match. The ranks of a match differ by no more than the
// narrowest of its windows.
func (m *matcher) run(list []*entrant) (matches [][][]*entrant) {
	for i, e := range list {
		e.number = i
	}
	m.byRank = slices.Clone(list)
	slices.SortFunc(m.byRank, func(a, b *entrant) int { return cmp.Or(cmp.Compare(a.rank, b.rank), a.number-b.number) })
	m.begin()

	// Entrants are added in the order of their windows, the widest first. So the added
	// entrant has the narrowest window.
	byWindow := slices.Clone(list)
	slices.SortFunc(byWindow, func(a, b *entrant) int { return cmp.Or(cmp.Compare(b.window, a.window), a.number-b.number) })
	for _, e := range byWindow {
		m.waiting[e.size].add(e.place)
		m.players.add(e.place, e.size)
		match := m.match(e)
		if match == nil {
			continue
		}
		for _, team := range match {
			for _, member := range team {
				m.waiting[member.size].remove(member.place)
				m.players.add(member.place, -member.size)
			}
		}
		matches = append(matches, match)
	}
	return matches
}

// begin prepares a pass for the entrants in byRank.
func (m *matcher) begin() {
	m.waiting = make([]indexSet, m.per+1)
	m.sizes = m.sizes[:0]
	m.ranks = m.ranks[:0]
	m.players = newSums(len(m.byRank))
	for i, e := range m.byRank {
		e.place = i
		m.ranks = append(m.ranks, e.rank)
		if m.waiting[e.size].levels == nil {
			m.waiting[e.size] = newIndexSet(len(m.byRank))
			m.sizes = append(m.sizes, e.size)
		}
	}
	slices.Sort(m.sizes)
	m.sorter = newIndexSet(len(m.byRank))
	m.packs = map[string][][]int{}
	m.effort = 100 * len(m.byRank)
	m.failed = make([]int, m.per+1)
	m.counts = tally{limits: make([]int, m.per+1), counts: make([]int, m.per+1)}
	for size := 1; size <= m.per; size++ {
		m.counts.limits[size] = m.teams * (m.per / size)
	}
}

// match returns a match of e with waiting entrants, or nil if there is none.
func (m *matcher) match(e *entrant) [][]*entrant {
	if m.teams*m.per > fewPlayers && !m.crowded(e) {
		return nil
	}
	m.lookAround(e)
	if m.pack(e.size) == nil {
		return nil
	}
	m.sortNear()
	span, teams := m.span(e)
	if teams == nil {
		return nil
	}
	byDistance(span, e)
	members := closest(span, teams)

	// A smaller number of entrants on both sides of e may be closer.
	near := m.entrants(m.near)
	byDistance(near, e)
	n := sort.Search(len(near), func(n int) bool { return m.teamsOf(near[:n], e) != nil })
	around := m.teamsOf(near[:n], e)
	if both := closest(near[:n], around); spread(both) <= min(e.window, spread(members)) {
		members, teams = both, around
	}
	return assign(members, teams)
}

// fewPlayers is a number of players for which lookAround takes fewer steps than crowded.
const fewPlayers = 32

// maxJumps is the number of intervals of ranks that crowded checks.
const maxJumps = 16

// crowded reports whether an interval of ranks that includes e and is as long as its
// window may have enough players for a match. It only returns false if there is none.
func (m *matcher) crowded(e *entrant) bool {
	need := m.teams * m.per
	within := func(i int) bool { return e.rank-m.ranks[i] <= e.window }
	least := m.players.below(sort.Search(e.place, within)) // players below the window
	from := e.place
	for range maxJumps {
		m.steps++
		end := from + sort.Search(len(m.ranks)-from, func(i int) bool { return m.ranks[from+i]-m.ranks[from] > e.window })
		before := m.players.below(from)
		missing := need - (m.players.below(end) - before)
		if missing <= 0 {
			return true
		}
		// An interval with enough players begins at least that many players earlier.
		if before -= missing; before < least {
			return false
		}
		from = m.players.find(before)
	}
	return true
}

// entrants returns the entrants of places.
func (m *matcher) entrants(places []int) []*entrant {
	list := make([]*entrant, len(places))
	for i, at := range places {
		list[i] = m.byRank[at]
	}
	return list
}

// lookAround sets near to the places of e and of the entrants within its window that a
// match could take, and counts them.
func (m *matcher) lookAround(e *entrant) {
	m.near = append(m.near[:0], e.place)
	m.counts.reset()
	m.counts.add(e.size)
	for _, size := range m.sizes {
		waiting, most := &m.waiting[size], m.counts.limits[size]
		for n, at := 0, waiting.next(e.place+1); n < most && at >= 0 && m.ranks[at]-e.rank <= e.window; n++ {
			m.near = append(m.near, at)
			m.counts.add(size)
			at = waiting.next(at + 1)
		}
		for n, at := 0, waiting.before(e.place); n < most && at >= 0 && e.rank-m.ranks[at] <= e.window; n++ {
			m.near = append(m.near, at)
			m.counts.add(size)
			at = waiting.before(at)
		}
	}
	m.steps += len(m.near) + 2*len(m.sizes)
}

// sortNear sorts near. It takes fewer steps than a sort that compares.
func (m *matcher) sortNear() {
	for _, at := range m.near {
		m.sorter.add(at)
	}
	m.near = m.near[:0]
	for at := m.sorter.next(0); at >= 0; at = m.sorter.next(at + 1) {
		m.near = append(m.near, at)
	}
	for _, at := range m.near {
		m.sorter.remove(at)
	}
}

// maxSearches is the number of searches for teams of one entrant that may fail.
const maxSearches = 16

// span searches near for entrants that include e, fill the teams, and have ranks that differ
// by at most the window of e. It returns them and the teams, or nil. On entry, m.counts has
// the counts of near.
func (m *matcher) span(e *entrant) ([]*entrant, [][]int) {
	if m.ranks[m.near[len(m.near)-1]]-m.ranks[m.near[0]] <= e.window {
		return m.entrants(m.near), m.pack(e.size)
	}
	m.counts.reset()
	clear(m.failed)
	grown := true // there are more parties of some size than in failed
	last := m.searches + maxSearches
	self, _ := slices.BinarySearch(m.near, e.place)
	to := self
	for ; to < len(m.near) && m.ranks[m.near[to]]-e.rank <= e.window; to++ {
		m.counts.add(m.byRank[m.near[to]].size)
	}
	for from := self; m.searches < last; {
		if grown && m.counts.players >= m.teams*m.per {
			if teams := m.pack(e.size); teams != nil {
				return m.entrants(m.near[from:to]), teams
			}
			copy(m.failed, m.counts.counts)
			grown = false
		}
		if from--; from < 0 {
			break
		}
		m.steps++
		size := m.byRank[m.near[from]].size
		m.counts.add(size)
		grown = grown || m.counts.counts[size] > m.failed[size] && m.counts.counts[size] <= m.counts.limits[size]
		for lowest := m.ranks[m.near[from]]; m.ranks[m.near[to-1]]-lowest > e.window; to-- { // this loop stops at e
			m.counts.remove(m.byRank[m.near[to-1]].size)
		}
	}
	return nil, nil
}

// teamsOf returns how many parties of each size each team takes. All teams are full of
// entrants of the list, including e. It returns nil if there are no such teams.
func (m *matcher) teamsOf(list []*entrant, e *entrant) [][]int {
	m.counts.reset()
	for _, c := range list {
		m.counts.add(c.size)
	}
	m.steps += len(list)
	return m.pack(e.size)
}

// pack is teamsOf for the number of parties of each size in counts. One party of size
// must is included.
func (m *matcher) pack(must int) [][]int {
	if m.counts.players < m.teams*m.per || m.mostTeams() < m.teams {
		return nil
	}
	m.key = append(m.key[:0], byte(must))
	for _, size := range m.sizes {
		n := m.counts.useful(size)
		m.key = append(m.key, byte(n), byte(n>>8))
	}
	if teams, known := m.packs[string(m.key)]; known {
		return teams
	}
	p := &m.packer
	p.begin(m.teams, m.per, m.sizes, &m.counts)
	if m.effort > 0 {
		p.most += 100 + 2*m.teams*m.per
	}
	p.take(0, must)
	var teams [][]int
	if p.fill(0, len(p.sizes), m.per-must) {
		teams = p.result()
	} else {
		m.effort -= p.steps
	}
	m.steps += p.steps
	m.searches++
	m.packs[string(m.key)] = teams
	return teams
}

// mostTeams returns an upper bound of the teams that the counted parties fill. A team has
// one party of more than half its size at most, and needs small ones for the rest.
func (m *matcher) mostTeams() int {
	sums := ^uint64(0) // bit n: small parties can have n players together
	if m.per < 64 {
		sums = 1
	}
	small, i := 0, 0 // players in small parties
	for ; i < len(m.sizes) && 2*m.sizes[i] <= m.per; i++ {
		size := m.sizes[i]
		n := m.counts.useful(size)
		if small += size * n; n == 0 {
			continue
		}
		for shift := size; shift <= m.per; shift *= 2 {
			sums |= sums << shift
		}
	}
	// A larger party needs fewer others, and smaller ones.
	teams, used, fit, next := 0, 0, 0, 0 // fit is the number of players in parties that fit into the rest
	for _, size := range slices.Backward(m.sizes[i:]) {
		n, rest := m.counts.useful(size), m.per-size
		for ; next < i && m.sizes[next] <= rest; next++ {
			fit += m.sizes[next] * m.counts.useful(m.sizes[next])
		}
		switch {
		case sums>>rest&1 == 0:
			n = 0
		case rest > 0:
			n = min(n, (fit-used)/rest)
		}
		teams += n
		used += n * rest
	}
	if m.per < 64 && sums>>m.per&1 == 0 {
		return teams // small parties fill no team by themselves
	}
	return teams + (small-used)/m.per
}

// packer fills teams with parties, the largest first.
type packer struct {
	per    int
	sizes  []int   // ascending
	counts []int   // remaining parties by size
	teams  [][]int // parties of each team, by size
	steps  int
	most   int // limit of steps
}

// begin clears the teams, and limits the steps of the search to about those of a search
// that fills one team after the other.
func (p *packer) begin(teams, per int, sizes []int, counts *tally) {
	p.per, p.steps, p.most = per, 0, 2*teams
	p.counts = append(p.counts[:0], counts.counts...)
	p.sizes = p.sizes[:0]
	for _, size := range sizes {
		if n := counts.useful(size); n > 0 {
			p.sizes = append(p.sizes, size)
			p.most += 2 * n
		}
	}
	for len(p.teams) < teams {
		p.teams = append(p.teams, make([]int, per+1))
	}
	for _, t := range p.teams {
		clear(t)
	}
}

// result returns a copy of the teams.
func (p *packer) result() [][]int {
	teams := make([][]int, len(p.teams))
	all := make([]int, 0, len(p.teams)*(p.per+1))
	for i, t := range p.teams {
		from := len(all)
		all = append(all, t...)
		teams[i] = all[from:len(all):len(all)]
	}
	return teams
}

func (p *packer) take(team, size int) { p.counts[size]--; p.teams[team][size]++ }
func (p *packer) give(team, size int) { p.counts[size]++; p.teams[team][size]-- }

// fill fills the free places of a team with parties of the first sizes, and then the
// later teams.
func (p *packer) fill(team, sizes, free int) bool {
	if p.steps++; p.steps > p.most {
		return false
	}
	if free == 0 {
		if team++; team == len(p.teams) {
			return true
		}
		return p.fill(team, len(p.sizes), p.per)
	}
	for i := sizes - 1; i >= 0; i-- {
		size := p.sizes[i]
		if size > free || p.counts[size] == 0 {
			continue
		}
		p.take(team, size)
		if p.fill(team, i+1, free-size) {
			return true
		}
		p.give(team, size)
	}
	return false
}

// closest returns as many parties of each size as the teams take. They are the first ones
// of the list, in the order of ranks.
func closest(list []*entrant, teams [][]int) (members []*entrant) {
	need := make([]int, len(teams[0]))
	for _, t := range teams {
		for size, n := range t {
			need[size] += n
		}
	}
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
