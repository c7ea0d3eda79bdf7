package session_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/lonng/nano/session"
)

func TestCloseReason(t *testing.T) {
	want := []struct {
		reason session.CloseReason
		name   string
		err    error
	}{
		{session.ReasonClient, "client", session.ErrClientClosed},
		{session.ReasonServer, "server", session.ErrClosed},
		{session.ReasonKicked, "kicked", session.ErrKicked},
		{session.ReasonReplaced, "replaced", session.ErrReplaced},
		{session.ReasonHeartbeat, "heartbeat", session.ErrHeartbeat},
		{session.ReasonHandshake, "handshake", session.ErrHandshake},
		{session.ReasonSlow, "slow", session.ErrSlowClient},
		{session.ReasonProtocol, "protocol", session.ErrProtocol},
		{session.ReasonLimit, "limit", session.ErrLimit},
		{session.ReasonShutdown, "shutdown", session.ErrShutdown},
	}
	var all []session.CloseReason
	for _, w := range want {
		all = append(all, w.reason)
		if got := w.reason.String(); got != w.name {
			t.Errorf("String() = %q, want %q", got, w.name)
		}
		if got := w.reason.Err(); got != w.err {
			t.Errorf("%v.Err() = %v, want %v", w.reason, got, w.err)
		}
		for _, err := range []error{w.err, fmt.Errorf("%w: more", w.err), errors.Join(errors.New("other"), w.err)} {
			if got := session.ReasonOf(err); got != w.reason {
				t.Errorf("ReasonOf(%v) = %v, want %v", err, got, w.reason)
			}
		}
	}
	if got := session.CloseReasons(); !slices.Equal(got, all) {
		t.Errorf("CloseReasons() = %v, want %v", got, all)
	}
}

func TestCloseReasonNone(t *testing.T) {
	for _, err := range []error{nil, errors.New("other"), session.ErrBrokenPipe} {
		if got := session.ReasonOf(err); got != session.ReasonNone {
			t.Errorf("ReasonOf(%v) = %v, want none", err, got)
		}
	}
	for _, r := range []session.CloseReason{session.ReasonNone, 200} {
		if r.String() != "none" || r.Err() != nil {
			t.Errorf("CloseReason(%d) is %q with %v, want none and nil", uint8(r), r, r.Err())
		}
	}
}
