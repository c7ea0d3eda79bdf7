package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issue makes a self-signed certificate for localhost and writes it to two files for
// players.
func issue(t *testing.T, serial int64, cert, key string) *x509.Certificate {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cert, serial, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, key, serial, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write writes a file. Its modification time is 100-serial hours ago.
func write(t *testing.T, path string, serial int64, b []byte) {
	t.Helper()
	at := time.Now().Add(time.Duration(serial-100) * time.Hour)
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
}

// connect connects a player over TLS in memory. It returns the serial number of the
// server's certificate.
func connect(t *testing.T, srv *nanotest.Server, own ...tls.Certificate) (c *client.Client, serial int64, err error) {
	t.Helper()
	c, err = client.Dial(t.Context(), "tls://localhost:1", client.WithDialer(srv.Listener.DialContext),
		client.WithTLSConfig(&tls.Config{
			InsecureSkipVerify: true, // the test verifies the certificate itself
			Certificates:       own,
			VerifyConnection: func(s tls.ConnectionState) error {
				serial = s.PeerCertificates[0].SerialNumber.Int64()
				return s.PeerCertificates[0].VerifyHostname("localhost")
			},
		}))
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, serial, err
}

func echo(t *testing.T, c *client.Client) {
	t.Helper()
	var got []byte
	if err := c.Request(t.Context(), "Echo.Say", []byte("hello"), &got); err != nil || string(got) != "hello" {
		t.Errorf("Echo.Say = %q, %v", got, err)
	}
}

func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	synctest.Test(t, func(t *testing.T) {
		issue(t, 1, cert, key)
		k, err := newKeeper(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config(k, "")
		if err != nil {
			t.Fatal(err)
		}
		srv := nanotest.Start(t, options(c)...)
		var first *client.Client
		sees := func(want int64) {
			t.Helper()
			c, got, err := connect(t, srv)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("a player sees certificate %d, want %d", got, want)
			}
			if first == nil {
				first = c
			}
			echo(t, c)
			echo(t, first) // older connections stay open
		}
		sees(1)
		issue(t, 2, cert, key)
		sees(1) // the server checks the files periodically
		time.Sleep(lookEvery)
		sees(2)

		// The two files are written one after the other, and a client connects in
		// between.
		issue(t, 3, cert, filepath.Join(dir, "other.pem"))
		time.Sleep(lookEvery)
		sees(2)
		issue(t, 4, cert, key)
		time.Sleep(lookEvery)
		sees(4)

		for _, path := range []string{cert, key} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(lookEvery)
		sees(4)
	})
}

func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	issue(t, 1, file("cert.pem"), file("key.pem"))
	issue(t, 2, file("ann.pem"), file("ann.key"))
	issue(t, 3, file("eve.pem"), file("eve.key"))
	pair := func(cert, key string) tls.Certificate {
		c, err := tls.LoadX509KeyPair(file(cert), file(key))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	k, err := newKeeper(file("cert.pem"), file("key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config(k, file("ann.pem"))
	if err != nil {
		t.Fatal(err)
	}
	srv := nanotest.Start(t, options(c)...)
	ann, _, err := connect(t, srv, pair("ann.pem", "ann.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := connect(t, srv, pair("eve.pem", "eve.key")); err == nil {
		t.Error("a player with another certificate is let in")
	}
	if _, _, err := connect(t, srv); err == nil {
		t.Error("a player without a certificate is let in")
	}
	echo(t, ann)
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	cert, key, garbage := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "garbage.pem")
	missing := filepath.Join(dir, "missing.pem")
	issue(t, 1, cert, key)
	write(t, garbage, 1, []byte("garbage"))
	// The address fails too. If the files are valid, Start returns the error of the
	// address.
	const nowhere = "127.0.0.1:nowhere"
	for name, files := range map[string][3]string{
		"no certificate":      {missing, key, ""},
		"no key":              {cert, missing, ""},
		"another certificate": {garbage, key, ""},
		"no authorities":      {cert, key, missing},
		"other authorities":   {cert, key, garbage},
	} {
		err := run(nowhere, files[0], files[1], files[2])
		var address *net.OpError
		if err == nil || errors.As(err, &address) {
			t.Errorf("%s: run = %v, want an error of the files", name, err)
		}
	}
	var address *net.OpError
	if err := run(nowhere, cert, key, cert); !errors.As(err, &address) {
		t.Errorf("run = %v, want an error of the address", err)
	}
}
