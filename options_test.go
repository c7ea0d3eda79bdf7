package nano_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
)

// badOptions are options with refused values, and the expected error texts.
var badOptions = map[string]struct {
	option nano.Option
	want   string
}{
	"components": {nano.WithComponents(nil), "WithComponents: want components"},
	"serializer": {nano.WithSerializer(nil), "WithSerializer: want a serializer"},
	"scheduler":  {nano.WithScheduler(nil), "WithScheduler: want a scheduler"},
	"dictionary": {nano.WithDictionary(map[string]uint16{"a\xff": 1}), "WithDictionary: want routes in UTF-8"},
	"dictionary codes": {
		nano.WithDictionary(map[string]uint16{"b": 1, "c": 1, "a": 1}),
		`WithDictionary: message: dictionary code 1 stands for "a" and for "b"` + "\n" +
			`nano: WithDictionary: message: dictionary code 1 stands for "a" and for "c"`,
	},
	"heartbeat":       {nano.WithHeartbeatInterval(0), "WithHeartbeatInterval: want a time above 0, got 0s"},
	"handshake":       {nano.WithHandshakeTimeout(-1), "WithHandshakeTimeout: want a time above 0"},
	"shutdown":        {nano.WithShutdownTimeout(0), "WithShutdownTimeout: want a time above 0"},
	"precision":       {nano.WithTimerPrecision(time.Microsecond), "WithTimerPrecision: want 1 ms or more"},
	"slow":            {nano.WithSlowHandler(-time.Second), "WithSlowHandler: want a time of 0 or more, got -1s"},
	"packet":          {nano.WithMaxPacketSize(1 << 24), "WithMaxPacketSize: want 1 to 16777215 bytes, got 16777216"},
	"pending":         {nano.WithMaxPending(0), "WithMaxPending: want 1 or more messages, got 0"},
	"buffer":          {nano.WithWriteBuffer(0, nano.RefusePush), "WithWriteBuffer: want 1 or more bytes, got 0"},
	"policy":          {nano.WithWriteBuffer(1, 7), "WithWriteBuffer: want CloseSlowClient or RefusePush, got 7"},
	"route":           {nano.WithMaxRouteLength(256), "WithMaxRouteLength: want 1 to 255 bytes, got 256"},
	"handshake size":  {nano.WithMaxHandshakeSize(-1), "WithMaxHandshakeSize: want 0 or more bytes, got -1"},
	"message rate":    {nano.WithMessageRate(0, 1), "WithMessageRate: want more than 0"},
	"byte rate":       {nano.WithByteRate(1, 0), "WithByteRate: want more than 0"},
	"abuse":           {nano.WithMaxAbuse(-1), "WithMaxAbuse: want 0 or more messages, got -1"},
	"window":          {nano.WithResume(nano.Resume{Window: time.Second - 1}), "WithResume: want a Window of 1 s or more, got 999.999999ms"},
	"resume buffer":   {nano.WithResume(nano.Resume{Buffer: -1}), "WithResume: want a Buffer of 1 or more bytes, got -1"},
	"resume memory":   {nano.WithResume(nano.Resume{MaxMemory: -1}), "WithResume: want a MaxMemory of 1 or more bytes, got -1"},
	"resume":          {nano.WithResume(nano.Resume{Window: -1, Buffer: -2, MaxMemory: -3}), "WithResume: want a Window of 1 s or more, got -1ns\nnano: WithResume: want a Buffer of 1 or more bytes, got -2\nnano: WithResume: want a MaxMemory of 1 or more bytes, got -3"},
	"buffer, policy":  {nano.WithWriteBuffer(-1, 8), "WithWriteBuffer: want CloseSlowClient or RefusePush, got 8\nnano: WithWriteBuffer: want 1 or more bytes, got -1"},
	"node address":    {nano.WithNodeAddress("0.0.0.0:3250"), `WithNodeAddress: want host:port of one machine, got "0.0.0.0:3250"`},
	"connections":     {nano.WithMaxConnections(0), "WithMaxConnections: want 1 or more connections"},
	"per address":     {nano.WithMaxConnectionsPerAddress(0), "WithMaxConnectionsPerAddress: want 1 or more connections"},
	"proxies":         {nano.WithTrustedProxies("10.0.0.0/33"), "WithTrustedProxies: want networks"},
	"node id":         {nano.WithNodeID(1 << 16), "WithNodeID: want 65535 at most, got 65536"},
	"old node id":     {nano.WithNodeId(1 << 16), "WithNodeId: want 65535 at most, got 65536"},
	"path":            {nano.WithWebSocket("nano"), `WithWebSocket: want a path such as /nano, got "nano"`},
	"path with query": {nano.WithWebSocket("/nano?x=1"), "WithWebSocket: want a path"},
	"no path":         {nano.WithWebSocket(""), "WithWebSocket: want a path"},
	"handler":         {nano.WithHTTPHandler(nil), "WithHTTPHandler: want a handler"},
	"TLS files":       {nano.WithTLSFiles("", "key.pem"), "WithTLSFiles: want two files"},
	"missing files":   {nano.WithTLSFiles("/none/cert.pem", "/none/key.pem"), "WithTLSFiles(/none/cert.pem, /none/key.pem)"},
	"TLS":             {nano.WithTLSConfig(nil), "WithTLSConfig: want a configuration"},
	"empty TLS":       {nano.WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13}), "WithTLSConfig: want Certificates"},
	"context":         {nano.WithContext(context.Context(nil)), "WithContext: want a context"},
	"seeds":           {nano.WithSeeds(), "WithSeeds: want host:port, got none"},
	"seed":            {nano.WithSeeds("10.0.0.1:1", "10.0.0.2"), `WithSeeds: want host:port, got "10.0.0.2"`},
	"old seed":        {nano.WithAdvertiseAddr("10.0.0.1:1,:2"), `WithAdvertiseAddr: want host:port, got ":2"`},
	"old retry":       {nano.WithAdvertiseAddr("10.0.0.1:1", 0), "WithAdvertiseAddr: want a time above 0"},
	"retry":           {nano.WithSeedRetry(0), "WithSeedRetry: want a time above 0"},
	"secret":          {nano.WithClusterSecret(""), "WithClusterSecret: want a secret"},
	"dial options":    {nano.WithGrpcOptions(nil), "WithGrpcOptions: want options, got nil"},
	"server options":  {nano.WithGrpcServerOptions(nil), "WithGrpcServerOptions: want options, got nil"},
	"callback":        {nano.WithMemberCallback(nil), "WithMemberCallback: want a function"},
}

// TestBadOptions checks that Start returns the errors of all options and components
// together, and that Listen returns the same.
func TestBadOptions(t *testing.T) {
	components := &component.Components{}
	components.Register(&testkit.Game{})
	components.Register(&testkit.Game{})
	components.Register(&component.Base{}, component.WithName("Empty"))
	all := []nano.Option{testkit.Quiet, nano.WithComponents(components)}
	wants := []string{`"Game" is registered twice`, "Empty has no handlers"}
	for name, test := range badOptions {
		s := nano.New(testkit.Quiet, test.option)
		err := s.Start()
		if err == nil || !strings.Contains(err.Error(), "nano: "+test.want) {
			t.Errorf("%s: Start = %v, want %q in it", name, err, test.want)
		}
		if again := s.Start(); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: a second Start = %v, want the same error", name, again)
		}
		if name != "missing files" && name != "empty TLS" { // the later of two options for one setting is used
			all, wants = append(all, test.option), append(wants, test.want)
		}
	}
	for _, err := range []error{nano.New(all...).Start(), nano.Listen("127.0.0.1:0", all...)} {
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("all bad options together: %v, want %q in it", err, want)
			}
		}
	}
}

// TestWithWebSocket checks that an old option has the same effect as its new name.
func TestWithWebSocket(t *testing.T) {
	for name, opts := range map[string][]nano.Option{
		"new": {nano.WithWebSocket("/play")},
		"old": {nano.WithIsWebsocket(true), nano.WithWSPath("play")},
	} {
		addr, returned := listen(t, &testkit.Game{}, opts...)
		w, err := (&testkit.Server{T: t, Transport: "ws", Path: "/play", DialConn: func() (net.Conn, error) { return net.Dial("tcp", addr) }}).Wire()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := w.Join(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.Abort()
		nano.Shutdown()
		if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
			t.Errorf("%s: Listen = %v", name, err)
		}
	}
}

// TestSameOriginOfAddresses checks that the origin and the host are compared as
// addresses.
func TestSameOriginOfAddresses(t *testing.T) {
	for _, test := range []struct {
		origin, host string
		want         bool
	}{
		{"https://game.example.com", "game.example.com", true},
		{"https://game.example.com", "game.example.com:443", true},
		{"https://game.example.com:443", "game.example.com", true},
		{"http://game.example.com", "game.example.com:80", true},
		{"http://game.example.com:80", "game.example.com", true},
		{"https://GAME.example.com", "game.example.COM", true},
		{"https://game.example.com.", "game.example.com", true},
		{"http://game.example.com:3250", "game.example.com:3250", true},
		{"http://[::1]:3250", "[0:0:0:0:0:0:0:1]:3250", true},
		{"https://game.example.com", "game.example.com:80", false},
		{"http://game.example.com", "game.example.com:443", false},
		{"https://game.example.com", "game.example.com:8443", false},
		{"https://example.com", "game.example.com", false},
		{"https://game.example.com.evil.org", "game.example.com", false},
		{"https://game.example.com@evil.org", "game.example.com", false},
		{"file://", "game.example.com", false},
		{"null", "game.example.com", false},
		{"", "game.example.com", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = test.host
		r.Header["Origin"] = []string{test.origin}
		if got := nano.SameOrigin(r); got != test.want {
			t.Errorf("origin %q at host %q: same = %v, want %v", test.origin, test.host, got, test.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if !nano.SameOrigin(r) {
		t.Error("no origin: same = false, want true")
	}
	r.Host = "a"
	r.Header["Origin"] = []string{"http://a", "http://evil.org"}
	if nano.SameOrigin(r) {
		t.Error("two origins: same = true, want false")
	}
}
