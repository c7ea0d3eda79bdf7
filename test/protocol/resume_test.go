package protocol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

const window = 30 * time.Second

var resumeContract = []struct {
	name string
	opts []nano.Option
	run  func(b *resumeBed)
}{
	{"what was sent while the client was away comes in order", nil, func(b *resumeBed) {
		b.push("1", "2")
		b.drop()
		b.push("3", "4")
		if !b.s.Suspended() || b.s.Closed() || b.s.Context().Err() != nil {
			b.t.Error("want the session suspended and open")
		}
		if n := b.s.NetworkEntity().(interface{ Queued() int }).Queued(); n == 0 {
			b.t.Error("Queued() = 0 while messages wait")
		}
		if a := b.connect(); !a.Resumed || a.Window != 30 || a.Received != 1 {
			b.t.Errorf("answer %+v", a)
		}
		b.push("5")
		b.next("1", "2", "3", "4", "5")
		if b.s.Suspended() {
			b.t.Error("Suspended() = true after the resume")
		}
		b.steps("suspend: "+session.ErrClientClosed.Error(), "resume")
		if st := b.at.Stats(); st.Resume.Resumed != 1 || st.Resume.Suspensions != 1 || st.Resume.Suspended != 0 || st.Resume.Replayed != 4 || st.Sessions != 1 {
			b.t.Errorf("Stats().Resume = %+v", st.Resume)
		}
	}},
	{"what was received is not sent again", nil, func(b *resumeBed) {
		b.push("1", "2")
		b.next("1", "2")
		b.drop()
		b.push("3")
		b.connect()
		b.next("3")
	}},
	{"packets that the server lacks are sent again, behind OnResume", nil, func(b *resumeBed) {
		b.drop()
		b.client.Send(testkit.Request(2, "Game.Do", "two"))
		b.client.Send(testkit.Request(3, "Game.None", ""))
		b.client.Send(testkit.Request(4, "Game.Do", "four"))
		b.connect()
		b.next("two")
		if m, err := b.client.Next(b.wire); err != nil || !m.Err || m.ID != 3 {
			b.t.Errorf("%v, %v came, want an error response", m, err)
		}
		b.next("four")
		b.drop()
		if a := b.connect(); a.Received != 4 {
			b.t.Errorf("received = %d, want 4: a refused request counts", a.Received)
		}
		b.steps("suspend: "+session.ErrClientClosed.Error(), "resume", "do two", "do four", "suspend: "+session.ErrClientClosed.Error(), "resume")
	}},
	{"the window passes", nil, func(b *resumeBed) {
		b.drop()
		time.Sleep(window - time.Millisecond)
		b.connect()
		b.drop()
		b.forget()
		time.Sleep(window)
		b.steps("close: " + session.ErrResumeExpired.Error() + ": " + session.ErrClientClosed.Error())
		b.refused("expired")
		st := b.at.Stats()
		if st.Resume.Expired != 1 || st.Resume.Refused["expired"] != 1 || st.Resume.Suspended != 0 || st.Resume.BytesHeld != 0 {
			b.t.Errorf("Stats().Resume = %+v", st.Resume)
		}
	}},
	{"reasons are remembered for one window", nil, func(b *resumeBed) {
		token := b.client.Token()
		b.drop()
		time.Sleep(window + window - time.Second)
		if _, a := b.ask(token, 0); a.Reason != "expired" {
			b.t.Errorf("reason %q, want expired", a.Reason)
		}
		time.Sleep(2 * time.Second)
		if _, a := b.ask(token, 0); a.Reason != "unknown" {
			b.t.Errorf("reason %q, want unknown", a.Reason)
		}
	}},
	{"a silent client is suspended", nil, func(b *resumeBed) {
		go func() {
			for {
				if _, _, err := b.wire.Packet(); err != nil {
					return
				}
			}
		}()
		time.Sleep(3 * interval)
		b.steps("suspend: " + session.ErrHeartbeat.Error())
		b.client.Lost()
		if a := b.connect(); !a.Resumed {
			b.t.Errorf("answer %+v", a)
		}
	}},
	{"unknown tokens", nil, func(b *resumeBed) {
		for _, token := range []string{"", "x", strings.Repeat("A", 24), strings.Repeat("A", 5000)} {
			w, a := b.ask(token, 7)
			if a.Resumed || a.Reason != "unknown" || a.Token == "" {
				b.t.Errorf("token %q: answer %+v", token, a)
			}
			_ = w.Conn.Close()
		}
	}},
	{"a token is good until an ack arrives, then only that of the acknowledged connection", nil, func(b *resumeBed) {
		first := b.client.Token()
		b.drop()
		var given []string
		for range 20 {
			w, a := b.ask(first, 1)
			if !a.Resumed || a.Token == first {
				b.t.Fatalf("answer %+v after %d tries", a, len(given))
			}
			given = append(given, a.Token)
			_ = w.Conn.Close()
			synctest.Wait()
		}
		last := given[len(given)-1]
		w, a := b.ask(last, 1)
		if !a.Resumed {
			b.t.Fatalf("answer %+v", a)
		}
		if err := w.Send(testkit.Pack(packet.Ack, "")); err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
		for _, old := range []string{first, last, given[18]} {
			if _, a := b.ask(old, 1); a.Reason != "unknown" {
				b.t.Errorf("a token that was used up: %+v", a)
			}
		}
		if b.s.Suspended() || b.s.Closed() {
			b.t.Error("the session was disturbed")
		}
	}},
	{"the window stands still until the ack and begins anew without it", nil, func(b *resumeBed) {
		b.drop()
		time.Sleep(window - time.Second)
		w, _ := b.ask(b.client.Token(), 1)
		time.Sleep(5 * time.Second)
		if !b.s.Suspended() {
			b.t.Error("not suspended before the ack")
		}
		_ = w.Send([]byte("\x09malformed"))
		synctest.Wait()
		_ = w.Conn.Close()
		time.Sleep(window - time.Second)
		if a := b.connect(); !a.Resumed {
			b.t.Errorf("answer %+v", a)
		}
	}},
	{"a session begins with its first ack", nil, func(b *resumeBed) {
		w := b.dial()
		a, err := testkit.Ask(w, `{"sys":{"resume":{}}}`)
		if err != nil || a.Resumed || a.Reason != "" || a.Window != 30 {
			b.t.Fatalf("%+v, %v", a, err)
		}
		_ = w.Conn.Close()
		synctest.Wait()
		if _, a := b.ask(a.Token, 0); a.Reason != "unknown" {
			b.t.Errorf("answer %+v", a)
		}
	}},
	{"a resume while the old connection is believed alive", nil, func(b *resumeBed) {
		old := b.wire
		b.push("1")
		b.client.Lost()
		if a := b.connect(); !a.Resumed {
			b.t.Fatalf("answer %+v", a)
		}
		b.next("1")
		for { // no kick on the old connection
			typ, _, err := old.Packet()
			if err != nil {
				break
			}
			if typ == packet.Kick {
				b.t.Error("a kick came over the connection that was taken over")
			}
		}
		b.steps("suspend: "+session.ErrClientClosed.Error(), "resume")
		b.push("2")
		b.next("2")
	}},
	{"of two resumes the later wins", nil, func(b *resumeBed) {
		token := b.client.Token()
		w1, a1 := b.ask(token, 1)
		w2, a2 := b.ask(token, 1)
		if !a1.Resumed || !a2.Resumed || a1.Token == a2.Token {
			b.t.Fatalf("answers %+v, %+v", a1, a2)
		}
		_ = w1.Send(testkit.Pack(packet.Ack, ""))
		_ = w1.Send(testkit.Pack(packet.Kick, "")) // has no effect
		if err := w2.Send(testkit.Pack(packet.Ack, "")); err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
		if b.s.Suspended() || b.s.Closed() {
			b.t.Error("want the session on the later connection")
		}
	}},
	{"received above what was sent", nil, func(b *resumeBed) {
		b.push("1")
		_, a := b.ask(b.client.Token(), 3)
		if a.Resumed || a.Reason != "ended" || a.Kick != nil {
			b.t.Errorf("answer %+v", a)
		}
		b.closed(session.ErrProtocol)
	}},
	{"received above what was sent while suspended", nil, func(b *resumeBed) {
		b.drop()
		b.push("1")
		if _, a := b.ask(b.client.Token(), 2); a.Reason != "ended" {
			b.t.Errorf("answer %+v", a)
		}
	}},
	{"received below an acknowledgment", nil, func(b *resumeBed) {
		b.push("1")
		b.next("1")
		if err := b.wire.Send(testkit.Acknowledge(2)); err != nil {
			b.t.Fatal(err)
		}
		b.drop()
		b.forget()
		if _, a := b.ask(b.client.Token(), 1); a.Reason != "overflow" {
			b.t.Errorf("answer %+v", a)
		}
		b.steps("close: " + session.ErrResumeOverflow.Error() + ": " + session.ErrSlowClient.Error())
	}},
	{"beyond the bound the oldest is forgotten", []nano.Option{nano.WithResume(nano.Resume{Buffer: 1000})}, func(b *resumeBed) {
		for range 10 {
			b.push(strings.Repeat("x", 300))
		}
		b.push("last")
		for range 10 {
			b.next(strings.Repeat("x", 300))
		}
		b.drop() // only the last packet is missing
		if a := b.connect(); !a.Resumed {
			b.t.Errorf("answer %+v", a)
		}
		b.next("last")
		for range 10 {
			b.push(strings.Repeat("x", 300))
		}
		b.drop()
		b.refused("overflow")
	}},
	{"beyond the bound a suspended session ends", []nano.Option{nano.WithResume(nano.Resume{Buffer: 1000})}, func(b *resumeBed) {
		b.drop()
		b.forget()
		b.push("x", strings.Repeat("x", 500))
		if err := b.s.Push("news", make([]byte, 600)); !errors.Is(err, session.ErrSlowClient) {
			b.t.Errorf("Push = %v, want ErrSlowClient", err)
		}
		b.steps("close: " + session.ErrResumeOverflow.Error() + ": " + session.ErrSlowClient.Error())
		b.refused("overflow")
		if st := b.at.Stats().Resume; st.Overflowed != 1 || st.BytesHeld != 0 {
			b.t.Errorf("Stats().Resume = %+v", st)
		}
	}},
	{"beyond the bound of all, suspended sessions end", []nano.Option{nano.WithResume(nano.Resume{MaxMemory: 5 << 10})}, func(b *resumeBed) {
		b.drop()
		for range 10 {
			var c testkit.ResumeClient
			w := b.dial()
			if _, err := c.Connect(w); err != nil {
				b.t.Fatal(err)
			}
			synctest.Wait()
			_ = w.Conn.Close()
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if st := b.at.Stats().Resume; st.Suspended != 5 || st.BytesHeld != 5<<10 || st.Overflowed != 6 {
			b.t.Errorf("Stats().Resume = %+v, want 5 suspended", st)
		}
		b.refused("overflow") // it was the oldest session
	}},
	{"a kick while suspended", nil, func(b *resumeBed) {
		b.drop()
		b.forget()
		if err := b.s.Kick("cheating"); err != nil {
			b.t.Error(err)
		}
		b.steps("close: " + session.ErrKicked.Error())
		if a := b.connect(); a.Reason != "ended" || string(a.Kick) != `{"reason":"cheating","code":"kicked"}` {
			b.t.Errorf("answer %+v", a)
		}
	}},
	{"a kick before the ack of a resume", nil, func(b *resumeBed) {
		b.drop()
		w, _ := b.ask(b.client.Token(), 1)
		_ = b.s.Kick("cheating")
		if typ, body, err := w.Packet(); typ != packet.Kick || body != `{"reason":"cheating","code":"kicked"}` {
			b.t.Errorf("%v %s, %v came, want the kick", typ, body, err)
		}
	}},
	{"a close of the program is a kick too", nil, func(b *resumeBed) {
		b.s.Close()
		var k testkit.KickError
		if _, err := b.client.Next(b.wire); !errors.As(err, &k) {
			b.t.Errorf("%v came, want a kick", err)
		}
		if a := b.connect(); a.Reason != "ended" || string(a.Kick) != string(k) {
			b.t.Errorf("answer %+v, want the kick %s", a, k)
		}
	}},
	{"malformed bytes end the session", nil, func(b *resumeBed) {
		_ = b.wire.Send([]byte("\x09\x00\x00\x00"))
		var k testkit.KickError
		if _, err := b.client.Next(b.wire); !errors.As(err, &k) {
			b.t.Errorf("%v came, want a kick", err)
		}
		b.refused("ended")
	}},
	{"the client leaves with a kick packet", nil, func(b *resumeBed) {
		_ = b.wire.Send(testkit.Pack(packet.Kick, "any body"))
		b.closed(session.ErrClientClosed)
		if a := b.connect(); a.Reason != "ended" || a.Kick != nil {
			b.t.Errorf("answer %+v", a)
		}
	}},
	{"heartbeats that are not an acknowledgment", nil, func(b *resumeBed) {
		_ = b.wire.Send(testkit.Pack(packet.Heartbeat, ""))
		_ = b.wire.Send(testkit.Acknowledge(0))
		_ = b.wire.Send(testkit.Acknowledge(1))
		_ = b.wire.Send(testkit.Acknowledge(0)) // smaller than before, so it is ignored
		b.push("1")
		b.next("1")
		for _, body := range []string{"\x80\x00", "\x03", "\x01\x01"} {
			_ = b.wire.Send(testkit.Pack(packet.Heartbeat, body))
			synctest.Wait()
			if !b.s.Closed() {
				b.t.Errorf("the heartbeat %x was accepted", body)
			}
			synctest.Wait()
			b.s = nil
			b.client = &testkit.ResumeClient{}
			b.connect()
			b.client.Send(testkit.Request(1, "Game.Do", "hello"))
			b.next("hello")
		}
	}},
	{"the server acknowledges", nil, func(b *resumeBed) {
		time.Sleep(time.Second)
		go func() { _, _ = b.client.Next(b.wire) }()
		synctest.Wait()
		if n := b.client.Waiting(); n != 0 {
			b.t.Errorf("%d packets are not acknowledged within a second", n)
		}
		for range 63 {
			b.client.Send(testkit.Notify("Game.Echo", ""))
		}
		synctest.Wait()
		if n := b.client.Waiting(); n != 63 {
			b.t.Errorf("%d packets wait, want 63", n)
		}
		b.client.Send(testkit.Notify("Game.Echo", ""))
		synctest.Wait()
		if n := b.client.Waiting(); n != 0 {
			b.t.Errorf("%d packets wait after 64, want none", n)
		}
		b.client.Send(testkit.Notify("Game.Echo", strings.Repeat("x", 16<<10)))
		synctest.Wait()
		if n := b.client.Waiting(); n != 0 {
			b.t.Errorf("%d packets wait after 16 KiB, want none", n)
		}
	}},
	{"a replaced message is an empty push", nil, func(b *resumeBed) {
		e := b.s.NetworkEntity().(interface {
			PushReplaceable(route string, data []byte) error
		})
		b.push("1")
		_ = e.PushReplaceable("room.state", []byte("old"))
		b.push("2")
		b.drop()
		_ = e.PushReplaceable("room.state", []byte("older"))
		b.push("3")
		b.connect()
		_ = e.PushReplaceable("room.state", []byte("new"))
		b.next("1", "", "2", "", "3", "new")
	}},
	{"broadcasts are kept", nil, func(b *resumeBed) {
		g := nano.NewGroup("all")
		if err := g.Add(b.s); err != nil {
			b.t.Fatal(err)
		}
		_ = g.Broadcast("news", []byte("1"))
		synctest.Wait()
		b.drop()
		_ = g.Broadcast("news", []byte("2"))
		b.connect()
		_ = g.Broadcast("news", []byte("3"))
		b.next("1", "2", "3")
	}},
	{"a resume asks neither validator nor user data", []nano.Option{
		nano.WithHandshakeValidator(func(*session.Session, []byte) error { validated++; return nil }),
		nano.WithHandshakeData(func(*session.Session, []byte) (any, error) { return "data", nil }),
	}, func(b *resumeBed) {
		before := validated
		b.drop()
		w := b.dial()
		text, err := w.Handshake(b.client.Handshake())
		if err != nil || strings.Contains(text, `"user"`) || validated != before {
			b.t.Errorf("answer %s, %v; validated %d times", text, err, validated-before)
		}
		text, _ = b.dial().Handshake(`{"sys":{"resume":{"token":"x"}}}`)
		if !strings.Contains(text, `"user":"data"`) || validated != before+1 {
			b.t.Errorf("answer %s; validated %d times", text, validated-before)
		}
	}},
	{"a resume that cannot be read", nil, func(b *resumeBed) {
		token, _ := json.Marshal(b.client.Token())
		for _, part := range []string{`5`, `{"token":5}`, `{"token":` + string(token) + `,"received":-1}`} {
			text, err := b.dial().Handshake(`{"sys":{"resume":` + part + `}}`)
			if err != nil || !strings.HasPrefix(text, `{"code":500,`) {
				b.t.Errorf("resume %s was answered by %s, %v", part, text, err)
			}
		}
		b.push("1")
		b.next("1")
	}},
	{"a client that does not ask sees no change", nil, func(b *resumeBed) {
		w := b.dial()
		text, err := w.Handshake(`{"sys":{}}`)
		if err != nil || strings.Contains(text, "resume") {
			b.t.Errorf("answer %s, %v", text, err)
		}
		_ = w.Send(testkit.Pack(packet.Ack, ""))
		_ = w.Send(testkit.Pack(packet.Heartbeat, "\x80\x00 any body"))
		if err := w.Echo(1, "x"); err != nil {
			b.t.Error(err)
		}
		_ = w.Send(testkit.Pack(packet.Kick, ""))
		if e := w.ReadUntilEnd(); e.Kick != "" || len(e.Messages) != 0 {
			b.t.Errorf("%+v came", e)
		}
	}},
	{"a resume is let in beyond the connection limits", []nano.Option{nano.WithMaxConnections(2)}, func(b *resumeBed) {
		b.drop()
		for range 2 {
			if err := b.dial().Join(); err != nil {
				b.t.Fatal(err)
			}
		}
		for _, handshake := range []string{`{}`, `{"sys":{"resume":{}}}`, `{"sys":{"resume":{"token":"x"}}}`} {
			w := b.dial()
			text, err := w.Handshake(handshake)
			if err != nil || text != `{"code":500,"message":"too many connections","sys":{"heartbeat":30}}` {
				b.t.Errorf("handshake %s was answered by %s, %v", handshake, text, err)
			}
			_ = w.Conn.Close()
		}
		synctest.Wait()
		if a := b.connect(); !a.Resumed {
			b.t.Errorf("answer %+v", a)
		}
		var extra []*testkit.Wire // connections that send nothing
		for range 64 {
			extra = append(extra, b.dial())
		}
		synctest.Wait()
		if n := b.at.Stats().Connections; n > 2+1+64 {
			b.t.Errorf("%d connections", n)
		}
		for _, w := range extra {
			_ = w.Conn.Close()
		}
	}},
	{"rates are not refilled", []nano.Option{nano.WithMessageRate(1, 5)}, func(b *resumeBed) {
		for id := range uint64(4) {
			b.client.Send(testkit.Request(id+2, "Game.Do", "x"))
			b.next("x")
		}
		b.drop()
		b.connect()
		b.client.Send(testkit.Request(9, "Game.Do", "x"))
		if m, err := b.client.Next(b.wire); err != nil || !m.Err {
			b.t.Errorf("%v, %v came, want an error: the rate is used up", m, err)
		}
	}},
	{"shutdown kicks suspended sessions", nil, func(b *resumeBed) {
		b.drop()
		b.forget()
		if err := b.at.Shutdown(b.t.Context()); err != nil {
			b.t.Error(err)
		}
		b.steps("close: " + session.ErrShutdown.Error())
	}},
	{"requests that were accepted are served and answered", nil, func(b *resumeBed) {
		release := make(chan struct{})
		b.at.Invoke(func() { <-release })
		b.client.Send(testkit.Request(2, "Game.Do", "two"))
		synctest.Wait()
		_ = b.wire.Conn.Close()
		b.client.Lost()
		synctest.Wait()
		close(release)
		b.steps("do two", "suspend: "+session.ErrClientClosed.Error())
		b.connect()
		b.next("two")
	}},
}

var validated int

// TestResumeContract checks the rules of the resume protocol, in memory and in fake time.
func TestResumeContract(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, c := range resumeContract {
			t.Run(kind+"/"+c.name, func(t *testing.T) { inResumeBed(t, kind, c.opts, c.run) })
		}
	}
}

// TestResumeCloseFrames checks which close frames end a session.
func TestResumeCloseFrames(t *testing.T) {
	for code, resumed := range map[uint16]bool{1000: false, 1001: false, 0: true, 3000: true, 4999: true} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inResumeBed(t, "wspipe", nil, func(b *resumeBed) {
				b.push("1")
				b.next("1")
				var payload []byte
				if code != 0 {
					payload = []byte{byte(code >> 8), byte(code)}
				}
				_ = b.wire.Raw(testkit.Frame(0x88, payload))
				_, err := b.client.Next(b.wire)
				if _, ok := errors.AsType[testkit.CloseError](err); !ok {
					t.Errorf("%v came, want the echo of the close frame", err)
				}
				b.drop()
				if a := b.connect(); a.Resumed != resumed {
					t.Errorf("answer %+v, want resumed %v", a, resumed)
				}
			})
		})
	}
}
