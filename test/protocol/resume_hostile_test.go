package protocol_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// changed returns every text that a token becomes if one bit changes.
func changed(t *testing.T, token string) (list []string) {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range token {
		digit := strings.IndexByte(alphabet, token[i])
		if digit < 0 {
			t.Fatalf("the token %q is not base64url", token)
		}
		for bit := range 6 {
			list = append(list, token[:i]+string(alphabet[digit^1<<bit])+token[i+1:])
		}
	}
	return list
}

// undisturbed checks that the session still continues over its connection.
func (b *resumeBed) undisturbed() {
	b.t.Helper()
	b.steps()
	b.push("still here")
	b.next("still here")
}

// packetsBeforeTheAck are malformed before the ack of a connection that resumes a session
// of which two packets were sent at most.
var packetsBeforeTheAck = map[string][]byte{
	"a second handshake":                     testkit.Pack(packet.Handshake, `{"sys":{"resume":{}}}`),
	"a request":                              testkit.Request(9, "Game.Do", "early"),
	"an acknowledgment of what was not sent": testkit.Acknowledge(1 << 40),
	"an acknowledgment in a longer form":     testkit.Pack(packet.Heartbeat, "\x81\x00"),
	"an unknown packet":                      []byte("\x09\x00\x00\x00"),
}

var hostileResumes = []struct {
	name string
	opts []nano.Option
	run  func(b *resumeBed)
}{
	{"a token with one changed bit", nil, func(b *resumeBed) {
		token := b.client.Token()
		refused := func(list []string, reason string) {
			b.t.Helper()
			for _, guess := range list {
				w, a := b.ask(guess, 1)
				if a.Resumed || a.Reason != reason {
					b.t.Fatalf("token %q for %q: answer %+v, want the reason %q", guess, token, a, reason)
				}
				_ = w.Conn.Close()
			}
		}
		refused(changed(b.t, token), "unknown")
		b.undisturbed()
		b.drop()
		refused(changed(b.t, token), "unknown")
		_ = b.s.Kick("cheating")
		synctest.Wait()
		refused(changed(b.t, token), "unknown")
		refused([]string{token}, "ended")
	}},
	{"a token in another text form", nil, func(b *resumeBed) {
		token := b.client.Token()
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, form := range []string{token + "=", token + "==", " " + token, token + "\n", token[:7] + "\r\n" + token[7:], token + token,
			fmt.Sprintf("%x", raw), token[:len(token)-1]} {
			w, a := b.ask(form, 1)
			if a.Resumed || a.Reason != "unknown" {
				b.t.Errorf("token %q: answer %+v, want unknown", form, a)
			}
			_ = w.Conn.Close()
		}
		b.undisturbed()
	}},
	{"a used token while the connection is alive", nil, func(b *resumeBed) {
		used := b.client.Token()
		b.drop()
		b.connect()
		b.forget()
		for _, received := range []uint64{0, 1, 1 << 50} {
			w, a := b.ask(used, received)
			if a.Resumed || a.Reason != "unknown" {
				b.t.Errorf("received %d: answer %+v, want unknown", received, a)
			}
			_ = w.Conn.Close()
		}
		b.undisturbed()
	}},
	{"an enormous received", nil, func(b *resumeBed) {
		token := b.client.Token()
		for _, n := range []string{"9007199254740992", "18446744073709551615", "18446744073709551616", "1e300", "-1", "1.5", `"1"`} {
			text, err := b.dial().Handshake(fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":%s}}}`, token, n))
			if err != nil || !strings.HasPrefix(text, `{"code":500,`) {
				b.t.Errorf("received %s was answered by %s, %v", n, text, err)
			}
		}
		b.undisturbed()
		if _, a := b.ask(token, 1<<53-1); a.Resumed || a.Reason != "ended" || a.Kick != nil {
			b.t.Errorf("answer %+v, want ended", a)
		}
		b.closed(session.ErrProtocol)
		if _, a := b.ask(token, 1); a.Resumed || a.Reason != "ended" {
			b.t.Errorf("answer %+v, want ended: the tokens end with the session", a)
		}
	}},
	{"bytes before the ack", nil, func(b *resumeBed) {
		for name, wire := range packetsBeforeTheAck {
			b.drop()
			b.forget()
			w, a := b.ask(b.client.Token(), b.client.Received())
			if !a.Resumed {
				b.t.Fatalf("%s: answer %+v", name, a)
			}
			_ = w.Send(wire)
			if e := w.ReadUntilEnd(); len(e.Messages) != 0 {
				b.t.Errorf("%s: %+v came", name, e)
			}
			synctest.Wait()
			if !b.s.Suspended() || b.s.Closed() {
				b.t.Errorf("%s: Suspended() = %v, Closed() = %v, want the session suspended", name, b.s.Suspended(), b.s.Closed())
			}
			_ = w.Conn.Close()
			if a := b.connect(); !a.Resumed {
				b.t.Fatalf("%s: answer %+v after it", name, a)
			}
			b.steps("resume")
		}
		b.undisturbed()
	}},
	{"a second handshake after the ack", nil, func(b *resumeBed) {
		_ = b.wire.Send(testkit.Pack(packet.Handshake, b.client.Handshake()))
		var k testkit.KickError
		if _, err := b.client.Next(b.wire); !errors.As(err, &k) {
			b.t.Errorf("%v came, want a kick", err)
		}
		b.closed(session.ErrProtocol)
		b.refused("ended")
	}},
	{"a handshake that was not acknowledged is resumed", nil, func(b *resumeBed) {
		first := b.dial()
		a, err := testkit.Ask(first, `{"sys":{"resume":{}}}`)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, a := b.ask(a.Token, 0); a.Resumed || a.Reason != "unknown" { // its connection is alive
			b.t.Errorf("answer %+v, want unknown", a)
		}
		if err := first.Send(testkit.Pack(packet.Ack, "")); err != nil {
			b.t.Fatal(err)
		}
		if err := first.Echo(1, "served"); err != nil {
			b.t.Errorf("the first connection: %v", err)
		}
	}},
	{"bytes of a connection that was taken over", nil, func(b *resumeBed) {
		old := b.wire
		w, a := b.ask(b.client.Token(), 1)
		if !a.Resumed || a.Received != 1 {
			b.t.Fatalf("answer %+v", a)
		}
		for _, late := range [][]byte{testkit.Request(2, "Game.Do", "late"), testkit.Acknowledge(1 << 40), testkit.Pack(packet.Kick, ""), {9, 0, 0, 0}} {
			_ = old.Send(late) // may fail, because the server has closed it
		}
		synctest.Wait()
		b.client.Lost()
		b.wire = w
		if err := b.client.Enter(w, a); err != nil {
			b.t.Fatal(err)
		}
		b.client.Send(testkit.Request(2, "Game.Do", "again"))
		b.next("again")
		b.steps("suspend: "+session.ErrClientClosed.Error(), "resume", "do again")
	}},
	{"acknowledgments that go back", nil, func(b *resumeBed) {
		b.push("1", "2", "3")
		b.next("1", "2", "3")
		for _, n := range []uint64{3, 4, 2, 0, 4, 1} {
			_ = b.wire.Send(testkit.Acknowledge(n))
		}
		b.steps()
		b.drop()
		if a := b.connect(); !a.Resumed {
			b.t.Errorf("answer %+v", a)
		}
		b.push("4")
		b.next("4") // nothing is sent again
	}},
	{"a flood of acknowledgments", []nano.Option{nano.WithMessageRate(1, 5)}, func(b *resumeBed) {
		for n := range uint64(50) { // each one acknowledges something new, so it is free
			b.push("x")
			b.next("x")
			_ = b.wire.Send(testkit.Acknowledge(n + 2))
		}
		b.client.Send(testkit.Request(2, "Game.Do", "served"))
		b.next("served")
		b.steps("do served")
		go func() {
			for range 10_000 {
				if b.wire.Send(testkit.Acknowledge(51)) != nil {
					return
				}
			}
		}()
		var k testkit.KickError
		if _, err := b.client.Next(b.wire); !errors.As(err, &k) || !strings.Contains(string(k), `"rate limit"`) {
			b.t.Errorf("%v came, want a kick for the rate", err)
		}
		b.closed(session.ErrLimit)
		b.refused("ended")
	}},
	{"a kick ends all tokens", nil, func(b *resumeBed) {
		tokens := []string{b.client.Token()}
		b.drop()
		for range 3 {
			w, a := b.ask(tokens[0], 1)
			tokens = append(tokens, a.Token)
			_ = w.Conn.Close()
			synctest.Wait()
		}
		_ = b.s.Kick("cheating")
		synctest.Wait()
		for i, token := range tokens {
			for range 2 {
				if _, a := b.ask(token, 1); a.Resumed || a.Reason != "ended" || string(a.Kick) != `{"reason":"cheating","code":"kicked"}` {
					b.t.Errorf("token %d: answer %+v, want ended and the kick", i, a)
				}
			}
		}
	}},
	{"an overflow ends all tokens", nil, func(b *resumeBed) {
		b.push("1")
		b.next("1")
		_ = b.wire.Send(testkit.Acknowledge(2))
		synctest.Wait()
		for _, received := range []uint64{1, 2} { // the second is right, but comes too late
			if _, a := b.ask(b.client.Token(), received); a.Resumed || a.Reason != "overflow" {
				b.t.Errorf("received %d: answer %+v, want overflow", received, a)
			}
		}
	}},
}

// TestHostileResumes checks what a client that breaks the rules of resume gets.
func TestHostileResumes(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, c := range hostileResumes {
			t.Run(kind+"/"+c.name, func(t *testing.T) { inResumeBed(t, kind, c.opts, c.run) })
		}
	}
}

// TestResumesOfOneTokenAtOnce resumes one session over many connections at once, in
// several rounds. Each client sends its ack and a request without waiting for the answer.
// The session continues over one of the connections, and serves only that one's request.
func TestResumesOfOneTokenAtOnce(t *testing.T) {
	const rounds, clients = 20, 8
	for _, kind := range []string{"tcp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var served, suspended, resumed atomic.Int64
			var open atomic.Pointer[session.Session]
			at := testkit.Start(t, kind, testkit.NewGame(func(s *session.Session, data []byte) error {
				if open.CompareAndSwap(nil, s) {
					s.OnSuspend(func(*session.Session, error) { suspended.Add(1) })
					s.OnResume(func(*session.Session) { resumed.Add(1) })
				}
				if s == open.Load() { // others are new, because their clients came too late
					served.Add(1)
				}
				return s.Response(data)
			}), nano.WithResume(nano.Resume{}))
			w, err := at.Wire()
			if err != nil {
				t.Fatal(err)
			}
			a, err := testkit.Ask(w, `{"sys":{"resume":{}}}`)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Send(testkit.Pack(packet.Ack, "")); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Call(1, "Game.Do", "first"); err != nil {
				t.Fatal(err)
			}
			token := a.Token
			for round := range rounds {
				token = resumeAtOnce(t, at, token, uint64(round+2), clients)
				if t.Failed() {
					return
				}
			}
			s := open.Load()
			testkit.Eventually(t, "the last connection is lost", s.Suspended)
			if s.Closed() || served.Load() != rounds+1 {
				t.Errorf("Closed() = %v after %d requests, want an open session and %d", s.Closed(), served.Load(), rounds+1)
			}
			testkit.Eventually(t, "suspensions and resumes alternate", func() bool { return suspended.Load() == resumed.Load()+1 })
		})
	}
}

// resumeAtOnce resumes the session of token over many connections. It returns the token
// of the one that is served, which it closes at the end.
func resumeAtOnce(t *testing.T, at *testkit.Server, token string, id uint64, clients int) string {
	t.Helper()
	handshake := fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":%d}}}`, token, id-1)
	opening := append(testkit.Pack(packet.Handshake, handshake), testkit.Pack(packet.Ack, "")...)
	opening = append(opening, testkit.Request(id, "Game.Do", "once")...)
	var mu sync.Mutex
	var winners []string
	start := make(chan struct{})
	var group sync.WaitGroup
	for range clients {
		w, err := at.Wire()
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			defer w.Abort()
			<-start
			text, err := "", w.Send(opening)
			if err == nil {
				_, text, err = w.Packet()
			}
			if err != nil {
				return // a later one has taken the session over
			}
			var answer struct {
				Sys struct{ Resume testkit.ResumeAnswer }
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Errorf("the handshake was answered by %q", text)
				return
			}
			a := answer.Sys.Resume
			if !a.Resumed {
				if a.Reason != "unknown" { // another one has used the token up
					t.Errorf("answer %+v", a)
				}
				return
			}
			m, err := w.Message()
			if err != nil {
				return // taken over
			}
			if string(m.Data) != "once" || m.ID != id {
				t.Errorf("%v came, want the answer to request %d", m, id)
			}
			mu.Lock()
			defer mu.Unlock()
			winners = append(winners, a.Token)
		})
	}
	close(start)
	group.Wait()
	if len(winners) != 1 {
		t.Fatalf("%d connections were served, want 1", len(winners))
	}
	return winners[0]
}
