package room

import "math/bits"

// sums holds a number of at least 0 for each index, and adds up the first ones in a few
// steps. It is a binary indexed tree whose element 0 is unused.
type sums []int

func newSums(n int) sums { return make(sums, n+1) }

// add adds n to the number of index i.
func (s sums) add(i, n int) {
	for i++; i < len(s); i += i & -i {
		s[i] += n
	}
}

// below returns the sum of the numbers of all indexes below i.
func (s sums) below(i int) (n int) {
	for ; i > 0; i &= i - 1 {
		n += s[i]
	}
	return n
}

// find returns the index at which the sum rises above n, which must be less than the sum
// of all numbers.
func (s sums) find(n int) (i int) {
	for step := 1 << bits.Len(uint(len(s)-1)) >> 1; step > 0; step >>= 1 {
		if at := i + step; at < len(s) && s[at] <= n {
			i, n = at, n-s[at]
		}
	}
	return i
}
