package nano_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/session"
)

// drainer is a component that records its steps.
type drainer struct {
	component.Base
	work time.Duration // how long Drain takes; 0 means until its context ends
	log  chan string
}

func (d *drainer) Echo(s *session.Session, data []byte) error { return s.Response(data) }

func (d *drainer) Drain(ctx context.Context) {
	d.log <- "drain"
	if d.work < 0 {
		panic("drain")
	}
	over := make(<-chan time.Time)
	if d.work > 0 {
		over = time.After(d.work)
	}
	select {
	case <-over:
		d.log <- "done"
	case <-ctx.Done():
		d.log <- "late"
	}
}

func (d *drainer) BeforeShutdown() { d.log <- "before" }

func TestShutdownDrains(t *testing.T) {
	for _, test := range []struct {
		work time.Duration
		want string
		took time.Duration
	}{
		{30 * time.Second, "drain done before", 30 * time.Second},
		{0, "drain late before", 58 * time.Second},
		{-1, "drain before", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &drainer{work: test.work, log: make(chan string, 10)}
			cs := &component.Components{}
			cs.Register(d, component.WithName("d"))
			srv := nanotest.Start(t, nano.WithComponents(cs))
			p := srv.Connect(t)
			if test.work > 0 {
				time.AfterFunc(time.Second, func() {
					var got []byte
					if err := p.Request(context.Background(), "d.Echo", []byte("x"), &got); err != nil || string(got) != "x" {
						t.Errorf("a request during Drain = %q, %v, want x", got, err)
					}
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			if err := srv.Shutdown(ctx); err != nil || time.Since(began) != test.took {
				t.Errorf("Shutdown = %v after %v, want nil after %v", err, time.Since(began), test.took)
			}
			close(d.log)
			var log []string
			for s := range d.log {
				log = append(log, s)
			}
			if got := strings.Join(log, " "); got != test.want {
				t.Errorf("log = %s, want %s", got, test.want)
			}
		})
	}
}
