// Tls serves players over TLS, and loads renewed certificates without a restart. With -clients, it accepts only players
// with a certificate.
//
//	go run ./examples/tls -addr :3250 -cert cert.pem -key key.pem                      # as ACME clients write them
//	go run ./examples/tls -addr :3250 -cert cert.pem -key key.pem -clients players.pem # players show certificates
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// lookEvery is the shortest time between two checks of the files.
const lookEvery = 10 * time.Second

// keeper loads the certificate of two PEM files, and reloads it when they change.
type keeper struct {
	cert, key string

	mu      sync.Mutex // guards the fields below
	current *tls.Certificate
	written time.Time // modification time of the loaded files
	looked  time.Time
}

// newKeeper loads the certificate for the first time.
func newKeeper(cert, key string) (*keeper, error) {
	k := &keeper{cert: cert, key: key}
	written, err := k.modified()
	if err != nil {
		return nil, err
	}
	return k, k.read(written)
}

// get implements tls.Config.GetCertificate. It is called concurrently, once for each
// client. While the files are invalid, it returns the previous certificate. That happens
// when only one file has been replaced.
func (k *keeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.looked) >= lookEvery {
		k.looked = now
		written, err := k.modified()
		if err == nil && !written.Equal(k.written) {
			err = k.read(written)
		}
		if err != nil {
			log.Printf("tls: the certificate stays as it was: %v", err)
		}
	}
	return k.current, nil
}

// modified returns the later modification time of the two files.
func (k *keeper) modified() (time.Time, error) {
	var latest time.Time
	for _, path := range []string{k.cert, k.key} {
		info, err := os.Stat(path)
		if err != nil {
			return latest, err
		}
		if t := info.ModTime(); t.After(latest) {
			latest = t
		}
	}
	return latest, nil
}

// read loads the files. The caller holds mu, except in newKeeper.
func (k *keeper) read(written time.Time) error {
	c, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return err
	}
	k.current, k.written = &c, written
	return nil
}

// config returns the TLS configuration of the server. clients names a PEM file with the
// authorities of the players' certificates. With "" players need no certificate.
func config(k *keeper, clients string) (*tls.Config, error) {
	c := &tls.Config{GetCertificate: k.get, MinVersion: tls.VersionTLS12}
	if clients == "" {
		return c, nil
	}
	pem, err := os.ReadFile(clients)
	if err != nil {
		return nil, err
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", clients)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// Echo is the component that players call.
type Echo struct{ component.Base }

// Say responds with the payload.
func (e *Echo) Say(s *session.Session, data []byte) error { return s.Response(data) }

func options(c *tls.Config) []nano.Option {
	components := &component.Components{}
	components.Register(&Echo{})
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), nano.WithTLSConfig(c)}
}

func run(addr, cert, key, clients string) error {
	k, err := newKeeper(cert, key)
	if err != nil {
		return err
	}
	c, err := config(k, clients)
	if err != nil {
		return err
	}
	return nano.Listen(addr, options(c)...)
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	cert := flag.String("cert", "cert.pem", "PEM `file` with the certificate and its chain")
	key := flag.String("key", "key.pem", "PEM `file` with the key")
	clients := flag.String("clients", "", "PEM `file` with the authorities of players' certificates")
	flag.Parse()
	if err := run(*addr, *cert, *key, *clients); err != nil {
		log.Fatal(err)
	}
}
