package client

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Reconnect configures how a client reconnects. Its zero value uses the defaults.
type Reconnect struct {
	// Min and Max bound the wait before a try. The wait is chosen at random between 0 and
	// Min, and for every further try the upper end doubles, up to Max. It starts from Min
	// again after a connection that lasted for Max. Defaults: 500 ms and 30 s, and with
	// WithResume 100 ms and 5 s. If one of them is set beyond the default of the other, both
	// are that time. Max must not be below Min, and neither below 0. Because of the
	// randomness, the clients of a restarted server do not all reconnect at once.
	Min, Max time.Duration
	// Wait, if it is not nil, replaces the random choice: it returns the wait before a try that
	// follows n others, at most Max. So the same test takes the same time again.
	Wait func(n int) time.Duration
	// Attempts is how many tries in a row may fail before the client ends with the error of the
	// last. With 0 or less there is no limit.
	Attempts int
	// If reports whether the client connects again after err, which is why the connection was
	// lost or why a try failed. It is not called on the goroutine of the handlers, and must not
	// call Close. By default the client gives up after a *HandshakeError, and after a *KickError
	// with the code "kicked", "replaced" or "limit". For an older server, which sends no code,
	// the reason of the kick decides: "server shutdown" does not end the client.
	If func(err error) bool
}

// These are the default waits. A resume costs the server less than a new session.
const (
	reconnectMin = 500 * time.Millisecond
	reconnectMax = 30 * time.Second
	resumeMin    = 100 * time.Millisecond
	resumeMax    = 5 * time.Second
)

// withDefaults returns r with its defaults filled in. low and high are those of Min and Max.
func (r Reconnect) withDefaults(low, high time.Duration) *Reconnect {
	if r.Max == 0 {
		r.Max = max(high, r.Min)
	}
	if r.Min == 0 {
		r.Min = min(low, r.Max)
	}
	if r.If == nil {
		r.If = unlessRefused
	}
	return &r
}

func unlessRefused(err error) bool {
	var refusal *HandshakeError
	if kick, ok := errors.AsType[*KickError](err); ok {
		return !kick.final()
	}
	return !errors.As(err, &refusal)
}

// bound returns the longest wait before an attempt that follows n others.
func (r *Reconnect) bound(n int) time.Duration {
	d := r.Min
	for ; n > 0 && d < r.Max; n-- {
		d *= 2 // Max is far from overflowing: d is below it
	}
	return min(d, r.Max)
}

// delay returns the wait before an attempt that follows n others.
func (r *Reconnect) delay(n int) time.Duration {
	if r.Wait != nil {
		return min(max(r.Wait(n), 0), r.Max)
	}
	return rand.N(r.bound(n) + 1)
}

// reconnect dials after lost has ended, until there is a connection. If it gives up, it
// returns the error. cause is why lost has ended.
func (c *Client) reconnect(lost *connection, cause error) (*connection, error) {
	r := c.opts.reconnect
	// The waits also grow if the server accepts connections and closes them again.
	if time.Since(lost.born) >= r.Max {
		c.attempt = 0
	}
	for try := 1; ; try++ {
		delay := r.delay(c.attempt)
		c.attempt++
		c.status(Status{State: Reconnecting, Reason: reasonOf(cause), Err: cause, Attempt: c.attempt, Delay: delay})
		wait := time.NewTimer(delay)
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
			return nil, ErrClosed
		}
		conn, err := c.connect(c.ctx)
		if s := c.resumable(); s != nil && err != nil && endsSession(err) {
			s.end(disconnected(err))
		}
		switch {
		case conn != nil:
			return conn, nil
		case c.ctx.Err() != nil:
			return nil, ErrClosed
		case r.Attempts > 0 && try >= r.Attempts, !c.retries(err):
			return nil, err
		}
		c.opts.logger.Info("client: reconnecting failed", "try", try, "error", err)
		cause = err
	}
}

// retries reports whether the client reconnects after err.
func (c *Client) retries(err error) bool {
	return c.opts.reconnect != nil && c.dial != nil && c.opts.reconnect.If(err)
}
