package nano_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// choosy is a serializer for a program's own types: it cannot encode the library's errors.
type choosy struct {
	*json.Serializer
	fail func() error
}

func (c choosy) Marshal(any) ([]byte, error) { return nil, c.fail() }

func (c choosy) MarshalAppend(dst []byte, _ any) ([]byte, error) { return dst, c.fail() }

// Errors go out in JSON then, also those that a reader answers, where a panic would end the process.
func TestSerializerThatCannotEncodeErrors(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("want a program's type") },
		"panic": func() error { panic("want a program's type") },
	} {
		for what, data := range map[string]string{
			"unknown route":   "\x00\x05\x09none.None",
			"malformed route": "\x00\x05\x30none",
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newClub(t, nano.WithSerializer(choosy{json.NewSerializer(), fail}))
					defer c.shutdown()
					g := c.join()
					g.raw.Store(true)
					frame, err := codec.Append(nil, packet.Data, []byte(data))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := g.conn.Write(frame); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					got := strings.Join(g.pushes(), "")
					if !strings.HasPrefix(got, "\x24\x05{\"code\":\"NANO-40") {
						t.Errorf("the client was answered with %q, want an error in JSON", got)
					}
				})
			})
		}
	}
}

// However binds of one session and its end fall, the server finds it under its last uid only, and then not at all.
func TestConcurrentBinds(t *testing.T) {
	c := newClub(t)
	defer c.shutdown()
	uids := []int64{1, 2, 3}
	for range 50 {
		u := c.join()
		bind := func() {
			var wg sync.WaitGroup
			for _, uid := range uids {
				wg.Go(func() {
					if err := u.session.Bind(uid); err != nil {
						t.Errorf("Bind(%d) = %v", uid, err)
					}
				})
			}
			wg.Wait()
		}
		bind()
		for _, uid := range uids {
			found := len(c.srv.SessionsByUID(uid))
			if want := uid == u.session.UID(); found > 1 || (found == 1) != want {
				t.Errorf("%d sessions of uid %d, want one of %d alone", found, uid, u.session.UID())
			}
		}
		ended := make(chan struct{})
		u.session.OnClose(func(*session.Session, error) { close(ended) })
		u.session.Close()
		bind()
		<-ended
		for _, uid := range uids {
			if found := c.srv.SessionsByUID(uid); len(found) != 0 {
				t.Errorf("uid %d has %d sessions when all are closed, want none", uid, len(found))
			}
		}
	}
}

// What came whole before a fault runs, also where one read brings both.
func TestBeforeAFault(t *testing.T) {
	message, junk := notify("Game.Do", "came before"), []byte{9, 0, 0, 0}
	for name, test := range map[string]struct {
		kinds []string
		bytes []byte // as they go over the wire
	}{
		"an unknown packet": {[]string{"tcp", "pipe"}, slices.Concat(message, junk)},
		"in one frame":      {[]string{"ws", "wspipe"}, frame(0x82, slices.Concat(message, junk))},
		"in another frame":  {[]string{"ws", "wspipe"}, append(frame(0x82, message), frame(0x82, junk)...)},
		"a text frame":      {[]string{"ws", "wspipe"}, append(frame(0x82, message), frame(0x81, []byte("hello"))...)},
		"no frame":          {[]string{"ws", "wspipe"}, append(frame(0x82, message), 0xff, 0x80, 0, 0, 0, 0)},
		"a close frame":     {[]string{"ws", "wspipe"}, append(frame(0x82, message), frame(0x88, nil)...)},
	} {
		for _, kind := range test.kinds {
			t.Run(name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				ran := make(chan string, 1)
				at := open(t, kind, &Game{do: func(_ *session.Session, data []byte) error {
					ran <- string(data)
					return nil
				}})
				p := at.client()
				if err := p.raw(test.bytes); err != nil {
					t.Fatal(err)
				}
				p.ends()
				if got := receive(t, ran, "the message before a fault"); got != "came before" {
					t.Errorf("the handler was given %q", got)
				}
			})
		}
	}
}

// The requests that came whole before a fault are answered before the connection ends.
func TestAnswersBeforeAFault(t *testing.T) {
	first := request(1, "Game.Echo", "came before")
	for name, test := range map[string]struct {
		kinds []string
		bytes []byte // as they go over the wire
		code  int
	}{
		"an unknown packet":  {[]string{"tcp", "tls", "pipe"}, slices.Concat(first, []byte{9, 0, 0, 0}), 0},
		"a packet too large": {[]string{"tcp", "tls", "pipe"}, slices.Concat(first, []byte{4, 0xff, 0xff, 0xff}), 0},
		"a second handshake": {[]string{"tcp", "tls", "pipe"}, slices.Concat(first, pack(packet.Handshake, "")), 0},
		"in one frame":       {[]string{"ws", "wss", "wspipe"}, frame(0x82, slices.Concat(first, []byte{9, 0, 0, 0})), 1002},
		"a text frame":       {[]string{"ws", "wss", "wspipe"}, append(frame(0x82, first), frame(0x81, []byte("hello"))...), 1003},
		"no frame":           {[]string{"ws", "wss", "wspipe"}, append(frame(0x82, first), 0xff, 0x80, 0, 0, 0, 0), 1002},
	} {
		for _, kind := range test.kinds {
			t.Run(name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				p := open(t, kind, &Game{}).client()
				if err := p.raw(test.bytes); err != nil {
					t.Fatal(err)
				}
				e := p.ends()
				if len(e.messages) != 1 || e.messages[0].ID != 1 || string(e.messages[0].Data) != "came before" {
					t.Errorf("%v came, want the answer to what was before the fault", e.messages)
				}
				if e.code != test.code {
					t.Errorf("close code %d, want %d", e.code, test.code)
				}
			})
		}
	}
}

// For answers a connection with a fault waits as long as for its farewell, however short the heartbeats, and not at all where
// it has nothing to wait for.
func TestFaultWhileTheLogicGoroutineIsHeld(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for waits, want := range map[bool]time.Duration{false: 0, true: 5 * time.Second} {
			t.Run(fmt.Sprint(kind, waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					entered := make(chan struct{}, 1)
					at := open(t, kind, &Game{do: func(*session.Session, []byte) error {
						entered <- struct{}{}
						time.Sleep(time.Minute)
						return nil
					}}, nano.WithHeartbeatInterval(time.Second))
					holder, p := at.patient(), at.patient()
					holder.join()
					p.join()
					holder.send(request(1, "Game.Do", ""))
					<-entered
					if waits {
						p.send(request(1, "Game.Echo", ""))
					}
					began := time.Now()
					p.send([]byte{9, 0, 0, 0})
					if e := p.ends(); len(e.messages) != 0 {
						t.Errorf("%v came from a server that is held", e.messages)
					}
					if took := time.Since(began); took < want || took > want+10*time.Millisecond { // until the output is flushed
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

// Who sends pings until it has seen the farewell is heard out like others: a socket that is closed earlier may destroy the
// farewell on its way.
func TestPingsAfterAFarewell(t *testing.T) {
	t.Parallel()
	p := open(t, "ws", &Game{do: func(s *session.Session, _ []byte) error { return s.Kick("bye") }}).client()
	began := time.Now()
	p.send(request(1, "Game.Do", ""))
	for end := (closed(0)); ; {
		if _, err := p.message(); errors.As(err, &end) {
			break
		} else if k := kicked(""); !errors.As(err, &k) {
			t.Fatalf("%v came, want a kick and a close frame", err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.raw(frame(0x89, nil)) == nil && time.Since(began) < patience {
		<-tick.C
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("the connection was closed after %v, want the second that a client has", took)
	}
}
