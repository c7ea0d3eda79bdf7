package flow

// StreamSize is the window of one direction of a byte stream: how many bytes its receiver holds at most that were not
// consumed.
const StreamSize = 64 << 10

// streamCredit is how many consumed bytes the receiver gives credit for at once. It is less than the window, so a sender
// that has used the window up always gets credit.
const streamCredit = StreamSize / 4

// Sent is the window of a byte stream at its sender. Its owner guards it. The zero value is empty.
type Sent struct{ charged int }

// Room returns how many bytes may be sent.
func (s *Sent) Room() int { return StreamSize - s.charged }

// Add adds n bytes that were sent, at most Room.
func (s *Sent) Add(n int) { s.charged += n }

// Release removes n bytes for which credit came. It reports false, and changes nothing, if fewer were sent.
func (s *Sent) Release(n uint64) bool {
	if n > uint64(s.charged) {
		return false
	}
	s.charged -= int(n)
	return true
}

// Received is the window of a byte stream at its receiver. Its owner guards it. The zero value is empty.
type Received struct{ charged, consumed int }

// Add adds n bytes that came. It reports false if they exceed the window.
func (r *Received) Add(n int) bool {
	r.charged += n
	return r.charged <= StreamSize
}

// Consume removes n bytes that were consumed, and returns for how many bytes the receiver gives credit now; mostly 0.
func (r *Received) Consume(n int) (credit int) {
	r.consumed += n
	if r.consumed < streamCredit {
		return 0
	}
	credit = r.consumed
	r.charged -= credit
	r.consumed = 0
	return credit
}
