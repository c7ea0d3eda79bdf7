package client

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/internal/message"
)

func TestHooks(t *testing.T) {
	mask := func(m *Message) error {
		for i := range m.Data {
			m.Data[i] ^= 0x55
		}
		return nil
	}
	suffix := func(m *Message) error {
		m.Data = append(m.Data, '!')
		return nil
	}
	unsuffix := func(m *Message) error {
		if n := len(m.Data); n == 0 || m.Data[n-1] != '!' {
			return errForged
		}
		m.Data = m.Data[:len(m.Data)-1]
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		seen := newCollect()
		var types []string
		note := func(m *Message) error {
			types = append(types, fmt.Sprintf("%v %d %s %t", m.Type, m.ID, m.Route, m.Err))
			return nil
		}
		next := make(chan []*message.Message)
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			if m := f.receive(); string(m.Data) != "\x3d\x3c!" {
				t.Errorf("on the wire: %q, want it masked, then marked", m.Data)
			}
			for answers := range next {
				f.send(answers...)
			}
			f.untilClosed()
		}, WithOutbound(mask, suffix), WithInbound(unsuffix), WithInbound(mask, note), WithFallback(seen.handler))
		in, out := []byte("hi"), []byte(nil)
		result := make(chan error, 1)
		go func() { result <- c.Request(t.Context(), "Secret.Tell", in, &out) }()
		synctest.Wait()
		next <- []*message.Message{push("a", "\x3d\x3c!"), push("forged", "x"), response(1, "\x3d\x3c!")}
		if err := <-result; err != nil || string(out) != "hi" {
			t.Errorf("Request = %q, %v, want hi", out, err)
		}
		if string(in) != "hi" {
			t.Errorf("a hook wrote over the caller's slice: %q", in)
		}
		seen.want(t, "a hi")

		go func() { result <- c.Request(t.Context(), "Secret.Tell", in, nil) }()
		synctest.Wait()
		next <- []*message.Message{response(2, "forged")}
		if err := <-result; !errors.Is(err, errForged) {
			t.Errorf("Request with an answer that a hook refuses = %v, want what the hook said", err)
		}

		masked := &message.Message{Data: []byte(`{"code":"NANO-404","msg":"no"}`)}
		for i := range masked.Data {
			masked.Data[i] ^= 0x55
		}
		go func() { result <- c.Request(t.Context(), "Secret.Tell", in, nil) }()
		synctest.Wait()
		next <- []*message.Message{{Type: message.Response, ID: 3, Err: true, Data: append(masked.Data, '!')}}
		if err := <-result; !errors.Is(err, &Error{Code: CodeNotFound}) {
			t.Errorf("Request with an error response = %v, want NANO-404", err)
		}
		close(next)
		synctest.Wait()
		want := []string{"push 0 a false", "response 1 Secret.Tell false", "response 3 Secret.Tell true"}
		if !slices.Equal(types, want) {
			t.Errorf("inbound hooks saw %q, want %q", types, want)
		}
	})
}

func TestOutboundHookThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(welcomeJSON)
			if got := f.untilClosed(); len(got) > 0 {
				t.Errorf("the server got %v, want nothing", got)
			}
		}, WithOutbound(func(*Message) error { return errForged }))
		if err := c.Notify("a", "b"); !errors.Is(err, errForged) {
			t.Errorf("Notify = %v, want what the hook said", err)
		}
		if err := c.Request(t.Context(), "a", "b", nil); !errors.Is(err, errForged) {
			t.Errorf("Request = %v, want what the hook said", err)
		}
	})
}
