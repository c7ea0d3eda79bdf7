//go:build unix

package chaos_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
)

// TestClusterPause checks that a stopped process is detected, does not affect others, and
// is up again when it continues.
func TestClusterPause(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	g := startProcessGate(t)
	a := spawn(t, nodeSpec{Name: "a", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	b := spawn(t, nodeSpec{Name: "b", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	g.calls(a, time.Now())
	g.calls(b, time.Now())
	bound, other := g.at(a), g.at(b)
	failed := make(chan error, 1)
	go func() {
		_, err := bound.Ask("Room.Never", "")
		failed <- err
	}()

	stopped := time.Now()
	signal(t, a, syscall.SIGSTOP)
	var worst atomic.Int64
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			began := time.Now()
			if who, err := other.Ask("Room.Who", ""); err != nil || who != "b" {
				t.Errorf("Room.Who of a player at b = %q, %v", who, err)
			}
			worst.Store(max(worst.Load(), int64(time.Since(began))))
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	inTime(t, "the callback tells", g.sees(a, false).Sub(stopped), 3*time.Second)
	err := testkit.Receive(t, failed, "the end of a request")
	if !testkit.HasCode(err, nano.CodeUnavailable) {
		t.Errorf("the request = %v, want %s", err, nano.CodeUnavailable)
	}
	inTime(t, "a request to it fails", time.Since(stopped), 3*time.Second)
	inTime(t, "its player is served elsewhere", bound.AwaitAnswer("b", stopped), 4*time.Second)
	time.Sleep(time.Until(stopped.Add(5 * time.Second))) // long enough for every node to report it down

	signal(t, a, syscall.SIGCONT)
	resumed := time.Now()
	inTime(t, "the callback tells that it is back", g.sees(a, true).Sub(resumed), 5*time.Second)
	inTime(t, "it serves again", g.calls(a, resumed), 5*time.Second)
	close(over)
	testkit.Receive(t, ended, "the end of the other player")
	inTime(t, "the longest that another player waited", time.Duration(worst.Load()), time.Second)
	g.at(a)
	bound.Expect("Room.Who", "", "b")
}

func signal(t testing.TB, p *nodeCmd, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
