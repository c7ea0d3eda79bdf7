package client_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/pipeline"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Room is the server's side of the examples.
type Room struct{ component.Base }

type (
	JoinRequest struct{ Name string }
	JoinReply   struct{ Welcome string }
	Said        struct{ Name, Content string }
)

func (r *Room) Join(_ *session.Session, req *JoinRequest) (*JoinReply, error) {
	if req.Name == "" {
		return nil, nano.Errorf("ROOM-1", "a name is needed")
	}
	return &JoinReply{Welcome: "Hello, " + req.Name}, nil
}

func (r *Room) Say(s *session.Session, said *Said) error { return s.Push("onMessage", said) }

// Leave closes the connection.
func (r *Room) Leave(s *session.Session, _ []byte) error {
	s.Close()
	return nil
}

// room starts a server on a free port. It returns the server's address and a function
// that stops it.
func room(opts ...nano.Option) (addr string, stop func()) {
	components := &component.Components{}
	components.Register(&Room{})
	server := nano.New(append(opts,
		nano.WithComponents(components),
		nano.WithSerializer(jsonserializer.NewSerializer()),
		nano.WithSlog(slog.New(slog.DiscardHandler)))...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return listener.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			panic(err)
		}
	}
}

func Example() {
	addr, stop := room()
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	heard := make(chan Said)
	c.On("onMessage", func(m *client.Message) {
		var said Said
		if err := m.Decode(&said); err == nil {
			heard <- said
		}
	})

	var joined JoinReply
	if err := c.Request(ctx, "Room.Join", &JoinRequest{Name: "Ada"}, &joined); err != nil {
		log.Fatal(err)
	}
	fmt.Println(joined.Welcome)

	if err := c.Notify("Room.Say", &Said{Name: "Ada", Content: "good morning"}); err != nil {
		log.Fatal(err)
	}
	said := <-heard
	fmt.Printf("%s: %s\n", said.Name, said.Content)
	// Output:
	// Hello, Ada
	// Ada: good morning
}

func ExampleClient_Request_errors() {
	addr, stop := room()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	err = c.Request(ctx, "Room.Join", &JoinRequest{}, nil)
	if answer, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(answer.Code, answer.Message)
	}

	err = c.Request(ctx, "Room.Dance", nil, nil)
	fmt.Println(errors.Is(err, &client.Error{Code: client.CodeNotFound}))
	// Output:
	// ROOM-1 a name is needed
	// true
}

func ExampleWithReconnect() {
	addr, stop := room()
	defer stop()

	// The session after a reconnect is new, so it must join again.
	joined := make(chan string)
	join := func(c *client.Client) {
		var reply JoinReply
		if err := c.Request(context.Background(), "Room.Join", &JoinRequest{Name: "Ada"}, &reply); err == nil {
			joined <- reply.Welcome
		}
	}
	c, err := client.Dial(context.Background(), addr,
		client.WithReconnect(client.Reconnect{Min: 10 * time.Millisecond, Max: time.Second}),
		client.WithOnConnect(join),
		client.WithOnReconnect(join))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	fmt.Println(<-joined)
	if err := c.Notify("Room.Leave", nil); err != nil { // the server closes the connection
		log.Fatal(err)
	}
	fmt.Println(<-joined)
	// Output:
	// Hello, Ada
	// Hello, Ada
}

func ExampleWithResume() {
	addr, stop := room(nano.WithResume(nano.Resume{}))
	defer stop()

	var network net.Conn // the latest connection
	joined := make(chan struct{})
	back := make(chan bool)
	c, err := client.Dial(context.Background(), addr,
		client.WithResume(),
		client.WithDialer(func(ctx context.Context, kind, addr string) (conn net.Conn, err error) {
			network, err = new(net.Dialer).DialContext(ctx, kind, addr)
			return network, err
		}),
		client.WithOnStatus(func(c *client.Client, s client.Status) {
			switch {
			case s.State != client.Connected:
			case s.Resumed: // the session was resumed, and nothing is to do
				back <- true
			default: // a new session: join it
				if err := c.Request(context.Background(), "Room.Join", &JoinRequest{Name: "Ada"}, nil); err != nil {
					log.Print(err)
				}
				close(joined)
			}
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	<-joined
	network.Close() // the connection is lost
	fmt.Println("resumed:", <-back)
	// Output:
	// resumed: true
}

// Payloads are encrypted in both directions with AES-GCM. Hooks run concurrently and must
// not share a counter, so each message starts with its own nonce. The route is
// authenticated with the payload, so that a message is not accepted for another route.
func ExampleWithOutbound_encryption() {
	block, err := aes.NewCipher([]byte("a key of 32 bytes, from a vault.")) // from your key exchange
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		log.Fatal(err)
	}
	seal := func(route string, data []byte) []byte {
		nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(data)+aead.Overhead())
		if _, err := rand.Read(nonce); err != nil {
			log.Fatal(err)
		}
		return aead.Seal(nonce, nonce, data, []byte(route))
	}
	open := func(route string, data []byte) ([]byte, error) {
		if len(data) < aead.NonceSize() {
			return nil, errors.New("message too short to be encrypted")
		}
		return aead.Open(nil, data[:aead.NonceSize()], data[aead.NonceSize():], []byte(route))
	}

	hooks := pipeline.New()
	hooks.Inbound().PushBack(func(_ *session.Session, m *pipeline.Message) (err error) {
		m.Data, err = open(m.Route, m.Data)
		return err
	})
	hooks.Outbound().PushBack(func(_ *session.Session, m *pipeline.Message) error {
		m.Data = seal(m.Route, m.Data)
		return nil
	})
	addr, stop := room(nano.WithPipeline(hooks))
	defer stop()

	c, err := client.Dial(context.Background(), addr,
		client.WithOutbound(func(m *client.Message) error {
			m.Data = seal(m.Route, m.Data)
			return nil
		}),
		client.WithInbound(func(m *client.Message) (err error) {
			m.Data, err = open(m.Route, m.Data)
			return err
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	var joined JoinReply
	if err := c.Request(context.Background(), "Room.Join", &JoinRequest{Name: "Ada"}, &joined); err != nil {
		log.Fatal(err)
	}
	fmt.Println(joined.Welcome)
	fmt.Println(c.Request(context.Background(), "Room.Join", &JoinRequest{}, nil))
	// Output:
	// Hello, Ada
	// ROOM-1: a name is needed
}
