package room

import (
	"errors"
	"io"
	"time"

	"github.com/lonng/nano/state"
)

// Record records the state of the rooms, from the first that is sent to their end. open
// is called once for each room, before that first state and on the room's scheduler; if
// it returns nil, the room is not recorded. The writer gets the format of
// [state.Recorder]: read it with [state.NewReplay]. Its meta has the keys "id" and
// "kind". If a room moves to another node, its recording ends, and the new node calls
// open for the rest. On a disk that nodes share, the two need different names.
//
// Writes happen on the room's scheduler: about once a second, or after each state if the
// room has no tick rate. So the writer should not wait for a network: use a file. An
// error of open or of the writer is logged, and ends the recording of that room. The room
// continues.
func Record(open func(Info) (io.WriteCloser, error)) Option {
	return func(o *options) { o.record = open }
}

// recording is the recording of one room. The nil recording records nothing.
type recording struct {
	c       *core
	w       io.WriteCloser
	rec     *state.Recorder
	started time.Duration // on the room's clock
}

// openRecording starts the recording of a room whose kind has the option Record.
func (c *core) openRecording() *recording {
	open := c.kind.options.record
	if open == nil {
		return nil
	}
	r := &recording{c: c, started: time.Since(c.base)}
	if err := c.guard("Record", func() (err error) { r.w, err = open(c.info()); return err }); err != nil {
		r.failed(err)
		return nil
	}
	if r.w == nil {
		return nil
	}
	var err error
	if r.rec, err = state.NewRecorder(r.w, c.sync, map[string]string{"id": c.id, "kind": c.kind.name}); err != nil {
		r.failed(err)
		_ = r.w.Close()
		return nil
	}
	return r
}

func (r *recording) failed(err error) {
	r.c.log.Error("nano: the recording of a room failed", "room", r.c.id, "error", err)
}

// record records the state of a flush.
func (c *core) record(now time.Duration) {
	if !c.recorded {
		c.recorded = true
		c.recording = c.openRecording()
	}
	c.recording = c.recording.record(now)
}

// record returns nil after an error.
func (r *recording) record(now time.Duration) *recording {
	if r == nil {
		return nil
	}
	err := r.c.guard("Record", func() error {
		if err := r.rec.Record(now - r.started); err != nil || r.c.dt > 0 {
			return err
		}
		return r.rec.Flush() // the next state may be long in coming
	})
	if err != nil {
		r.failed(err)
		_ = r.w.Close()
		return nil
	}
	return r
}

// endRecording completes the recording of the room, if there is one.
func (c *core) endRecording() {
	c.recording.close()
	c.recording = nil
}

// close ends the recording.
func (r *recording) close() {
	if r == nil {
		return
	}
	if err := r.c.guard("Record", func() error { return errors.Join(r.rec.Close(), r.w.Close()) }); err != nil {
		r.failed(err)
	}
}
