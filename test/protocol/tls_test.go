package protocol_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/testkit"
)

// secured lists the two transports that support TLS, with the scheme of their addresses.
var secured = map[string]string{"tcp": "tls", "ws": "wss"}

// dialTLS connects the Go client to a TLS server.
func dialTLS(t testing.TB, at *testkit.Server, config *tls.Config) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	c, err := client.Dial(ctx, secured[at.Transport]+"://localhost:1", client.WithTLSConfig(config),
		client.WithDialer(func(context.Context, string, string) (net.Conn, error) { return at.DialConn() }))
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func mustEcho(t testing.TB, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	big := strings.Repeat("x", 40_000) // several TLS records
	for _, text := range []string{"hello", big} {
		var got []byte
		if err := c.Request(ctx, "Game.Echo", []byte(text), &got); err != nil || string(got) != text {
			t.Fatalf("Game.Echo of %d bytes = %d bytes, %v", len(text), len(got), err)
		}
	}
}

func TestTLSFromFiles(t *testing.T) {
	ca := testkit.NewCA(t, "ca")
	for kind := range secured {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testkit.NewServer(&testkit.Game{}, nano.WithTLSFiles(testkit.WriteKeyPair(t, ca.Server(2))))
			testkit.ShutdownAtEnd(t, s)
			at := testkit.Serve(t, s, kind)
			c, err := dialTLS(t, at, &tls.Config{RootCAs: ca.Pool()})
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c)
			var unknown x509.UnknownAuthorityError
			if _, err := dialTLS(t, at, &tls.Config{RootCAs: testkit.NewCA(t, "other").Pool()}); !errors.As(err, &unknown) {
				t.Errorf("a client that trusts others gets %v, want x509.UnknownAuthorityError", err)
			}
			if _, err := dialTLS(t, at, &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}); err == nil {
				t.Error("a client of TLS 1.1 is let in")
			}
			mustEcho(t, c)
		})
	}
}

func TestTLSFaults(t *testing.T) {
	ca := testkit.NewCA(t, "ca")
	certificate, key := testkit.WriteKeyPair(t, ca.Server(2))
	otherCertificate, otherKey := testkit.WriteKeyPair(t, ca.Server(3))
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for name, test := range map[string]struct {
		option nano.Option
		want   []string
	}{
		"no certificate":      {nano.WithTLSFiles(missing, key), []string{"WithTLSFiles", missing, "open"}},
		"no key":              {nano.WithTLSFiles(certificate, missing), []string{"WithTLSFiles", missing, "open"}},
		"one file named":      {nano.WithTLSFiles(certificate, ""), []string{"WithTLSFiles", certificate}},
		"no PEM certificate":  {nano.WithTLSFiles(garbage, key), []string{"WithTLSFiles", garbage, "certificate"}},
		"no PEM key":          {nano.WithTLSFiles(certificate, garbage), []string{"WithTLSFiles", garbage, "key"}},
		"key of another":      {nano.WithTLSFiles(certificate, otherKey), []string{"WithTLSFiles", certificate, otherKey, "does not match"}},
		"certificate first":   {nano.WithTLSFiles(otherKey, otherCertificate), []string{"WithTLSFiles", otherKey}},
		"no configuration":    {nano.WithTLSConfig(nil), []string{"WithTLSConfig", "nil"}},
		"empty configuration": {nano.WithTLSConfig(&tls.Config{}), []string{"WithTLSConfig", "GetCertificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := testkit.NewServer(&testkit.Game{}, test.option).Start()
			if err == nil {
				t.Fatal("the server starts")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Start = %v, want %q in it", err, want)
				}
			}
			l, listenErr := net.Listen("tcp", "127.0.0.1:0")
			if listenErr != nil {
				t.Fatal(listenErr)
			}
			if got := testkit.NewServer(&testkit.Game{}, test.option).Serve(l); got == nil || got.Error() != err.Error() {
				t.Errorf("Serve = %v, want what Start returns", got)
			}
		})
	}
}

func TestTLSClientCertificates(t *testing.T) {
	ca, players, others := testkit.NewCA(t, "ca"), testkit.NewCA(t, "players"), testkit.NewCA(t, "others")
	for kind := range secured {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			names := make(chan string, 1)
			s := testkit.NewServer(&testkit.Game{}, nano.WithTLSConfig(&tls.Config{
				Certificates: []tls.Certificate{ca.Server(2)},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    players.Pool(),
				VerifyConnection: func(state tls.ConnectionState) error {
					names <- state.PeerCertificates[0].Subject.CommonName
					return nil
				},
			}))
			testkit.ShutdownAtEnd(t, s)
			at := testkit.Serve(t, s, kind)
			for name, own := range map[string][]tls.Certificate{
				"without a certificate":   nil,
				"with that of another CA": {others.Client("Eve")},
				"with one for servers":    {players.Server(7)},
			} {
				if _, err := dialTLS(t, at, &tls.Config{RootCAs: ca.Pool(), Certificates: own}); err == nil {
					t.Errorf("a client %s is let in", name)
				}
			}
			c, err := dialTLS(t, at, &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{players.Client("Ann")}})
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c)
			if name := testkit.Receive(t, names, "the certificate"); name != "Ann" {
				t.Errorf("the server sees the certificate of %s, want Ann", name)
			}
			testkit.Eventually(t, "those who were refused are gone", func() bool { return s.Stats().Connections == 1 })
		})
	}
}

// TestTLSRenewed checks that a certificate can be renewed while clients are connected.
func TestTLSRenewed(t *testing.T) {
	ca := testkit.NewCA(t, "ca")
	for kind := range secured {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var current atomic.Pointer[tls.Certificate]
			renew := func(serial int64) {
				c := ca.Server(serial)
				current.Store(&c)
			}
			renew(2)
			s := testkit.NewServer(&testkit.Game{}, nano.WithTLSConfig(&tls.Config{
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
			}))
			testkit.ShutdownAtEnd(t, s)
			at := testkit.Serve(t, s, kind)
			var seen int64
			config := &tls.Config{RootCAs: ca.Pool(), VerifyConnection: func(state tls.ConnectionState) error {
				seen = state.PeerCertificates[0].SerialNumber.Int64()
				return nil
			}}
			var clients []*client.Client
			for serial := int64(2); serial < 5; serial++ {
				renew(serial)
				c, err := dialTLS(t, at, config)
				if err != nil {
					t.Fatal(err)
				}
				if seen != serial {
					t.Errorf("a client sees certificate %d, want %d", seen, serial)
				}
				clients = append(clients, c)
				for _, c := range clients {
					mustEcho(t, c)
				}
			}
			// A failing callback of the program refuses new clients and does not affect
			// others.
			current.Store(&tls.Certificate{})
			if _, err := dialTLS(t, at, config); err == nil {
				t.Error("a client is let in without a certificate of the server")
			}
			renew(9)
			for _, c := range clients {
				mustEcho(t, c)
			}
		})
	}
}

// TestTLSConfigIsCopied checks that the server does not change the program's TLS
// configuration. It uses a copy.
func TestTLSConfigIsCopied(t *testing.T) {
	ca := testkit.NewCA(t, "ca")
	config := &tls.Config{Certificates: []tls.Certificate{ca.Server(2)}}
	for kind := range secured {
		s := testkit.NewServer(&testkit.Game{}, nano.WithTLSConfig(config))
		testkit.ShutdownAtEnd(t, s)
		at := testkit.Serve(t, s, kind)
		config.Certificates = nil
		c, err := dialTLS(t, at, &tls.Config{RootCAs: ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c)
		if config.NextProtos != nil {
			t.Errorf("the server has set NextProtos to %q in the program's configuration", config.NextProtos)
		}
		config.Certificates = []tls.Certificate{ca.Server(2)}
	}
}

// TestNoTLS checks that a client that does not use TLS is closed, at the latest at the
// handshake deadline.
func TestNoTLS(t *testing.T) {
	ca := testkit.NewCA(t, "ca")
	for kind := range secured {
		for name, bytes := range map[string]string{
			"silent":        "",
			"half a record": "\x16\x03\x01\x02",
			"a handshake":   string(testkit.Pack(1, "{}")),
			"an upgrade":    testkit.UpgradeRequest("/"),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				s := testkit.NewServer(&testkit.Game{}, nano.WithHandshakeTimeout(200*time.Millisecond), nano.WithTLSFiles(testkit.WriteKeyPair(t, ca.Server(2))))
				testkit.ShutdownAtEnd(t, s)
				at := testkit.Serve(t, s, kind)
				conn, err := at.DialConn()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, bytes); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetReadDeadline(time.Now().Add(testkit.Patience))
				// The server may send an alert or an HTTP error, or reset the connection.
				_, err = io.Copy(io.Discard, conn)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the connection is open after %v", testkit.Patience)
				}
				testkit.Eventually(t, "the connection is gone", func() bool { return s.Stats().Connections == 0 })
			})
		}
	}
}
