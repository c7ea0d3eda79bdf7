package room

import "math/bits"

// indexSet is a set of small integers that finds the neighbors of an integer in a few
// steps. It is a tree of words. Each bit reports whether the word below it is not zero.
type indexSet struct {
	levels [][]uint64 // the first level holds the members
}

// newIndexSet returns an empty set for the integers below n.
func newIndexSet(n int) (p indexSet) {
	for {
		n = (n + 63) / 64
		p.levels = append(p.levels, make([]uint64, max(n, 1)))
		if n <= 1 {
			return p
		}
	}
}

func (p *indexSet) add(i int) {
	for _, words := range p.levels {
		words[i>>6] |= 1 << (i & 63)
		i >>= 6
	}
}

func (p *indexSet) remove(i int) {
	for _, words := range p.levels {
		if words[i>>6] &^= 1 << (i & 63); words[i>>6] != 0 {
			return
		}
		i >>= 6
	}
}

// next returns the smallest member that is at least i, or -1 if there is none.
func (p *indexSet) next(i int) int {
	for level, words := range p.levels {
		if i>>6 >= len(words) {
			return -1
		}
		if rest := words[i>>6] >> (i & 63); rest != 0 {
			i += bits.TrailingZeros64(rest)
			for level--; level >= 0; level-- {
				i = i<<6 + bits.TrailingZeros64(p.levels[level][i])
			}
			return i
		}
		i = i>>6 + 1
	}
	return -1
}

// before returns the largest member below i, or -1 if there is none.
func (p *indexSet) before(i int) int {
	for level, words := range p.levels {
		if i--; i < 0 {
			return -1
		}
		if rest := words[i>>6] << (63 - i&63); rest != 0 {
			i -= bits.LeadingZeros64(rest)
			for level--; level >= 0; level-- {
				i = i<<6 + 63 - bits.LeadingZeros64(p.levels[level][i])
			}
			return i
		}
		i >>= 6
	}
	return -1
}
