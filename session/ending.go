package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// ending is the state of a session's end: none, then ended for a reason, then finished
// when its callbacks have run.
type ending struct {
	mu        sync.Mutex
	reason    error // set once; mu guards it and the fields below
	finishing bool
	finished  bool
	more      *listeners // made when first needed
}

// listeners are called, or canceled, when a session ends.
type listeners struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	hooks    []func()
	suspend  []func(error)
	resume   []func()
	watchers []watcher
}

type watcher struct {
	key   any
	f     func()
	atEnd bool // called by End, not by Finish
}

// lazy returns the listeners. The caller holds mu.
func (e *ending) lazy() *listeners {
	if e.more == nil {
		e.more = &listeners{}
	}
	return e.more
}

func (e *ending) context() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.lazy()
	if m.ctx == nil {
		m.ctx, m.cancel = context.WithCancelCause(context.Background())
		if e.reason != nil {
			m.cancel(e.reason)
		}
	}
	return m.ctx
}

func (e *ending) onClose(f func()) {
	e.mu.Lock()
	if !e.finished {
		m := e.lazy()
		m.hooks = append(m.hooks, f)
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	f()
}

func (e *ending) Reason() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reason
}

// control implements sessionctl.Control for a session.
type control Session

func (c *control) Reason() error { return c.end.Reason() }

func (c *control) End(reason error) bool {
	if reason == nil {
		reason = ErrClosed
	}
	e := &c.end
	e.mu.Lock()
	if e.reason != nil {
		e.mu.Unlock()
		return false
	}
	e.reason = reason
	var cancel context.CancelCauseFunc
	var atEnd []watcher
	if m := e.more; m != nil {
		cancel = m.cancel
		m.watchers = slices.DeleteFunc(m.watchers, func(w watcher) bool {
			if w.atEnd {
				atEnd = append(atEnd, w)
			}
			return w.atEnd
		})
	}
	e.mu.Unlock()
	if cancel != nil {
		cancel(reason)
	}
	for _, w := range atEnd {
		w.f()
	}
	return true
}

func (c *control) Finish() { c.finish(true) }

func (c *control) Discard() { c.finish(false) }

// finish runs the close callbacks, those of Lifetime only for a session that was open.
func (c *control) finish(open bool) {
	e := &c.end
	e.mu.Lock()
	if e.finishing || e.reason == nil {
		e.mu.Unlock()
		return
	}
	e.finishing = true
	e.mu.Unlock()
	var panics []error
	defer c.finished(&panics) // also when a callback ends the goroutine
	if open {
		Lifetime.close((*Session)(c), &panics)
	}
	// Callbacks may register more of them.
	for {
		e.mu.Lock()
		if e.more == nil || len(e.more.hooks) == 0 {
			e.finished = true // under the same lock, so that no callback is lost
			e.mu.Unlock()
			return
		}
		hooks := e.more.hooks
		e.more.hooks = nil
		e.mu.Unlock()
		for _, f := range hooks {
			guard(&panics, f)
		}
	}
}

// finished ends Finish: it calls the watchers, and panics if a callback did.
func (c *control) finished(panics *[]error) {
	e := &c.end
	e.mu.Lock()
	e.finished = true
	var watchers []watcher
	if e.more != nil {
		watchers, e.more.watchers = e.more.watchers, nil
	}
	e.mu.Unlock()
	for _, w := range watchers {
		guard(panics, w.f)
	}
	if len(*panics) > 0 {
		// All callbacks have run. The scheduler logs the panic.
		panic(errors.Join(*panics...))
	}
}

func (c *control) Watch(key any, f func()) bool {
	e := &c.end
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.finished {
		return false
	}
	e.watch(watcher{key: key, f: f})
	return true
}

func (c *control) WatchEnd(key any, f func()) bool {
	e := &c.end
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reason != nil {
		return false
	}
	e.watch(watcher{key: key, f: f, atEnd: true})
	return true
}

// watch adds a watcher, or replaces the one of the same kind under its key. The caller
// holds mu.
func (e *ending) watch(w watcher) {
	m := e.lazy()
	i := slices.IndexFunc(m.watchers, func(o watcher) bool { return o.key == w.key && o.atEnd == w.atEnd })
	if i < 0 {
		m.watchers = append(m.watchers, w)
	} else {
		m.watchers[i].f = w.f
	}
}

func (c *control) Unwatch(key any) {
	e := &c.end
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.more != nil {
		e.more.watchers = slices.DeleteFunc(e.more.watchers, func(w watcher) bool { return w.key == key })
	}
}

func (c *control) WatchKeys(dst []any) []any {
	e := &c.end
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.more == nil {
		return dst
	}
	for _, w := range e.more.watchers {
		if w.atEnd {
			dst = append(dst, w.key)
		}
	}
	return dst
}

func (c *control) Bind(uid int64) (old int64) { return c.uid.Swap(uid) }

func (c *control) Route(service, address string) { (*Session)(c).Router().set(service, address) }

func (c *control) Reroute(service, old, address string) (now string, done bool) {
	return (*Session)(c).Router().swap(service, old, address)
}

func (c *control) Routes() map[string]string {
	r := c.router.Load()
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.routes)
}
