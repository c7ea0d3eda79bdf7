//go:build linux && !nano_portable

package agent

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/lonng/nano/internal/packet"
)

const (
	askNothing = `{}`
	askResume  = `{"sys":{"resume":{}}}`
)

// askedOnce connects a client over a real socket, which asks one thing and acknowledges the
// answer.
func askedOnce(t testing.TB, h *Hub, handshake string) (p *peer, a *Agent, token string) {
	t.Helper()
	client, server := socketPair(t)
	h.Accept(server)
	p = &peer{t, client}
	p.send(pack(t, packet.Handshake, handshake))
	_, body := p.packet()
	var answer struct {
		Sys struct{ Resume struct{ Token string } }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	p.send(pack(t, packet.Ack, ""))
	p.echo(1, "hello")
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.agents {
		if a.out.conn.socket == server {
			return p, a, answer.Sys.Resume.Token
		}
	}
	t.Fatal("the host did not take the connection")
	return nil, nil, ""
}

// atRest reports whether a session with resume keeps nothing but its counts.
func atRest(a *Agent) bool {
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	return a.out.resume.active == nil && a.out.recent == nil && a.out.conn.flags.has(flagParked)
}

// TestSessionAtRestIsSmall checks how much more heap a parked session with resume takes
// than one without. That is 48 bytes, the size class of resumption. The heap itself varies
// by about 30 bytes a session.
func TestSessionAtRestIsSmall(t *testing.T) {
	const most, alone = 104, "NANO_TEST_ALONE"
	if os.Getenv(alone) == "" { // other tests of the process would change the heap
		test := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSessionAtRestIsSmall$", "-test.v")
		test.Env = append(os.Environ(), alone+"=1")
		out, err := test.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Errorf("the test alone: %v", err)
		}
		return
	}
	startGoroutines(5000)
	t.Run("caches of packages", func(t *testing.T) { heapAtRest(t, askResume) })
	var heap [2][]int64
	for range 3 {
		t.Run("plain", func(t *testing.T) { heap[0] = append(heap[0], heapAtRest(t, askNothing)) })
		t.Run("resumable", func(t *testing.T) { heap[1] = append(heap[1], heapAtRest(t, askResume)) })
	}
	slices.Sort(heap[0])
	slices.Sort(heap[1])
	plain, resumable := heap[0][1], heap[1][1]
	t.Logf("a parked session takes %d bytes of heap, with resume %d more", plain, resumable-plain)
	if resumable-plain > most {
		t.Errorf("a parked session with resume takes %d bytes more than one without, want at most %d", resumable-plain, most)
	}
}

// startGoroutines starts n goroutines at the same time, and returns when they have ended.
// The runtime never frees their descriptors, and uses them for later goroutines.
func startGoroutines(n int) {
	var group sync.WaitGroup
	release := make(chan struct{})
	for range n {
		group.Go(func() { <-release })
	}
	close(release)
	group.Wait()
}

// heapAtRest returns the heap per parked connection, including the client's part.
func heapAtRest(t *testing.T, handshake string) int64 {
	const sessions = 1000
	h := newHost(t, withResume)
	heap := func() int64 {
		least := int64(math.MaxInt64)
		for range 4 { // it takes two collections to free the contents of pools, and goroutines that end use pools
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			least = min(least, int64(m.HeapAlloc))
		}
		return least
	}
	_, first, _ := askedOnce(t, h, handshake)
	parkNow(t, first)
	before := heap()
	agents := make([]*Agent, sessions)
	for i := range agents {
		var p *peer
		if p, agents[i], _ = askedOnce(t, h, handshake); handshake == askResume {
			p.send(pack(t, packet.Heartbeat, "\x01"))
		}
	}
	for _, a := range agents {
		if handshake == askResume {
			eventually(t, func() bool { return acked(a) == 1 })
		}
		parkNow(t, a)
	}
	return (heap() - before) / sessions
}

// TestSessionRests takes a session in and out of rest: by a push to a parked connection,
// by its acknowledgment, by a request, and by a resume.
func TestSessionRests(t *testing.T) {
	t.Parallel()
	h := newHost(t, withResume)
	p, a, token := askedOnce(t, h, askResume)
	c := parkNow(t, a)
	if atRest(a) {
		t.Error("the session rests before its client has acknowledged the answer")
	}
	acknowledge := func(n byte) {
		t.Helper()
		p.send(pack(t, packet.Heartbeat, string([]byte{n})))
		eventually(t, func() bool { return acked(a) == uint64(n) && atRest(a) })
	}
	if typ, body := p.packet(); typ != packet.Heartbeat || string(body) != "\x01" {
		t.Errorf("%v %x came, want the acknowledgment of the request before the session rests", typ, body)
	}
	acknowledge(1)
	for n := byte(2); n < 5; n++ {
		if err := a.Push("news", []byte{n}); err != nil {
			t.Fatal(err)
		}
		if m := p.message(); string(m.Data) != string([]byte{n}) {
			t.Errorf("%q came, want push %d", m.Data, n)
		}
		if atRest(a) {
			t.Error("the session rests before its client has acknowledged the push")
		}
		acknowledge(n)
	}
	p.echo(2, "two")
	p.send(pack(t, packet.Heartbeat, "\x05"))
	eventually(t, func() bool { return acked(a) == 5 })
	parkNow(t, a)
	if !atRest(a) {
		t.Error("the session does not rest after a request")
	}
	if typ, body := p.packet(); typ != packet.Heartbeat || string(body) != "\x02" {
		t.Errorf("%v %x came, want the acknowledgment of the second request", typ, body)
	}
	_ = p.Close()
	eventually(t, a.Suspended)
	if err := a.Push("news", []byte("missed")); err != nil {
		t.Fatal(err)
	}
	client, server := socketPair(t)
	h.Accept(server)
	q := &peer{t, client}
	q.send(pack(t, packet.Handshake, `{"sys":{"resume":{"token":"`+token+`","received":5}}}`))
	_, body := q.packet()
	var answer struct {
		Sys struct{ Resume resumeAnswer }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	if r := answer.Sys.Resume; !r.Resumed || r.Received == nil || *r.Received != 2 || r.Token == token {
		t.Fatalf("the handshake was answered by %s", body)
	}
	q.send(pack(t, packet.Ack, ""))
	if m := q.message(); string(m.Data) != "missed" {
		t.Errorf("%q came, want the push", m.Data)
	}
	q.send(pack(t, packet.Heartbeat, "\x06"))
	eventually(t, func() bool { return acked(a) == 6 })
	if d := parkNow(t, a); d == c || !atRest(a) {
		t.Error("the session does not rest after a resume")
	}
	for n, valid := range map[string]bool{token: false, answer.Sys.Resume.Token: true} {
		if k, ok := parseToken(n); !ok || (resumes(h, k) == a) != valid {
			t.Errorf("a token of the session is valid: %v, want %v", !valid, valid)
		}
	}
	q.send(pack(t, packet.Heartbeat, "\x07")) // more than was sent
	eventually(t, func() bool { return a.session.Closed() })
}

// TestRestingSessionIsTakenOver checks that a session at rest is resumed with the counts
// that it had.
func TestRestingSessionIsTakenOver(t *testing.T) {
	t.Parallel()
	h := newHost(t, withResume)
	p, a, token := askedOnce(t, h, askResume)
	p.send(pack(t, packet.Heartbeat, "\x01"))
	eventually(t, func() bool { return acked(a) == 1 })
	parkNow(t, a)
	if !atRest(a) {
		t.Fatal("the session does not rest")
	}
	for _, received := range []int{1, 0} { // the second is less than it has acknowledged
		client, server := socketPair(t)
		h.Accept(server)
		q := &peer{t, client}
		q.send(pack(t, packet.Handshake, `{"sys":{"resume":{"token":"`+token+`","received":`+strconv.Itoa(received)+`}}}`))
		_, body := q.packet()
		var answer struct {
			Sys struct{ Resume resumeAnswer }
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		if r := answer.Sys.Resume; r.Resumed != (received == 1) || received == 0 && r.Reason != reasonOverflow {
			t.Errorf("received %d was answered by %s", received, body)
		}
	}
}
