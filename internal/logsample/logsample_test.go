package logsample

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		plain := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		log := Log(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: plain})))
		got := func() string {
			defer b.Reset()
			return b.String()
		}
		flood := func(n int) {
			for range n {
				log.Error("broken", "by", "you")
			}
		}
		flood(1000)
		if want := strings.Repeat("level=ERROR msg=broken by=you\n", PerSecond); got() != want {
			t.Errorf("of 1000 lines not %d came", PerSecond)
		}
		log.Warn("other")
		if want := "level=WARN msg=other\n"; got() != want {
			t.Error("another message did not pass")
		}
		for range 100 {
			log.Info("seen")
		}
		if n := strings.Count(got(), "seen"); n != 100 {
			t.Errorf("%d lines of 100 that are not warnings came", n)
		}
		log.With("a", 1).WithGroup("g").Error("broken")
		if got() != "" {
			t.Error("a logger made of it has a second of its own")
		}
		time.Sleep(time.Second)
		flood(2)
		if g, want := got(), "level=ERROR msg=broken by=you suppressed=991\nlevel=ERROR msg=broken by=you\n"; g != want {
			t.Errorf("after a second came %q, want %q", g, want)
		}
	})
}

func TestLogConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		log := Log(slog.New(slog.NewTextHandler(&b, nil)))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					log.Error("broken")
				}
			})
		}
		wg.Wait()
		if n := strings.Count(b.String(), "\n"); n != PerSecond {
			t.Errorf("%d lines came, want %d", n, PerSecond)
		}
	})
}
