package dispatch

// lent is what of a session's messages waits on other nodes.
type lent struct {
	messages, size int
}

// What may wait on other nodes at the least, whatever the limits of the mailbox.
const (
	LentMessages = 128
	LentSize     = 128 << 10
)

// Room returns how many more messages may wait; 0 if too many bytes wait.
func (m *Mailbox) Room() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free()
}

// free is Room; the caller holds mu.
func (m *Mailbox) free() int {
	if m.sealed {
		return m.limit // to be refused
	}
	if m.size >= m.bytes {
		return 0
	}
	free := m.limit - m.count
	if l := m.lent; l != nil {
		if l.size >= max(m.bytes, LentSize) {
			return 0
		}
		free = min(free, max(m.limit, LentMessages)-l.messages)
	}
	return max(free, 0)
}

// full reports whether more than half of the room is taken. The caller holds mu.
func (m *Mailbox) full() bool {
	if m.count > m.limit/2 || m.size > m.bytes/2 {
		return true
	}
	l := m.lent
	return l != nil && (l.messages > max(m.limit, LentMessages)/2 || l.size > max(m.bytes, LentSize)/2)
}

// Lend notes that messages went on to another node, where they take room here, or with negative numbers that they do not
// wait there any more.
func (m *Mailbox) Lend(messages, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lent == nil {
		m.lent = &lent{}
	}
	m.lent.messages += messages
	m.lent.size += size
	m.wakeReader()
}

// MaxSize returns how many bytes of payload may wait beside one message.
func (m *Mailbox) MaxSize() int { return m.bytes }

// Wait blocks until half of the room is free again, the mailbox is sealed, or Interrupt is called.
func (m *Mailbox) Wait() {
	m.mu.Lock()
	for !m.sealed && m.full() && !m.interrupted {
		if m.room == nil {
			m.room = make(chan struct{}, 1)
		}
		room := m.room
		m.mu.Unlock()
		<-room
		m.mu.Lock()
	}
	m.interrupted = false
	m.mu.Unlock()
}

// Interrupt ends the Wait that runs. If none runs, the next one returns at once.
func (m *Mailbox) Interrupt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.interrupted = true
	m.signal()
}

// wakeReader ends Wait if there is room. The caller holds mu.
func (m *Mailbox) wakeReader() {
	if m.room != nil && (m.sealed || !m.full()) {
		m.signal()
	}
}

// signal wakes Wait, if it runs. The caller holds mu.
func (m *Mailbox) signal() {
	if m.room == nil {
		return
	}
	select {
	case m.room <- struct{}{}:
	default:
	}
}
