// Package top shows in a terminal what a server does. It reads the JSON API of the server's
// console.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Terminal is a terminal that shows the screen.
type Terminal interface {
	io.Writer
	// Size returns the number of columns and lines. It is called several times a second.
	Size() (width, height int, err error)
}

// Config configures a Run.
type Config struct {
	API      *API
	Interval time.Duration // between two requests
	Timeout  time.Duration // of one request
	Terminal Terminal      // nil to print one screen to Out
	Out      io.Writer     // used without a Terminal
}

// history is how long samples are kept.
const history = 15 * time.Minute

// resizeEvery is the time between two looks at the size of the terminal.
const resizeEvery = 200 * time.Millisecond

// The control sequences of ECMA-48 and xterm that Run uses.
const (
	enter = "\x1b[?1049h\x1b[?25l" // the alternate screen, no cursor
	leave = "\x1b[?25h\x1b[?1049l"
	erase = "\x1b[H\x1b[J" // erases the screen
)

// Run shows the server until ctx ends. A request that fails after the first
// one is shown and repeated. Run returns an error if the first request fails, if the console
// refuses the token at any time, or if the terminal cannot be written.
func Run(ctx context.Context, c Config) error {
	first, err := c.read(ctx, time.Time{})
	if err != nil && ctx.Err() == nil {
		return err
	}
	if first == nil { // the user has ended the command
		return nil
	}
	s := &state{address: c.API.String()}
	s.update(first)
	if c.Terminal == nil {
		_, err := fmt.Fprintln(c.Out, strings.Join(s.view(time.Now(), 0, 0), "\n"))
		return err
	}
	return c.show(ctx, s)
}

// read reads a snapshot within the timeout of a request.
func (c Config) read(ctx context.Context, after time.Time) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.API.read(ctx, after)
}

// answer is the end of a request.
type answer struct {
	snapshot *snapshot
	err      error
}

// show draws the screen whenever it changes.
func (c Config) show(ctx context.Context, s *state) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	var wg sync.WaitGroup
	wg.Go(func() { c.poll(ctx, s.Time, answers) })
	defer wg.Wait()
	defer cancel()

	screen := &screen{terminal: c.Terminal}
	if _, err := io.WriteString(c.Terminal, enter); err != nil {
		return err
	}
	defer func() {
		if _, e := io.WriteString(c.Terminal, leave); err == nil {
			err = e
		}
	}()
	tick := time.NewTicker(resizeEvery)
	defer tick.Stop()
	for {
		if err := screen.draw(s, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case a := <-answers:
			switch {
			case errors.Is(a.err, ErrRefused):
				return a.err
			case a.err != nil:
				s.fail(a.err, time.Now())
			default:
				s.update(a.snapshot)
			}
		}
	}
}

// poll requests a snapshot every interval until ctx ends. last is the time of the newest
// sample that is known.
func (c Config) poll(ctx context.Context, last time.Time, answers chan<- answer) {
	t := time.NewTicker(c.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s, err := c.read(ctx, last)
		if err == nil {
			last = s.Time
		}
		select {
		case <-ctx.Done():
			return
		case answers <- answer{s, err}:
		}
	}
}

// update adds the answer of the server to the state.
func (s *state) update(to *snapshot) {
	s.snapshot, s.problem = to, ""
	s.history = append(s.history, to.Samples...)
	for len(s.history) > 0 && to.Time.Sub(s.history[0].Time) > history {
		s.history = s.history[1:]
	}
}

// fail records that a request failed.
func (s *state) fail(err error, now time.Time) {
	if s.problem == "" {
		s.since = now
	}
	s.problem = err.Error()
}

// screen is the content of the terminal.
type screen struct {
	terminal Terminal
	last     string
}

// draw writes the screen, if it has changed.
func (d *screen) draw(s *state, now time.Time) error {
	width, height, err := d.terminal.Size()
	if err != nil {
		return err
	}
	lines := s.view(now, max(width, 1), max(height, 1))
	text := fmt.Sprintf("%d %d\n%s", width, height, strings.Join(lines, "\n"))
	if text == d.last {
		return nil
	}
	d.last = text
	_, err = io.WriteString(d.terminal, erase+strings.Join(lines, "\r\n"))
	return err
}
