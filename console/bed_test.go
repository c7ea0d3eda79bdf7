package console_test

import (
	"bytes"
	stdjson "encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/console"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hall is a component that keeps what its players send.
type hall struct {
	component.Base
	block chan struct{} // Wait returns when it is closed
	began chan struct{}
}

type login struct {
	UID  int64
	Name string
}

func (*hall) Login(s *session.Session, l *login) (*login, error) {
	s.Set("name", l.Name)
	return l, s.Bind(l.UID)
}

func (r *hall) Wait(*session.Session, []byte) error {
	r.began <- struct{}{}
	<-r.block
	return nil
}

// Sleep holds the logic goroutine for some milliseconds. It refuses a negative number.
func (*hall) Sleep(_ *session.Session, ms *int) (*int, error) {
	if *ms < 0 {
		return nil, nano.Errorf("TEST-1", "negative")
	}
	time.Sleep(time.Duration(*ms) * time.Millisecond)
	return ms, nil
}

// records is a log that tests can read.
type records struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// bed is a server with a console.
type bed struct {
	t *testing.T
	*nanotest.Server
	room    *hall
	service string // of room
	log     *records
	http.Handler
}

const viewer, operator = "viewer-token", "operator-token"

func newBed(t *testing.T, o console.Options, opts ...nano.Option) *bed {
	t.Helper()
	return newBedWith(t, "room", o, opts...)
}

// newBedWith is newBed with another name for the component. Package room uses the name "room".
func newBedWith(t *testing.T, service string, o console.Options, opts ...nano.Option) *bed {
	t.Helper()
	b := &bed{t: t, service: service, room: &hall{block: make(chan struct{}), began: make(chan struct{}, 1)}, log: &records{}}
	components := &component.Components{}
	components.Register(b.room, component.WithName(service), component.WithNameFunc(strings.ToLower))
	opts = append([]nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithSlog(slog.New(slog.NewTextHandler(b.log, nil)))}, opts...)
	b.Server = nanotest.Start(t, opts...)
	if o.Authorize == nil {
		o.Authorize = console.Token(viewer, operator)
	}
	b.Handler = console.New(b.Server.Server, o)
	return b
}

// ask sends a request and returns the answer. Headers are names and values in turn.
func (b *bed) ask(method, path, token, body string, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, "http://console.test"+path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// get decodes the answer of the API for a viewer.
func get[T any](b *bed, path string) T {
	b.t.Helper()
	w := b.ask(http.MethodGet, "/console/api/"+path, viewer, "")
	if w.Code != http.StatusOK {
		b.t.Fatalf("GET %s = %d %s", path, w.Code, w.Body)
	}
	var v T
	d := stdjson.NewDecoder(w.Body)
	if err := d.Decode(&v); err != nil {
		b.t.Fatalf("GET %s: %v", path, err)
	}
	if rest, _ := io.ReadAll(d.Buffered()); len(bytes.TrimSpace(rest)) > 0 {
		b.t.Fatalf("GET %s: %q after the answer", path, rest)
	}
	return v
}

// login connects a player with a name.
func (b *bed) login(uid int64, name string) *nanotest.Player {
	b.t.Helper()
	p := b.Connect(b.t)
	if err := p.Request(b.t.Context(), b.service+".login", login{uid, name}, nil); err != nil {
		b.t.Fatal(err)
	}
	return p
}
