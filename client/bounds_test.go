package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

func TestSendBufferFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			<-read
			f.untilClosed()
		}, WithSendBuffer(1000), WithRequestTimeout(time.Second), WithHeartbeat(-1))
		payload := make([]byte, 600)
		synctest.Wait() // the server has read the ack, and reads no further
		// The writer holds one message, and two fill the buffer.
		for i := range 3 {
			if err := c.Notify("Log.Line", payload); err != nil {
				t.Fatalf("Notify %d = %v", i, err)
			}
			synctest.Wait()
		}
		start := time.Now()
		if err := c.Notify("Log.Line", payload); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Notify with a full buffer = %v after %v, want DeadlineExceeded after 1 s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		if err := c.NotifyContext(ctx, "Log.Line", payload); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("NotifyContext with a full buffer = %v after %v, want DeadlineExceeded after 3 s", err, time.Since(start))
		}
		if err := c.Request(ctx, "Log.Line", payload, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Request with a full buffer = %v, want DeadlineExceeded", err)
		}
		time.AfterFunc(time.Second/2, func() { close(read) })
		if err := c.Notify("Log.Line", payload); err != nil {
			t.Errorf("Notify while room comes = %v", err)
		}
	})
}

func TestSendBufferFullAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			time.Sleep(time.Minute)
		}, WithSendBuffer(1), WithHeartbeat(-1))
		result := make(chan error, 1)
		go func() {
			for {
				if err := c.Notify("Log.Line", "x"); err != nil {
					result <- err
					return
				}
			}
		}()
		synctest.Wait()
		c.Close()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("Notify that waits for room while Close is called = %v, want ErrClosed", err)
		}
	})
}

func TestMessageThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, echo)
		long := strings.Repeat("r", 256)
		if err := c.Notify(long, nil); !errors.Is(err, message.ErrRouteTooLong) {
			t.Errorf("Notify with a route of 256 bytes = %v, want ErrRouteTooLong", err)
		}
		if err := c.Request(t.Context(), "Big.Big", make([]byte, packet.MaxLength), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Request of 16 MiB = %v, want ErrTooLarge", err)
		}
		if err := c.Request(t.Context(), "Echo.Echo", 1, nil); err != nil {
			t.Errorf("Request afterwards = %v", err)
		}
	})
}

// The server announces its largest packet body, which includes header and route.
func TestMaxPacket(t *testing.T) {
	for _, test := range []struct {
		maxPacket string
		size      int // size of the payload of a notify to a route of 1 byte; the header has 3 bytes
		want      error
	}{
		{`100`, 97, nil},
		{`100`, 98, ErrTooLarge},
		{`1e2`, 98, ErrTooLarge},
		{`0`, 60_000, nil},
		{`-1`, 60_000, nil},
		{`null`, 60_000, nil},
		{`1e300`, 60_000, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := make(chan []*message.Message, 1)
			c := pipe(t, func(f *fake) {
				f.acceptHandshake(`{"code":200,"sys":{"serializer":"json","maxPacket":` + test.maxPacket + `}}`)
				got <- f.untilClosed()
			})
			err := c.Notify("r", make([]byte, test.size))
			if !errors.Is(err, test.want) {
				t.Errorf("with maxPacket %s Notify of %d bytes = %v, want %v", test.maxPacket, test.size, err, test.want)
			}
			if test.want != nil {
				if err := c.Request(t.Context(), "r", make([]byte, test.size), nil); !errors.Is(err, test.want) {
					t.Errorf("with maxPacket %s Request of %d bytes = %v, want %v", test.maxPacket, test.size, err, test.want)
				}
			}
			if err := c.Notify("r", nil); err != nil {
				t.Errorf("Notify afterwards = %v", err)
			}
			c.Close()
			messages := <-got
			if last := messages[len(messages)-1]; string(last.Data) != "{}" || test.want != nil && len(messages) != 1 {
				t.Errorf("%d messages arrived, the last is %.20q, want what was accepted", len(messages), last.Data)
			}
		})
	}
}

func TestSlowHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started, release := make(chan struct{}, 10), make(chan struct{})
		seen := newCollect()
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			f.push("a", "0")
			<-started
			// Three messages are queued. There is room after two, and none after three.
			for i := range 4 {
				f.push("a", fmt.Sprint(i+1, strings.Repeat("x", 1000)))
			}
			f.untilClosed()
		}, WithPushBuffer(3000), WithFallback(func(m *Message) {
			started <- struct{}{}
			<-release
			seen <- string(m.Data[:1])
		}), WithOnDisconnect(func(err error) { seen <- err.Error() }))
		<-c.Done()
		if !errors.Is(c.Err(), ErrSlowHandlers) {
			t.Errorf("Err() = %v, want ErrSlowHandlers", c.Err())
		}
		close(release)
		seen.want(t, "0", "1", "2", "3", ErrSlowHandlers.Error())
	})
}

func TestKickIsNotLostToAFailedWrite(t *testing.T) {
	addr := accept(t, func(f *fake) {
		f.acceptHandshake(welcomeJSON)
		f.receive()
		f.write(packet.Kick, []byte(`{"reason":"too loud"}`))
	})
	c, err := Dial(within(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err = nil; err == nil; { // until the connection is gone
		err = c.Notify("Chat.Say", "hello")
	}
	<-c.Done()
	var kick *KickError
	if !errors.As(c.Err(), &kick) || kick.Reason != "too loud" {
		t.Errorf("Err() = %v, want the kick", c.Err())
	}
}
