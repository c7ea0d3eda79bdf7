package client

import (
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
)

// minReply is how long the client must have sent nothing before it replies to a
// heartbeat.
const minReply = 100 * time.Millisecond

// watch sends heartbeats and monitors the server's silence until the connection ends or
// the client closes it. It returns when the reader and the writer have ended, with the
// error of Close.
func (c *connection) watch() error {
	var beats, silence <-chan time.Time
	every, patience := c.interval, c.interval*5/2
	if own := c.client.opts.heartbeat; own > 0 {
		every = own
	} else if own < 0 {
		every, patience = 0, 0
	}
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		beats = ticker.C
	}
	var judge silenceJudge
	var timer *time.Timer
	if patience > 0 {
		judge = newSilenceJudge(patience)
		timer = time.NewTimer(judge.wait(c.age(), c.lastHeard()))
		defer timer.Stop()
		silence = timer.C
	}
	var wake wakeJudge
	var ticks, grace <-chan time.Time
	if c.client.resumes() && patience > 0 {
		wake = newWakeJudge(c)
		ticker := time.NewTicker(wakeTick)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for closing := c.client.ctx.Done(); ; {
		select {
		case <-ticks:
			if wake.late(c) {
				grace = time.After(wakeGrace)
			}
		case <-grace:
			if wake.silent(c) {
				c.fail(ErrHeartbeat)
			}
		case <-beats:
			c.beat()
		case <-silence:
			wait := judge.wait(c.age(), c.lastHeard())
			if wait <= 0 {
				c.fail(ErrHeartbeat)
			} else {
				timer.Reset(wait)
			}
		case <-closing:
			return c.close()
		case <-c.broken:
			c.wg.Wait()
			return nil
		}
	}
}

// lastHeard returns when bytes last arrived, after born.
func (c *connection) lastHeard() time.Duration { return time.Duration(c.heard.Load()) }

// silenceJudge decides when the server has been silent for too long. It checks at ticks.
// If a tick is more than two ticks late, this process was stopped and could not read.
// Then the deadline moves by the lost time.
//
// Times count from the start of the connection.
type silenceJudge struct {
	patience time.Duration // how long the server may be silent
	tick     time.Duration
	due      time.Duration // when the next tick is due; 0 before the first
	since    time.Duration // when bytes last arrived, as of the latest tick
	lost     time.Duration // lost time since then
}

func newSilenceJudge(patience time.Duration) silenceJudge {
	return silenceJudge{patience: patience, tick: patience / 10}
}

// wait returns the time until the next tick. It is 0 or less if the server was silent for
// too long.
func (j *silenceJudge) wait(now, heard time.Duration) time.Duration {
	if heard != j.since {
		j.since, j.lost = heard, 0
	}
	if j.due == 0 {
		j.lost = now - heard // the process may have been stopped before the first tick
	}
	if late := now - j.due; j.due > 0 && late > 2*j.tick && heard <= j.due {
		j.lost += late
	}
	left := j.patience + j.lost - (now - heard)
	wait := min(left, j.tick)
	j.due = now + wait
	return wait
}

// beat sends a heartbeat, unless there is other data to send.
func (c *connection) beat() {
	// A finished outbox needs no heartbeat.
	_, _ = c.out.put(true, func(b []byte) ([]byte, error) {
		if len(b) > 0 {
			return b, nil
		}
		return codec.Append(b, packet.Heartbeat, nil)
	})
}

const (
	// wakeTick is how often a client with resume checks the clock.
	wakeTick = 500 * time.Millisecond
	// wakeGrace is how long the client reads waiting data after the machine has slept. A
	// connection that is still silent then is treated as dead.
	wakeGrace = 250 * time.Millisecond
)

// wakeJudge detects that the connection did not survive a sleep of the machine or a stop
// of the process. Unlike timers, the wall clock continues during a sleep.
type wakeJudge struct {
	patience time.Duration // how long the server may have been silent after a sleep
	ticked   time.Time     // the latest tick
	heard    int64         // value of connection.seen at that tick
}

func newWakeJudge(c *connection) wakeJudge {
	patience := c.interval * 3
	if s := c.session.Load(); s.resumes {
		patience = c.interval * 5 / 4 // a resume costs little
	}
	return wakeJudge{patience: patience, ticked: c.client.opts.clock()}
}

// late handles a tick. It reports whether the tick follows a sleep and the server was
// silent for too long.
func (j *wakeJudge) late(c *connection) bool {
	now := c.client.opts.clock()
	slept := now.Sub(j.ticked) > 4*wakeTick
	j.ticked, j.heard = now, c.seen.Load()
	return slept && now.Sub(time.Unix(0, j.heard)) > j.patience
}

// silent reports whether no bytes have arrived since the latest tick.
func (j *wakeJudge) silent(c *connection) bool { return c.seen.Load() == j.heard }

// heartbeat handles a heartbeat of the server. A heartbeat with a body acknowledges
// messages, and is not answered.
func (c *connection) heartbeat(body []byte) error {
	if s := c.session.Load(); s.resumes && len(body) > 0 {
		return s.heartbeat(body)
	}
	c.reply()
	return nil
}

// reply answers a heartbeat if the interval is a second and nothing was sent recently.
// Servers send whole seconds, so the real interval may be shorter, and older servers
// expect heartbeats within that interval. A server that itself answers heartbeats gets at
// most ten replies per second.
func (c *connection) reply() {
	wrote := time.Duration(c.wrote.Load())
	if c.interval == minInterval && c.client.opts.heartbeat == 0 && c.age()-wrote >= minReply {
		c.beat()
	}
}
