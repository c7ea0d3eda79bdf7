package lifecycle_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestBeforeAFault checks that complete messages before a malformed packet run, even if
// one read returns both.
func TestBeforeAFault(t *testing.T) {
	message, junk := testkit.Notify("Game.Do", "came before"), []byte{9, 0, 0, 0}
	for name, test := range map[string]struct {
		kinds []string
		bytes []byte // bytes on the wire
	}{
		"an unknown packet": {[]string{"tcp", "pipe"}, slices.Concat(message, junk)},
		"in one frame":      {[]string{"ws", "wspipe"}, testkit.Frame(0x82, slices.Concat(message, junk))},
		"in another frame":  {[]string{"ws", "wspipe"}, append(testkit.Frame(0x82, message), testkit.Frame(0x82, junk)...)},
		"a text frame":      {[]string{"ws", "wspipe"}, append(testkit.Frame(0x82, message), testkit.Frame(0x81, []byte("hello"))...)},
		"no frame":          {[]string{"ws", "wspipe"}, append(testkit.Frame(0x82, message), 0xff, 0x80, 0, 0, 0, 0)},
		"a close frame":     {[]string{"ws", "wspipe"}, append(testkit.Frame(0x82, message), testkit.Frame(0x88, nil)...)},
	} {
		for _, kind := range test.kinds {
			t.Run(name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				ran := make(chan string, 1)
				at := testkit.Start(t, kind, &testkit.Game{OnDo: func(_ *session.Session, data []byte) error {
					ran <- string(data)
					return nil
				}})
				p := at.Join()
				if err := p.Raw(test.bytes); err != nil {
					t.Fatal(err)
				}
				p.ReadEnd()
				if got := testkit.Receive(t, ran, "the message before a fault"); got != "came before" {
					t.Errorf("the handler was given %q", got)
				}
			})
		}
	}
}

// TestAnswersBeforeAFault checks that complete requests before a malformed packet are
// answered before the connection closes.
func TestAnswersBeforeAFault(t *testing.T) {
	first := testkit.Request(1, "Game.Echo", "came before")
	for name, test := range map[string]struct {
		kinds []string
		bytes []byte // bytes on the wire
		code  int
	}{
		"an unknown packet":  {[]string{"tcp", "tls", "pipe"}, slices.Concat(first, []byte{9, 0, 0, 0}), 0},
		"a packet too large": {[]string{"tcp", "tls", "pipe"}, slices.Concat(first, []byte{4, 0xff, 0xff, 0xff}), 0},
		"a second handshake": {[]string{"tcp", "tls", "pipe"}, slices.Concat(first, testkit.Pack(packet.Handshake, "")), 0},
		"in one frame":       {[]string{"ws", "wss", "wspipe"}, testkit.Frame(0x82, slices.Concat(first, []byte{9, 0, 0, 0})), 1002},
		"a text frame":       {[]string{"ws", "wss", "wspipe"}, append(testkit.Frame(0x82, first), testkit.Frame(0x81, []byte("hello"))...), 1003},
		"no frame":           {[]string{"ws", "wss", "wspipe"}, append(testkit.Frame(0x82, first), 0xff, 0x80, 0, 0, 0, 0), 1002},
	} {
		for _, kind := range test.kinds {
			t.Run(name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				p := testkit.Start(t, kind, &testkit.Game{}).Join()
				if err := p.Raw(test.bytes); err != nil {
					t.Fatal(err)
				}
				e := p.ReadEnd()
				if len(e.Messages) != 1 || e.Messages[0].ID != 1 || string(e.Messages[0].Data) != "came before" {
					t.Errorf("%v came, want the answer to what was before the fault", e.Messages)
				}
				if e.Code != test.code {
					t.Errorf("close code %d, want %d", e.Code, test.code)
				}
			})
		}
	}
}

// TestFaultWhileTheLogicGoroutineIsHeld checks that a connection with a fault waits for
// answers as long as for its farewell, whatever the heartbeat interval. Without open
// requests it does not wait.
func TestFaultWhileTheLogicGoroutineIsHeld(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for waits, want := range map[bool]time.Duration{false: 0, true: 5 * time.Second} {
			t.Run(fmt.Sprint(kind, waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					entered := make(chan struct{}, 1)
					at := testkit.Start(t, kind, &testkit.Game{OnDo: func(*session.Session, []byte) error {
						entered <- struct{}{}
						time.Sleep(time.Minute)
						return nil
					}}, nano.WithHeartbeatInterval(time.Second))
					holder, p := at.DialPatient(), at.DialPatient()
					holder.Join()
					p.Join()
					holder.Send(testkit.Request(1, "Game.Do", ""))
					<-entered
					if waits {
						p.Send(testkit.Request(1, "Game.Echo", ""))
					}
					began := time.Now()
					p.Send([]byte{9, 0, 0, 0})
					if e := p.ReadEnd(); len(e.Messages) != 0 {
						t.Errorf("%v came from a server that is held", e.Messages)
					}
					if took := time.Since(began); took < want || took > want+10*time.Millisecond { // the time until the output is flushed
						t.Errorf("the connection ended after %v, want %v", took, want)
					}
					if n := at.Stats().Closed["protocol"]; n != 1 {
						t.Errorf("%d sessions were closed for a fault, want 1", n)
					}
				})
			})
		}
	}
}

// TestPingsAfterAFarewell checks that the server reads on from a client that sends pings
// until it has received the farewell. Closing the socket earlier may destroy the farewell
// in transit.
func TestPingsAfterAFarewell(t *testing.T) {
	t.Parallel()
	p := testkit.Start(t, "ws", &testkit.Game{OnDo: func(s *session.Session, _ []byte) error { return s.Kick("bye") }}).Join()
	began := time.Now()
	p.Send(testkit.Request(1, "Game.Do", ""))
	for end := (testkit.CloseError(0)); ; {
		if _, err := p.Message(); errors.As(err, &end) {
			break
		} else if k := testkit.KickError(""); !errors.As(err, &k) {
			t.Fatalf("%v came, want a kick and a close frame", err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.Raw(testkit.Frame(0x89, nil)) == nil && time.Since(began) < testkit.Patience {
		<-tick.C
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("the connection was closed after %v, want the second that a client has", took)
	}
}
