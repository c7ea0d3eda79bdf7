// Package linktest provides a recorder for tests of packages that use links.
package linktest

import (
	"slices"
	"sync"
	"time"

	"github.com/lonng/nano/internal/link"
)

// Recorder records the events of links. It implements mesh.Handler. Mu guards its fields.
type Recorder struct {
	// Got, if set before the first link comes up, is called with received frames. They
	// are not recorded then.
	Got func(l *link.Link, frames []link.Frame)

	Mu     sync.Mutex
	ByAddr map[string]*link.Link // the links that are up
	Events []string              // "up addr" and "down addr"
	Downs  map[string]error      // why the last link to an address ended
	Frames []link.Frame          // copies of the received frames

	change chan struct{} // closed and replaced when a field changes
}

// NewRecorder returns an empty Recorder.
func NewRecorder() *Recorder {
	return &Recorder{change: make(chan struct{}), ByAddr: make(map[string]*link.Link), Downs: make(map[string]error)}
}

func (r *Recorder) update(f func()) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	f()
	close(r.change)
	r.change = make(chan struct{})
}

// Up records a link that came up.
func (r *Recorder) Up(l *link.Link) {
	r.update(func() {
		r.ByAddr[l.Addr] = l
		r.Events = append(r.Events, "up "+l.Addr)
	})
}

// Down records the end of a link.
func (r *Recorder) Down(l *link.Link, err error) {
	r.update(func() {
		if r.ByAddr[l.Addr] == l {
			delete(r.ByAddr, l.Addr)
		}
		r.Downs[l.Addr] = err
		r.Events = append(r.Events, "down "+l.Addr)
	})
}

// Received records frames, or calls Got.
func (r *Recorder) Received(l *link.Link, frames []link.Frame) {
	if r.Got != nil {
		r.Got(l, frames)
		return
	}
	r.update(func() {
		for _, f := range frames {
			f.Meta, f.Data = slices.Clone(f.Meta), slices.Clone(f.Data)
			r.Frames = append(r.Frames, f)
		}
	})
}

// Wait waits until cond returns true. It calls cond with Mu locked, and reports whether
// cond was true within d.
func (r *Recorder) Wait(d time.Duration, cond func() bool) bool {
	deadline := time.After(d)
	for {
		r.Mu.Lock()
		ok, change := cond(), r.change
		r.Mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-change:
		case <-deadline:
			return false
		}
	}
}

// HasUp returns a condition for Wait: the link to addr is up.
func (r *Recorder) HasUp(addr string) func() bool {
	return func() bool { return r.ByAddr[addr] != nil }
}

// Link returns the link to addr, or nil if it is not up.
func (r *Recorder) Link(addr string) *link.Link {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	return r.ByAddr[addr]
}
