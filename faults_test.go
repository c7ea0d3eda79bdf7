package nano_test

import (
	"errors"
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
