package lua

import (
	"errors"
	"fmt"
	"time"
)

// Option configures a [Script]. The server returns the bad values of all options when it starts.
type Option func(*options)

type options struct {
	timeout time.Duration
	steps   int
	poll    time.Duration
	raw     bool
}

// The defaults of a Script.
const (
	defaultTimeout = 100 * time.Millisecond
	defaultSteps   = 1_000_000
	defaultPoll    = 500 * time.Millisecond
)

func (o *options) check() error {
	var errs []error
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("lua: WithTimeout(%v): want more than 0", o.timeout))
	}
	if o.steps <= 0 || o.steps > 1<<40 {
		errs = append(errs, fmt.Errorf("lua: WithSteps(%d): want 1 to 2^40", o.steps))
	}
	if o.poll != 0 && o.poll < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("lua: WithPoll(%v): want 10ms or more, or 0", o.poll))
	}
	return errors.Join(errs...)
}

// WithTimeout sets how long a call of the script may take: 100 ms by default, any time
// above 0. A call is a message, a timer or a callback. At the limit it ends with an error. The first run of the file,
// on_start, on_reload and on_stop may take ten times as long.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithSteps sets how many steps a call of the script may take: 1,000,000 by default, 1
// to 2^40. A step is an instruction; the functions of the libraries count as many steps as their work is worth.
// The first run of the file, on_start, on_reload and on_stop may take ten times as many.
func WithSteps(n int) Option { return func(o *options) { o.steps = n } }

// WithPoll sets how often the server looks whether a file of the script has changed: every
// 500 ms by default, 10 ms or more. With 0 it never looks; call [Script.Reload].
func WithPoll(d time.Duration) Option { return func(o *options) { o.poll = d } }

// WithRawPayloads passes the payloads of messages to the script as strings of bytes, and sends
// strings as they are. By default payloads are JSON, whatever the serializer of the server is.
func WithRawPayloads() Option { return func(o *options) { o.raw = true } }
