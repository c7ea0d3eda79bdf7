// Crypto encrypts every payload both ways, with hooks on the server and on the Go client: AES-256 in GCM, a key that
// both sides know, and a random nonce in every message.
//
//	go run ./examples/pipeline/crypto -addr :3250                                 # prints a key
//	go run ./examples/pipeline/crypto -key KEY -connect localhost:3250 hello      # from another terminal
//
// It shows how hooks change payloads. Routes, sizes and times stay visible, and a recorded message can be sent again.
// TLS protects more, if you can choose the transport (see examples/tls).
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// keySize is the length of a key in bytes.
const keySize = 32

// box encrypts and decrypts payloads. Hooks run concurrently, and messages may be sent in
// another order than their hooks ran, so both sides cannot share a counter. Each payload
// carries a random nonce instead, and a box has no state. One key is good for 2^32
// messages.
type box struct{ aead cipher.AEAD }

func newBox(key []byte) (*box, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("the key has %d bytes, want %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &box{aead}, nil
}

// place identifies the message of a payload. It is authenticated with the payload, so a
// payload cannot be moved to another route, request or direction. The route of a response
// is not included, because the request id identifies it.
func place(t client.Type, id uint64, route string) []byte {
	if t == client.Response {
		route = ""
	}
	return fmt.Appendf(nil, "%d %d %s", t, id, route)
}

// open decrypts a payload. It returns an error for the client if the payload was
// encrypted with another key or for another place.
func (b *box) open(data, place []byte) ([]byte, error) {
	opened, err := b.aead.Open(nil, nil, data, place)
	if err != nil {
		return nil, nano.Errorf("CRYPTO", "the payload is not sealed with the key of this server")
	}
	return opened, nil
}

func (b *box) seal(data, place []byte) []byte { return b.aead.Seal(nil, nil, data, place) }

// server returns the hooks of a server. Decryption is the first hook for incoming
// messages, encryption the last for outgoing ones.
func (b *box) server() pipeline.Pipeline {
	p := pipeline.New()
	p.Inbound().PushFront(func(_ *session.Session, m *pipeline.Message) (err error) {
		m.Data, err = b.open(m.Data, place(m.Type, m.ID, m.Route))
		return err
	})
	p.Outbound().PushBack(func(_ *session.Session, m *pipeline.Message) error {
		m.Data = b.seal(m.Data, place(m.Type, m.ID, m.Route))
		return nil
	})
	return p
}

// client returns the hooks of a client, for client.WithOutbound and client.WithInbound.
func (b *box) client() (outbound, inbound client.Hook) {
	outbound = func(m *client.Message) error {
		m.Data = b.seal(m.Data, place(m.Type, m.ID, m.Route))
		return nil
	}
	inbound = func(m *client.Message) (err error) {
		m.Data, err = b.open(m.Data, place(m.Type, m.ID, m.Route))
		return err
	}
	return outbound, inbound
}

// Echo is a component that does not know of the encryption.
type Echo struct{ component.Base }

type line struct{ Text string }

var onShout = nano.PushRoute[line]("onShout")

// Say responds with the payload.
func (e *Echo) Say(_ *session.Session, l *line) (*line, error) { return l, nil }

// Shout pushes the payload in upper case.
func (e *Echo) Shout(s *session.Session, l *line) error {
	return onShout.Send(s, &line{strings.ToUpper(l.Text)})
}

func options(b *box) []nano.Option {
	components := &component.Components{}
	components.Register(&Echo{})
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithPipeline(b.server())}
}

// say sends text to the server at addr, and prints the answer.
func say(b *box, addr, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	outbound, inbound := b.client()
	c, err := client.Dial(ctx, addr, client.WithOutbound(outbound), client.WithInbound(inbound))
	if err != nil {
		return err
	}
	defer c.Close()
	var answer line
	if err := c.Request(ctx, "Echo.Say", &line{text}, &answer); err != nil {
		return err
	}
	fmt.Println(answer.Text)
	return nil
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	server := flag.String("connect", "", "be a client of the server at this `address`")
	secret := flag.String("key", "", "32 bytes in hexadecimal; a server without makes one up")
	flag.Parse()
	key, err := hex.DecodeString(*secret)
	if err != nil {
		log.Fatal(err)
	}
	if *secret == "" && *server == "" {
		key = make([]byte, keySize)
		rand.Read(key) // never fails
		log.Printf("the key is %x", key)
	}
	b, err := newBox(key)
	if err != nil {
		log.Fatal(err)
	}
	if *server != "" {
		if err := say(b, *server, strings.Join(flag.Args(), " ")); err != nil {
			log.Fatal(err)
		}
		return
	}
	if nano.Listen(*addr, options(b)...) != nil {
		os.Exit(1) // Listen has logged the cause
	}
}
