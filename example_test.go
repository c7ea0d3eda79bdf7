package nano_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type (
	JoinRequest struct{ Name string }
	JoinReply   struct{ Players int }
	Said        struct{ Text string }
)

// Lobby serves the routes Lobby.Join and Lobby.Say.
type Lobby struct {
	component.Base
	players *nano.Group
}

func (l *Lobby) Join(s *session.Session, req *JoinRequest) (*JoinReply, error) {
	if req.Name == "" {
		return nil, nano.Errorf("LOBBY-1", "a player needs a name")
	}
	if err := l.players.Add(s); err != nil {
		return nil, err
	}
	return &JoinReply{Players: l.players.Count()}, nil
}

func (l *Lobby) Say(_ *session.Session, said *Said) error {
	return l.players.Broadcast("onSaid", said)
}

// lobby returns options for a server with a Lobby that speaks JSON.
func lobby(more ...nano.Option) []nano.Option {
	components := &component.Components{}
	components.Register(&Lobby{players: nano.NewGroup("lobby")})
	return append([]nano.Option{
		nano.WithComponents(components),
		nano.WithSerializer(json.NewSerializer()),
		nano.WithSlog(slog.New(slog.DiscardHandler)),
	}, more...)
}

// serve serves TCP clients on a free port and returns the address.
func serve(srv *nano.Server) (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return l.Addr().String(), func() {
		if err := errors.Join(srv.Shutdown(context.Background()), <-served); err != nil {
			log.Fatal(err)
		}
	}
}

// A server answers a request and pushes a message to the players in a group.
func Example() {
	addr, stop := serve(nano.New(lobby()...))
	defer stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	heard := make(chan Said)
	c.On("onSaid", func(m *client.Message) {
		var said Said
		if err := m.Decode(&said); err == nil {
			heard <- said
		}
	})
	var reply JoinReply
	if err := c.Request(ctx, "Lobby.Join", &JoinRequest{Name: "Ada"}, &reply); err != nil {
		log.Fatal(err)
	}
	if err := c.Notify("Lobby.Say", &Said{Text: "hello"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Players, (<-heard).Text)
	// Output: 1 hello
}

// Listen runs the default server of the process until a signal or Shutdown ends it.
func ExampleListen() {
	nano.Invoke(nano.Shutdown) // runs on the logic goroutine after the start
	err := nano.Listen("127.0.0.1:0", lobby()...)
	fmt.Println(err)
	// Output: <nil>
}

// The code and the text of an Error reach the client. For any other error the client gets
// only NANO-500.
func ExampleErrorf() {
	addr, stop := serve(nano.New(lobby()...))
	defer stop()

	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.Request(ctx, "Lobby.Join", &JoinRequest{}, nil)
	if e, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(e.Code, e.Message)
	}
	// Output: LOBBY-1 a player needs a name
}

// A group sends one message to many sessions. The message is encoded once.
func ExampleGroup() {
	room := nano.NewGroup("lobby")
	ann, ben := mock.NewNetworkEntity(), mock.NewNetworkEntity() // in a server, these are the sessions of clients
	for i, e := range []*mock.NetworkEntity{ann, ben} {
		s := session.New(e)
		if err := errors.Join(s.Bind(int64(i+1)), room.Add(s)); err != nil {
			log.Fatal(err)
		}
	}
	if err := room.Broadcast("onMessage", "hello"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ann.FindResponseByRoute("onMessage"), ben.FindResponseByRoute("onMessage"), room.Count())
	// Output: hello hello 2
}

// A validator reads the handshake of a client. It refuses the client, or binds the
// session to a user.
func ExampleWithHandshakeValidator() {
	srv := nano.New(lobby(nano.WithHandshakeValidator(func(s *session.Session, handshake []byte) error {
		if !strings.Contains(string(handshake), `"token":"sesame"`) {
			return errors.New("wrong token")
		}
		return s.Bind(42)
	}))...)
	addr, stop := serve(srv)
	defer stop()

	ctx := context.Background()
	_, err := client.Dial(ctx, addr)
	fmt.Println("without a token:", err != nil)
	c, err := client.Dial(ctx, addr, client.WithUser(map[string]string{"token": "sesame"}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Request(ctx, "Lobby.Join", &JoinRequest{Name: "Ada"}, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sessions of user 42:", len(srv.SessionsByUID(42)))
	// Output:
	// without a token: true
	// sessions of user 42: 1
}

// WebSocket clients connect to the HTTP server that also serves the program's pages.
func ExampleServer_WebSocketHandler() {
	srv := nano.New(lobby()...)
	if err := srv.Start(); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/play", srv.WebSocketHandler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a page") })
	web := httptest.NewServer(mux)
	defer web.Close()
	defer func() { _ = srv.Shutdown(context.Background()) }()

	ctx := context.Background()
	c, err := client.Dial(ctx, strings.Replace(web.URL, "http://", "ws://", 1)+"/play")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var reply JoinReply
	if err := c.Request(ctx, "Lobby.Join", &JoinRequest{Name: "Ada"}, &reply); err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Players)
	// Output: 1
}
