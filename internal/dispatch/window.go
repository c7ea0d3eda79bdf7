package dispatch

import "github.com/lonng/nano/internal/flow"

// Room returns how many more messages may wait; 0 if too many bytes wait.
func (m *Mailbox) Room() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free()
}

// free is Room; the caller holds mu.
func (m *Mailbox) free() int {
	if m.sealed {
		return int(m.limit) // to be refused
	}
	if m.size >= m.bytes {
		return 0
	}
	free := int(m.limit - m.count)
	if m.window != nil {
		free = min(free, m.window.Free())
	}
	return max(free, 0)
}

// full reports whether more than half of the room is taken. The caller holds mu.
func (m *Mailbox) full() bool {
	if m.count > m.limit/2 || m.size > m.bytes/2 {
		return true
	}
	return m.window != nil && m.window.HalfUsed()
}

// Acquire counts messages that were forwarded to another node, with size bytes of payload. They take room in the
// session's flow-control window, which is at least as large as the mailbox.
func (m *Mailbox) Acquire(messages, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.window == nil {
		m.window = flow.NewWindow(int(m.limit), int(m.bytes))
	}
	m.window.Acquire(messages, size)
	m.wakeReader()
}

// Release takes back an Acquire: the messages do not wait at another node any more.
func (m *Mailbox) Release(messages, size int) { m.Acquire(-messages, -size) }

// MaxSize returns how many bytes of payload may wait beside one message.
func (m *Mailbox) MaxSize() int { return int(m.bytes) }

// Wait blocks until half of the room is free again, the mailbox is sealed, or Interrupt is
// called.
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

// WaitIdle blocks until no message waits or runs, the mailbox is sealed, or Interrupt is called.
func (m *Mailbox) WaitIdle() {
	m.mu.Lock()
	for !m.sealed && m.active && !m.interrupted {
		m.wantsIdle = true
		if m.room == nil {
			m.room = make(chan struct{}, 1)
		}
		room := m.room
		m.mu.Unlock()
		<-room
		m.mu.Lock()
	}
	m.interrupted, m.wantsIdle = false, false
	m.mu.Unlock()
}

// wakeIdle ends WaitIdle. The caller holds mu.
func (m *Mailbox) wakeIdle() {
	if m.wantsIdle {
		m.signal()
	}
}

// Interrupt ends the Wait or WaitIdle that runs. If none runs, the next one returns at once.
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

// signal wakes Wait. The caller holds mu.
func (m *Mailbox) signal() {
	if m.room == nil {
		return
	}
	select {
	case m.room <- struct{}{}:
	default:
	}
}
