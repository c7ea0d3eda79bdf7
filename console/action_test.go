package console_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/console"
)

func TestKick(t *testing.T) {
	b := newBed(t, console.Options{})
	ann, bob, other := b.login(1, "Ann"), b.login(2, "Bob"), b.login(2, "Bob")
	id := b.SessionsByUID(1)[0].ID()
	if w := b.ask("POST", "/console/api/kick", operator, fmt.Sprintf(`{"session":"%d","reason":"too loud"}`, id)); w.Code != 200 {
		t.Fatalf("kick = %d %s", w.Code, w.Body)
	}
	if got := ann.Kicked(10 * time.Second); got != "too loud" {
		t.Errorf("the client was kicked for %q, want too loud", got)
	}
	if log := b.log.String(); !strings.Contains(log, fmt.Sprintf(`msg="console: kick" reason="too loud" session=%d uid=1 role=operator remote=`, id)) {
		t.Errorf("the log is %s, want the kick", log)
	}
	if w := b.ask("POST", "/console/api/kick", operator, `{"uid":"2"}`); w.Code != 200 {
		t.Fatalf("kick = %d %s", w.Code, w.Body)
	}
	bob.Kicked(10 * time.Second)
	other.Kicked(10 * time.Second)
}

func TestPush(t *testing.T) {
	b := newBed(t, console.Options{})
	ann := b.login(1, "Ann")
	for _, c := range []struct{ body, want string }{
		{`{"uid":"1","route":"onNote","payload":"{\"text\": 1}"}`, `{"text": 1}`},
		{fmt.Sprintf(`{"session":"%d","route":"onNote","payload":"/wA=","encoding":"base64"}`, b.SessionsByUID(1)[0].ID()), "\xff\x00"},
	} {
		if w := b.ask("POST", "/console/api/push", operator, c.body); w.Code != 200 {
			t.Fatalf("push %s = %d %s", c.body, w.Code, w.Body)
		}
		if got := string(ann.Wait("onNote", 10*time.Second).Data); got != c.want {
			t.Errorf("push %s reaches the client as %q, want %q", c.body, got, c.want)
		}
	}
	if log := b.log.String(); strings.Count(log, `msg="console: push" route=onNote`) != 2 || strings.Contains(log, "text") {
		t.Errorf("the log is %s, want two pushes without their payloads", log)
	}
}

func TestBadActions(t *testing.T) {
	b := newBed(t, console.Options{})
	b.login(1, "Ann")
	kick, push := "/console/api/kick", "/console/api/push"
	for _, c := range []struct {
		path, token, body string
		headers           []string
		want              int
	}{
		{kick, "", `{"uid":"1"}`, nil, 401},
		{kick, viewer, `{"uid":"1"}`, nil, 403},
		{kick, operator, `{"uid":"1"}`, []string{"Content-Type", "text/plain"}, 415},
		{kick, operator, `{"uid":"1"}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{kick, operator, `{"uid":"1"}`, []string{"Content-Type", ""}, 415},
		{kick, operator, `{"uid":"1"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{kick, operator, `{"uid":"1"}`, []string{"Sec-Fetch-Site", "same-site"}, 403},
		{kick, operator, `{"uid":"1"}`, []string{"Origin", "http://evil.test"}, 403},
		{kick, operator, `{"uid":"1"`, nil, 400},
		{kick, operator, `{"uid":1}`, nil, 400},
		{kick, operator, `{"uid":"1","session":"1"}`, nil, 400},
		{kick, operator, `{}`, nil, 400},
		{kick, operator, `{"uid":"0"}`, nil, 400},
		{kick, operator, `{"uid":"1","force":true}`, nil, 400},
		{kick, operator, `{"uid":"1","reason":"` + strings.Repeat("x", 201) + `"}`, nil, 400},
		{kick, operator, `{"uid":"1","reason":"` + strings.Repeat("x", 200<<10) + `"}`, nil, 413},
		{kick, operator, `{"uid":"99"}`, nil, 404},
		{kick, operator, `{"session":"99"}`, nil, 404},
		{push, viewer, `{"uid":"1","route":"onNote"}`, nil, 403},
		{push, operator, `{"uid":"1"}`, nil, 400},
		{push, operator, `{"uid":"1","route":"onNote","payload":"?","encoding":"base64"}`, nil, 400},
		{push, operator, `{"uid":"1","route":"onNote","payload":"?","encoding":"hex"}`, nil, 400},
		{push, operator, `{"uid":"99","route":"onNote"}`, nil, 404},
	} {
		if w := b.ask("POST", c.path, c.token, c.body, c.headers...); w.Code != c.want {
			t.Errorf("POST %s %.60s %v as %q = %d %s, want %d", c.path, c.body, c.headers, c.token, w.Code, w.Body, c.want)
		}
	}
	if got := get[sessionList](b, "sessions").uids(); got != "1" {
		t.Errorf("the sessions have the uids %q, want 1", got)
	}
	// The same requests from the console's own page are good.
	w := b.ask("POST", kick, operator, `{"uid":"1"}`, "Sec-Fetch-Site", "same-origin", "Origin", "http://console.test", "Content-Type", "application/json; charset=utf-8")
	if w.Code != 200 {
		t.Errorf("a kick from the console = %d %s, want 200", w.Code, w.Body)
	}
}
