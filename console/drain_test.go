package console_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/console"
	"github.com/lonng/nano/room"
)

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := room.Define[game]("game")
		b := newBedWith(t, "hall", console.Options{}, kind.Option())
		p := b.login(1, "Ann")
		if err := p.Request(t.Context(), "room.joinOrCreate", map[string]string{"kind": "game"}, nil); err != nil {
			t.Fatal(err)
		}
		for body, want := range map[string]int{`{"seconds":0}`: 400, `{"seconds":100000}`: 400, `{"minutes":1}`: 400} {
			if w := b.ask("POST", "/console/api/drain", operator, body); w.Code != want {
				t.Errorf("drain %s = %d %s, want %d", body, w.Code, w.Body, want)
			}
		}
		type overview struct{ Closing bool }
		if get[overview](b, "overview").Closing {
			t.Error("the server closes before drain")
		}
		began := time.Now()
		if w := b.ask("POST", "/console/api/drain", operator, `{"seconds":30}`); w.Code != 200 {
			t.Fatalf("drain = %d %s, want 200", w.Code, w.Body)
		}
		synctest.Wait()
		if !get[overview](b, "overview").Closing || time.Since(began) > time.Second {
			t.Error("the answer to drain does not come at once, or the server does not close")
		}
		if w := b.ask("POST", "/console/api/drain", operator, `{}`); w.Code != 409 {
			t.Errorf("drain again = %d %s, want 409", w.Code, w.Body)
		}
		time.Sleep(20 * time.Second)
		if got := get[roomsPage](b, "rooms"); b.Stats().Sessions != 1 {
			t.Errorf("after 20 s, %d sessions are open, want the player of the room: %+v", b.Stats().Sessions, got)
		}
		<-p.Done()
		if d := time.Since(began); d < 25*time.Second || d > 30*time.Second {
			t.Errorf("the player was kicked after %v, want shortly before 30 s", d)
		}
		time.Sleep(time.Second)
		log := b.log.String()
		if !strings.Contains(log, `msg="console: drain" limit=30s role=operator remote=`) || !strings.Contains(log, `msg="console: drained"`) {
			t.Errorf("the log is %s, want the drain and its end", log)
		}
	})
}

// flushes is an answer that runs a function when it is flushed.
type flushes struct {
	*httptest.ResponseRecorder
	f func()
}

func (f flushes) Flush() { f.f() }

// TestDrainAnswersFirst checks that the answer to drain is sent before the shutdown, which
// may end the HTTP server of the console.
func TestDrainAnswersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{})
		sent := 0
		w := flushes{httptest.NewRecorder(), nil}
		w.f = func() {
			sent = w.Body.Len()
			synctest.Wait()
			if get[struct{ Closing bool }](b, "overview").Closing {
				t.Error("the server closes before the answer is sent")
			}
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://console.test/console/api/drain", strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer "+operator)
		r.Header.Set("Content-Type", "application/json")
		b.ServeHTTP(w, r)
		if length := w.Header().Get("Content-Length"); sent == 0 || length != strconv.Itoa(sent) {
			t.Errorf("%d bytes were sent before the shutdown, want all %s", sent, length)
		}
	})
}
