package nano_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	own := a.sign(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = own.Leaf, own.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a certificate with a key of its own; before the authority has one, it signs itself.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// server makes a certificate for localhost.
func (a *authority) server(serial int64) tls.Certificate {
	return a.sign(&x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// client makes a certificate for a player.
func (a *authority) client(name string) tls.Certificate {
	return a.sign(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// files writes a certificate and its key to two PEM files.
func files(t testing.TB, c tls.Certificate) (certificate, key string) {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", c.Certificate[0]), write("key.pem", "PRIVATE KEY", secret)
}

// secured are the two transports that TLS goes under, with the scheme of their addresses.
var secured = map[string]string{"tcp": "tls", "ws": "wss"}

// dialTLS connects the Go client to a server that speaks TLS.
func dialTLS(t testing.TB, at *site, config *tls.Config) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, secured[at.kind]+"://localhost:1", client.WithTLSConfig(config),
		client.WithDialer(func(context.Context, string, string) (net.Conn, error) { return at.conn() }))
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func mustEcho(t testing.TB, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
	ca := newAuthority(t, "ca")
	for kind := range secured {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newServer(&Game{}, nano.WithTSLConfig(files(t, ca.server(2))))
			shutdownAtEnd(t, s)
			at := serve(t, s, kind)
			c, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool()})
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c)
			var unknown x509.UnknownAuthorityError
			if _, err := dialTLS(t, at, &tls.Config{RootCAs: newAuthority(t, "other").pool()}); !errors.As(err, &unknown) {
				t.Errorf("a client that trusts others gets %v, want x509.UnknownAuthorityError", err)
			}
			if _, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}); err == nil {
				t.Error("a client of TLS 1.1 is let in")
			}
			mustEcho(t, c)
		})
	}
}

func TestTLSFaults(t *testing.T) {
	ca := newAuthority(t, "ca")
	certificate, key := files(t, ca.server(2))
	otherCertificate, otherKey := files(t, ca.server(3))
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for name, test := range map[string]struct {
		option nano.Option
		want   []string
	}{
		"no certificate":      {nano.WithTSLConfig(missing, key), []string{"WithTSLConfig", missing, "open"}},
		"no key":              {nano.WithTSLConfig(certificate, missing), []string{"WithTSLConfig", missing, "open"}},
		"one file named":      {nano.WithTSLConfig(certificate, ""), []string{"WithTSLConfig", certificate}},
		"no PEM certificate":  {nano.WithTSLConfig(garbage, key), []string{"WithTSLConfig", garbage, "certificate"}},
		"no PEM key":          {nano.WithTSLConfig(certificate, garbage), []string{"WithTSLConfig", garbage, "key"}},
		"key of another":      {nano.WithTSLConfig(certificate, otherKey), []string{"WithTSLConfig", certificate, otherKey, "does not match"}},
		"certificate first":   {nano.WithTSLConfig(otherKey, otherCertificate), []string{"WithTSLConfig", otherKey}},
		"no configuration":    {nano.WithTLSConfig(nil), []string{"WithTLSConfig", "nil"}},
		"empty configuration": {nano.WithTLSConfig(&tls.Config{}), []string{"WithTLSConfig", "GetCertificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := newServer(&Game{}, test.option).Start()
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
			if got := newServer(&Game{}, test.option).Serve(l); got == nil || got.Error() != err.Error() {
				t.Errorf("Serve = %v, want what Start returns", got)
			}
		})
	}
}

func TestTLSClientCertificates(t *testing.T) {
	ca, players, others := newAuthority(t, "ca"), newAuthority(t, "players"), newAuthority(t, "others")
	for kind := range secured {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			names := make(chan string, 1)
			s := newServer(&Game{}, nano.WithTLSConfig(&tls.Config{
				Certificates: []tls.Certificate{ca.server(2)},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    players.pool(),
				VerifyConnection: func(state tls.ConnectionState) error {
					names <- state.PeerCertificates[0].Subject.CommonName
					return nil
				},
			}))
			shutdownAtEnd(t, s)
			at := serve(t, s, kind)
			for name, own := range map[string][]tls.Certificate{
				"without a certificate":   nil,
				"with that of another CA": {others.client("Eve")},
				"with one for servers":    {players.server(7)},
			} {
				if _, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool(), Certificates: own}); err == nil {
					t.Errorf("a client %s is let in", name)
				}
			}
			c, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{players.client("Ann")}})
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c)
			if name := receive(t, names, "the certificate"); name != "Ann" {
				t.Errorf("the server sees the certificate of %s, want Ann", name)
			}
			eventually(t, "those who were refused are gone", func() bool { return s.Stats().Connections == 1 })
		})
	}
}

// A certificate is renewed while clients are connected.
func TestTLSRenewed(t *testing.T) {
	ca := newAuthority(t, "ca")
	for kind := range secured {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var current atomic.Pointer[tls.Certificate]
			renew := func(serial int64) {
				c := ca.server(serial)
				current.Store(&c)
			}
			renew(2)
			s := newServer(&Game{}, nano.WithTLSConfig(&tls.Config{
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
			}))
			shutdownAtEnd(t, s)
			at := serve(t, s, kind)
			var seen int64
			config := &tls.Config{RootCAs: ca.pool(), VerifyConnection: func(state tls.ConnectionState) error {
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
			// A fault of the program refuses new clients and no others.
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

// The configuration belongs to the program: the server works on a copy.
func TestTLSConfigIsCopied(t *testing.T) {
	ca := newAuthority(t, "ca")
	config := &tls.Config{Certificates: []tls.Certificate{ca.server(2)}}
	for kind := range secured {
		s := newServer(&Game{}, nano.WithTLSConfig(config))
		shutdownAtEnd(t, s)
		at := serve(t, s, kind)
		config.Certificates = nil
		c, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool()})
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c)
		if config.NextProtos != nil {
			t.Errorf("the server has set NextProtos to %q in the program's configuration", config.NextProtos)
		}
		config.Certificates = []tls.Certificate{ca.server(2)}
	}
}

// Who does not speak TLS is closed, at the latest when the time for the handshake is over.
func TestNoTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	for kind := range secured {
		for name, bytes := range map[string]string{
			"silent":        "",
			"half a record": "\x16\x03\x01\x02",
			"a handshake":   string(pack(1, "{}")),
			"an upgrade":    upgradeRequest("/"),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newServer(&Game{}, nano.WithHandshakeTimeout(200*time.Millisecond), nano.WithTSLConfig(files(t, ca.server(2))))
				shutdownAtEnd(t, s)
				at := serve(t, s, kind)
				conn, err := at.conn()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, bytes); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				// An alert may come, and a page that tells of TLS; the connection may also be reset.
				_, err = io.Copy(io.Discard, conn)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the connection is open after %v", patience)
				}
				eventually(t, "the connection is gone", func() bool { return s.Stats().Connections == 0 })
			})
		}
	}
}
