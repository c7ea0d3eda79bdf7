package protocol_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// seen makes the handler Do respond with the client's address.
func seen() *testkit.Game {
	return &testkit.Game{OnDo: func(s *session.Session, _ []byte) error { return s.Response([]byte(s.RemoteAddr().String())) }}
}

func header(t testing.TB, version byte, source string) []byte {
	t.Helper()
	from, err := net.ResolveTCPAddr("tcp", source)
	if err != nil {
		t.Fatal(err)
	}
	to := &net.TCPAddr{IP: net.ParseIP("198.51.100.1"), Port: 3250}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::1")
	}
	b, err := proxyproto.HeaderProxyFromAddrs(version, from, to).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// v2 returns a header of version 2 with the given fields.
func v2(command, family byte, body string) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family, byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	trusting := nano.WithTrustedProxies("10.0.0.0/8", "127.0.0.1")
	for _, kind := range []string{"tcp", "tls", "unix"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at := testkit.Start(t, kind, seen(), trusting)
			if kind == "tls" {
				// The PROXY header precedes TLS.
				plain := testkit.DialBelowTLS(t, at)
				at.Transport, at.DialConn = "tcp", plain
			}
			for name, test := range map[string]struct {
				header []byte
				want   string // the client's address; "" for the peer's own, "-" if the header is refused
			}{
				"version 1":                {header(t, 1, "203.0.113.9:4711"), "203.0.113.9:4711"},
				"version 1, IPv6":          {header(t, 1, "[2001:db8::9]:4711"), "[2001:db8::9]:4711"},
				"version 1, unknown":       {[]byte("PROXY UNKNOWN\r\n"), ""},
				"version 1, unknown, long": {[]byte("PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n"), ""},
				"version 2":                {header(t, 2, "203.0.113.9:4711"), "203.0.113.9:4711"},
				"version 2, IPv6":          {header(t, 2, "[2001:db8::9]:4711"), "[2001:db8::9]:4711"},
				"version 2, with more":     {v2(0x21, 0x11, "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2\x04\x00\x03abc"), "203.0.113.9:4711"},
				"version 2, local":         {v2(0x20, 0, ""), ""},
				"version 2, local, long":   {v2(0x20, 0x11, strings.Repeat("x", 500)), ""},
				"no header":                {nil, ""},
				"half a signature":         {[]byte("PROX\r\n"), "-"},
				"another word":             {[]byte("PROXYING TCP4 1.2.3.4 1.2.3.4 1 1\r\n"), "-"},
				"no family":                {[]byte("PROXY \r\n"), "-"},
				"no address":               {[]byte("PROXY TCP4 a b 1 1\r\n"), "-"},
				"no port":                  {[]byte("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), "-"},
				"a port too large":         {[]byte("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n"), "-"},
				"another family":           {[]byte("PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"), "-"},
				"a line too long":          {[]byte("PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n"), "-"},
				"no end":                   {[]byte("PROXY TCP4 " + strings.Repeat("1", 5000)), "-"},
				"a line without CR":        {[]byte("PROXY UNKNOWN\n"), "-"},
				"another signature":        {[]byte("\r\n\r\n\x00\r\nQUIT\r"), "-"},
				"another version":          {v2(0x31, 0x11, "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2"), "-"},
				"another command":          {v2(0x22, 0x11, "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2"), "-"},
				"an address too short":     {v2(0x21, 0x11, "\xcb\x00\x71\x09"), "-"},
				"an endless header":        {append(v2(0x21, 0x11, "")[:14], 0xff, 0xff), "-"},
			} {
				if kind == "unix" && test.header != nil {
					test.want = "-" // the proxy is not trusted, so a header is malformed
				}
				p := at.DialSending(test.header)
				if test.want == "-" {
					if kind != "tcp" || name == "an endless header" {
						_ = p.Conn.(interface{ CloseWrite() error }).CloseWrite()
					}
					if e := p.ReadEnd(); len(e.Messages) != 0 {
						t.Errorf("%s: %v came", name, e)
					}
					continue
				}
				if kind == "tls" {
					c := tls.Client(p.Conn, &tls.Config{RootCAs: testkit.Roots(), ServerName: "localhost"})
					p = testkit.NewClient(t, c)
				}
				p.Join()
				got := p.Call(1, "Game.Do", "")
				want := test.want
				if want == "" {
					want = p.Conn.LocalAddr().String()
				}
				if kind != "unix" && got != want {
					t.Errorf("%s: the session's address is %s, want %s", name, got, want)
				}
				p.Abort()
			}
		})
	}
}

// TestProxyHeaderCutAnywhere checks that a header may arrive in pieces, and together with
// the bytes after it.
func TestProxyHeaderCutAnywhere(t *testing.T) {
	rest := bytes.Join([][]byte{testkit.Pack(packet.Handshake, "{}"), testkit.Pack(packet.Ack, ""), testkit.Request(1, "Game.Do", "")}, nil)
	for version := byte(1); version <= 2; version++ {
		stream := append(header(t, version, "203.0.113.9:4711"), rest...)
		for i := range stream {
			synctest.Test(t, func(t *testing.T) {
				from, _ := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("10.1.0.0/16"))
				p := from("10.1.2.3:1").DialPatient()
				p.Go(func() {
					for _, b := range [][]byte{stream[:i], stream[i:]} {
						if len(b) > 0 && p.Raw(b) != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				if typ, _, err := p.Packet(); err != nil || typ != packet.Handshake {
					t.Fatalf("version %d cut at %d: %v packet, %v", version, i, typ, err)
				}
				if m := p.Next(); string(m.Data) != "203.0.113.9:4711" {
					t.Errorf("version %d cut at %d: the address is %s", version, i, m.Data)
				}
			})
		}
		synctest.Test(t, func(t *testing.T) {
			from, _ := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("10.1.0.0/16"))
			p := from("10.1.2.3:1").DialPatient()
			p.Go(func() {
				for _, b := range stream {
					if p.Raw([]byte{b}) != nil {
						return
					}
				}
			})
			if _, _, err := p.Packet(); err != nil {
				t.Fatal(err)
			}
			if m := p.Next(); string(m.Data) != "203.0.113.9:4711" {
				t.Errorf("version %d byte by byte: the address is %s", version, m.Data)
			}
		})
	}
}

// TestProxyTrust checks that a header from an untrusted address is malformed, and that
// limits use the address that a trusted header contains.
func TestProxyTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, srv := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("10.1.0.0/16", "2001:db8::/32"),
			nano.WithMaxConnectionsPerAddress(2))
		for _, untrusted := range []string{"10.2.0.1:1", "[2001:db9::1]:1"} {
			for version := byte(1); version <= 2; version++ {
				p := from(untrusted).DialSending(header(t, version, "203.0.113.9:4711"))
				p.Patience = time.Hour
				p.ReadEnd()
			}
		}
		synctest.Wait()
		if n := srv.Stats().Closed["protocol"]; n != 4 {
			t.Errorf("%d sessions were closed for malformed bytes, want 4", n)
		}
		for _, proxy := range []string{"10.1.0.1:1", "[::ffff:10.1.255.255]:1", "[2001:db8:7::1]:1", "10.1.0.1:2", "10.1.0.1:3"} {
			for i, source := range []string{"203.0.113.9:1", "203.0.113.8:2"} {
				p := from(proxy).DialSending(header(t, 2, source))
				p.Patience = time.Hour
				err := p.Wire.Join()
				if full := srv.Stats().Refused["address"] > 0; (err != nil) != full {
					t.Errorf("client %d behind %s: %v", i, proxy, err)
				}
			}
		}
		if st := srv.Stats(); st.Refused["address"] != 6 || st.Connections != 4 {
			t.Errorf("%d refused and %d open, want 6 and 4", st.Refused["address"], st.Connections)
		}
	})
}

// TestTrustedNetworksAsIPv6 checks that an IPv4 network may be written as an IPv4-mapped
// IPv6 network.
func TestTrustedNetworksAsIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, _ := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("::ffff:10.0.0.0/104", "::ffff:192.0.2.7", "::ffff:192.0.2.16/128"))
		for proxy, trusted := range map[string]bool{
			"10.255.0.1:1": true, "[::ffff:10.0.0.1]:1": true, "192.0.2.7:1": true, "192.0.2.16:1": true, "192.0.2.8:1": false,
			"11.0.0.1:1": false,
		} {
			p := from(proxy).DialSending(header(t, 2, "203.0.113.9:4711"))
			p.Patience = time.Hour
			err := p.Wire.Join()
			if (err == nil) != trusted {
				t.Errorf("a proxy at %s: %v, want trusted: %v", proxy, err, trusted)
			}
		}
	})
}

// TestProxyDeadline checks that the handshake deadline includes the header, and that a
// connection of a proxy without a header is not counted as a client.
func TestProxyDeadline(t *testing.T) {
	for name, send := range map[string][]byte{
		"nothing": nil, "a letter": []byte("P"), "half of version 1": []byte("PROXY TCP4 1.2.3.4 "),
		"half of version 2": header(t, 2, "1.2.3.4:5")[:20], "a header": header(t, 2, "1.2.3.4:5"),
	} {
		synctest.Test(t, func(t *testing.T) {
			from, srv := openFrom(t, "pipe", &testkit.Game{}, nano.WithTrustedProxies("10.0.0.0/8"))
			p := from("10.0.0.1:1").Dial()
			p.Patience = time.Hour
			start := time.Now()
			p.Go(func() {
				for _, b := range send {
					time.Sleep(100 * time.Millisecond)
					if p.Raw([]byte{b}) != nil {
						return
					}
				}
			})
			if _, _, err := p.Packet(); err == nil {
				t.Error("a packet came")
			}
			if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("%s: closed after %v, want 10s", name, took)
			}
			refused := srv.Stats().Refused["handshake"]
			caller := from("10.0.0.1:1").Dial()
			synctest.Wait()
			caller.Abort()
			synctest.Wait()
			if n := srv.Stats().Refused["handshake"]; n != refused {
				t.Errorf("a proxy that looked in was counted as refused: %d, want %d", n, refused)
			}
			// A shutdown does not wait for a header.
			from("10.0.0.1:1").Dial()
			synctest.Wait()
			start = time.Now()
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("Shutdown took %v", took)
			}
		})
	}
}

// TestProxyConnectionsAreCounted checks that a connection that waits for its header
// counts toward the connection limit, so that a trusted network cannot exceed it. It
// counts toward no address until the header has arrived.
func TestProxyConnectionsAreCounted(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := testkit.NewLogCapture()
				from, srv := openFrom(t, kind, seen(), nano.WithTrustedProxies("10.0.0.0/8"), nano.WithMaxConnections(100),
					nano.WithMaxConnectionsPerAddress(1), log.Option())
				dial := func() *testkit.Client {
					t.Helper()
					conn, err := from("10.0.0.1:1").DialConn()
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = conn.Close() })
					p := testkit.NewClient(t, conn)
					p.Patience = time.Hour
					return p
				}
				start := time.Now()
				var ended []chan time.Duration
				for range 3000 {
					end, p := make(chan time.Duration, 1), dial()
					ended = append(ended, end)
					p.Go(func() {
						p.ReadUntilEnd()
						end <- time.Since(start)
					})
				}
				synctest.Wait()
				if st := srv.Stats(); st.Refused["connections"] != 2900 || st.Refused["address"] != 0 {
					t.Errorf("refused: %v, want 2900 of all connections", st.Refused)
				}
				if n := log.Count(limitLine); n != 1 {
					t.Errorf("%d lines in the log, want 1", n)
				}
				at := map[time.Duration]int{}
				for _, end := range ended {
					at[(<-end).Truncate(time.Second)]++
				}
				if at[0] != 2900 || at[10*time.Second] != 100 {
					t.Errorf("the connections ended after %v, want 2900 at once and 100 after 10s", at)
				}
				// The slot of the closed connection is free. The new client occupies one
				// slot as well.
				for i := range 100 {
					p, client := dial(), fmt.Sprintf("203.0.113.%d", i)
					if kind == "wspipe" {
						if got := p.RequestUpgrade(t, "X-Forwarded-For: "+client); got != http.StatusSwitchingProtocols {
							t.Fatalf("client %d was answered with status %d", i, got)
						}
					} else if err := p.Raw(header(t, 2, client+":1")); err != nil {
						t.Fatal(err)
					}
					p.Join()
				}
				if st := srv.Stats(); st.Connections != 100 || st.Refused["connections"] != 2900 {
					t.Errorf("%d clients are in, and %v refused, want 100 in", st.Connections, st.Refused)
				}
				start = time.Now()
				if dial().ReadEnd(); time.Since(start) > 0 {
					t.Error("there was room for one more than allowed")
				}
			})
		})
	}
}

func TestForwardedFor(t *testing.T) {
	const client = "198.51.100.7"
	for _, test := range []struct {
		peer    string
		headers []string
		want    string // "" for the peer's address
	}{
		{"10.0.0.1:1", nil, ""},
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"x-forwarded-for:   " + client + "  "}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client + ":1234"}, client + ":1234"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 2001:db8::7"}, "[2001:db8::7]:0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: [2001:db8::7]:1234"}, "[2001:db8::7]:1234"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: [2001:db8::7]"}, "[2001:db8::7]:0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: ::ffff:198.51.100.7"}, client + ":0"},
		// The client itself sent the leftmost entries.
		{"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.1, " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 10.9.9.9, " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: nonsense, " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Real-IP: " + client}, client + ":0"},
		{"192.0.2.9:1", []string{"X-Real-IP: " + client}, "192.0.2.9:1"},
		{"10.0.0.1:1", []string{"Forwarded: for=" + client + ";proto=https"}, client + ":0"},
		{"10.0.0.1:1", []string{`Forwarded: proto=https;For="[2001:db8::7]:1234"`}, "[2001:db8::7]:1234"},
		{"10.0.0.1:1", []string{"Forwarded: for=192.0.2.1, for=" + client + ", for=10.9.9.9"}, client + ":0"},
		{"10.0.0.1:1", []string{"Forwarded: for=_hidden", "X-Real-IP: " + client}, "10.0.0.1:1"},
		{"10.0.0.1:1", []string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: " + client}, client + ":0"},
		// The request passed several proxies.
		{"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.1, " + client + ", 10.0.0.3,10.0.0.2"}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.1, " + client, "X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		// After an invalid entry, the last valid address is used.
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client + ", nonsense, 10.0.0.2"}, "10.0.0.2:0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client + ", unknown"}, ""},
		{"10.0.0.1:1", []string{"X-Forwarded-For:"}, ""},
		{"10.0.0.1:1", []string{"X-Forwarded-For: ,,,"}, ""},
		// The peer is not trusted.
		{"192.0.2.66:1", []string{"X-Forwarded-For: " + client}, ""},
		{"[::1]:1", []string{"X-Forwarded-For: " + client}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			from, _ := openFrom(t, "wspipe", seen(), nano.WithTrustedProxies("10.0.0.0/8"))
			conn, err := from(test.peer).DialConn()
			if err != nil {
				t.Fatal(err)
			}
			p := testkit.NewClient(t, conn)
			t.Cleanup(p.Abort)
			if status := p.RequestUpgrade(t, test.headers...); status != http.StatusSwitchingProtocols {
				t.Fatalf("status %d", status)
			}
			p.Join()
			want := test.want
			if want == "" {
				want = test.peer
			}
			if got := p.Call(1, "Game.Do", ""); got != want {
				t.Errorf("%v from %s: the session's address is %s, want %s", test.headers, test.peer, got, want)
			}
		})
	}
}

// TestForwardedForLimits checks that limits use the address that a trusted proxy reports,
// not that of the proxy.
func TestForwardedForLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, srv := openFrom(t, "wspipe", &testkit.Game{}, nano.WithTrustedProxies("10.0.0.0/8"), nano.WithMaxConnectionsPerAddress(2),
			nano.WithMaxConnections(5))
		try := func(client string, want int) {
			t.Helper()
			conn, err := from("10.0.0.1:1").DialConn()
			if err != nil {
				t.Fatal(err)
			}
			w := testkit.NewWire(conn)
			t.Cleanup(w.Abort)
			if got := w.RequestUpgrade(t, "X-Forwarded-For: "+client); got != want {
				t.Errorf("a client at %s was answered with status %d, want %d", client, got, want)
			}
			if want != http.StatusSwitchingProtocols {
				w.Abort()
				synctest.Wait()
			}
		}
		for _, c := range []string{"192.0.2.1", "192.0.2.2"} {
			try(c, 101)
			try(c, 101)
			try(c, 503)
		}
		try("192.0.2.3", 101)
		if st := srv.Stats(); st.Refused["address"] != 2 || st.Refused["connections"] != 0 {
			t.Errorf("refused: %v, want 2 by address", st.Refused)
		}
		conn, err := from("10.0.0.1:1").DialConn()
		if err != nil {
			t.Fatal(err)
		}
		if status, err := testkit.NewWire(conn).ReadStatus(); status != http.StatusServiceUnavailable {
			t.Errorf("a sixth connection was answered with status %d, %v, want 503", status, err)
		}
		if st := srv.Stats(); st.Refused["connections"] != 1 {
			t.Errorf("refused: %v, want 1 of all connections", st.Refused)
		}
	})
}

// TestAddressesOnTheProgramsMux checks that the session's address is the one that a
// trusted proxy reports, with the program's mux too.
func TestAddressesOnTheProgramsMux(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, from := programsMux(t, nano.WithMaxConnectionsPerAddress(2), nano.WithTrustedProxies("10.0.0.0/8"))
		for i, test := range []struct {
			addr, forwarded string
			want            string // the session's address; "" if the client is refused
		}{
			{"192.0.2.1:1", "", "192.0.2.1:1"},
			{"192.0.2.1:2", "198.51.100.7", "192.0.2.1:2"}, // the peer is not trusted
			{"192.0.2.1:3", "198.51.100.8", ""},
			{"10.0.0.1:1", "192.0.2.1", ""},
			{"10.0.0.1:2", "198.51.100.7", "198.51.100.7:0"},
			{"10.0.0.2:1", "192.0.2.1, 198.51.100.7", "198.51.100.7:0"},
			{"10.0.0.2:2", "198.51.100.7", ""},
			{"10.0.0.2:3", "2001:db8::1", "[2001:db8::1]:0"},
		} {
			p := from(test.addr)
			var headers []string
			if test.forwarded != "" {
				headers = append(headers, "X-Forwarded-For: "+test.forwarded)
			}
			status := p.RequestUpgrade(t, headers...)
			if test.want == "" {
				if status != http.StatusServiceUnavailable {
					t.Errorf("client %d was answered with status %d, want 503", i, status)
				}
				continue
			}
			if status != http.StatusSwitchingProtocols {
				t.Errorf("client %d was answered with status %d, want 101", i, status)
				continue
			}
			p.Join()
			if got := p.Call(1, "Game.Do", ""); got != test.want {
				t.Errorf("the address of client %d is %s, want %s", i, got, test.want)
			}
		}
		if n := s.Stats().Refused["address"]; n != 3 {
			t.Errorf("%d were refused for their address, want 3", n)
		}
	})
}
