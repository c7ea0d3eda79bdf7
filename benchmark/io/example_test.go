package io_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	"github.com/lonng/nano/benchmark/io"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

type Echo struct{ component.Base }

func (e *Echo) Ping(s *session.Session, v *wrapperspb.StringValue) error { return s.Push("pong", v) }

func ExampleConnector() {
	components := &component.Components{}
	components.Register(&Echo{})
	server := nano.New(nano.WithComponents(components), nano.WithSlog(slog.New(slog.DiscardHandler)))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			log.Fatal(err)
		}
	}()

	c := io.NewConnector()
	defer c.Close()
	connected, pong := make(chan struct{}), make(chan string)
	c.OnConnected(func() { close(connected) })
	c.On("pong", func(data any) {
		var v wrapperspb.StringValue
		if err := proto.Unmarshal(data.([]byte), &v); err == nil {
			pong <- v.Value
		}
	})
	if err := c.Start(listener.Addr().String()); err != nil {
		log.Fatal(err)
	}
	<-connected
	if err := c.Notify("Echo.Ping", wrapperspb.String("hello")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-pong)
	// Output: hello
}
