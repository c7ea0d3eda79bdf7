package flow

// StreamSize is the window of one direction of a byte stream: the maximum number of
// unconsumed bytes at the receiver.
const StreamSize = 64 << 10

// streamCredit is the number of consumed bytes for which the receiver gives credit at
// once. It is less than the window, so a sender with a full window always gets credit.
const streamCredit = StreamSize / 4

// Sent is the sender's view of the window of a byte stream. Its owner guards it. The zero
// value is empty.
type Sent struct{ charged int }

// Room returns how many bytes may be sent.
func (s *Sent) Room() int { return StreamSize - s.charged }

// Add adds n sent bytes. n must not exceed Room.
func (s *Sent) Add(n int) { s.charged += n }

// Release removes n bytes after credit was received. If fewer bytes were sent, it changes
// nothing and returns false.
func (s *Sent) Release(n uint64) bool {
	if n > uint64(s.charged) {
		return false
	}
	s.charged -= int(n)
	return true
}

// Received is the receiver's view of the window of a byte stream. Its owner guards it.
// The zero value is empty.
type Received struct{ charged, consumed int }

// Add adds n received bytes. It returns false if they exceed the window.
func (r *Received) Add(n int) bool {
	r.charged += n
	return r.charged <= StreamSize
}

// Consume removes n consumed bytes. It returns the number of bytes to give credit for
// now, which is usually 0.
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
