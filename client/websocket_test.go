package client

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
)

// upgraded answers an upgrade request on a raw connection, with additional bytes after
// the answer.
func upgraded(t *testing.T, conn net.Conn, more []byte) *bufio.Reader {
	t.Helper()
	from := bufio.NewReader(conn)
	r, err := http.ReadRequest(from)
	if err != nil {
		t.Errorf("the upgrade request: %v", err)
		return from
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	if _, err := conn.Write(append([]byte(answer), more...)); err != nil {
		t.Errorf("the answer: %v", err)
	}
	return from
}

// Frames that arrive in one read with the upgrade response are not lost. Control frames
// between data frames are answered.
func TestFramesBehindTheUpgrade(t *testing.T) {
	got := make(chan []string, 1)
	addr := accept(t, func(f *fake) {
		conn := f.conn.(net.Conn)
		first := wsframe.AppendFrame(nil, wsframe.Ping, []byte("early"))
		welcome := append([]byte{byte(packet.Handshake), 0, 0, byte(len(welcomeJSON))}, welcomeJSON...)
		first = wsframe.AppendFrame(first, wsframe.Binary, welcome[:10])
		first = append(first, wsframe.AppendFrame(nil, wsframe.Binary, welcome[10:])[:3]...)
		from := upgraded(t, conn, first)
		rest := wsframe.AppendFrame(nil, wsframe.Binary, welcome[10:])[3:]
		rest = wsframe.AppendClose(rest, wsframe.CodeGoingAway, "")
		if _, err := conn.Write(rest); err != nil {
			t.Error(err)
		}
		var frames []string
		var d wsframe.Decoder
		for b := make([]byte, 4096); ; {
			n, err := from.Read(b)
			if err != nil {
				break
			}
			for p := b[:n]; len(p) > 0; {
				f, n, err := d.Next(&wsframe.Config{FromClient: true}, p)
				if err != nil {
					t.Error(err)
					break
				}
				if f.Op.Control() {
					frames = append(frames, fmt.Sprintf("%d %q", f.Op, f.Payload))
				} else if f.Begin {
					frames = append(frames, "data")
				}
				p = p[n:]
			}
		}
		got <- frames
	})
	c, err := Dial(within(t), "ws://"+addr+"/nano")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-c.Done()
	frames := <-got
	if !slices.Contains(frames, `10 "early"`) {
		t.Errorf("the client sent %q, want a pong", frames)
	}
	if last := frames[len(frames)-1]; last != `8 "\x03\xe9"` {
		t.Errorf("the client sent %q, want a close frame with the server's code as the last", frames)
	}
}

// The client asks a proxy for a tunnel, and starts TLS inside it.
func TestProxy(t *testing.T) {
	server, config := certified(t)
	for _, secure := range []*tls.Config{nil, server} {
		addr := socketServer(t, secure, func(f *fake, _ *websocket.Conn, _ *http.Request) { echo(f) })
		proxy := accept(t, func(f *fake) {
			conn := f.conn.(net.Conn)
			from := bufio.NewReader(conn)
			r, err := http.ReadRequest(from)
			if err != nil || r.Method != http.MethodConnect || r.Host != "game.example.org:81" || from.Buffered() > 0 {
				t.Errorf("the proxy gets %v, %v and %d bytes, want CONNECT alone", r, err, from.Buffered())
				return
			}
			to, err := net.Dial("tcp", strings.Split(addr, "/")[2])
			if err != nil {
				t.Error(err)
				return
			}
			f.raw([]byte("HTTP/1.1 200 OK\r\nVia: test\r\n\r\n"))
			var back sync.WaitGroup
			back.Go(func() { _, _ = io.Copy(conn, to); conn.Close() })
			_, _ = io.Copy(to, conn)
			to.Close()
			back.Wait()
		})
		scheme, _, _ := strings.Cut(addr, "://")
		config := config.Clone()
		config.ServerName = "example.com" // the name in the certificate
		c, err := Dial(within(t), scheme+"://game.example.org:81/nano", WithTLSConfig(config), func(o *options) {
			o.proxy = func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", Host: proxy}, nil }
		})
		if err != nil {
			t.Fatalf("Dial of %s through a proxy = %v", scheme, err)
		}
		var out string
		if err := c.Request(within(t), "Echo.Echo", "hello", &out); err != nil || out != "hello" {
			t.Errorf("Request through a proxy = %q, %v, want hello", out, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}

// A protocol error of the server is answered with the matching close code.
func TestWebSocketFaults(t *testing.T) {
	for _, test := range []struct {
		name string
		sent []byte
		want int
	}{
		{"text", wsframe.AppendFrame(nil, wsframe.Text, []byte("{}")), 1003},
		{"a mask", wsframe.AppendMasked(nil, wsframe.Binary, [4]byte{1, 2, 3, 4}, []byte("a")), 1002},
		{"reserved bits", []byte{0xf2, 0}, 1002},
		{"a close reason that is not UTF-8", wsframe.AppendFrame(nil, wsframe.Close, []byte("\x03\xe8\xff")), 1007},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := socketServer(t, nil, func(f *fake, conn *websocket.Conn, _ *http.Request) {
				f.acceptHandshake(welcomeJSON)
				if _, err := conn.NetConn().Write(test.sent); err != nil {
					t.Error(err)
				}
				for err := error(nil); ; _, _, err = conn.ReadMessage() {
					if err == nil {
						continue
					}
					if !websocket.IsCloseError(err, test.want) {
						t.Errorf("the server reads %v, want a close frame with %d", err, test.want)
					}
					return
				}
			})
			c, err := Dial(within(t), addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			<-c.Done()
			if !errors.Is(c.Err(), ErrProtocol) {
				t.Errorf("Err() = %v, want ErrProtocol", c.Err())
			}
		})
	}
}

// Dialing with the wrong scheme returns an error that names the cause, if the client can
// detect it.
func TestWrongTransport(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this is a WebSocket server", http.StatusBadRequest)
	}))
	defer page.Close()
	web := strings.TrimPrefix(page.URL, "http://")
	answer := func(s string) string {
		return accept(t, func(f *fake) {
			b := make([]byte, 1)
			_, _ = f.conn.Read(b)
			f.raw([]byte(s))
			_ = f.conn.(*net.TCPConn).CloseWrite()
			for err := error(nil); err == nil; {
				_, err = f.conn.Read(b)
			}
		})
	}
	for _, test := range []struct{ name, addr, want string }{
		{"TCP to a server that answers in HTTP", answer("HTTP/1.1 400 Bad Request\r\n\r\nWebSocket only"), "ws://"},
		{"TCP to TLS", answer("\x15\x03\x03\x00\x02\x02\x16"), "tls://"},
		{"WebSocket to a server that sends packets", "ws://" + answer("\x05\x00\x00\x02{}"), "tcp://"},
		{"WebSocket to a server that hangs up", "ws://" + answer(""), "tcp://"},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			_, err := Dial(within(t), test.addr)
			if !errors.Is(err, ErrWrongTransport) || !strings.Contains(err.Error(), test.want) || time.Since(start) > 5*time.Second {
				t.Errorf("Dial = %v after %v, want ErrWrongTransport with %s at once", err, time.Since(start), test.want)
			}
		})
	}
	_, err := Dial(within(t), "ws://"+web)
	if !errors.Is(err, websocket.ErrBadHandshake) || errors.Is(err, ErrWrongTransport) || !strings.Contains(err.Error(), "this is a WebSocket server") {
		t.Errorf("Dial of a page = %v, want ErrBadHandshake and what the server says", err)
	}
	refused := httptest.NewServer(nil)
	refused.Close()
	if _, err := Dial(within(t), "ws"+strings.TrimPrefix(refused.URL, "http")); err == nil || errors.Is(err, ErrWrongTransport) {
		t.Errorf("Dial of a closed port = %v, want the error of the network", err)
	}
}
