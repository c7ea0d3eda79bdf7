package pipenet

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

func TestDialAndAccept(t *testing.T) {
	l := New()
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := l.Dial()
		if err == nil {
			_, err = io.WriteString(c, "hello")
			_ = c.Close()
		}
		sent <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v, want hello", b, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if a := l.Addr(); a.Network() != "pipe" {
		t.Errorf("Addr = %v, want one of the network pipe", a)
	}
}

func TestCloseEndsEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		errs := make(chan error, 2)
		go func() { _, err := l.Dial(); errs <- err }()
		synctest.Wait()
		_ = l.Close()
		_ = l.Close()
		go func() { _, err := l.Accept(); errs <- err }()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("err = %v, want net.ErrClosed", err)
			}
		}
	})
}

func TestDialContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New().DialContext(ctx, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("DialContext = %v, want context.Canceled", err)
	}
}
