package nano

import (
	"cmp"
	"time"

	"github.com/lonng/nano/internal/agent"
)

// The defaults of [Resume].
const (
	defaultResumeWindow = 30 * time.Second
	defaultResumeBuffer = 256 << 10
	defaultResumeMemory = 256 << 20
)

// Resume configures how long sessions outlive their connections, and how many bytes are
// kept for them. A field that is zero has its default.
type Resume struct {
	// Window is how long a session without a connection waits for its client, 30 s by
	// default and 1 s or more. Clients are told it in whole seconds.
	Window time.Duration
	// Buffer is how many bytes of packets are kept for one session, 256 KiB by default.
	// It should hold the largest push. The newest packet is always kept. A connected
	// session over it forgets the oldest packets, so a client that needs them cannot
	// resume. A suspended session over it closes with session.ErrResumeOverflow.
	Buffer int
	// MaxMemory is how many bytes of packets are kept for all sessions of the server, 256
	// MiB by default. Over it, the sessions that keep most forget first, or close if they
	// are suspended, until 1/64 of it is free. A suspended session counts with 1 KiB at
	// least. A broadcast counts for each session, but its bytes are in memory once.
	MaxMemory int
}

// WithResume lets clients that ask for it resume their sessions: a client that loses its
// connection may reconnect within a window, and neither side loses a message. Until then
// the session is suspended. It keeps its user, data, groups and the messages that are
// sent to it. In a cluster, the client may reconnect at any gate that has the option. See
// [session.Session.OnSuspend], [session.Session.OnResume] and
// [session.Session.Suspended]. The default is no resume.
//
// A session closes with [session.ErrResumeExpired] when the window has passed, and with
// [session.ErrResumeOverflow] when too much was sent to keep.
func WithResume(r Resume) Option {
	return func(o *options) {
		if r.Window != 0 && r.Window < time.Second {
			o.fault("WithResume: want a Window of 1 s or more, got %v", r.Window)
		}
		if r.Buffer < 0 {
			o.fault("WithResume: want a Buffer of 1 or more bytes, got %d", r.Buffer)
		}
		if r.MaxMemory < 0 {
			o.fault("WithResume: want a MaxMemory of 1 or more bytes, got %d", r.MaxMemory)
		}
		o.resume = agent.Resume{
			Window:    cmp.Or(r.Window, defaultResumeWindow),
			Buffer:    cmp.Or(r.Buffer, defaultResumeBuffer),
			MaxMemory: int64(cmp.Or(r.MaxMemory, defaultResumeMemory)),
		}
	}
}

// ResumeStats holds the figures of sessions that can be resumed.
type ResumeStats struct {
	Window      time.Duration // how long a session waits for its client; 0 without WithResume
	Suspended   int           // sessions that are suspended now
	Suspensions int64         // times that a session lost its connection and was kept
	Resumed     int64         // times that a client resumed its session
	Expired     int64         // sessions that closed with session.ErrResumeExpired
	Overflowed  int64         // sessions that closed with session.ErrResumeOverflow
	Replayed    int64         // messages that were sent after a client resumed
	BytesHeld   int64         // bytes of kept packets, accurate to 4 KiB for each connected session

	// Refused counts clients that could not resume, by the reason that they were told:
	// "unknown", "expired", "overflow" or "ended". It has each reason, also with the
	// count 0.
	Refused map[string]int64
}

// resumeStats returns the figures of resume.
func (s *Server) resumeStats() ResumeStats {
	c := &s.hub.Counts
	return ResumeStats{
		Window:      s.hub.Resume.Window,
		Suspended:   c.Suspended(),
		Suspensions: c.Suspensions.Load(),
		Resumed:     c.Resumed.Load(),
		Expired:     c.ResumeExpired.Load(),
		Overflowed:  c.ResumeOverflowed.Load(),
		Replayed:    c.Replayed.Load(),
		BytesHeld:   c.Held.Load(),
		Refused:     c.ResumesRefused(),
	}
}
