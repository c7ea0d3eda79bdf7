package agent

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// TestSuspendedSessionIsSmall checks that a suspended session with empty buffers takes at
// most 12 KiB of heap.
func TestSuspendedSessionIsSmall(t *testing.T) {
	const sessions, most = 500, 12 << 10
	h := newHost(t, func(c *Config) { c.Resume = Resume{Window: time.Minute, Buffer: 256 << 10, MaxMemory: 256 << 20} })
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // the second collection frees the contents of pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	visit := func() {
		client, conn := net.Pipe()
		h.Accept(conn)
		p := &peer{t, client}
		p.send(pack(t, packet.Handshake, `{"sys":{"resume":{}}}`))
		p.packet()
		p.send(pack(t, packet.Ack, ""))
		for id := range uint64(20) {
			p.echo(id+1, "hello")
		}
		p.send(pack(t, packet.Heartbeat, "\x14")) // acknowledges all 20
		_ = client.Close()
	}
	visit()
	before := heap()
	for range sessions {
		visit()
	}
	eventually(t, func() bool { return h.Counts.Suspended() == sessions+1 && h.Counts.Open.Load() == 0 })
	each := (heap() - before) / sessions
	t.Logf("a suspended session takes %d bytes", each)
	if each > most {
		t.Errorf("a suspended session takes %d bytes, want at most %d", each, most)
	}
	agents := h.snapshot()
	if i := slices.IndexFunc(agents, func(a *Agent) bool { return !a.Suspended() || a.Queued() != 0 }); i >= 0 {
		t.Errorf("Suspended() = %v, Queued() = %d", agents[i].Suspended(), agents[i].Queued())
	}
}

// guesses returns two handshakes to compare: one that asks for a new session, and one
// with a guessed token.
func guesses() (fresh, guess string) {
	var guessed token
	_, _ = rand.Read(guessed[:])
	return `{"sys":{"resume":{}}}`, `{"sys":{"resume":{"token":"` + guessed.text() + `","received":12}}}`
}

// shakeHands connects, sends a handshake, reads the answer and closes the connection.
func shakeHands(t testing.TB, h *Hub, handshake string) {
	t.Helper()
	client, conn := net.Pipe()
	h.Accept(conn)
	p := &peer{t, client}
	p.send(pack(t, packet.Handshake, handshake))
	p.packet()
	_ = client.Close()
}

// TestGuessedTokens checks that a guessed token costs the server about as much as a
// handshake. It stores nothing and allocates little more.
func TestGuessedTokens(t *testing.T) {
	const rounds = 500
	h := newHost(t, func(c *Config) { c.Resume = Resume{Window: time.Minute, Buffer: 256 << 10, MaxMemory: 256 << 20} })
	mallocs := func(handshake string) float64 {
		shakeHands(t, h, handshake)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			shakeHands(t, h, handshake)
		}
		eventually(t, func() bool { return h.Counts.Open.Load() == 0 })
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / rounds
	}
	fresh, guess := guesses()
	a, b := mallocs(fresh), mallocs(guess)
	t.Logf("a handshake allocates %.0f objects, a guess %.0f", a, b)
	if b > 1.25*a {
		t.Errorf("a guess allocates %.0f objects and a handshake %.0f, want at most a quarter more", b, a)
	}
	if n := h.Counts.ResumesRefused()[reasonUnknown]; n != rounds+1 {
		t.Errorf("%d guesses were counted, want %d", n, rounds+1)
	}
	k := &h.tokens
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ended)+len(k.queue) != 0 || h.Counts.Held.Load() != 0 {
		t.Errorf("%d ended sessions and %d bytes are kept, want nothing", len(k.ended), h.Counts.Held.Load())
	}
}

// BenchmarkGuess compares the time of a handshake with that of a guessed token, including
// the client's work.
func BenchmarkGuess(b *testing.B) {
	fresh, guess := guesses()
	for _, kind := range []struct{ name, handshake string }{{"plain", "{}"}, {"fresh", fresh}, {"guess", guess}} {
		b.Run(kind.name, func(b *testing.B) {
			h := newHost(b, func(c *Config) { c.Resume = Resume{Window: time.Minute, Buffer: 256 << 10, MaxMemory: 256 << 20} })
			b.ReportAllocs()
			for b.Loop() {
				shakeHands(b, h, kind.handshake)
			}
		})
	}
}

// TestAgentClosesWithoutItsConnection checks that an agent may close while another agent
// takes over its connection, and that the connection can be returned to it.
func TestAgentClosesWithoutItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withResume)
		_, _, token := resumable(t, h)
		_, c, _ := returning(t, h, token)
		first := c.agent.Load()
		first.release(c)
		_ = first.shut(session.ErrResumeOverflow, farewell{})
		first.takeBack(c)
		c.finishReading(session.ErrBrokenPipe) // as the connection's reader does
	})
}

// TestResumeOverWebSocket checks a session that is resumed over WebSocket. The host checks that
// the requests of the upgrades are not kept.
func TestResumeOverWebSocket(t *testing.T) {
	h := newHost(t, withResume)
	ask := "{}"
	for received := range uint64(3) {
		client, server := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		go (&player{t: t, h: h}).upgrade(server)
		r, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the upgrade was answered by %v, %v", r, err)
		}
		_ = r.Body.Close()
		p := &peer{t, &unframed{Conn: client, t: t}}
		p.send(pack(t, packet.Handshake, `{"sys":{"resume":`+ask+`}}`))
		_, body := p.packet()
		var answer struct {
			Sys struct {
				Resume struct {
					Token   string
					Resumed bool
				}
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil || answer.Sys.Resume.Resumed != (received > 0) {
			t.Fatalf("the handshake was answered by %s, %v", body, err)
		}
		p.send(pack(t, packet.Ack, ""))
		p.echo(received+1, "goes on")
		ask = fmt.Sprintf(`{"token":%q,"received":%d}`, answer.Sys.Resume.Token, received+1)
	}
}
