package room_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/room"
)

func TestDraining(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		began := time.Now()
		go func() { ended <- l.Shutdown(ctx) }()
		time.Sleep(20 * time.Second)
		if err := a.Request(t.Context(), "Jump", Step{1}, nil); err != nil {
			t.Errorf("a message while the server drains = %v", err)
		}
		if err := a.Request(t.Context(), "Finish", Step{}, nil); err != nil {
			t.Errorf("Finish = %v", err)
		}
		if err := <-ended; err != nil || time.Since(began) > 21*time.Second {
			t.Errorf("Shutdown = %v after %v, want nil when the last room has ended", err, time.Since(began))
		}
		synctest.Wait()
		if a.Reason() != "over" {
			t.Errorf("the room ended with %q, want over", a.Reason())
		}
	})
}

func TestDrainingHasADeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t)
		_, a := l.join(1, "ann")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		if err := l.Shutdown(ctx); err != nil || time.Since(began) != 28*time.Second {
			t.Errorf("Shutdown = %v after %v, want nil after 28 s", err, time.Since(began))
		}
		synctest.Wait()
		if a.Reason() != "shutdown" {
			t.Errorf("the room ended with %q, want shutdown", a.Reason())
		}
	})
}

func TestDrainingDoesNotWaitForPlayersWhoAreGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := ponds(t, room.Hold(time.Hour))
		ann, _ := l.join(1, "ann")
		l.join(2, "bob")
		_ = ann.Close()
		synctest.Wait()
		if len(l.infos()) != 1 {
			t.Fatal("the room ended although a seat is held")
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(5*time.Second, func() {
			for _, s := range l.Kind.Stats() {
				_ = l.Kind.Do(context.Background(), s.ID, func(p *Pond) { p.Player(2).Kick("bye") })
			}
		})
		if err := l.Shutdown(ctx); err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("Shutdown = %v after %v, want nil once the last connected player is gone", err, time.Since(began))
		}
	})
}
