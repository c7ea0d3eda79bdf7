// Command server is the server that the tests of the JavaScript client connect to.
// It prints its port, and ends when its standard input does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
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

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	components := &component.Components{}
	components.Register(&Test{})
	s := nano.New(
		nano.WithComponents(components),
		nano.WithSerializer(json.NewSerializer()),
		nano.WithHeartbeatInterval(time.Second),
		nano.WithDictionary(map[string]uint16{"Test.Echo": 1, "onPush": 2}),
		nano.WithHandshakeData(func(*session.Session, []byte) (any, error) { return map[string]int{"level": 3}, nil }),
	)
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
