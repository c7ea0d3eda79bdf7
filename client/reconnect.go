package client

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Reconnect says how a client connects anew. Its zero value is good as it is.
type Reconnect struct {
	// Min and Max bound the wait before a try: it is chosen at random between 0 and Min, and for every further try
	// the upper end doubles, up to Max. It starts from Min again after a connection that lasted for Max.
	// Defaults: 500 ms and 30 s. The randomness is what keeps the players of a server that restarts from
	// coming back all at once.
	Min, Max time.Duration
	// Attempts is how many tries in a row may fail before the client ends with the error of the last; 0 or less: it
	// tries for ever.
	Attempts int
	// If says whether the client connects anew after err: why the connection was lost, or why a try failed. It is
	// called on a goroutine that handlers don't run on, and must not call Close. By default everything is tried again
	// but a *HandshakeError and a *KickError, with which a server says that it does not want this client; a kick for
	// KickShutdown is tried again, since it is what a server says to everybody before it restarts.
	If func(err error) bool
}

// withDefaults returns r with its defaults filled in.
func (r Reconnect) withDefaults() *Reconnect {
	if r.Min <= 0 {
		r.Min = 500 * time.Millisecond
	}
	if r.Max <= 0 {
		r.Max = 30 * time.Second
	}
	r.Max = max(r.Min, r.Max)
	if r.If == nil {
		r.If = unlessRefused
	}
	return &r
}

func unlessRefused(err error) bool {
	var kick *KickError
	var refusal *HandshakeError
	if errors.As(err, &kick) {
		return kick.Reason == KickShutdown
	}
	return !errors.As(err, &refusal)
}

// bound returns the longest wait before a try that has n tries before it.
func (r *Reconnect) bound(n int) time.Duration {
	d := r.Min
	for ; n > 0 && d < r.Max; n-- {
		d *= 2 // Max is far from overflowing: d is below it
	}
	return min(d, r.Max)
}

// delay returns the wait before a try that has n tries before it.
func (r *Reconnect) delay(n int) time.Duration {
	return rand.N(r.bound(n) + 1)
}

// reconnect dials until there is a connection, after the link before was lost. A nil link comes with the reason to
// give up.
func (c *Client) reconnect(lost *link) (*link, error) {
	r := c.opts.reconnect
	// A server that takes connections and drops them again is met with longer and longer waits, too.
	if time.Since(lost.born) >= r.Max {
		c.attempt = 0
	}
	for try := 1; ; try++ {
		wait := time.NewTimer(r.delay(c.attempt))
		c.attempt++
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
			return nil, ErrClosed
		}
		l, err := c.connect(c.ctx)
		switch {
		case l != nil:
			return l, nil
		case c.ctx.Err() != nil:
			return nil, ErrClosed
		case r.Attempts > 0 && try >= r.Attempts, !c.retries(err):
			return nil, err
		}
		c.opts.logger.Info("client: reconnecting failed", "try", try, "error", err)
	}
}

// retries reports whether err is one that connecting anew may mend.
func (c *Client) retries(err error) bool {
	return c.opts.reconnect != nil && c.dial != nil && c.opts.reconnect.If(err)
}
