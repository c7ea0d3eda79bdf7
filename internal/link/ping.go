package link

import (
	"context"
	"time"
)

// Ping sends a ping and waits for its answer. It fails if the link or ctx ends first.
func (l *Link) Ping(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.started)
	l.lastPing = uint64(now) | 1
	l.ping = l.lastPing
	l.signal()
	for l.err == nil && l.answered < now {
		if l.ponged == nil {
			l.ponged = make(chan struct{})
		}
		ponged := l.ponged
		l.mu.Unlock()
		select {
		case <-ponged:
		case <-l.done:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return l.err
}

// watch sends pings, and ends the link when the peer does not answer them.
func (l *Link) watch() {
	tick := time.NewTicker(l.cfg.Ping)
	defer tick.Stop()
	j := judge{ping: l.cfg.Ping, dead: l.cfg.Dead}
	for {
		l.mu.Lock()
		now := time.Since(l.started)
		if j.silent(now, l.answered) {
			l.mu.Unlock()
			l.Close(ErrSilent)
			return
		}
		l.lastPing = uint64(now) | 1 // never 0
		l.ping = l.lastPing
		l.mu.Unlock()
		l.signal()
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
	}
}

// judge decides at every ping whether the peer is dead.
type judge struct {
	ping, dead time.Duration
	last       time.Duration // time of the latest call of silent
	answered   time.Duration // value of answered in the latest call
	paused     time.Duration // how long this process was stopped since then
}

// silent reports whether the peer is dead. now and answered, when the newest ping that has an answer was sent, are on
// the link's clock. If this process did not run for a while, answers may lie in the socket. So that time does not count,
// once between two answers: a process that is merely overloaded is late again and again.
func (j *judge) silent(now, answered time.Duration) bool {
	if answered != j.answered {
		j.answered, j.paused = answered, 0
	}
	if excess := now - j.last - j.ping; excess > 2*j.ping && j.paused == 0 {
		j.paused = excess
	}
	j.last = now
	// The first ping without an answer was sent one ping interval after the last one with an answer. Half an interval
	// compensates for early ticks, so that the link ends at the right tick.
	return now-answered-j.paused >= j.dead+j.ping/2
}

// measure updates the smoothed round-trip time: the newest one counts an eighth.
func (l *Link) measure(rtt time.Duration) {
	old := l.RTT()
	if old != 0 {
		rtt = old + (rtt-old)/8
	}
	l.rtt.Store(int64(max(rtt, 1)))
}
