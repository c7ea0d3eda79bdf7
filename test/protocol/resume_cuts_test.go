package protocol_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

var (
	cutRuns = flag.Int("resume.runs", 0, "runs of TestResumeRandomCuts; 100 by default, 50 with -short")
	cutSeed = flag.Uint64("resume.seed", 0, "seed of TestResumeRandomCuts; with -resume.runs it is random by default")
)

// cutConn is a connection that ends after a number of bytes in either direction.
type cutConn struct {
	net.Conn
	in, out int
}

func (c *cutConn) Read(b []byte) (int, error) {
	if c.in <= 0 {
		_ = c.Conn.Close()
	}
	n, err := c.Conn.Read(b[:min(len(b), max(c.in, 1))])
	c.in -= n
	return n, err
}

func (c *cutConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b[:min(len(b), c.out)])
	c.out -= n
	if err == nil && n < len(b) {
		_ = c.Conn.Close()
		err = net.ErrClosed
	}
	return n, err
}

// TestResumeRandomCuts cuts connections at random bytes. Each request makes the server
// send a push and a response, so the expected sequence is a simple list.
func TestResumeRandomCuts(t *testing.T) {
	runs, seed := 100, *cutSeed
	switch {
	case *cutRuns > 0:
		runs = *cutRuns
	case testing.Short():
		runs = 50
	}
	switch {
	case seed != 0:
	case *cutRuns > 0:
		seed = rand.Uint64()
	default:
		seed = 1
	}
	t.Logf("seed %d", seed)
	cuts, messages := 0, 0
	for run := range runs {
		r := rand.New(rand.NewPCG(seed, uint64(run)))
		synctest.Test(t, func(t *testing.T) {
			c, m := randomCuts(t, r, []string{"pipe", "wspipe"}[run%2])
			cuts, messages = cuts+c, messages+m
		})
		if t.Failed() {
			t.Fatalf("run %d with -resume.seed %d failed", run, seed)
		}
	}
	t.Logf("seed %d: %d runs, %d cuts, %d messages in both directions", seed, runs, cuts, messages)
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

func randomCuts(t *testing.T, r *rand.Rand, kind string) (cuts, messages int) {
	requests := 10 + r.IntN(150)
	sizes := make([]int, requests)
	for i := range sizes {
		sizes[i] = r.IntN(1 + r.IntN(400))
	}
	var got []string // requests that the server received
	at := testkit.Start(t, kind, testkit.NewGame(func(s *session.Session, data []byte) error {
		got = append(got, string(data))
		if err := s.Push("news", []byte("push of "+string(data))); err != nil {
			t.Errorf("Push = %v", err)
		}
		return s.Response(data)
	}), nano.WithResume(nano.Resume{}))
	client := &testkit.ResumeClient{}
	body := func(i int) string { return fmt.Sprint(i, " ", strings.Repeat("x", sizes[i])) }
	sent := make(chan struct{})
	quick := time.Duration(r.IntN(3)) * time.Millisecond
	send := func() {
		defer close(sent)
		for i := range requests {
			client.Send(testkit.Request(uint64(i+1), "Game.Do", body(i)))
			time.Sleep(quick)
		}
	}
	begun := false
	var last error // the error that ended the last connection
	for next := 0; next < 2*requests; cuts++ {
		if cuts > 100_000 {
			t.Fatalf("no progress after %d of %d messages: %v\n%s", next, 2*requests, last, stacks())
		}
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		limit := 200 + r.IntN(1+r.IntN(4000))
		cut := &cutConn{Conn: conn, in: limit, out: 200 + r.IntN(1+r.IntN(4000))}
		if !begun {
			cut.in, cut.out = 1<<30, 1<<30 // no cut until the session has begun
		}
		w := testkit.NewWire(cut)
		w.Patience = time.Hour
		if kind == "wspipe" {
			err = w.Upgrade("/")
		}
		if err == nil {
			var a testkit.ResumeAnswer
			if a, err = client.Connect(w); err == nil && a.Resumed != begun {
				t.Fatalf("answer %+v, resumed before: %v", a, begun)
			}
		}
		if err == nil && !begun {
			synctest.Wait()
			begun = true
			cut.in, cut.out = limit, limit
			go send()
		}
		for err == nil && next < 2*requests {
			m, e := client.Next(w)
			if err = e; err != nil {
				break
			}
			want := body(next / 2)
			if next%2 == 0 {
				want = "push of " + want
			}
			if string(m.Data) != want {
				t.Fatalf("message %d is %q, want %q", next, m.Data, want)
			}
			next++
		}
		if r.IntN(4) > 0 { // otherwise the server keeps the old connection
			_ = conn.Close()
		} else {
			defer conn.Close()
		}
		client.Lost()
		last = err
	}
	<-sent
	synctest.Wait()
	if len(got) != requests {
		t.Errorf("%d requests came, want %d", len(got), requests)
	}
	for i, s := range got {
		if s != body(i) {
			t.Errorf("request %d is %q, want %q", i, s, body(i))
			break
		}
	}
	return cuts, 3 * requests
}
