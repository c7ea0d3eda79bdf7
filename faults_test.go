package nano_test

import (
	"errors"
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
