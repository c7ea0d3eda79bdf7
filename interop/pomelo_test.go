package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/session"
)

// pomelo connects a pomelo-jsclient-websocket client.
func pomelo(t *testing.T, host, port string) *driver {
	t.Helper()
	d := drive(t, "pomelo.js")
	d.do(map[string]any{"do": "init", "params": map[string]any{"host": host, "port": port, "user": map[string]string{"token": "good"}}})
	return d
}

// handshake tests that the client's handshake carries a token, and that the server's
// answer carries data.
func handshake() []nano.Option {
	return []nano.Option{
		nano.WithHandshakeValidator(func(_ *session.Session, data []byte) error {
			var hello struct {
				Sys  struct{ Type, Version string }
				User struct{ Token string }
			}
			if err := json.Unmarshal(data, &hello); err != nil {
				return err
			}
			if hello.Sys.Type != "js-websocket" || hello.User.Token != "good" {
				return fmt.Errorf("unexpected handshake %s", data)
			}
			return nil
		}),
		nano.WithHandshakeData(func(*session.Session, []byte) (any, error) { return map[string]int{"level": 3}, nil }),
	}
}

func TestPomelo(t *testing.T) {
	dictionary := map[string]uint16{"room.join": 1, "room.echo": 2, "room.say": 0xffff, "onHello": 300, "onSay": 4, "room.none": 5}
	for name, codes := range map[string]map[string]uint16{"plain": nil, "dictionary": dictionary} {
		t.Run(name, func(t *testing.T) {
			opts := handshake()
			if codes != nil {
				opts = append(opts, nano.WithDictionary(codes))
			}
			host, port := serve(t, opts...)
			ann, bob := pomelo(t, host, port), pomelo(t, host, port)
			for name, d := range map[string]*driver{"Ann": ann, "Bob": bob} {
				d.sees(event{Event: "user", Body: json.RawMessage(`{"level":3}`)})
				d.sees(event{Event: "ready"})
				answer := d.request("room.join", Line{Name: name}, fmt.Sprintf(`{"name":"","text":"welcome, %s"}`, name))
				d.sees(emit("onHello", Line{Name: name}))
				d.sees(answer)
			}

			// So many requests need ids of two bytes. The client's own UTF-8 code
			// supports characters of up to three bytes.
			const requests = 300
			text := "déjà vu, 再见"
			for i := range requests {
				body := Line{Text: fmt.Sprint(text, i)}
				answer, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				ann.sees(ann.request("room.echo", body, string(answer)))
			}

			bob.notify("room.say", Line{Text: text})
			for _, d := range []*driver{ann, bob} {
				d.sees(emit("onSay", Line{Name: "Bob", Text: text}))
			}

			ann.sees(ann.request("room.fail", Line{}, `{"code":"ROOM-1","msg":"no"}`))
			ann.sees(ann.request("room.nowhere", Line{}, `{"code":"NANO-404","msg":"route \"room.nowhere\" is not served here"}`))
			ann.sees(ann.request("room.none", Line{}, `{"code":"NANO-404","msg":"route \"room.none\" is not served here"}`))

			// Ann's join, the echoes and room.none have compressed routes, and so have
			// the pushes to Ann. The two routes outside of the dictionary do not, and
			// responses have no route.
			want := fmt.Sprint(map[string]int{})
			if codes != nil {
				want = fmt.Sprint(map[string]int{"sent": 2 + requests, "received": 2})
			}
			if got := fmt.Sprint(ann.compressed); got != want {
				t.Errorf("messages with a compressed route: %s, want %s", got, want)
			}

			bob.notify("room.kick", Line{Text: "enough"})
			bob.sees(emit("onKick", struct {
				Reason string `json:"reason"`
				Code   string `json:"code"`
			}{"enough", "kicked"}))
			closed := map[string]any{"code": 1000, "reason": ""}
			bob.sees(emit("close", closed))
			bob.sees(emit("disconnect", closed))

			// Bob's session has closed, and Ann's is open.
			ann.notify("room.say", Line{Text: "bye"})
			ann.sees(emit("onSay", Line{Name: "Ann", Text: "bye"}))
			ann.do(map[string]any{"do": "disconnect"})
			ann.closes()
		})
	}
}

// closes waits for the events of a closed connection. It does not check the code.
func (d *driver) closes() {
	d.Helper()
	for _, name := range []string{"close", "disconnect"} {
		e := d.next()
		for e.Type == heartbeat {
			e = d.next()
		}
		if e.Name != name {
			d.Fatalf("got %v, want %s", e, name)
		}
	}
}

// TestPomeloHeartbeats checks that a client that only answers heartbeats stays connected.
func TestPomeloHeartbeats(t *testing.T) {
	for name, opts := range map[string][]nano.Option{
		"plain":      nil,
		"dictionary": {nano.WithDictionary(map[string]uint16{"room.echo": 1})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := serve(t, append(opts, nano.WithHeartbeatInterval(time.Second))...)
			d := pomelo(t, host, port)
			d.sees(event{Event: "user"})
			d.sees(event{Event: "ready"})
			start := time.Now()
			// The client sends a heartbeat one interval after it received one, so each
			// side sends two in four intervals. A silent client would be closed after
			// three.
			for d.heartbeats["sent"] < 2 || d.heartbeats["received"] < 4 {
				if e := d.next(); e.Type != heartbeat {
					t.Fatalf("got %v, want heartbeats only; so far there were %v", e, d.heartbeats)
				}
			}
			if took := time.Since(start); took < 3*time.Second {
				t.Errorf("the heartbeats took %v, want one a second", took)
			}
			d.sees(d.request("room.echo", Line{Text: "still here"}, `{"name":"","text":"still here"}`))
		})
	}
}

func TestPomeloIsRefused(t *testing.T) {
	host, port := serve(t, nano.WithHandshakeValidator(func(*session.Session, []byte) error { return errors.New("full") }))
	d := pomelo(t, host, port)
	d.sees(emit("error", "handshake fail"))
	d.closes()
}
