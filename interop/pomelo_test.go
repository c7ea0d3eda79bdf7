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

// pomelo connects pomelo-jsclient-websocket.
func pomelo(t *testing.T, host, port string) *driver {
	t.Helper()
	d := drive(t, "pomelo.js")
	d.do(map[string]any{"do": "init", "params": map[string]any{"host": host, "port": port, "user": map[string]string{"token": "good"}}})
	return d
}

// handshake has the clients show a token, and tells them something in turn.
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

			// Enough for ids of two bytes. The client's own UTF-8 knows characters of up to three bytes.
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

			// Compressed are: of Ann's, join, the echoes and room.none, and what is pushed to her; not the two routes
			// outside of the dictionary, and never a response.
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

			// Bob is gone, and Ann is not.
			ann.notify("room.say", Line{Text: "bye"})
			ann.sees(emit("onSay", Line{Name: "Ann", Text: "bye"}))
			ann.do(map[string]any{"do": "disconnect"})
			ann.closes()
		})
	}
}

// closes waits for the client to tell that its connection is closed; of what the code says is for the client.
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

// A client that does nothing but answer heartbeats stays for as long as it likes.
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
			// It sends one an interval after it got one, so two of them go to and fro in four intervals. A client that
			// were silent would be closed after three.
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
