// Command server is the server that the tests of the JavaScript client connect to.
// It prints its port, and ends when its standard input does. With -window, sessions can be
// resumed, and it prints a line when one ends. With -protobuf, it serves rooms and its
// serializer is protobuf.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// Test has the handlers that the tests call.
type Test struct{ component.Base }

// Echo answers with the bytes of the request.
func (*Test) Echo(s *session.Session, body []byte) error { return s.Response(body) }

// Text answers with bytes that are not JSON.
func (*Test) Text(s *session.Session, _ []byte) error { return s.Response([]byte("ok")) }

// Fail answers with an error.
func (*Test) Fail(*session.Session, []byte) error { return errors.New("failed") }

// Push pushes the bytes of the message to onPush.
func (*Test) Push(s *session.Session, body []byte) error { return s.Push("onPush", body) }

// Kick kicks the client.
func (*Test) Kick(s *session.Session, _ []byte) error { return s.Kick("because") }

// Close ends the session without a kick.
func (*Test) Close(s *session.Session, _ []byte) error { s.Close(); return nil }

// Count has handlers that check numbers: every message has to come once and in order.
type Count struct {
	component.Base
	server *nano.Server
}

// expect counts a message of a session in data under key, and logs one that is not the next.
func expect(s *session.Session, key string, n int) {
	if want := s.Int(key); n != want {
		s.Set("faults", s.Int("faults")+1)
		log.Printf("%s %d came, want %d", key, n, want)
	}
	s.Set(key, n+1)
}

// Request answers with its number.
func (*Count) Request(s *session.Session, n *int) (*int, error) {
	expect(s, "requests", *n)
	return n, nil
}

// Note takes a numbered notify.
func (*Count) Note(s *session.Session, n *int) error { expect(s, "notes", *n); return nil }

// Start pushes numbers to onCount, one every so many milliseconds.
func (c *Count) Start(s *session.Session, every *int) (*int, error) {
	t := c.server.Scheduler().NewTimer(time.Duration(*every)*time.Millisecond, func() {
		if s.Push("onCount", s.Int("pushes")) == nil {
			s.Set("pushes", s.Int("pushes")+1)
		}
	})
	s.Set("timer", t)
	s.OnClose(func(*session.Session, error) { t.Stop() })
	return every, nil
}

// Stop ends that. It replies with the messages from the session and the pushes to it.
func (*Count) Stop(s *session.Session, _ []byte) error {
	if t, ok := s.Value("timer").(*scheduler.Timer); ok {
		t.Stop()
	}
	return s.Response(map[string]int{
		"requests": s.Int("requests"), "notes": s.Int("notes"), "pushes": s.Int("pushes"), "faults": s.Int("faults"),
	})
}

// Login binds a uid.
func (*Count) Login(s *session.Session, uid *int64) (*int64, error) { return uid, s.Bind(*uid) }

// Kick kicks the sessions of a uid.
func (c *Count) Kick(_ *session.Session, uid *int64) (*int64, error) {
	return uid, c.server.Kick(*uid, "out")
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

var (
	window = flag.Duration("window", 0, "how long sessions can be resumed; 0 for not at all")
	proto  = flag.Bool("protobuf", false, "serve rooms, with protobuf")
)

func run() error {
	count := &Count{}
	components := &component.Components{}
	components.Register(&Test{})
	components.Register(count)
	options := []nano.Option{
		nano.WithComponents(components),
		nano.WithSerializer(json.NewSerializer()),
		nano.WithHeartbeatInterval(time.Second),
		nano.WithDictionary(map[string]uint16{"Test.Echo": 1, "onPush": 2}),
		nano.WithHandshakeData(func(*session.Session, []byte) (any, error) { return map[string]int{"level": 3}, nil }),
	}
	if *proto {
		lobby := &component.Components{}
		lobby.Register(&Lobby{})
		options = []nano.Option{
			nano.WithComponents(lobby), inns.Option(), duels.Option(), nano.WithSerializer(protobuf.NewSerializer()),
		}
	}
	if *window > 0 {
		options = append(options, nano.WithResume(nano.Resume{Window: *window}))
		session.Lifetime.OnClosed(func(*session.Session) { fmt.Println("closed") })
	}
	s := nano.New(options...)
	count.server = s
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	if err := s.Start(); err != nil {
		return err
	}
	web := &http.Server{Handler: s.WebSocketHandler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		return err
	}
	_ = web.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
